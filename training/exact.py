"""The trained model, one tensor at a time: the base as training held it, with the adapter added by peft.

A whole 8B model in float32 is 32 GB; here the memory is that of the adapter and of a few of the largest
tensors. The model is laid out without weights (on torch's "meta" device), which tells which layers
transformers quantises and on which ones peft puts what; a layer gets its weights when it is asked for, is
merged by peft's own code, and is emptied again. So LoRA, rsLoRA, DoRA, trained embeddings and heads, single
trained tokens and biases are all what peft makes of them.

Experts that transformers puts together are read and written as they lie in the files
(:mod:`seatrial.training.layout`). PiSSA and OLoRA take their first matrices out of the base's weights, which
peft repeats each time that it loads such an adapter: here, with one layer at a time. What cannot be done so
(a text model inside one that also sees, a start that is drawn or needs data) raises :class:`NotByTensor`, and
the whole model is loaded instead.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seatrial.training.adapted import FILE, added_rows, with_adapter
from seatrial.training.base_model import WHOLE, bitsandbytes, whole
from seatrial.training.checkpoint import Checkpoint
from seatrial.training.layout import Layout
from seatrial.training.shards import NotByTensor
from seatrial.training.trained_on import quantization_config

if TYPE_CHECKING:
    import torch

STARTS = (True, False, None, "gaussian", "eva", "orthogonal")  # that leave the base's weights as they are
TAKEN_OUT = ("pissa", "olora")  # starts that are taken out of them, by arithmetic alone


class Exact:
    """The tensors of a model that is its base and an adapter (None: the base as it was held, alone).

    Every tensor comes as float32. Each may be merged once: peft's layers are used up by it.

    Raises:
        NotByTensor: see the module.
    """

    def __init__(
        self,
        base: Path,
        adapter: Path | None,
        dtype: torch.dtype,
        precision: str,
        skipped: Sequence[str] | None = None,
    ) -> None:
        self._dtype, self._precision = dtype, precision
        self.model = _laid_out(base)
        self._layout = Layout(self.model, Checkpoint(base))
        self._tied: Mapping[str, str] = dict(getattr(self.model, "all_tied_weights_keys", None) or {})
        packed = bool(quantization_config(base))
        quantised = precision not in WHOLE and not packed
        self._quantised = _quantised(base, bitsandbytes(precision, dtype, skipped)) if quantised else {}
        self._held_type = whole(precision) if precision in WHOLE and not packed else dtype
        _require_as_stored(self.model, self._layout, self._tied)
        if packed and self._layout.is_converted:
            raise NotByTensor("its experts are put together of packed ones")
        self._start: str | None = None
        if adapter is not None:
            self._start = _require_layers(adapter)
            if rows := added_rows(self.model, adapter):
                self.model.resize_token_embeddings(rows, mean_resizing=False)
        # with the tied ones, once by each name
        self.shapes = {name: tuple(tensor.shape) for name, tensor in self.model.state_dict().items()}
        self._adapted = self.model if adapter is None else _adapted(self.model, adapter)
        self._last: tuple[str, dict[str, torch.Tensor]] = ("", {})
        if self._start and self.apart():
            raise NotByTensor("this adapter changes weights of the base that are tied to others")

    # --- three states of a tensor ----------------------------------------------------------------------
    def stored(self, name: str) -> torch.Tensor:
        """The tensor as it lies in the base's files (dequantised, if it is packed there)."""
        found = self._layout.read(self._stored_name(name)).float()
        return found

    def held(self, name: str) -> torch.Tensor:
        """The tensor as training computed with it: quantised and dequantised again, or in its type."""
        value = self._layout.read(self._stored_name(name))
        module, _, kind = name.rpartition(".")
        if kind == "weight" and module in self._quantised:
            return self._rounded(value.to(self._dtype)).float()
        return value.to(self._held_type).float()

    def merged(self, name: str) -> torch.Tensor:
        """The tensor with the adapter in it."""
        module_name, _, kind = name.rpartition(".")
        if self._last[0] != module_name:
            self._last = module_name, self._merge(module_name)
        return self._last[1][kind]

    def written(self, name: str, tensor: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """What is saved of ``tensor``, which the model calls ``name``: experts one by one."""
        return self._layout.written(name, tensor)

    def changed(self) -> list[str]:
        """The weights on which the adapter has a say, in the order of the model."""
        return [name for name in self.shapes if self._is_changed(name)]

    def apart(self) -> list[tuple[str, str]]:
        """Pairs of tied tensors whose two sides the adapter may have made different."""
        return [pair for pair in self._tied.items() if any(map(self._is_changed, pair))]

    @property
    def tied(self) -> Mapping[str, str]:
        """Tensors that share the weights of another one, by name."""
        return self._tied

    # --- how -------------------------------------------------------------------------------------------
    def _merge(self, module_name: str) -> dict[str, torch.Tensor]:
        module = self._submodule(module_name)
        if not _is_adapters(module):
            return {
                kind: self._value(f"{module_name}.{kind}", tensor)
                for kind, tensor in _own_tensors(module)
                if f"{module_name}.{kind}" in self.shapes
            }
        layer = module.original_module if hasattr(module, "original_module") else module.get_base_layer()
        kinds = [kind for kind, _ in _own_tensors(layer)]
        self._fill(module_name, layer)
        self._take_out(module)
        if hasattr(module, "unload_and_optionally_merge_module"):
            layer = module.unload_and_optionally_merge_module(merge=True, safe_merge=True, adapter_names=None)
        else:
            module.merge(safe_merge=True)
            layer = module.get_base_layer()
        found = dict(_own_tensors(layer))
        merged = {kind: found[kind].detach().float() for kind in kinds}
        layer.to("meta")
        return merged

    def _fill(self, module_name: str, layer: Any) -> None:
        from torch.nn import Parameter

        for kind, tensor in _own_tensors(layer):
            value: Any = self._value(f"{module_name}.{kind}", tensor)
            if kind in layer._parameters:
                value = Parameter(value, requires_grad=False)
            setattr(layer, kind, value)

    def _take_out(self, module: Any) -> None:
        """Leave in the base's weights what such a start leaves there; the trained matrices stay."""
        from peft.tuners.lora import Linear

        if self._start is None or not isinstance(module, Linear):
            return
        matrices = [each["default"].weight for each in (module.lora_A, module.lora_B)]
        trained = [matrix.data for matrix in matrices]
        if self._start == "pissa":
            module.pissa_init("default", self._start)
        else:
            module.olora_init("default")
        for matrix, data in zip(matrices, trained, strict=True):
            matrix.data = data

    def _value(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """``tensor`` where the adapter brought it, else that of the base, with rows for added tokens."""
        import torch

        if _is_there(tensor):
            return tensor.detach().float()
        other = self._tied.get(name)
        if other is not None:
            name_of, _, kind = other.rpartition(".")
            module = self._submodule(name_of)
            found = None if _is_adapters(module) else dict(_own_tensors(module)).get(kind)
            if found is not None and _is_there(found):
                return found.detach().float()
        value = self.held(name)
        if value.ndim == 2 and tensor.shape[0] > value.shape[0]:
            more = torch.zeros(tensor.shape[0] - value.shape[0], value.shape[1])
            value = torch.cat([value, more])  # the adapter holds these rows; see ``adapted.added_rows``
        return value

    def _rounded(self, value: torch.Tensor) -> torch.Tensor:
        import torch
        from bitsandbytes import functional, nn

        if self._precision == "int8":
            rows: Any = nn.Int8Params(value, requires_grad=False, has_fp16_weights=False).to("cpu")
            found: torch.Tensor = functional.int8_vectorwise_dequant(rows.data, rows.SCB)
            return found
        blocks: Any = nn.Params4bit(
            value,
            requires_grad=False,
            compress_statistics=self._precision == "nf4-double",
            quant_type="nf4",
            quant_storage=torch.uint8,
        ).to("cpu")
        again: torch.Tensor = functional.dequantize_4bit(blocks.data, blocks.quant_state)
        return again

    def _stored_name(self, name: str) -> str:
        return name if name in self._layout else self._tied.get(name, name)

    def _submodule(self, name: str) -> Any:
        return self._adapted.get_submodule(name)

    def _is_changed(self, name: str) -> bool:
        module, _, kind = name.rpartition(".")
        found = self._submodule(module)
        if _is_adapters(found):
            return kind in _parameters(found) or bool(self._biases)
        tensor = dict(_own_tensors(found)).get(kind)
        return tensor is not None and _is_there(tensor)

    @cached_property
    def _biases(self) -> bool:
        config = getattr(self._adapted, "peft_config", {}).get("default")
        return bool(config and (config.lora_bias or config.bias != "none"))


def _laid_out(base: Path) -> Any:
    """The model of ``base`` without weights, as float32 that is not quantised."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(base)
    except (OSError, ValueError) as error:
        raise NotByTensor(f"there is no configuration of a model: {error}") from None
    if getattr(config, "quantization_config", None) is not None:
        del config.quantization_config
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


def _quantised(base: Path, config: Any) -> set[str]:
    """The modules of ``base`` that transformers quantises under ``config``."""
    from bitsandbytes import nn
    from transformers.pytorch_utils import Conv1D
    from transformers.quantizers import AutoHfQuantizer

    model = _laid_out(base)
    if any(isinstance(module, Conv1D) for module in model.modules()):
        raise NotByTensor("its layers are stored the other way round")
    quantizer = AutoHfQuantizer.from_config(config, pre_quantized=False)
    quantizer.preprocess_model(model=model, device_map={"": "cpu"})
    kinds = (nn.Linear4bit, nn.Linear8bitLt)
    return {name for name, module in model.named_modules() if isinstance(module, kinds)}


def _require_as_stored(model: Any, layout: Layout, tied: Mapping[str, str]) -> None:
    if model._keep_in_fp32_modules:
        raise NotByTensor("some of its modules are kept in float32")
    lacking = [name for name in model.state_dict() if name not in layout and name not in tied]
    if lacking:
        raise NotByTensor(f"{lacking[0]} is not stored under that name")


def _require_layers(adapter: Path) -> str | None:
    """The start of an adapter that is taken out of the base's weights; None for one that leaves them."""
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    start = config.get("init_lora_weights", True)
    if config.get("peft_type") != "LORA":
        raise NotByTensor(f"peft_type is {config.get('peft_type')!r}")
    if start not in (*STARTS, *TAKEN_OUT):
        raise NotByTensor(f"the start {start!r} changes the base's weights, and is drawn or needs data")
    if start in TAKEN_OUT and config.get("target_parameters"):
        raise NotByTensor(f"the start {start!r} is not one of experts")
    if config.get("layer_replication"):
        raise NotByTensor("layers are used several times")
    if not (adapter / FILE).is_file():
        raise NotByTensor(f"there is no {FILE}")
    return start if start in TAKEN_OUT else None


def _adapted(model: Any, adapter: Path) -> Any:
    """``model`` with peft's layers in it, theirs and only theirs filled; the base's own weights stay away, so
    no start may be taken out of them yet."""
    from peft import PeftConfig

    _hollow(model)
    config = PeftConfig.from_pretrained(adapter)
    if config.init_lora_weights in TAKEN_OUT:
        config.init_lora_weights = True
    wrapped = with_adapter(model, adapter, low_cpu_mem_usage=True, torch_device="cpu", config=config)
    return wrapped.get_base_model()


def _hollow(model: Any) -> None:
    """Give every parameter a single number that stands for all of its own: peft would move an adapter to
    where its base is, and on the "meta" device it would be lost. Parameters that are shared stay so."""
    import torch

    known: dict[int, Any] = {}
    for module in model.modules():
        for kind, parameter in module._parameters.items():
            if parameter is not None and parameter.numel() > 1:
                hollow = torch.zeros(1).expand(parameter.shape)
                made = known.setdefault(id(parameter), torch.nn.Parameter(hollow, requires_grad=False))
                module._parameters[kind] = made


def _is_there(tensor: torch.Tensor) -> bool:
    """Whether a tensor has numbers of its own: the adapter brought it."""
    return tensor.device.type != "meta" and bool(tensor.untyped_storage().nbytes() >= tensor.nbytes)


def _is_adapters(module: Any) -> bool:
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    return isinstance(module, BaseTunerLayer | AuxiliaryTrainingWrapper)


def _parameters(module: Any) -> list[str]:
    """The base's parameters that an adapter's layer changes: of experts those that were named to peft, which
    puts one layer around the other."""
    found = []
    while hasattr(module, "parameter_name"):
        found.append(module.parameter_name)
        module = module.base_layer
    return found or ["weight"]


def _own_tensors(module: Any) -> list[tuple[str, torch.Tensor]]:
    """Parameters and kept buffers of a module itself, by name."""
    kept = [(k, v) for k, v in module._buffers.items() if k not in module._non_persistent_buffers_set]
    return [(kind, tensor) for kind, tensor in [*module._parameters.items(), *kept] if tensor is not None]
