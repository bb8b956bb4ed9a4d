"""The tensors of a GGUF file against our own export of the trained model, and against the adapter.

Two questions: is every tensor as close to the trained one as its quantisation allows (``yardstick``), and was
the adapter merged once, into the weights that it was trained on (``strength``)? One step answers both, in a
process of its own: ``python -m seatrial.evals.fidelity.weights``.
"""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from seatrial.evals.fidelity import yardstick
from seatrial.evals.fidelity.findings import Finding
from seatrial.evals.fidelity.header import EMBEDDINGS, HEAD, IMATRIX
from seatrial.evals.fidelity.parts import Update, updates
from seatrial.evals.fidelity.stages import CONVERSION, FILE, MERGE, QUANTISATION
from seatrial.evals.fidelity.strength import Strength, fit
from seatrial.evals.fidelity.tensors import gguf_of, shape, tensors, values
from seatrial.evals.provenance import decided_by
from seatrial.training.base_model import held_as
from seatrial.training.gguf_file import open_gguf
from seatrial.training.memory import peaks
from seatrial.training.process import JsonProcess, serve
from seatrial.training.progress import Progress
from seatrial.training.store import Artifact, Step

SEVERAL = 3  # wrong tensors up to which single tensors are at fault
MANY = 0.25  # share of wrong tensors from which the whole model is wrong, not some tensors
FEW_ROWS = 0.1  # share of a tensor's rows below which the damage is local, as in a damaged file
SPREAD = (
    0.2  # by how much squared errors follow squared updates that no rounding made: that gives 0.95 to 1.14
)
SAMPLE = 16  # tensors, evenly spread, that are asked whether their errors follow their updates
BLOCK = 32  # neighbours in a row, which a quantisation rounds alike: among them its errors follow nothing
NOISE = 0.1  # median multiple of their updates up to which errors lie across them, as those of rounding do
ELSEWHERE = "; it has trained rows or columns, at other places"
SAME = 0.9  # cosine of two rows that are one row, rounded
COARSEST = 0.7  # relative error beyond any rounding: one bit a weight leaves √(1 - 2/π) = 0.6 of normal ones
ALONG = 0.5  # multiple of its adapter's update from which a tensor's error is the merge's ...
LEFT = 0.25  # ... if less than this share of the tensor is left of it, as more is of a zeroed tensor
MOST = 0.3  # share of a tensor's squared error along its update from which it is the merge's, too
# What a cut (fewer ranks, dropped elements) takes from an update is orthogonal to the rest of it, so that its
# product with the update is its square. Errors that know nothing of the update have next to none of that, a
# tensor that was scaled a multiple: it may be so much less, and as many times more.
CUT = 0.5
# Multiple of the updates of one kind of module, pooled over the layers, that may be lacking or too much where
# each tensor by itself is within its rounding; and the standard errors that are granted on top.
MODULE, SURE = 0.1, 5
LAYER = re.compile(r"^blk\.\d+\.")
PACKAGES = (
    "gguf",
    "llama-cpp-python",
    "numpy",
    "safetensors",
    "torch",
    "transformers",
    "peft",
    "bitsandbytes",
)
SILENCE = 1800.0  # seconds without a sign of life after which the process is taken for hung


def of_file(
    file: Path,
    file_sha256: str,
    f16: Artifact,
    quantised: Artifact | None,
    adapter: Artifact | None,
    base: Artifact | None,
    given: bool = False,
) -> Step:
    """The step whose ``weights.json`` holds ``findings`` by tensor, the adapter's ``strength`` (or null), and
    in ``unread`` why there are none; ``merge`` is the adapter's strength in ``f16``, where the merged model
    was ``given`` beside the adapter and its base."""
    inputs = {"file": file_sha256, "f16": f16.digest}
    for name, artifact in (("quantised", quantised), ("adapter", adapter), ("base", base)):
        if artifact:
            inputs[name] = artifact.digest
    held = held_as(adapter) if adapter and base else None

    def build(out: Path, progress: Progress) -> Mapping[str, Any]:
        request: dict[str, Any] = {"file": str(file), "f16": str(gguf_of(f16)), "out": str(out)}
        request |= {"quantised": str(gguf_of(quantised)) if quantised else None, "given": given, "held": held}
        request |= {
            "adapter": str(adapter.path) if adapter else None,
            "base": str(base.path) if base else None,
        }
        request["same"] = any(file_sha256 in _digests(own) for own in (f16, quantised) if own)
        log = out.parent.parent / "logs" / f"weights-{out.name}.log"
        with JsonProcess("seatrial.evals.fidelity.weights", log, "the weights of the file") as process:
            facts: Mapping[str, Any] = process.call(request, SILENCE, lambda event: progress.update(**event))
        return facts

    params = decided_by(__name__, packages=PACKAGES) | {"held": held, "given": given}
    return Step("weights", 3, params, inputs, build, title=f"weights of {file.name}")


