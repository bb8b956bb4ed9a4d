"""The scores of one criterion in two runs, paired by case, by the method that belongs to their kind."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from seatrial.evals import stats
from seatrial.evals.stats.percentiles import NOTHING, ONE_SIDED, ORDER
from seatrial.evals.stats.results import Comparison

Json = Mapping[str, Any]
CONFIDENCE = 0.95
CLOSE = 1e-9
OF_PERCENTILES = (ORDER, ONE_SIDED, NOTHING)
COUNTED, ONCE = "all counted", "measured once"


@dataclass(frozen=True)
class Paired:
    """Two values and their difference (after less before) over ``n`` pairs.

    ``low`` and ``high`` are None where nothing was sampled or no interval can be had; ``method`` says which.
    ``won`` and ``lost``: cases with a better or a worse score. ``graded``: a score says how right an answer
    is, so that a changed one is worth reading. ``broken``: the direction, where a value is not a number.
    """

    before: float | None
    after: float | None
    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None
    method: str
    n: int
    won: list[str]
    lost: list[str]
    graded: bool
    broken: str = "same"

    @property
    def interval(self) -> bool:
        """Whether there is an interval."""
        return self.low is not None and self.high is not None


def pair_up(before: Json, after: Json, pairs: Callable[[str], bool]) -> tuple[Paired | None, str]:
    """Pair two verdicts on one criterion over the scores that ``pairs`` allows; else None and the reason."""
    first, second = before["measured"], after["measured"]
    shared = [name for name in second["scores"] if name in first["scores"] and pairs(name)]
    if not shared and (first["scores"] or second["scores"]):
        return None, "no case was scored in both runs"
    earlier, later = ([each["scores"][name] for name in shared] for each in (first, second))
    gains = [_gain(a, b, after["better"]) for a, b in zip(earlier, later, strict=True)]
    won = [name for name, gain in zip(shared, gains, strict=True) if gain > CLOSE]
    lost = [name for name, gain in zip(shared, gains, strict=True) if gain < -CLOSE]
    scale = _scale(after)
    numbers = [(a, b) for a, b in zip(earlier, later, strict=True) if a is not None and b is not None]
    found = _compared(first, second, numbers, scale) if numbers else None
    difference: float | None
    whole = len(shared) == len(first["scores"]) == len(second["scores"])
    if found:
        values: tuple[float | None, float | None] = fmean(a for a, _ in numbers), fmean(b for _, b in numbers)
        difference, low, high, p_value = found.difference, found.low, found.high, found.p_value
        method, n = found.method, found.n
    else:
        values = first["value"], second["value"]
        old, new = values
        difference = None if old is None or new is None else new - old
        low = high = p_value = None
        method, n = _why_not(first, second, whole), len(shared)
    state = "same"
    if difference is None and values[0] != values[1]:
        state = "worse" if values[1] is None else "better"
    graded = None not in scale or set(earlier + later) <= {0, 1}
    return Paired(*values, difference, low, high, p_value, method, n, won, lost, graded, state), ""


def _gain(before: float | None, after: float | None, better: str) -> float:
    """By how much a score got better. What is no number, such as the time to an answer that never came, is
    the worst that there is."""
    if before is None or after is None:
        return 0.0 if before is after else -math.inf if after is None else math.inf
    return before - after if better == "lower" else after - before


def _scale(verdict: Json) -> tuple[float | None, float | None]:
    """The least and the most that a score can be, where that is known."""
    from seatrial.evals.metrics import METRICS

    if verdict["metric"] in METRICS:
        return METRICS[verdict["metric"]].estimator.scale
    return (0.0, 1.0) if verdict["unit"] == "share" else (None, None)


def _compared(
    first: Json,
    second: Json,
    numbers: Sequence[tuple[float, float]],
    scale: tuple[float | None, float | None],
) -> Comparison | None:
    """The paired comparison of means and shares; None where the value is something else."""
    methods = {first["method"], second["method"]}
    before, after = [a for a, _ in numbers], [b for _, b in numbers]
    if not (_is_mean(first) and _is_mean(second)) or methods & set(OF_PERCENTILES):
        return None
    if methods <= {COUNTED, ONCE}:
        difference = fmean(after) - fmean(before)
        return Comparison(difference, None, None, None, first["method"], len(numbers), sampled=False)
    if set(before + after) <= {0, 1}:
        return stats.compare_shares(after, before, CONFIDENCE)
    bottom, top = (-math.inf if scale[0] is None else scale[0], math.inf if scale[1] is None else scale[1])
    inside = bottom <= min(before + after) and max(before + after) <= top
    return stats.compare_means(after, before, CONFIDENCE, scale if inside else (None, None))


def _is_mean(measured: Json) -> bool:
    """Whether a value is the plain mean of its scores, which the record can be asked."""
    scores = [score for score in measured["scores"].values() if score is not None]
    if measured["value"] is None or not scores or len(scores) < len(measured["scores"]):
        return False
    return math.isclose(fmean(scores), measured["value"], rel_tol=CLOSE, abs_tol=CLOSE)


def _why_not(first: Json, second: Json, whole: bool) -> str:
    """Why two values have no paired interval."""
    if not first["scores"]:
        why = "no scores are on record, so no paired interval can be had"
    elif {first["method"], second["method"]} & set(OF_PERCENTILES):
        why = "a percentile, whose rank is not on record: no paired interval can be had"
    else:
        why = "not the mean of its scores, whose weights are not on record: no paired interval can be had"
    return why if whole else f"{why}; over different cases"
