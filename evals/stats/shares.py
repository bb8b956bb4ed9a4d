"""Shares of right answers, their paired differences, and how many cases a share needs to be sure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from seatrial.evals.stats.results import Comparison, Estimate

EXACT_BELOW = 10
"""Cases below which a share has the exact interval: with 10 of 10 right, Wilson's 95 % lower bound is wrong
4 % of the time instead of 2.5 %; with 1 of 1, 21 %."""


def proportion(values: Sequence[float], confidence: float) -> Estimate:
    """Share of ones with the Wilson score interval (Wilson 1927, JASA 22:209-212), as Brown, Cai and DasGupta
    (2001, Statistical Science 16:101-133) advise; below ``EXACT_BELOW`` cases the exact one (Clopper and
    Pearson 1934, Biometrika 26:404-413).

    Raises:
        ValueError: a value is neither 0 nor 1. Partial credit is no share: :func:`mean` is for that.
    """
    from scipy.stats import binomtest

    hits, n = _ones(values), len(values)
    exact = n < EXACT_BELOW
    interval = binomtest(hits, n).proportion_ci(confidence, method="exact" if exact else "wilson")
    low, high = float(interval.low), float(interval.high)
    return Estimate(hits / n, low, high, n, "Clopper-Pearson" if exact else "Wilson")


def compare_shares(first: Sequence[float], second: Sequence[float], confidence: float) -> Comparison:
    """Difference of paired shares with Tango's score interval, and the p-value of the exact McNemar test.

    Tango (1998, Statistics in Medicine 17:891-908) inverts the score test. Its interval keeps its width where
    no pair differs, and Fagerland, Lydersen and Laake (2014, Statistics in Medicine 33:2850-2875) recommend
    it for small samples. McNemar (1947, Psychometrika 12:153-157): where there is no difference, the
    discordant pairs split evenly.
    """
    from scipy.stats import binomtest

    if len(first) != len(second):
        raise ValueError(f"pairs need lists of one length: {len(first)} and {len(second)}")
    n, both = len(first), sum(1 for a, b in zip(first, second, strict=True) if a and b)
    wins, losses = _ones(first) - both, _ones(second) - both
    low, high = _tango_low(wins, losses, n, confidence), -_tango_low(losses, wins, n, confidence)
    p_value = float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0
    return Comparison((wins - losses) / n, low, high, p_value, "Tango score interval, exact McNemar test", n)


def _tango_low(wins: int, losses: int, n: int, confidence: float) -> float:
    """The smallest difference that the score test does not reject."""
    from scipy.optimize import brentq
    from scipy.stats import norm

    z = float(norm.ppf(0.5 + confidence / 2))
    difference = (wins - losses) / n
    if wins - losses == -n:
        return -1.0

    def excess(delta: float) -> float:
        """By how much the observed difference is further from ``delta`` than z standard errors."""
        # The share of lost pairs that is likeliest if the difference is delta: root of a quadratic.
        b = -wins - losses + (2 * n - wins + losses) * delta
        c = -losses * delta * (1 - delta)
        lost = (math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
        variance = n * max(2 * lost + delta * (1 - delta), 0.0)
        return wins - losses - n * delta - z * math.sqrt(variance)

    # With no discordant pair, the observed difference is a second root that means nothing.
    return float(brentq(excess, -1.0, difference - 1e-9, xtol=1e-12))


def _ones(values: Sequence[float]) -> int:
    ones = sum(1 for value in values if value == 1.0)
    if ones + sum(1 for value in values if value == 0.0) != len(values):
        raise ValueError("a share counts ones and zeros; partial credit has a mean instead")
    return ones


def cases_needed(rate: float, threshold: float, confidence: float, most: int = 100_000) -> int | None:
    """Fewest cases at which the lower bound of an observed ``rate`` reaches ``threshold``.

    None if the rate is not above the threshold, or if more than ``most`` cases would be needed.
    """
    if rate <= threshold:
        return None
    return _fewest(lambda n: _low(rate, n, confidence) >= threshold, most)


def fewest_all_right(threshold: float, confidence: float) -> int | None:
    """Fewest cases at which all right is surely at least ``threshold``; None if no number is."""
    return 1 if threshold <= 0 else cases_needed(1.0, threshold, confidence)


def fewest_all_won(confidence: float) -> int:
    """Fewest pairs at which the exact McNemar test finds "all won" significant: 6 at 95 %."""
    return math.floor(math.log2(2 / (1 - confidence)) + 1e-9) + 1


def _low(rate: float, n: int, confidence: float) -> float:
    """Lower bound of a rate that need not be a whole number of cases."""
    from scipy.stats import beta, norm

    if n < EXACT_BELOW:
        return float(beta.ppf((1 - confidence) / 2, rate * n, n - rate * n + 1))
    z = float(norm.ppf(0.5 + confidence / 2))
    centre = rate + z * z / (2 * n)
    spread = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return (centre - spread) / (1 + z * z / n)


def _fewest(enough: Callable[[int], bool], most: int) -> int | None:
    if not enough(most):
        return None
    few, many = 1, most
    while few < many:  # the bound grows with n
        middle = (few + many) // 2
        few, many = (few, middle) if enough(middle) else (middle + 1, many)
    return few
