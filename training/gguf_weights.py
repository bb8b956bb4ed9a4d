"""The weights of a GGUF file under transformers' names, one tensor at a time.

transformers reads a GGUF file by dequantising all of it. Its own parts are used here for each tensor apart:
its map of names, the processor of the architecture, which undoes what llama.cpp's converter did, and gguf's
``dequantize``. So a tensor is the same, bit by bit, and the memory is that of the largest one. What
transformers reads in another way raises :class:`NotByTensor`, and the whole model is loaded instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seatrial.training.gguf_file import open_gguf
from seatrial.training.shards import NotByTensor

if TYPE_CHECKING:
    import numpy as np
    import torch


class GgufWeights:
    """The tensors of the GGUF file ``path`` that the model of its architecture is made of, dequantised.

    ``model``: that model, without weights; ``shapes``: those of its tensors by name, tied ones once.

    Raises:
        NotByTensor: see the module.
        ValueError, KeyError: the architecture is none that transformers knows.
    """

    def __init__(self, path: Path) -> None:
        import torch
        from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedConfig

        self._path = path
        self._said, _ = PreTrainedConfig.get_config_dict(path.parent, gguf_file=path.name)
        config = CONFIG_MAPPING[self._said["model_type"]].from_dict(deepcopy(self._said))
        with torch.device("meta"):
            self.model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
        tied = dict(getattr(self.model, "all_tied_weights_keys", None) or {})
        left_out = {*tied, *(self.model._keys_to_ignore_on_save or ())}
        tensors = self.model.state_dict().items()
        self.shapes = {name: tuple(tensor.shape) for name, tensor in tensors if name not in left_out}
        self._require_as_named(left_out)

    def tensor(self, name: str) -> torch.Tensor:
        """One tensor as float32, in the shape that the model wants."""
        import numpy as np
        import torch
        from gguf import dequantize

        made: dict[str, torch.Tensor] = {}
        # The same loop as in load_gguf_checkpoint: a processor returns a tensor, or puts its part of a larger
        # one (the experts of a layer) into "tensors" itself and returns no name.
        for source in self._sources[name]:
            part = self._processor.process(
                weights=dequantize(self._read(source), source.tensor_type),
                name=source.name,
                tensor_key_mapping=self._names,
                parsed_parameters={"tensors": made},
            )
            if part.name in self._names:
                made[self._names[part.name]] = torch.from_numpy(np.ascontiguousarray(part.weights))
        if name not in made:
            raise NotByTensor(f"transformers makes {name} of the file in another way")
        return made[name].float()

    def _read(self, source: Any) -> np.ndarray:
        """What lies in the file; read, not mapped, since mapped pages count as memory of the process."""
        import numpy as np

        kind, count = source.data.dtype, source.data.size
        return np.fromfile(self._path, kind, count, offset=source.data_offset).reshape(source.data.shape)

    @cached_property
    def _processor(self) -> Any:
        from transformers.modeling_gguf_pytorch_utils import TENSOR_PROCESSORS, TensorProcessor

        return TENSOR_PROCESSORS.get(self._architecture, TensorProcessor)(config=self._said)

    @cached_property
    def _architecture(self) -> str:
        return str(open_gguf(self._path).fields["general.architecture"].contents())

    @cached_property
    def _names(self) -> Mapping[str, str]:
        """transformers' names of tensors by those of the file."""
        from transformers.modeling_gguf_pytorch_utils import get_gguf_hf_weights_map

        try:
            found: dict[str, str] = get_gguf_hf_weights_map(self.model, self._processor)
        except NotImplementedError as error:
            raise NotByTensor(f"there is no map of its names: {error}") from None
        return found

    @cached_property
    def _sources(self) -> Mapping[str, list[Any]]:
        """The tensors of the file that each of the model is made of; several where experts lie apart."""
        found: dict[str, list[Any]] = {}
        for source in open_gguf(self._path).tensors:
            # the experts of a layer are mapped without the end of their names
            name = self._names.get(source.name) or self._names.get(source.name.removesuffix(".weight"))
            if name is not None:
                found.setdefault(name, []).append(source)
        return found

    def _require_as_named(self, left_out: set[str]) -> None:
        """That each tensor of the model is made of tensors of the file, and saved as it is."""
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key
        from transformers.integrations.gguf.utils import is_gguf_arch_supported

        if is_gguf_arch_supported(self._architecture):
            raise NotByTensor(f"transformers reads {self._architecture} by a loader of its own")
        lacking = [name for name in self.shapes if name not in self._sources]
        if lacking:
            raise NotByTensor(f"no tensor of the file is {lacking[0]}")
        twice = [name for name in left_out if name in self._sources]
        if twice:
            raise NotByTensor(f"{twice[0]} is tied to another tensor, and the file holds it apart")
        mapping = get_model_conversion_mapping(self.model)
        renamings = [each for each in mapping if isinstance(each, WeightRenaming)]
        converters = [each for each in mapping if isinstance(each, WeightConverter)]
        there, prefix = self.model.state_dict(), self.model.base_model_prefix
        for name in self.shapes:
            if rename_source_key(name, renamings, converters, prefix, there) != (name, None):
                raise NotByTensor(f"transformers changes {name} when it is loaded")
