"""How far a tensor of the file is from the trained one, and whether its quantisation allows that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from seatrial.evals.fidelity import yardstick
from seatrial.evals.fidelity.findings import Finding
from seatrial.evals.fidelity.parts import Update
from seatrial.evals.fidelity.stages import CONVERSION
from seatrial.evals.fidelity.tensors import values


@dataclass(frozen=True)
class TensorError:
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
    def beyond_rounding(self) -> float:
        """The squared error of the tensor that plain rounding would not have made; 0 where there is none."""
        import numpy as np

        if self.allowed is None:
            return 0.0
        return float(np.sum(np.square(self.error)) - np.sum(np.square(self.allowed)))


@dataclass(frozen=True)
class Judged:
    """The finding on one tensor, and the share of its rows that are wrong."""

    finding: Finding
    rows: float


def error_of(tensor: Any, trained: Any, own: Any, added: Update | None) -> TensorError:
    """The errors of one GGUF tensor; ``own``: the same of our own quantisation, ``added``: its update."""
    import numpy as np

    kind = tensor.tensor_type
    same = own is not None and own.tensor_type == kind
    if same and np.array_equal(own.data, tensor.data):
        return TensorError(kind.name, None)
    right = values(trained)
    plain, seen = plain_rounding(tensor, right, own), values(tensor)
    error, sums = seen - right, {}
    if added and plain is not None and (update := added.values()).shape == seen.shape:
        beyond = seen - plain
        sums = {"along": np.vdot(beyond, update), "update": np.vdot(update, update)}
        sums |= {"beyond": np.vdot(beyond, beyond), "weights": beyond.size}
    return TensorError(
        kind.name,
        np.linalg.norm(right, axis=1) + 1e-12,
        np.linalg.norm(error, axis=1),
        None if plain is None else np.linalg.norm(plain - right, axis=1),
        abs(error).max(axis=1) / (abs(right).max(axis=1) + 1e-12) if kind in yardstick.WHOLE else 0.0,
        **sums,
    )


def plain_rounding(tensor: Any, right: Any, own: Any) -> Any:
    """What is ``right``, rounded to the type of ``tensor``; None where llama.cpp cannot."""
    same = own is not None and own.tensor_type == tensor.tensor_type
    return values(own) if same else yardstick.rounded(right, tensor.tensor_type)


def medians_of(errors: Iterable[TensorError]) -> dict[str, float]:
    """The share that half of the tensors of a type lose at most, for types without a plain rounding."""
    import numpy as np

    shares: dict[str, list[float]] = {}
    for each in errors:
        if each.error is not None and each.allowed is None:
            shares.setdefault(each.kind, []).append(each.share)
    return {kind: float(np.median(found)) for kind, found in shares.items()}


def judge(name: str, error: TensorError, imatrix: bool, medians: Mapping[str, float]) -> Judged:
    """Whether a tensor is within what plain rounding of its type loses, whole and in each row."""
    import numpy as np

    if error.error is None:
        return Judged(Finding(name, CONVERSION, "our own quantisation", "the same bytes", True), 0.0)
    if not np.isfinite(error.error).all():
        return Judged(Finding(name, CONVERSION, "finite numbers", "infinite or not numbers", False), 1.0)
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
    return Judged(finding, float(bad.mean()))
