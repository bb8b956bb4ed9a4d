"""How strongly the adapter is in a GGUF file, and on which base.

With D the adapter's update and R the rounding of the base in training (NF4 minus 16-bit), file minus 16-bit
base is fitted as c·D + r·R by least squares over adapted tensors. Both are 1 in a right file; c = 0: the
adapter is missing, c = 2: merged twice, r = 0: merged into the 16-bit base, on which nobody trained it.

Quantisation shrinks or stretches weights by a few percent, so the yardstick is not 1 but what the same fit
says of the trained tensors rounded to the file's types; and over millions of weights its noise is known from
the residual, so that an adapter a tenth too strong is told from rounding. How much one quantiser shrinks more
than another one of the same type is bounded by the square that it loses: least squares would shrink by that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seatrial.evals.fidelity.tensors import safetensors, shape, tensors, values
from seatrial.evals.fidelity.yardstick import rounded
from seatrial.training.gguf_file import open_gguf

FITTED = 70  # adapted tensors that are fitted: a third of a small model's, evenly spread
ALLOWED = 0.02  # how far a factor may be off, besides the share of the weights' square that rounding takes
ERRORS = 5  # ... and besides this many of its standard errors
UNKNOWN = 0.1  # standard error from which a factor is not known: a base that training did not round has no R
ADAPTED = "adapter_model.safetensors"


@dataclass(frozen=True)
class Strength:
    """The factors of the module's formula, what each should be, and its standard error; ``rounding`` is None
    where the base's 16-bit weights are not known here, or were trained on as they are. ``tensors`` says over
    how many adapted tensors they were fitted; ``explained``, how much of the squared difference from our own
    rounding is what wrong factors make (0 to 1)."""

    adapter: float
    rounding: float | None
    tensors: int
    expected: tuple[float, float] = (1.0, 1.0)
    errors: tuple[float, float] = (0.0, 0.0)
    allowed: float = ALLOWED
    explained: float = 1.0

    @property
    def off(self) -> tuple[float, ...]:
        """How far each known factor is from what it should be."""
        known = [self.adapter, *([] if self.rounding is None else [self.rounding])]
        return tuple(abs(one - right) for one, right in zip(known, self.expected, strict=False))

    @property
    def right(self) -> bool:
        """Whether the adapter is in the file once, on the weights that it was trained on."""
        pairs = zip(self.off, self.errors, strict=False)
        return all(off <= self.allowed + ERRORS * error for off, error in pairs)


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
        return _permuted(self.scale * (self.up @ self.down), self.heads)


def updates(adapter: Path, f16: Path) -> Iterator[Update]:
    """The adapter's updates under the names of the GGUF file; none for an unknown architecture, nor for DoRA,
    which adds no product of two matrices."""
    import gguf

    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    fields = {name: field.contents() for name, field in open_gguf(f16).fields.items()}
    architecture = str(fields["general.architecture"])
    known = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}
    if architecture not in known or config.get("use_dora"):
        return
    names = gguf.get_tensor_name_map(known[architecture], int(fields[f"{architecture}.block_count"]))
    heads = int(fields[f"{architecture}.attention.head_count"])
    heads_kv = int(fields.get(f"{architecture}.attention.head_count_kv", heads))
    matrices = safetensors(adapter, ADAPTED)
    for key, down in matrices.items():
        if not key.endswith(".lora_A.weight"):
            continue
        hf_name = key.removesuffix(".lora_A.weight").removeprefix("base_model.model.")
        name = names.get_name(hf_name)
        # llama.cpp keeps the query and key rows of Llama in the order of the original rotary embedding.
        kind = hf_name.rpartition(".")[2] if architecture == "llama" else ""
        permuted = {"q_proj": heads, "k_proj": heads_kv}.get(kind, 0)
        up = matrices[key.replace(".lora_A.", ".lora_B.")]
        if name is not None and down.ndim == up.ndim == 2:  # a convolution's are no matrices
            scale = _scale(config, hf_name, down.shape[0])
            yield Update(f"{name}.weight", f"{hf_name}.weight", permuted, scale, down, up)


def fit(file: Path, f16: Path, quantised: Path | None, adapter: Path, base: Path | None) -> Strength | None:
    """Fit over at most ``FITTED`` adapted tensors; None where the adapter's layout is not known here.

    Args:
        f16: our own export of the trained model; ``quantised``: our own quantisation of it, if there is one.
        base: folder with the 16-bit weights that training rounded, if known.
    """
    import numpy as np

    found, trained = tensors(file), tensors(f16)
    own = tensors(quantised) if quantised else {}
    untrained = safetensors(base) if base else {}
    chosen = [each for each in updates(adapter, f16) if each.name in found and each.name in trained]
    chosen = [each for each in chosen if shape(found[each.name]) == shape(trained[each.name])]
    chosen = chosen[:: max(1, len(chosen) // FITTED)]
    normal, sides, square, count = np.zeros((2, 2)), np.zeros((2, 2)), 0.0, 0
    lost = whole = apart = 0.0
    for update in chosen:
        tensor, change = found[update.name], update.values()
        exported = values(trained[update.name])
        if change.shape != exported.shape:
            return None
        rest = np.zeros_like(exported)
        if untrained:
            rest = exported - change - _permuted(untrained[update.hf_name], update.heads)
        parts = np.stack([change.ravel(), rest.ravel()]).astype(np.float64)
        before = exported - change - rest
        seen = (values(tensor) - before).ravel().astype(np.float64)
        plain = _as_quantised(tensor, exported, own.get(update.name))
        right = ((exported if plain is None else plain) - before).ravel().astype(np.float64)
        lost += float(np.sum(((values(tensor) if plain is None else plain) - exported) ** 2))
        apart += float(np.sum((seen - right) ** 2))
        whole += float(np.sum(exported**2))
        normal += parts @ parts.T
        sides += np.stack([parts @ seen, parts @ right])
        square, count = square + float(seen @ seen), count + seen.size
    if not normal[0, 0]:
        return None
    solved = _solved(normal, sides, square, count, len(chosen))
    known = [solved.adapter, solved.expected[1] if solved.rounding is None else solved.rounding]
    off = np.array(known) - solved.expected
    explained = min(1.0, float(off @ normal @ off) / apart) if apart else 0.0
    return replace(solved, allowed=ALLOWED + lost / whole, explained=explained)


def _as_quantised(tensor: Any, exported: Any, own: Any) -> Any:
    """The trained tensor rounded to the type of ``tensor``; None where llama.cpp cannot."""
    if own is not None and own.tensor_type == tensor.tensor_type:
        return values(own)
    return rounded(exported, tensor.tensor_type)


def _solved(normal: Any, sides: Any, square: float, count: int, fitted: int) -> Strength:
    """Both fits from the normal equations; the noise of a factor is that of the one the other one leaves."""
    import numpy as np

    size = 2 if normal[1, 1] > 0 else 1
    inverse = np.linalg.pinv(normal[:size, :size])
    factors, expected = (inverse @ side[:size] for side in sides)
    noise = max(0.0, square - float(factors @ sides[0][:size])) / max(1, count - size)
    errors = np.sqrt(noise * np.diag(inverse))
    if size == 2 and errors[1] > UNKNOWN:
        return _solved(np.diag([normal[0, 0], 0.0]), sides, square, count, fitted)
    rounding = float(factors[1]) if size == 2 else None
    right = float(expected[0]), float(expected[-1]) if size == 2 else 1.0
    unsure = float(errors[0]), float(errors[-1]) if size == 2 else 0.0
    return Strength(float(factors[0]), rounding, fitted, right, unsure)


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


def _permuted(weights: Any, heads: int) -> Any:
    if not heads:
        return weights
    rows = weights.shape[0] // heads // 2
    return weights.reshape(heads, 2, rows, -1).swapaxes(1, 2).reshape(weights.shape)
