"""Figures per token over rows of text: weighted means and perplexity, and their paired differences.

The rows are what was sampled, not their tokens, because the tokens of one row hang together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from seatrial.evals.stats.means import ALIKE, BOUNDED, NOTHING, Scale
from seatrial.evals.stats.resampling import expanded, weighted_sums
from seatrial.evals.stats.results import Comparison, Estimate, clipped, within

FEWEST_ROWS = 10
"""Rows below which nothing is said: of 6, a 95 % interval holds a difference of perplexities 86 times in 100,
because it would have to reach beyond what any resample gives. From 10 rows it is about 90 times or more."""
RESAMPLED = "expanded bootstrap over rows"
Bounds = tuple[float | None, float | None]
Rows = tuple[Sequence[float], Sequence[float]]  # values (or sums) and tokens, one of each a row


def weighted_mean_of(values: Sequence[float], weights: Sequence[float]) -> float:
    """Mean of ``values``, each of them that of ``weights`` tokens."""
    return math.fsum(v * w for v, w in zip(values, weights, strict=True)) / math.fsum(weights)


def perplexity_of(nll: Sequence[float], tokens: Sequence[float]) -> float:
    """exp(total negative log-likelihood / total tokens)."""
    return math.exp(math.fsum(nll) / math.fsum(tokens))


def weighted_mean(
    values: Sequence[float], weights: Sequence[float], confidence: float, scale: Scale = (None, None)
) -> Estimate:
    """Mean over tokens. On a scale with two ends by the method of :func:`mean`, with one more row, as long as
    the longest, at the end of the scale; else by the expanded bootstrap (:func:`resampling.expanded`), which
    says nothing where there are fewer than ``FEWEST_ROWS`` rows or where all are alike."""
    value = weighted_mean_of(values, weights)
    low, high, method = _bounds([(values, weights)], confidence, scale)
    return Estimate(value, *within(value, low, high), len(values), method)


def compare_weighted_means(
    first: Rows, second: Rows, confidence: float, scale: Scale = (None, None)
) -> Comparison:
    """Difference of two weighted means over the same rows, resampled in pairs."""
    difference = weighted_mean_of(*first) - weighted_mean_of(*second)
    low, high, method = _bounds([first, second], confidence, scale)
    return Comparison(difference, *within(difference, low, high), None, f"paired, {method}", len(first[0]))


def perplexity(nll: Sequence[float], tokens: Sequence[float], confidence: float) -> Estimate:
    """Perplexity, with the expanded bootstrap over rows; no bounds where :func:`weighted_mean` has none."""
    value = perplexity_of(nll, tokens)
    bounds = _resampled([(nll, tokens)], confidence, exponential=True)
    method = NOTHING if bounds[0] is None else RESAMPLED
    return Estimate(value, *within(value, *clipped(bounds, (1.0, None))), len(nll), method)


def compare_perplexity(first: Rows, second: Rows, confidence: float) -> Comparison:
    """Difference of two perplexities over the same rows, resampled in pairs."""
    difference = perplexity_of(*first) - perplexity_of(*second)
    bounds = _resampled([first, second], confidence, exponential=True)
    method = NOTHING if bounds[0] is None else RESAMPLED
    return Comparison(difference, *within(difference, *bounds), None, f"paired, {method}", len(first[0]))


def _bounds(rows: Sequence[Rows], confidence: float, scale: Scale) -> tuple[float | None, float | None, str]:
    bottom, top = scale
    sums = [([v * w for v, w in zip(values, weights, strict=True)], weights) for values, weights in rows]
    if bottom is not None and top is not None:
        bounds: Bounds = _bounded(sums, confidence, bottom, top)
        scale = scale if len(rows) == 1 else (bottom - top, top - bottom)
        return *clipped(bounds, scale), f"{BOUNDED} over rows"
    bounds = _resampled(sums, confidence)
    if bounds[0] is None:
        return None, None, NOTHING
    return *(clipped(bounds, scale) if len(rows) == 1 else bounds), RESAMPLED


def _resampled(
    rows: Sequence[Rows], confidence: float, exponential: bool = False
) -> tuple[float | None, float | None]:
    """Bounds of the ratio of sums (or of its exponential), or of the first such less the second."""
    import numpy as np

    n = len(rows[0][0])
    if n < FEWEST_ROWS:
        return None, None
    sums, _ = weighted_sums([np.asarray(column, float) for pair in rows for column in pair])
    ratios = [sums[:, 2 * k] / sums[:, 2 * k + 1] for k in range(len(rows))]
    figures = [np.exp(ratio) if exponential else ratio for ratio in ratios]
    drawn = figures[0] - figures[1] if len(figures) > 1 else figures[0]
    if not np.ptp(drawn) > ALIKE * max(float(np.max(np.abs(figure))) for figure in figures):
        return None, None
    tail = expanded(n, confidence)
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)


def _bounded(rows: Sequence[Rows], confidence: float, bottom: float, top: float) -> tuple[float, float]:
    """Bounds with one more row at the end of the scale that is against the bound; for a difference, the two
    ends that are."""
    import numpy as np

    sums, more = weighted_sums([np.asarray(column, float) for pair in rows for column in pair])

    def ratio(number: int, end: float) -> Any:
        extra = more * max(rows[number][1])
        return (sums[:, 2 * number] + extra * end) / (sums[:, 2 * number + 1] + extra)

    least, most = ratio(0, bottom), ratio(0, top)
    if len(rows) > 1:
        least, most = least - ratio(1, top), most - ratio(1, bottom)
    tail = (1 - confidence) / 2
    return float(np.quantile(least, tail)), float(np.quantile(most, 1 - tail))