def _digests(artifact: Artifact) -> set[str]:
    return {entry["sha256"] for entry in artifact.manifest["files"].values()}


# --- the process ----------------------------------------------------------------------------------------
def handle(request: dict[str, Any], send: Callable[..., None]) -> dict[str, Any]:
    """Compare the files of a request; writes ``weights.json``. One tensor at a time is held."""
    findings: list[Finding] = []
    found: dict[str, Any] = {"strength": None, "merge": None, "unread": ""}
    file, f16 = Path(request["file"]), Path(request["f16"])
    own, adapter, base = (_path(request.get(name)) for name in ("quantised", "adapter", "base"))
    try:
        if request["same"]:
            findings = [Finding("all tensors", FILE, "our own export", "the same file, byte for byte", True)]
        else:
            added = {each.name: each for each in updates(adapter, f16)} if adapter else {}
            findings = compare(file, f16, own, added)
        if adapter:
            moved = {finding.check for finding in findings if finding.found.endswith(ELSEWHERE)}
            found["strength"] = fit(file, f16, own, adapter, base, request["held"], moved)
        if adapter and base and request["given"]:
            found["merge"] = fit(f16, f16, None, adapter, base, request["held"])
    except NotImplementedError as error:  # a type that the gguf package cannot unpack
        findings, found["unread"] = [], str(error)
    told = {name: asdict(value) if isinstance(value, Strength) else value for name, value in found.items()}
    told["findings"] = [asdict(finding) for finding in findings]
    Path(request["out"], "weights.json").write_text(json.dumps(told), encoding="utf-8")
    return {"tensors": len(findings)} | peaks()


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def compare(file: Path, f16: Path, quantised: Path | None, added: Mapping[str, Update]) -> list[Finding]:
    """One finding a tensor. Tensors of another shape are left to :mod:`seatrial.evals.fidelity.metadata`.

    Where much of the file is wrong, the quantisation is blamed, unless errors follow the updates element by
    element, as they do where those were pruned, clipped or taken from another adapter; where several tensors
    with an update (``added``) are and no other, the merge if their errors follow their updates, lie along
    them, or are larger than those of any rounding, and else the quantisation, which rounds the same tensors.
    A single tensor whose error lies along its update is the merge's, too; a few rows are a damaged file's,
    the rest is the conversion's, and so is, in any number, what lies at other places (``ELSEWHERE``). What no
    tensor shows by itself may show in all layers of a module together (``MODULE``), and is the merge's. Where
    the adapter's strength is wrong as well, the chain puts all of them down to the merge.
    """
    found, trained, own = tensors(file), tensors(f16), tensors(quantised) if quantised else {}
    if HEAD in found and HEAD not in trained:  # written out, where ours are tied
        for each in (trained, own):
            each |= {HEAD: each[EMBEDDINGS]} if EMBEDDINGS in each else {}
    shared = [name for name in found if name in trained and shape(found[name]) == shape(trained[name])]
    if not shared:
        return [Finding("all tensors", CONVERSION, f"{len(trained)} tensors", "none of them", False)]
    errors = {n: _error(found[n], trained[n], own.get(n), added.get(n)) for n in shared}
    named = any(key.startswith(IMATRIX) for key in open_gguf(file).fields)
    medians = _medians(errors.values())
    judged = {name: _judged(name, error, named, medians) for name, error in errors.items()}
    wrong = {name for name, (finding, _) in judged.items() if not finding.ok}
    for name in sorted(wrong):
        if len(errors[name].size) == 1:  # no quantisation rounds norms, and LoRA leaves them
            wrong.remove(name)
        elif errors[name].share > COARSEST and _elsewhere(name, values(found[name]), trained):
            finding, rows = judged[name]
            judged[name] = replace(finding, found=finding.found + ELSEWHERE), rows
            wrong.remove(name)

    def blame(stage: str) -> list[Finding]:
        return [
            replace(each, stage=stage if name in wrong else CONVERSION) for name, (each, _) in judged.items()
        ]

    def follow() -> bool:
        names = sorted(wrong & added.keys())[:: max(1, len(wrong & added.keys()) // SAMPLE)]
        spreads = [_spread(found[n], trained[n], own.get(n), added[n].values()) for n in names]
        return bool(spreads) and abs(statistics.median(spreads) - 1) > SPREAD

    if len(wrong) > max(1, MANY * len(judged)):
        return blame(MERGE if follow() else QUANTISATION)
    if len(wrong) > SEVERAL and wrong <= added.keys():
        shares = [_share(values(found[name]), values(trained[name]), added[name].values()) for name in wrong]
        along = statistics.median(map(abs, shares)) > NOISE
        beyond = statistics.median(errors[name].share for name in wrong) > COARSEST
        return blame(MERGE if along or beyond or follow() else QUANTISATION)
    merged = {
        name
        for name in wrong & added.keys()
        if errors[name].cut or _along(values(found[name]), values(trained[name]), added[name].values())
    }
    for name, told in _modules_off({n: errors[n] for n, (each, _) in judged.items() if each.ok}).items():
        judged[name] = replace(judged[name][0], found=told, ok=False), 0.0
        merged.add(name)
    return [
        replace(finding, stage=MERGE if name in merged else FILE if 0 < rows < FEW_ROWS else CONVERSION)
        for name, (finding, rows) in judged.items()
    ]


@dataclass(frozen=True)
class _Error:
    """How far each row of a tensor is from the trained one (norms), and how far plain rounding would be.

    ``error`` is None for a tensor of the same bytes as our own, ``allowed`` where there is no plain rounding.
    ``most`` is the largest error of one weight of a row, relative to the row's largest, where a type rounds
    each weight by itself. ``along``: what the tensor has beyond the plain rounding, times its update;
    ``update`` and ``beyond`` are the squares of these two, ``weights`` their number.
    """

    kind: str
    size: Any
    error: Any = None
    allowed: Any = None
    most: Any = 0.0
    along: float = 0.0
    update: float = 0.0
    beyond: float = 0.0
    weights: int = 0

    @property
    def share(self) -> float:
        """The error of the whole tensor, relative to the tensor."""
        import numpy as np

        return float(np.linalg.norm(self.error) / np.linalg.norm(self.size))

    @property
    def cut(self) -> bool:
        """Whether what is wrong beyond the plain rounding is a part of the update."""
        import numpy as np

        if self.allowed is None:
            return False
        more = float(np.sum(np.square(self.error)) - np.sum(np.square(self.allowed)))
        return more > 0 and CUT < abs(self.along) / more < 1 / CUT


def _error(tensor: Any, trained: Any, own: Any, added: Update | None) -> _Error:
    import numpy as np

    kind = tensor.tensor_type
    same = own is not None and own.tensor_type == kind
    if same and np.array_equal(own.data, tensor.data):
        return _Error(kind.name, None)
    right = values(trained)
    plain, seen = _plain(tensor, right, own), values(tensor)
    error, sums = seen - right, {}
    if added and plain is not None and (update := added.values()).shape == seen.shape:
        beyond = seen - plain
        sums = {"along": np.vdot(beyond, update), "update": np.vdot(update, update)}
        sums |= {"beyond": np.vdot(beyond, beyond), "weights": beyond.size}
    return _Error(
        kind.name,
        np.linalg.norm(right, axis=1) + 1e-12,
        np.linalg.norm(error, axis=1),
        None if plain is None else np.linalg.norm(plain - right, axis=1),
        abs(error).max(axis=1) / (abs(right).max(axis=1) + 1e-12) if kind in yardstick.WHOLE else 0.0,
        **sums,
    )


def _plain(tensor: Any, right: Any, own: Any) -> Any:
    """What is ``right``, rounded to the type of ``tensor``; None where llama.cpp cannot."""
    same = own is not None and own.tensor_type == tensor.tensor_type
    return values(own) if same else yardstick.rounded(right, tensor.tensor_type)


def _medians(errors: Iterable[_Error]) -> dict[str, float]:
    """The share that half of the tensors of a type lose at most, for types without a plain rounding."""
    import numpy as np

    shares: dict[str, list[float]] = {}
    for each in errors:
        if each.error is not None and each.allowed is None:
            shares.setdefault(each.kind, []).append(each.share)
    return {kind: float(np.median(found)) for kind, found in shares.items()}


def _judged(name: str, error: _Error, imatrix: bool, medians: Mapping[str, float]) -> tuple[Finding, float]:
    """The finding on one tensor, and the share of its rows that are wrong."""
    import numpy as np

    if error.error is None:
        return Finding(name, CONVERSION, "our own quantisation", "the same bytes", True), 0.0
    if not np.isfinite(error.error).all():
        return Finding(name, CONVERSION, "finite numbers", "infinite or not numbers", False), 1.0
    slack, by = yardstick.SLACK, "an error"
    if error.allowed is not None:
        allowed = error.allowed
        if imatrix:
            slack, by = yardstick.IMATRIX_SLACK, "(rounded by an importance matrix) an error"
    else:
        allowed = medians[error.kind] * error.size
        slack, by = yardstick.PEERS_SLACK, f"({error.kind} has no plain rounding: by its peers) an error"
    bound = slack * np.linalg.norm(allowed) + yardstick.ROUNDING * np.linalg.norm(error.size)
    row_slack = max(slack, yardstick.ROW_SLACK)
    worst = row_slack * np.maximum(allowed, np.median(allowed)) + 10 * yardstick.ROUNDING * error.size
    bad = (error.error > worst) | (error.most > yardstick.ELEMENT)
    whole = np.linalg.norm(error.size)
    finding = Finding(
        name,
        CONVERSION,
        f"{by} of at most {bound / whole:.2%}, in no row much more",
        f"{error.share:.2%}, {int(bad.sum())} of {len(bad)} rows out of range",
        bool(np.linalg.norm(error.error) <= bound and not bad.any()),
    )
    return finding, float(bad.mean())


def _modules_off(right: Mapping[str, _Error]) -> dict[str, str]:
    """What is wrong with tensors that are ``right`` one by one: the module of which they are, such as all
    output projections, has its update too weak or too strong in all layers together."""
    modules: dict[str, list[str]] = {}
    for name in right:
        modules.setdefault(LAYER.sub("", name), []).append(name)
    told: dict[str, str] = {}
    for module, names in modules.items():
        along, update, beyond, weights = (
            sum(getattr(right[name], of) for name in names) for of in ("along", "update", "beyond", "weights")
        )
        if not update:  # all of them are our own bytes, or training changed nothing
            continue
        multiple = along / update
        if abs(multiple) > MODULE + SURE * math.sqrt(beyond / weights / update):
            said = f"the updates of {module} are in it {1 + multiple:.2f} times"
            told |= {name: said for name in names if right[name].update}
    return told


def _share(found: Any, trained: Any, update: Any) -> float:
    """The multiple of its update that a tensor has too much (least squares): -1 where that is lacking, 1
    where it was added twice, 0 where that cannot be said."""
    import numpy as np

    error, square = found - trained, float(np.vdot(update, update))
    if error.shape != update.shape or not square or not np.isfinite(error).all():
        return 0.0
    return float(np.vdot(error, update)) / square


def _elsewhere(name: str, found: Any, trained: Mapping[str, Any]) -> bool:
    """Whether a tensor has the trained one's rows at other places, its columns, or those as rows; or another
    tensor's rows."""
    import numpy as np
    from gguf.quants import dequantize

    right = values(trained[name])
    for rows, others in ((found, right), (found.T, right.T), (found, right.T)):
        places = np.arange(0, len(rows), max(1, len(rows) // SAMPLE))
        if rows.shape[1] == others.shape[1]:
            cosines = _directions(rows[places]) @ _directions(others).T
            inside = places[places < len(others)]
            cosines[np.arange(len(inside)), inside] = 0  # its own place
            if np.median(cosines.max(axis=1)) > SAME:
                return True
    step = max(1, len(found) // SAMPLE)
    some = _directions(found[::step])
    for other, tensor in trained.items():
        if other != name and shape(tensor) == shape(trained[name]) and len(tensor.data) == len(found):
            theirs = dequantize(tensor.data[::step], tensor.tensor_type).astype(np.float32)
            if np.median(np.sum(some * _directions(theirs), axis=1)) > SAME:
                return True
    return False


def _directions(rows: Any) -> Any:
    """Rows of length 1; zeros for those that have none."""
    import numpy as np

    sizes = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(np.isfinite(sizes) & (sizes > 0), rows / np.where(sizes > 0, sizes, 1), 0)


def _spread(tensor: Any, trained: Any, own: Any, update: Any) -> float:
    """How much larger squared errors are where squared updates are, among neighbours: 1 where neither knows
    of the other, or where that cannot be said."""
    import numpy as np

    right = values(trained)
    plain = _plain(tensor, right, own)
    error = values(tensor) - (right if plain is None else plain)
    if error.shape != update.shape or error.shape[1] % BLOCK or not np.isfinite(error).all():
        return 1.0
    errors, updates = (np.square(each, dtype=np.float64).reshape(-1, BLOCK) for each in (error, update))
    apart = float(np.sum(errors.mean(axis=1) * updates.mean(axis=1)))
    return float(np.sum((errors * updates).mean(axis=1))) / apart if apart else 1.0


def _along(found: Any, trained: Any, update: Any) -> bool:
    """Whether a tensor is the trained one but for a multiple of its update."""
    import numpy as np

    multiple = _share(found, trained, update)
    if multiple and multiple**2 * np.vdot(update, update) > MOST * np.sum((found - trained) ** 2):
        return True
    if abs(multiple) <= ALONG:
        return False
    left = np.linalg.norm(found - trained - multiple * update) / np.linalg.norm(trained)
    return bool(left < LEFT)


if __name__ == "__main__":
    serve(handle)
