"""Estimates with intervals, paired comparisons, and how many cases would be enough.

Every number that Seatrial shows goes through here, so that it has an interval. scipy does the work.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

RESAMPLES = 2000
SEED = 20240229


@dataclass(frozen=True)
class Estimate:
    """A value with the bounds of its confidence interval; bounds are None where nothing was sampled."""

    value: float
    low: float | None
    high: float | None
    n: int
    method: str


@dataclass(frozen=True)
class Comparison:
    """A paired difference (first minus second), its interval, and an exact p-value for binary scores."""

    difference: float
    low: float
    high: float
    p_value: float | None
    method: str


def proportion(values: Sequence[float], confidence: float) -> Estimate:
    """Share of ones, with the Wilson score interval (Wilson 1927, JASA 22:209-212)."""
    from scipy.stats import binomtest

    hits, n = round(sum(values)), len(values)
    interval = binomtest(hits, n).proportion_ci(confidence, method="wilson")
    return Estimate(hits / n, float(interval.low), float(interval.high), n, "Wilson")


def mean(values: Sequence[float], confidence: float) -> Estimate:
    """Arithmetic mean with a percentile bootstrap interval over cases."""
    value = math.fsum(values) / len(values)
    low, high = _bootstrap([values], lambda x, axis: x.mean(axis=axis), confidence)
    return Estimate(value, low, high, len(values), "bootstrap")


def perplexity(nll: Sequence[float], tokens: Sequence[float], confidence: float) -> Estimate:
    """exp(total negative log-likelihood / total tokens), bootstrapped over rows (not over tokens)."""
    value = math.exp(math.fsum(nll) / math.fsum(tokens))

    def statistic(losses: Any, counts: Any, axis: int) -> Any:
        import numpy as np

        return np.exp(losses.sum(axis=axis) / counts.sum(axis=axis))

    low, high = _bootstrap([nll, tokens], statistic, confidence)
    return Estimate(value, low, high, len(nll), "bootstrap over rows")


def weighted_mean(values: Sequence[float], weights: Sequence[float], confidence: float) -> Estimate:
    """Mean of ``values`` weighted by ``weights`` (tokens of a row), bootstrapped over rows."""

    def statistic(value: Any, weight: Any, axis: int) -> Any:
        return (value * weight).sum(axis=axis) / weight.sum(axis=axis)

    low, high = _bootstrap([values, weights], statistic, confidence)
    total = math.fsum(value * weight for value, weight in zip(values, weights, strict=True))
    return Estimate(total / math.fsum(weights), low, high, len(values), "bootstrap over rows")


def percentile(values: Sequence[float], rank: float, confidence: float) -> Estimate:
    """The ``rank``-th percentile (0-100, linear interpolation) with a percentile bootstrap interval."""
    import numpy as np

    low, high = _bootstrap([values], lambda x, axis: np.percentile(x, rank, axis=axis), confidence)
    return Estimate(float(np.percentile(values, rank)), low, high, len(values), "bootstrap")


def counted(values: Sequence[float]) -> Estimate:
    """Share of ones where all there is was counted: nothing was sampled, so there is no interval."""
    return Estimate(sum(values) / len(values), None, None, len(values), "all counted")


def single(value: float) -> Estimate:
    """One measured value: nothing was sampled, so there is no interval."""
    return Estimate(value, None, None, 1, "measured once")


def compare(first: Sequence[float], second: Sequence[float], confidence: float) -> Comparison:
    """Mean difference of paired scores; binary scores also get the exact McNemar test.

    McNemar (1947, Psychometrika 12:153-157): under the null hypothesis the discordant pairs split evenly.
    """
    from scipy.stats import binomtest

    differences = [a - b for a, b in zip(first, second, strict=True)]
    low, high = _bootstrap([differences], lambda x, axis: x.mean(axis=axis), confidence)
    p_value, method = None, "paired bootstrap"
    if set(first) | set(second) <= {0.0, 1.0}:
        wins, losses = differences.count(1.0), differences.count(-1.0)
        p_value = float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0
        method = "paired bootstrap, exact McNemar"
    return Comparison(math.fsum(differences) / len(differences), low, high, p_value, method)


def compare_perplexity(
    first: tuple[Sequence[float], Sequence[float]],
    second: tuple[Sequence[float], Sequence[float]],
    confidence: float,
) -> Comparison:
    """Difference of two perplexities over the same rows, bootstrapped over rows in pairs."""
    import numpy as np

    def statistic(a: Any, a_tokens: Any, b: Any, b_tokens: Any, axis: int) -> Any:
        def one(losses: Any, counts: Any) -> Any:
            return np.exp(losses.sum(axis=axis) / counts.sum(axis=axis))

        return one(a, a_tokens) - one(b, b_tokens)

    difference = perplexity(*first, confidence).value - perplexity(*second, confidence).value
    low, high = _bootstrap([*first, *second], statistic, confidence)
    return Comparison(difference, low, high, None, "paired bootstrap over rows")


def cases_needed(rate: float, threshold: float, confidence: float, most: int = 100_000) -> int | None:
    """Fewest cases at which the Wilson lower bound of an observed ``rate`` reaches ``threshold``.

    None if the rate is not above the threshold, or if more than ``most`` cases would be needed.
    """
    if rate <= threshold:
        return None
    from scipy.stats import norm

    z = norm.ppf(0.5 + confidence / 2)

    def low(n: int) -> float:
        centre = rate + z * z / (2 * n)
        spread = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
        return float((centre - spread) / (1 + z * z / n))

    if low(most) < threshold:
        return None
    few, many = 1, most
    while few < many:  # the bound grows with n
        middle = (few + many) // 2
        few, many = (few, middle) if low(middle) >= threshold else (middle + 1, many)
    return few


def _bootstrap(
    samples: Sequence[Sequence[float]], statistic: Callable[..., Any], confidence: float
) -> tuple[float, float]:
    import numpy as np
    from scipy.stats import bootstrap

    if len(samples[0]) < 2:  # one case tells nothing about the spread
        only = float(statistic(*[np.asarray(sample, float) for sample in samples], axis=-1))
        return only, only
    result = bootstrap(
        [np.asarray(sample, float) for sample in samples],
        statistic,
        paired=len(samples) > 1,
        vectorized=True,
        confidence_level=confidence,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(SEED),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)
