"""Percentiles, such as the slowest twentieth of the answers, and their paired differences.

Values may be infinite: that is the time to an answer that never came.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from seatrial.evals.stats.resampling import BATCH, SEED, draws_for
from seatrial.evals.stats.results import Comparison, Estimate, within

ORDER, NOTHING = "order statistics", "no interval: too few"
ONE_SIDED = "order statistics, too few for a second bound"


def percentile_of(values: Sequence[float], rank: float) -> float:
    """The ``rank``-th percentile (0-100), linearly interpolated; infinite if it touches an infinite value."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * rank / 100
    below = math.floor(place)
    first, second = ordered[below], ordered[min(below + 1, len(ordered) - 1)]
    part = place - below
    return first if part == 0 or first == second else first + (second - first) * part


def percentile(values: Sequence[float], rank: float, confidence: float) -> Estimate:
    """The ``rank``-th percentile, between the two ordered values that enclose it with ``confidence``.

    How many of n values lie below a percentile is binomial, whatever their distribution (David and Nagaraja
    2003, Order Statistics, section 7.1), so the interval holds for any n and for ties. Where not even the
    least or the largest value is a bound, it is None: a 95th percentile has an upper bound from 72 cases.
    """
    value = percentile_of(values, rank)
    low, high = _order_statistics(values, rank, confidence)
    method = ORDER if low is not None and high is not None else ONE_SIDED
    if low is None and high is None:
        method = NOTHING
    return Estimate(value, *within(value, low, high), len(values), method)


def compare_percentiles(
    first: Sequence[float], second: Sequence[float], rank: float, confidence: float
) -> Comparison:
    """Difference of two percentiles of the same cases, bootstrapped in pairs (Efron 1979, Annals of
    Statistics 7:1-26). Resampling knows nothing that the ordered values do not hold, so there are bounds only
    where each of the percentiles has both by itself, and none where a value is infinite."""
    n = len(first)
    difference = percentile_of(first, rank) - percentile_of(second, rank)
    known = [b for values in (first, second) for b in _order_statistics(values, rank, confidence)]
    if any(b is None for b in known) or not all(map(math.isfinite, [*first, *second])):
        return Comparison(difference, None, None, None, f"paired, {NOTHING}", n)
    low, high = _resampled(first, second, rank, confidence)
    return Comparison(difference, *within(difference, low, high), None, "paired bootstrap", n)


def fewest_with_bounds(rank: float, confidence: float, low: bool, high: bool) -> int | None:
    """Fewest values at which the percentile has the bounds that are asked for; None if it never has."""
    shares = [share for share, asked in ((rank / 100, high), (1 - rank / 100, low)) if asked]
    if any(share >= 1 for share in shares):
        return None
    tail = (1 - confidence) / 2
    # n values all lie below the percentile with the probability share to the power of n
    return max((math.ceil(math.log(tail) / math.log(s) - 1e-9) for s in shares if s > 0), default=1)


def _order_statistics(
    values: Sequence[float], rank: float, confidence: float
) -> tuple[float | None, float | None]:
    from scipy.stats import binom

    n, ordered, tail = len(values), sorted(values), (1 - confidence) / 2
    low = int(binom.ppf(tail, n, rank / 100))
    high = int(binom.ppf(1 - tail, n, rank / 100)) + 1
    return ordered[low - 1] if low >= 1 else None, ordered[high - 1] if high <= n else None


def _resampled(
    first: Sequence[float], second: Sequence[float], rank: float, confidence: float
) -> tuple[float, float]:
    import numpy as np

    random, n = np.random.default_rng(SEED), len(first)
    pairs = np.asarray(first, float), np.asarray(second, float)
    draws, rows = draws_for(n), max(1, BATCH // n)
    found: list[Any] = []
    for start in range(0, draws, rows):
        chosen = random.integers(0, n, (min(rows, draws - start), n))
        one, other = (np.percentile(values[chosen], rank, axis=1) for values in pairs)
        found.append(one - other)
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(found), [tail, 1 - tail])
    return float(low), float(high)
