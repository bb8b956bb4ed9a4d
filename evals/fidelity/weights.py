"""The tensors of a GGUF file against our own export of the trained model, and against the adapter.

Two questions. Is every tensor as close to the trained one as its quantisation allows? The yardstick is our
own quantisation of the same model to the same type, so no limit depends on the architecture. And was the
adapter merged once, into the weights that it was trained on? With D the adapter's update and R the rounding
of the base in training (NF4 minus 16-bit), file minus 16-bit base is fitted as c·D + r·R by least squares
over adapted tensors. Both are 1 in a right file; c = 0: the adapter is missing, c = 2: merged twice, r = 0:
merged into the 16-bit base, on which nobody trained it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evals.fidelity.metadata import Finding
from evals.fidelity.stages import CONVERSION, FILE, MERGE, QUANTISATION
from training.gguf_file import open_gguf
from training.progress import Progress
from training.store import Artifact, Step

SLACK = 1.25  # a file may be this much further from the trained model than our own quantisation is
ROW_SLACK = 3.0  # the same for the worst row of a tensor, whose error varies more
ROUNDING = 2e-3  # relative error of a row that 16-bit rounding explains
SEVERAL = 3  # wrong tensors up to which single tensors are at fault
MANY = 0.25  # share of wrong tensors from which the whole model is wrong, not some tensors
FEW_ROWS = 0.1  # share of a tensor's rows below which the damage is local, as in a damaged file
ALONG = 0.5  # multiple of its adapter's update from which a tensor's error is the merge's ...
EXPLAINED = 0.01  # ... if it explains this share of the error, as it does not in a zeroed tensor
ADAPTED = "adapter_model.safetensors"
FITTED = 70  # adapted tensors that are fitted: a third of a small model's, evenly spread


@dataclass(frozen=True)
class Strength:
    """The factors of the module's formula: ``adapter`` is c, ``rounding`` is r (None if the base's 16-bit
    weights are not known here); ``tensors`` says over how many adapted tensors they were fitted."""

    adapter: float
    rounding: float | None
    tensors: int


def of_file(
    file: Path,
    file_sha256: str,
    f16: Artifact,
    quantised: Artifact | None,
    adapter: Artifact | None,
    base: Artifact | None,
) -> Step:
    """The step whose ``weights.json`` holds findings by tensor and the :class:`Strength` (or null)."""
    inputs = {"file": file_sha256, "f16": f16.digest}
    for name, artifact in (("quantised", quantised), ("adapter", adapter), ("base", base)):
        if artifact:
            inputs[name] = artifact.digest

    def build(out: Path, progress: Progress) -> Mapping[str, Any]:
        findings = [asdict(f) for f in _findings(file, file_sha256, f16, quantised, adapter)]
        strength = None
        if adapter:
            strength = fit(file, _gguf(f16), adapter.path, base.path if base else None)
        told = {"findings": findings, "strength": asdict(strength) if strength else None}
        (out / "weights.json").write_text(json.dumps(told), encoding="utf-8")
        return {"tensors": len(findings)}

    limits = {"slack": SLACK, "row_slack": ROW_SLACK, "rounding": ROUNDING, "fitted": FITTED}
    limits |= {"several": SEVERAL, "many": MANY, "few_rows": FEW_ROWS}
    limits |= {"along": ALONG, "explained": EXPLAINED}
    return Step("weights", 2, limits, inputs, build, title=f"weights of {file.name}")


def _findings(
    file: Path, sha256: str, f16: Artifact, quantised: Artifact | None, adapter: Artifact | None
) -> list[Finding]:
    for own in filter(None, (quantised, f16)):
        if sha256 in {entry["sha256"] for entry in own.manifest["files"].values()}:
            return [Finding("all tensors", FILE, "our own export", "the same file, byte for byte", True)]
    updates = {each.name: each for each in _updates(adapter.path, _gguf(f16))} if adapter else {}
    return compare(file, _gguf(f16), _gguf(quantised) if quantised else None, updates)


def compare(file: Path, f16: Path, quantised: Path | None, updates: Mapping[str, _Update]) -> list[Finding]:
    """One finding a tensor. Tensors of another shape are left to :mod:`evals.fidelity.metadata`.

    Where much of the file is wrong, the quantisation is blamed; where several tensors with ``updates`` are
    and no other, the merge. A single tensor whose error lies along its update is the merge's, too; a few rows
    are a damaged file's, the rest is the conversion's. Where the adapter's strength is wrong as well, the
    chain puts all of them down to the merge.
    """
    found, trained, own = _tensors(file), _tensors(f16), _tensors(quantised) if quantised else {}
    suspects: list[tuple[Finding, float]] = []
    for name, tensor in found.items():
        if name in trained and _shape(tensor) == _shape(trained[name]):
            suspects.append(_compare(name, tensor, trained[name], own.get(name)))
    wrong = {finding.check for finding, _ in suspects if not finding.ok}
    if len(wrong) > max(1, MANY * len(suspects)):
        return [_at(finding, QUANTISATION) for finding, _ in suspects]
    if len(wrong) > SEVERAL and wrong <= updates.keys():
        return [_at(finding, MERGE) for finding, _ in suspects]
    merged = {
        name
        for name in wrong & updates.keys()
        if _along(_values(found[name]) - _values(trained[name]), updates[name].values())
    }
    return [
        _at(finding, MERGE if finding.check in merged else FILE if rows < FEW_ROWS else CONVERSION)
        for finding, rows in suspects
    ]


def _along(error: Any, update: Any) -> bool:
    """Whether an error is a multiple of the update: -1 where a tensor lacks it, 1 where it has it twice."""
    import numpy as np

    if error.shape != update.shape or not np.isfinite(error).all():
        return False
    product, square = float(np.vdot(error, update)), float(np.vdot(update, update))
    if not square:
        return False
    return abs(product) / square > ALONG and product**2 / square > EXPLAINED * float(np.vdot(error, error))


def _compare(name: str, tensor: Any, trained: Any, own: Any) -> tuple[Finding, float]:
    """The finding on one tensor, and the share of its rows that are wrong."""
    import numpy as np

    same = own is not None and own.tensor_type == tensor.tensor_type
    if same and np.array_equal(own.data, tensor.data):
        return Finding(name, CONVERSION, "our own quantisation", "the same bytes", True), 0.0
    right = _values(trained)
    size = np.linalg.norm(right, axis=1) + 1e-12
    error = np.linalg.norm(_values(tensor) - right, axis=1)
    if not np.isfinite(error).all():
        return Finding(name, CONVERSION, "finite numbers", "infinite or not numbers", False), 1.0
    allowed = np.linalg.norm(_values(own) - right, axis=1) if same else 0.0 * size
    total, bound = np.linalg.norm(error), SLACK * np.linalg.norm(allowed) + ROUNDING * np.linalg.norm(size)
    worst = ROW_SLACK * np.maximum(allowed, np.median(allowed)) + 10 * ROUNDING * size
    bad = error > worst
    relative = np.linalg.norm(size)
    finding = Finding(
        name,
        CONVERSION,
        f"an error of at most {bound / relative:.2%}, in no row much more",
        f"{total / relative:.2%}, {int(bad.sum())} of {len(bad)} rows out of range",
        bool(total <= bound and not bad.any()),
    )
    return finding, float(bad.mean())


def fit(file: Path, f16: Path, adapter: Path, base: Path | None) -> Strength | None:
    """Fit over at most ``FITTED`` adapted tensors; None where the adapter's layout is not known here."""
    import numpy as np

    found, trained = _tensors(file), _tensors(f16)
    untrained = _safetensors(base) if base else {}
    updates = [update for update in _updates(adapter, f16) if update.name in found and update.name in trained]
    updates = updates[:: max(1, len(updates) // FITTED)]
    left, right = np.zeros((2, 2)), np.zeros(2)
    for update in updates:
        if _shape(found[update.name]) != _shape(trained[update.name]):
            continue
        change, exported = update.values(), _values(trained[update.name])
        if change.shape != exported.shape:
            return None
        if untrained:
            original = _permuted(untrained[update.hf_name], update.heads)
            parts = np.stack([change.ravel(), (exported - change - original).ravel()])
            difference = _values(found[update.name]) - original
        else:
            parts = np.stack([change.ravel(), np.zeros(change.size, change.dtype)])
            difference = _values(found[update.name]) - exported + change
        left += parts @ parts.T
        right += parts @ difference.ravel()
    if not left[0, 0]:
        return None
    factors = np.linalg.lstsq(left, right, rcond=None)[0]
    return Strength(float(factors[0]), float(factors[1]) if untrained else None, len(updates))


@dataclass(frozen=True)
class _Update:
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


def _updates(adapter: Path, f16: Path) -> Iterator[_Update]:
    """The adapter's updates under the names of the GGUF file; none for an unknown architecture."""
    import gguf

    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    scale = config["lora_alpha"] / (config["r"] ** 0.5 if config.get("use_rslora") else config["r"])
    fields = {name: field.contents() for name, field in open_gguf(f16).fields.items()}
    architecture = str(fields["general.architecture"])
    known = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}
    if architecture not in known:
        return
    names = gguf.get_tensor_name_map(known[architecture], int(fields[f"{architecture}.block_count"]))
    heads = int(fields[f"{architecture}.attention.head_count"])
    heads_kv = int(fields.get(f"{architecture}.attention.head_count_kv", heads))
    matrices = _safetensors(adapter, ADAPTED)
    for key, down in matrices.items():
        if not key.endswith(".lora_A.weight"):
            continue
        hf_name = key.removesuffix(".lora_A.weight").removeprefix("base_model.model.")
        name = names.get_name(hf_name)
        # llama.cpp keeps the query and key rows of Llama in the order of the original rotary embedding.
        kind = hf_name.rpartition(".")[2] if architecture == "llama" else ""
        permuted = {"q_proj": heads, "k_proj": heads_kv}.get(kind, 0)
        up = matrices[key.replace(".lora_A.", ".lora_B.")]
        if name is not None:
            yield _Update(f"{name}.weight", f"{hf_name}.weight", permuted, scale, down, up)


def _permuted(weights: Any, heads: int) -> Any:
    if not heads:
        return weights
    rows = weights.shape[0] // heads // 2
    return weights.reshape(heads, 2, rows, -1).swapaxes(1, 2).reshape(weights.shape)


def _safetensors(folder: Path, pattern: str = "model*.safetensors") -> dict[str, Any]:
    import numpy as np
    from safetensors import safe_open

    found: dict[str, Any] = {}
    for path in sorted(folder.glob(pattern)):
        with safe_open(path, framework="pt") as file:  # numpy has no bfloat16
            for name in file.keys():  # noqa: SIM118 - not a mapping
                found[name] = file.get_tensor(name).float().numpy().astype(np.float32)
    return found


def _tensors(path: Path) -> dict[str, Any]:
    return {tensor.name: tensor for tensor in open_gguf(path).tensors}


def _values(tensor: Any) -> Any:
    """A tensor's numbers as float32, shape (rows, columns)."""
    import numpy as np
    from gguf.quants import dequantize

    values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
    return values.reshape(1, -1) if values.ndim == 1 else values.reshape(-1, values.shape[-1])


def _shape(tensor: Any) -> Sequence[int]:
    return [int(size) for size in tensor.shape]


def _gguf(artifact: Artifact) -> Path:
    return next(artifact.path.glob("*.gguf"))


def _at(finding: Finding, stage: str) -> Finding:
    return Finding(finding.check, stage, finding.expected, finding.found, finding.ok)
