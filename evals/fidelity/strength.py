"""How strongly the adapter is in a GGUF file, and on which base.

With D the adapter's change and R the rounding of the base in training (NF4 minus 16-bit), file minus 16-bit
base is fitted as c·D + r·R by least squares over changed tensors. Both are 1 in a right file; c = 0: the
adapter is missing, c = 2: merged twice, r = 0: merged into the 16-bit base, on which nobody trained it. Where
the adapter brought whole tensors of its own (``modules_to_save``, trained tokens), those are fitted apart: a
merge script that knows LoRA only leaves them out.

Quantisation shrinks or stretches weights by a few percent, so the yardstick is not 1 but what the same fit
says of the trained tensors rounded to the file's types; and over millions of weights its noise is known from
the residual, so that an adapter a tenth too strong is told from rounding. How much one quantiser shrinks more
than another one of the same type is bounded by the square that it loses: least squares would shrink by that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seatrial.evals.fidelity.header import EMBEDDINGS, HEAD
from seatrial.evals.fidelity.parts import Parts, by_matrices, by_merge
from seatrial.evals.fidelity.tensors import shape, tensors, values
from seatrial.evals.fidelity.yardstick import ROUNDING, rounded

FITTED = 70  # adapted tensors that are fitted: a third of a small model's, evenly spread
ALLOWED = 0.02  # how far a factor may be off, besides the share of the weights' square that rounding takes
ERRORS = 5  # ... and besides this many of its standard errors
UNKNOWN = 0.1  # standard error from which a factor is not known: a base that training did not round has no R
LAYOUT = 0.9  # relative difference of an export from our merge and from the base: its rows lie otherwise
SLIGHT = 0.02  # size of a rounding, relative to the weights, below which it is no matter: 8 bits lose 0.6 %
LITTLE = 0.25  # share of a base's rounding below which it was merged into the base without it
NEAR = 0.05  # of a factor from the number that it is called
AGAIN = 0.01  # relative difference of a merged model that 16 bits (0.002 at most) do not explain
ROWS = 4096  # that are fitted at a time
WHOLE_TENSORS = (EMBEDDINGS, HEAD)  # that adapters bring whole


@dataclass(frozen=True)
class Strength:
    """The factors of the module's formula, what each should be, and its standard error; ``rounding`` is None
    where the base's 16-bit weights are not known here, or were trained on as they are. ``tensors`` says over
    how many adapted tensors they were fitted; ``explained``, how much of the squared difference from our own
    rounding is what wrong factors make (0 to 1). ``whole`` is the adapter's factor in embeddings and head,
    where it brought those beside its layers. ``apart``: the difference from our own rounding, relative to the
    weights; ``size``: that of the adapter's change."""

    adapter: float
    rounding: float | None
    tensors: int
    expected: tuple[float, float] = (1.0, 1.0)
    errors: tuple[float, float] = (0.0, 0.0)
    allowed: float = ALLOWED
    explained: float = 1.0
    whole: float | None = None
    whole_expected: float = 1.0
    whole_error: float = 0.0
    apart: float = 0.0
    size: float = 0.0

    @property
    def off(self) -> tuple[float, ...]:
        """How far each known factor is from what it should be."""
        known = [self.adapter, *([] if self.rounding is None else [self.rounding])]
        found = [abs(one - right) for one, right in zip(known, self.expected, strict=False)]
        return (*found, *([] if self.whole is None else [abs(self.whole - self.whole_expected)]))

    @property
    def right(self) -> bool:
        """Whether the adapter is in the file once, on the weights that it was trained on."""
        errors = [self.errors[0], *([] if self.rounding is None else [self.errors[1]]), self.whole_error]
        pairs = zip(self.off, errors, strict=False)
        return all(off <= self.allowed + ERRORS * error for off, error in pairs)


def mistake(found: Strength, merge: bool = False) -> str:
    """What went wrong in a merge, in words; "" where nothing did.

    ``merge``: the factors are those of a merged model in 16 bits, where what is left over was not rounded by
    its quantisation.
    """
    room = found.allowed + ERRORS * found.errors[0]
    told = []
    if abs(found.adapter - found.expected[0]) > room:
        told.append(f"the adapter is {_times(found.adapter - found.expected[0] + 1)} in it")
    if found.rounding is not None:
        room = found.allowed + ERRORS * found.errors[1]
        if abs(found.rounding - found.expected[1]) > room:
            share = found.rounding - found.expected[1] + 1
            told.append(
                "it was merged into the base as it was published, not as it was rounded for the training"
                if abs(share) < LITTLE
                else f"its base has {share:.2f} of the rounding that the training had"
            )
    if found.whole is not None:
        room = found.allowed + ERRORS * found.whole_error
        if abs(found.whole - found.whole_expected) > room:
            times = _times(found.whole - found.whole_expected + 1)
            told.append(f"what was trained of embeddings and head is {times} in it")
    if not told and merge and found.apart > AGAIN:
        told.append(
            f"its weights are {found.apart:.1%} away from the exact merge, along nothing, as they are when a "
            "merge was made in a quantised model, which rounds the sum once more"
        )
    return "; ".join(told)


