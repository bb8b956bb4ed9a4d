"""Bounds of a mean of values that have no scale, from their spread and their skewness.

Student's interval (1908, Biometrika 6:1-25) reaches as far above the mean as below it. Means of skewed
values, such as divergences, miss it on one side: of 10 values from an exponential distribution, a 95 %
interval holds the mean 90 times in 100, of 10 log-normal ones 84 times. Hall (1992, Journal of the Royal
Statistical Society B 54:221-228) takes the skewness out of Student's statistic by a transformation that can
be turned round. docs/intervals.md has how often the bounds hold, as ``benchmarks/means.py`` measures it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

ALIKE = 1e-9  # a spread that is this small beside its values is rounding
FEWEST = 2  # cases of which the skewness means nothing
SKEWED = "Student t, Hall's transformation"
NOTHING = "no interval: too few, too skewed or all alike"
Bounds = tuple[float | None, float | None]


def skewed_bounds(
    value: float,
    values: Sequence[float] | Any,
    confidence: float,
    size: float = 0.0,
    equal: float | None = None,
) -> Bounds:
    """Bounds of ``value``, the mean of a distribution from which n ``values`` come, or these less a constant.

    Each bound is Student's, or Hall's where that lies farther out. The skewness of few values is a guess
    itself, so it is taken for one standard error worse than it looks, on either side. Where nothing stops so
    skewed a mean on one side, where values are not finite and where all are alike, a bound is None.

    Args:
        value: what the bounds enclose, in the unit of ``values``.
        values: n numbers; of fewer than :func:`fewest_bounded` there are no two bounds.
        confidence: 0 to 1, of both bounds together.
        size: what the spread is compared with, to call it rounding, beside the values themselves.
        equal: how many cases of equal weight would say as much, where some weigh more; by default n.
    """
    import numpy as np

    n, found = len(values), np.asarray(values, float)
    equal = equal or float(n)
    largest = float(np.max(np.abs(found)))
    if equal <= FEWEST or not 0 < largest < math.inf:
        return None, None
    spread = largest * float(np.std(found / largest, ddof=1))  # the square of a huge value would overflow
    if spread <= ALIKE * max(largest, size):
        return None, None
    skewness = float((((found - found.mean()) / spread) ** 3).sum()) * n / ((n - 1) * (n - 2))
    root = math.sqrt(n)
    above, below = (_reach(side * skewness, root, equal, confidence) for side in (1, -1))
    step = spread / root
    return None if below is None else value - below * step, None if above is None else value + above * step


def fewest_bounded(confidence: float) -> int:
    """Fewest values of which the mean can have both bounds: 5 at 95 %, and only if they are hardly skewed."""
    n = FEWEST + 1
    while _reach(0.0, math.sqrt(n), n, confidence) is None:
        n += 1
    return n


def _reach(skewness: float, root: float, equal: float, confidence: float) -> float | None:
    """How many standard errors lie between the mean and its bound on the side of the long tail, or None.

    Hall's transformation of Student's statistic T is (exp(2kT/3) - 1) / (2k/3) + k/6, where k is the skewness
    by the ``root`` of n. Here it is turned round, at Student's quantile. The standard error of the skewness
    is that of normal values (Joanes and Gill 1998, The Statistician 47:183-189).
    """
    from scipy.special import stdtrit

    quantile = float(stdtrit(equal - 1, 0.5 + confidence / 2))
    doubt = math.sqrt(6 * equal * (equal - 1) / ((equal - 2) * (equal + 1) * (equal + 3)))
    k = (skewness + doubt) / root
    if k <= 0:
        return quantile
    left = 1 - 2 * k / 3 * (quantile + k / 6)
    return max(quantile, -1.5 / k * math.log(left)) if left > 0 else None
