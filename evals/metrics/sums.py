"""Estimators of figures of sums over cases that are no means, such as BLEU: one bootstrap for all of them.

Cases are weighted at random (:mod:`seatrial.evals.stats.resampling`), and the figure is made of the weighted
sums. With fewer than ``FEWEST_ROWS`` cases, or where every draw gives the same, nothing is said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from seatrial.evals.criterion import Criterion
from seatrial.evals.metrics import enough
from seatrial.evals.metrics.estimators import Estimator, Scale, pairs
from seatrial.evals.metrics.scores import Score
from seatrial.evals.stats import FEWEST_ROWS, Comparison, Estimate
from seatrial.evals.stats.resampling import expanded, weighted_sums
from seatrial.evals.stats.results import clipped, within
from seatrial.evals.stats.skewed import ALIKE

METHOD, NOTHING = "expanded bootstrap over cases", "no interval: too few or all alike"
Columns = Callable[[Sequence[Score], Criterion], Any]  # array (cases, k) of what is added up
Figure = Callable[[Any], Any]  # sums (..., k + 1), of which the last is the number of cases → values (...)


def of_sums(columns: Columns, figure: Figure, scale: Scale, biased: bool = False) -> Estimator:
    """The estimator of ``figure``, made of the sums of ``columns`` over cases.

    ``biased``: it is larger in a sample than in truth, and in a resample larger again. Then each bound is the
    wider of that of the percentile interval and of the same mirrored at the value, the lower one without the
    bias that resamples show. ``benchmarks/coverage.py`` measures how often that holds the truth.
    """

    def value(scores: Sequence[Score], criterion: Criterion) -> float:
        return float(figure(_counted(columns(scores, criterion)).sum(axis=0)))

    def bounds(found: float, tables: Sequence[Any], confidence: float) -> tuple[float | None, float | None]:
        import numpy as np

        n = len(tables[0])
        if n < FEWEST_ROWS:
            return None, None
        sums, _ = weighted_sums(list(np.concatenate(tables, axis=1).T))
        sums *= n / sums[:, -1:]  # the last column counts cases
        parts = np.split(sums, len(tables), axis=1) if len(tables) > 1 else [sums]
        drawn = figure(parts[0]) - figure(parts[1]) if len(parts) > 1 else figure(parts[0])
        if not np.ptp(drawn) > ALIKE:
            return None, None
        tail = expanded(n, confidence)
        low, high = (float(bound) for bound in np.quantile(drawn, [tail, 1 - tail]))
        if biased and len(parts) == 1:
            bias = float(drawn.mean()) - found  # of a resample; the sample's is at least as large
            low, high = min(low, 2 * found - high - 2 * bias), max(high, 2 * found - low)
        return low, high

    def estimate(scores: Sequence[Score], criterion: Criterion) -> Estimate:
        found = value(scores, criterion)
        low, high = bounds(found, [_counted(columns(scores, criterion))], criterion.confidence)
        method = NOTHING if low is None else METHOD
        return Estimate(found, *within(found, *clipped((low, high), scale)), len(scores), method)

    def compare(first: Sequence[Score], second: Sequence[Score], criterion: Criterion) -> Comparison:
        one, other = pairs(first, second)
        difference = value(one, criterion) - value(other, criterion)
        tables = [_counted(columns(scores, criterion)) for scores in (one, other)]
        width = max(table.shape[1] for table in tables)
        tables = [_padded(table, width) for table in tables]
        low, high = within(difference, *bounds(difference, tables, criterion.confidence))
        return Comparison(
            difference, low, high, None, NOTHING if low is None else f"paired, {METHOD}", len(one)
        )

    return Estimator(value, estimate, compare, enough.of_means(None, None, FEWEST_ROWS), scale)


def _counted(table: Any) -> Any:
    """A table with one more column, which counts its rows."""
    import numpy as np

    return np.column_stack([table, np.ones(len(table))])


def _padded(table: Any, width: int) -> Any:
    """A table with as many columns as the other's, whose bins may be more; the last still counts rows."""
    import numpy as np

    more = np.zeros((len(table), width - table.shape[1]))
    return np.column_stack([table[:, :-1], more, table[:, -1]])