def _times(factor: float) -> str:
    near = {0: "not", 1: "once", 2: "twice"}
    return next((word for one, word in near.items() if abs(factor - one) < NEAR), f"{factor:.2f} times")


def fit(
    file: Path,
    f16: Path,
    quantised: Path | None,
    adapter: Path,
    base: Path | None,
    held: Mapping[str, Any] | None = None,
    moved: Collection[str] = (),
) -> Strength | None:
    """Fit over at most ``FITTED`` changed tensors; None where the model's layout is not known here.

    Args:
        f16: our own export of the trained model; ``quantised``: our own quantisation of it, if there is one.
        base: folder with the weights that training rounded, if known, and how it ``held`` them; then the
            trained tensors are those of our own merge, whoever made ``f16``.
        moved: tensors whose rows the conversion put at other places, which say nothing of the merge.
    """
    found, trained = tensors(file), tensors(f16)
    own = tensors(quantised) if quantised else {}
    exact = by_merge(adapter, f16, base, held) if base and held else None
    parts = exact if exact is not None else by_matrices(adapter, f16, trained, base)
    shared = {name for name in found if name in trained and shape(found[name]) == shape(trained[name])}
    there = {name: make for name, make in parts.items() if name in shared.difference(moved)}
    layers = {name: make for name, make in there.items() if name not in WHOLE_TENSORS}
    fitted = dict(list(layers.items())[:: max(1, len(layers) // FITTED)])
    whole = {name: make for name, make in there.items() if name in WHOLE_TENSORS}
    sums = _Sums.over(fitted, found, trained, own)
    beside = _Sums.over(whole, found, trained, own)
    if sums is None or beside is None:
        return None
    if not sums.normal[0, 0]:  # nothing but whole tensors was trained
        sums, beside = beside, sums
    if not sums.normal[0, 0]:
        return None
    result = sums.strength()
    if not beside.normal[0, 0]:
        return result
    other = beside.strength()
    return replace(
        result,
        whole=other.adapter,
        whole_expected=other.expected[0],
        whole_error=other.errors[0],
        allowed=max(result.allowed, other.allowed),
    )


@dataclass
class _Sums:
    """The normal equations of both fits, added up tensor by tensor: of the file and of what it should be."""

    normal: Any
    sides: Any
    square: float = 0.0
    count: int = 0
    fitted: int = 0
    lost: float = 0.0
    whole: float = 0.0
    apart: float = 0.0

    @classmethod
    def over(
        cls,
        parts: Mapping[str, Callable[[], Parts | None]],
        found: Mapping[str, Any],
        trained: Mapping[str, Any],
        own: Mapping[str, Any],
    ) -> _Sums | None:
        """None where a tensor is laid out otherwise than it is known here."""
        import numpy as np

        sums = cls(np.zeros((2, 2)), np.zeros((2, 2)))
        for name, make in parts.items():
            made, exported = make(), values(trained[name])
            if made is None or made.change.shape != exported.shape:
                return None
            right, seen = made.trained, values(found[name])
            size = np.linalg.norm(right)
            apart, bare = (
                float(np.linalg.norm(exported - each) / size) if size else 0.0
                for each in (right, made.before)
            )
            if min(apart, bare) > LAYOUT:
                return None
            plain = _as_quantised(found[name], right, own.get(name) if apart < ROUNDING else None)
            for start in range(0, len(right), ROWS):
                rows = slice(start, start + ROWS)
                sums.add(made, rows, seen, right, plain)
            sums.fitted += 1
        return sums

    def add(self, made: Parts, rows: slice, seen: Any, right: Any, plain: Any) -> None:
        import numpy as np

        def flat(tensor: Any) -> Any:
            return tensor[rows].ravel().astype(np.float64)

        should = right if plain is None else plain
        parts = np.stack([flat(made.change), flat(made.rounding)])
        there, due = flat(seen - made.before), flat(should - made.before)
        self.lost += float(np.sum((flat(seen if plain is None else plain) - flat(right)) ** 2))
        self.apart += float(np.sum((there - due) ** 2))
        self.whole += float(np.sum(flat(right) ** 2))
        self.normal += parts @ parts.T
        self.sides += np.stack([parts @ there, parts @ due])
        self.square, self.count = self.square + float(there @ there), self.count + there.size

    def strength(self) -> Strength:
        import numpy as np

        rounded = self.normal[1, 1] > SLIGHT**2 * self.whole
        normal = self.normal if rounded else np.diag([self.normal[0, 0], 0.0])
        solved = _solved(normal, self.sides, self.square, self.count, self.fitted)
        known = [solved.adapter, solved.expected[1] if solved.rounding is None else solved.rounding]
        off = np.array(known) - solved.expected
        explained = min(1.0, float(off @ self.normal @ off) / self.apart) if self.apart else 0.0
        return replace(
            solved,
            allowed=ALLOWED + self.lost / self.whole,
            explained=explained,
            apart=(self.apart / self.whole) ** 0.5,
            size=float((self.normal[0, 0] / self.whole) ** 0.5),
        )


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
