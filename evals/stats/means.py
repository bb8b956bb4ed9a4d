"""Means of scores, and their paired differences; the bounds hold where scores tie, or there are none."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from seatrial.evals.stats.resampling import weighted_sums
from seatrial.evals.stats.results import Comparison, Estimate, clipped, within
from seatrial.evals.stats.skewed import NOTHING, SKEWED, skewed_bounds

Scale = tuple[float | None, float | None]
BOUNDED = "Gaffke bounds"


def mean(values: Sequence[float], confidence: float, scale: Scale = (None, None)) -> Estimate:
    """Arithmetic mean; ``scale`` is the least and the most that a score can be.

    On a scale with two ends, such as ratings of 1 to 5, the bounds are those of Gaffke (2005, Mathematical
    Methods of Statistics 14:451-467), as simulated by Learned-Miller and Thomas (2019, arXiv:1905.06208): the
    mean under random weights of the scores and of one more score at the end of the scale. They hold for one
    case, for few, and for scores that tie; for scores of 0 and 1 they are those of Clopper and Pearson.

    Else the bounds are those of :func:`skewed.skewed_bounds`, each of which is None where the values say too
    little: where they are few, all the same, or few and skewed.
    """
    value = fmean(values)
    low, high, method = _bounds(values, confidence, scale)
    return Estimate(value, *within(value, low, high), len(values), method)


def compare_means(
    first: Sequence[float], second: Sequence[float], confidence: float, scale: Scale = (None, None)
) -> Comparison:
    """Mean of the paired differences, by the method of :func:`mean`; a difference is at most the scale."""
    differences = [a - b for a, b in zip(first, second, strict=True)]
    bottom, top = scale
    width = None if bottom is None or top is None else top - bottom
    value = fmean(differences)
    low, high, method = _bounds(
        differences, confidence, (None, None) if width is None else (-width, width), max(map(abs, first))
    )
    return Comparison(value, *within(value, low, high), None, f"paired, {method}", len(differences))


def _bounds(
    values: Sequence[float], confidence: float, scale: Scale, size: float = 0.0
) -> tuple[float | None, float | None, str]:
    bottom, top = scale
    if bottom is not None and top is not None:
        return *_gaffke(values, confidence, bottom, top), BOUNDED
    low, high = skewed_bounds(fmean(values), values, confidence, size)
    return *clipped((low, high), scale), NOTHING if low is None and high is None else SKEWED


def check_scale(values: Sequence[float], bottom: float, top: float) -> None:
    """Raise :class:`ValueError` if a value is no number, or beside the scale by which bounds are made."""
    if not all(bottom <= value <= top for value in values):
        raise ValueError(f"scores from {min(values)} to {max(values)} on a scale of {bottom} to {top}")


def _gaffke(values: Sequence[float], confidence: float, bottom: float, top: float) -> tuple[float, float]:
    import numpy as np

    check_scale(values, bottom, top)
    scores, copies = np.unique(np.asarray(values, float), return_counts=True)
    sums, more = weighted_sums([scores, np.ones(len(scores))], copies)
    total, weight = sums[:, 0], sums[:, 1]
    tail = (1 - confidence) / 2
    low = np.quantile((total + more * bottom) / (weight + more), tail)
    high = np.quantile((total + more * top) / (weight + more), 1 - tail)
    return max(float(low), bottom), min(float(high), top)
