"""How few cases are too few, where a criterion does not say so itself by ``least_cases``.

The rule asks, and the estimator answers: under a sure rule, the fewest at which the best scores that there
can be would pass; else the fewest that say anything about the model. Below it nothing is evaluated.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from seatrial.evals import stats
from seatrial.evals.criterion import Criterion
from seatrial.evals.stats.percentiles import fewest_with_bounds

FEW = 5
"""Fewer answers by the toss of a coin are all right more often than once in 20: 0.5 to the power of 4."""


@dataclass(frozen=True)
class Least:
    """A number of cases, and what would be wrong with fewer."""

    cases: int
    because: str


COIN = Least(FEW, "the toss of a coin would have fewer all right more often than once in 20")
FEWER_HANG = Least(FEW, "a figure from fewer hangs on single cases")


def rank_of(criterion: Criterion) -> float:
    """The percentile that a criterion asks for; the median, if it does not say."""
    return float(criterion.settings.get("percentile", 50))


def of_shares(criterion: Criterion, better: str) -> Least:
    """For shares: by the bound of "all right" (confident) or by McNemar's test of "all won" (comparisons)."""
    if criterion.rule == "confident":
        goal = criterion.at_least if criterion.at_least is not None else 1 - (criterion.at_most or 0.0)
        return _sure(stats.fewest_all_right(goal, criterion.confidence), COIN)
    return _won(criterion, COIN)


def of_means(
    bottom: float | None, top: float | None, bounded_from: int = 0
) -> Callable[[Criterion, str], Least]:
    """For means of scores between ``bottom`` and ``top``: by the bound of the best score in every case.

    ``bounded_from``: how many cases a figure without these two ends needs to have bounds at all; by default
    as many as a mean does (:func:`stats.fewest_bounded`).
    """

    def least(criterion: Criterion, better: str) -> Least:
        if bottom is None or top is None:
            found = _won(criterion, FEWER_HANG)
            if criterion.rule not in ("confident", "superior", "non_inferior"):
                return found
            return _sure(bounded_from or stats.fewest_bounded(criterion.confidence), found)
        if criterion.rule != "confident":
            return _won(criterion, FEWER_HANG)
        bound = criterion.at_least if criterion.at_least is not None else criterion.at_most
        assert bound is not None
        goal = ((bound - bottom) if better == "higher" else (top - bound)) / (top - bottom)
        if not 0 < goal < 1:
            return FEWER_HANG
        # Of n best scores, the bound is the tail's n-th root.
        return _sure(math.ceil(math.log((1 - criterion.confidence) / 2) / math.log(goal)), FEWER_HANG)

    return least


def of_percentiles(criterion: Criterion, better: str) -> Least:
    """For percentiles: the fewest that enclose it (sure rules), or whose extreme does not decide alone."""
    rank, confidence = rank_of(criterion), criterion.confidence
    if criterion.rule == "confident":
        high = better == "lower"
        return _sure(fewest_with_bounds(rank, confidence, low=not high, high=high), FEWER_HANG)
    if criterion.rule in ("superior", "non_inferior"):
        return _sure(fewest_with_bounds(rank, confidence, low=True, high=True), FEWER_HANG)
    tail = min(rank, 100 - rank)
    beyond = math.ceil(100 / tail - 1e-9) if tail > 0 else FEW
    if beyond <= FEW:
        return FEWER_HANG
    return Least(beyond, f"of fewer, the single most extreme value decides the percentile {rank:g}")


def _won(criterion: Criterion, otherwise: Least) -> Least:
    if criterion.rule not in ("superior", "non_inferior"):
        return otherwise
    return _sure(stats.fewest_all_won(criterion.confidence), otherwise)


def _sure(cases: int | None, otherwise: Least) -> Least:
    if cases is None or cases <= otherwise.cases:
        return otherwise
    return Least(cases, "with fewer, not even the best score in every case would be sure")
