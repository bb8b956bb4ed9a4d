"""Which stage is to blame for tensors that are not as they were trained, by what their errors tell.

A faulty merge leaves errors that know of the updates: they lie along them, follow them element by element, or
are a part of them. A conversion leaves right rows at wrong places; a quantisation, errors that know nothing;
a damaged file, errors in a few rows.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from seatrial.evals.fidelity.findings import Finding
from seatrial.evals.fidelity.parts import Update
from seatrial.evals.fidelity.stages import CONVERSION, FILE, MERGE, QUANTISATION
from seatrial.evals.fidelity.tensor_errors import Judged, TensorError, plain_rounding
from seatrial.evals.fidelity.tensors import shape, values

SEVERAL = 3  # wrong tensors up to which single tensors are at fault
MANY = 0.25  # share of wrong tensors from which the whole model is wrong, not some tensors
FEW_ROWS = 0.1  # share of a tensor's rows below which the damage is local, as in a damaged file
SPREAD = 0.2  # by how much squared errors follow squared updates beyond any rounding's, 0.95 to 1.14 times
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


@dataclass(frozen=True)
class Compared:
    """The tensors of a file beside the trained ones, our own quantisation of these and the adapter's updates,
    each by name; ``errors`` of those that could be compared."""

    found: Mapping[str, Any]
    trained: Mapping[str, Any]
    own: Mapping[str, Any]
    added: Mapping[str, Update]
    errors: Mapping[str, TensorError]

    def spread(self, name: str) -> float:
        """How much larger squared errors are where squared updates are, among neighbours: 1 where neither
        knows of the other, or where that cannot be said."""
        import numpy as np

        right, update = values(self.trained[name]), self.added[name].values()
        plain = plain_rounding(self.found[name], right, self.own.get(name))
        error = values(self.found[name]) - (right if plain is None else plain)
        if error.shape != update.shape or error.shape[1] % BLOCK or not np.isfinite(error).all():
            return 1.0
        errors, updates = (np.square(each, dtype=np.float64).reshape(-1, BLOCK) for each in (error, update))
        apart = float(np.sum(errors.mean(axis=1) * updates.mean(axis=1)))
        return float(np.sum((errors * updates).mean(axis=1))) / apart if apart else 1.0

    def share(self, name: str) -> float:
        """The multiple of its update that a tensor has too much (least squares)."""
        return _share(values(self.found[name]) - values(self.trained[name]), self.added[name].values())

    def along(self, name: str) -> bool:
        """Whether a tensor is the trained one but for a multiple of its update."""
        import numpy as np

        trained, update = values(self.trained[name]), self.added[name].values()
        error = values(self.found[name]) - trained
        multiple = _share(error, update)
        if multiple and multiple**2 * np.vdot(update, update) > MOST * np.sum(error**2):
            return True
        if abs(multiple) <= ALONG:
            return False
        return bool(np.linalg.norm(error - multiple * update) / np.linalg.norm(trained) < LEFT)

    def cut(self, name: str) -> bool:
        """Whether what is wrong with a tensor beyond its plain rounding is a part of its update."""
        beyond = self.errors[name].beyond_rounding
        return beyond > 0 and CUT < abs(self.errors[name].along) / beyond < 1 / CUT

    def elsewhere(self, name: str) -> bool:
        """Whether a tensor has the trained one's rows at other places, its columns, or those as rows; or
        another tensor's rows."""
        import numpy as np
        from gguf.quants import dequantize

        found, right = values(self.found[name]), values(self.trained[name])
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
        for other, tensor in self.trained.items():
            alike = shape(tensor) == shape(self.trained[name]) and len(tensor.data) == len(found)
            if other != name and alike:
                theirs = dequantize(tensor.data[::step], tensor.tensor_type).astype(np.float32)
                if np.median(np.sum(some * _directions(theirs), axis=1)) > SAME:
                    return True
        return False


def blamed(judged: Mapping[str, Judged], compared: Compared) -> list[Finding]:
    """The finding on each tensor, with the stage that is to blame.

    Where much of the file is wrong, that is the quantisation, unless errors follow the updates element by
    element, as they do where those were pruned, clipped or taken from another adapter; where several tensors
    with an update are wrong and no other, the merge if their errors follow their updates, lie along them, or
    are larger than those of any rounding, and else the quantisation, which rounds the same tensors. A single
    tensor whose error lies along its update is the merge's, too; a few rows are a damaged file's, the rest is
    the conversion's, and so is, in any number, what lies at other places (``ELSEWHERE``). What no tensor
    shows by itself may show in all layers of a module together (``MODULE``), and is the merge's.
    """
    judged, errors = dict(judged), compared.errors
    wrong = {name for name, each in judged.items() if not each.finding.ok}
    for name in sorted(wrong):
        if len(errors[name].size) == 1:  # no quantisation rounds norms, and LoRA leaves them
            wrong.remove(name)
        elif errors[name].share > COARSEST and compared.elsewhere(name):
            finding = judged[name].finding
            judged[name] = replace(judged[name], finding=replace(finding, found=finding.found + ELSEWHERE))
            wrong.remove(name)
    updated = wrong & compared.added.keys()
    if len(wrong) > max(1, MANY * len(judged)):
        return _all_by(MERGE if _follow(updated, compared) else QUANTISATION, wrong, judged)
    if len(wrong) > SEVERAL and wrong == updated:
        along = statistics.median(abs(compared.share(name)) for name in wrong) > NOISE
        beyond = statistics.median(errors[name].share for name in wrong) > COARSEST
        merge = along or beyond or _follow(updated, compared)
        return _all_by(MERGE if merge else QUANTISATION, wrong, judged)
    merged = {name for name in updated if compared.cut(name) or compared.along(name)}
    for name, told in _modules_off({n: errors[n] for n, each in judged.items() if each.finding.ok}).items():
        judged[name] = Judged(replace(judged[name].finding, found=told, ok=False), 0.0)
        merged.add(name)
    return [
        replace(
            each.finding, stage=MERGE if name in merged else FILE if 0 < each.rows < FEW_ROWS else CONVERSION
        )
        for name, each in judged.items()
    ]


def _all_by(stage: str, wrong: Iterable[str], judged: Mapping[str, Judged]) -> list[Finding]:
    """All that is ``wrong`` put down to one stage, and what was sorted out before to the conversion."""
    return [
        replace(each.finding, stage=stage if name in wrong else CONVERSION) for name, each in judged.items()
    ]


def _follow(updated: Iterable[str], compared: Compared) -> bool:
    """Whether errors follow their updates element by element, in a sample of the wrong tensors."""
    names = sorted(updated)
    spreads = [compared.spread(name) for name in names[:: max(1, len(names) // SAMPLE)]]
    return bool(spreads) and abs(statistics.median(spreads) - 1) > SPREAD


def _modules_off(right: Mapping[str, TensorError]) -> dict[str, str]:
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


def _share(error: Any, update: Any) -> float:
    """The multiple of an update that an error is (least squares): -1 where the update is lacking, 1 where it
    was added twice, 0 where that cannot be said."""
    import numpy as np

    square = float(np.vdot(update, update))
    if error.shape != update.shape or not square or not np.isfinite(error).all():
        return 0.0
    return float(np.vdot(error, update)) / square


def _directions(rows: Any) -> Any:
    """Rows of length 1; zeros for those that have none."""
    import numpy as np

    sizes = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(np.isfinite(sizes) & (sizes > 0), rows / np.where(sizes > 0, sizes, 1), 0)
