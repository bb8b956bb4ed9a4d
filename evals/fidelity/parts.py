"""What a trained tensor is made of: the base as it lies there, its rounding in training, the adapter's part.

Two ways lead there. Where the base is here, each part comes from the merge itself (``training/exact.py``),
for every kind of adapter that peft knows. Without it there are the adapter's two matrices, for LoRA and
rsLoRA, and our own export.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from seatrial.evals.fidelity.tensors import values
from seatrial.training.adapted import FILE
from seatrial.training.checkpoint import Checkpoint
from seatrial.training.gguf_file import open_gguf


@dataclass(frozen=True)
class Parts:
    """``before + rounding + change`` is the trained tensor; each of shape (rows, columns), float32, in the
    order of llama.cpp's rows."""

    before: Any
    rounding: Any
    change: Any

    @property
    def trained(self) -> Any:
        return self.before + self.rounding + self.change


@dataclass(frozen=True)
class Update:
    """What LoRA adds to a tensor: alpha / r · B A (Hu et al. 2021, arXiv:2106.09685; rsLoRA: alpha / √r).

    ``heads``: by how many heads llama.cpp reorders the tensor's rows, 0 for none.
    """

    name: str
    hf_name: str
    heads: int
    scale: float
    down: Any
    up: Any

    def values(self) -> Any:
        return permuted(self.scale * (self.up @ self.down), self.heads)


class Names:
    """How llama.cpp calls the tensors of a GGUF file's architecture, and orders their rows."""

    def __init__(self, file: Path) -> None:
        import gguf

        fields = {name: field.contents() for name, field in open_gguf(file).fields.items()}
        architecture = str(fields["general.architecture"])
        kind = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}.get(architecture)
        count = f"{architecture}.block_count"
        self._map = gguf.get_tensor_name_map(kind, int(fields[count])) if kind is not None else None
        self._heads = {}
        if (
            architecture == "llama"
        ):  # whose query and key rows are kept in the original rotary embedding's order
            heads = int(fields[f"{architecture}.attention.head_count"])
            few = int(fields.get(f"{architecture}.attention.head_count_kv", heads))
            self._heads = {"q_proj": heads, "k_proj": few}

    def of(self, module: str) -> str | None:
        """The name of the weight of a module in transformers; None if it is not known."""
        name = self._map.get_name(module) if self._map is not None else None
        return None if name is None else f"{name}.weight"

    def heads(self, module: str) -> int:
        return self._heads.get(module.rpartition(".")[2], 0)


def updates(adapter: Path, f16: Path) -> Iterator[Update]:
    """The adapter's updates under the names of the GGUF file; none for an unknown architecture, nor for DoRA,
    which adds no product of two matrices."""
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    if config.get("use_dora"):
        return
    names, matrices = Names(f16), Checkpoint(adapter, FILE)
    for key in matrices.shapes:
        if not key.endswith(".lora_A.weight"):
            continue
        module = key.removesuffix(".lora_A.weight").removeprefix("base_model.model.")
        name = names.of(module)
        sides = [matrices.read(each).float().numpy() for each in (key, key.replace(".lora_A.", ".lora_B."))]
        if name is not None and all(side.ndim == 2 for side in sides):  # a convolution's are no matrices
            scale = _scale(config, module, len(sides[0]))
            yield Update(name, f"{module}.weight", names.heads(module), scale, *sides)


def by_matrices(
    adapter: Path, f16: Path, trained: Mapping[str, Any], base: Path | None
) -> dict[str, Callable[[], Parts | None]]:
    """The parts of each tensor of ``trained`` (our own export) that has an update, made when they are asked
    for; without a ``base`` its rounding is taken for none."""
    stored = Checkpoint(base) if base else None

    def made(update: Update) -> Parts | None:
        exported, change = values(trained[update.name]), update.values()
        if change.shape != exported.shape:
            return None
        before = exported - change
        if stored is None or update.hf_name not in stored.names:
            return Parts(before, before * 0, change)
        untrained = permuted(stored.read(update.hf_name).float().numpy(), update.heads)
        return Parts(untrained, before - untrained, change)

    return {each.name: partial(made, each) for each in updates(adapter, f16)}


def by_merge(
    adapter: Path, f16: Path, base: Path, held: Mapping[str, Any]
) -> dict[str, Callable[[], Parts | None]] | None:
    """The parts of each tensor that the adapter changes; None where this model is not merged by tensor.

    ``held``: how training held the base (``compute_dtype``, ``precision``, ``skipped``).
    """
    import torch

    from seatrial.training.exact import Exact
    from seatrial.training.shards import NotByTensor

    names = Names(f16)
    dtype = getattr(torch, held["compute_dtype"])
    try:
        exact = Exact(base, adapter, dtype, held["precision"], held.get("skipped"))
    except NotByTensor:
        return None

    def made(name: str) -> Parts | None:
        heads = names.heads(name.removesuffix(".weight"))
        merged = permuted(exact.merged(name).numpy(), heads)
        held_, stored = (
            permuted(_rows(each(name).numpy(), len(merged)), heads) for each in (exact.held, exact.stored)
        )
        return Parts(stored, held_ - stored, merged - held_)

    found: dict[str, Callable[[], Parts | None]] = {}
    for name in exact.changed():
        module, _, kind = name.rpartition(".")
        known = names.of(module)
        if known is not None and kind == "weight" and len(exact.shapes[name]) == 2:
            found[known] = partial(made, name)
    return found


def permuted(weights: Any, heads: int) -> Any:
    """Rows in llama.cpp's order: of each head, both halves interleaved."""
    if not heads:
        return weights
    rows = weights.shape[0] // heads // 2
    return weights.reshape(heads, 2, rows, -1).swapaxes(1, 2).reshape(weights.shape)


def _rows(weights: Any, rows: int) -> Any:
    """``weights`` with rows of zeros for tokens that training added."""
    import numpy as np

    return np.pad(weights, ((0, rows - len(weights)), (0, 0))) if rows > len(weights) else weights[:rows]


def _scale(config: Mapping[str, Any], module: str, rank: int) -> float:
    """alpha / r of one module; both may be given by module, and the rank is read off the matrix."""
    alpha = next(
        (
            value
            for pattern, value in (config.get("alpha_pattern") or {}).items()
            if re.match(rf"(.*\.)?({pattern})$", module)
        ),
        config["lora_alpha"],
    )
    return float(alpha) / (rank**0.5 if config.get("use_rslora") else rank)
