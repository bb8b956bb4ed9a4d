"""How scores become a value, an interval and a paired difference, and how few are too few. One for each kind.

A value, its interval and its comparison belong together: a percentile is compared as a percentile, a figure
per token is weighted by tokens in both. So a metric names one estimator, and no rule asks for its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from seatrial.evals import stats
from seatrial.evals.criterion import Criterion
from seatrial.evals.metrics import enough
from seatrial.evals.metrics.enough import Least
from seatrial.evals.metrics.scores import Score
from seatrial.evals.stats import Comparison, Estimate
from seatrial.evals.verdict import NotEvaluated

Scale = tuple[float | None, float | None]
Pairs = tuple[list[Score], list[Score]]


@dataclass(frozen=True)
class Estimator:
    """``value`` of some scores; ``estimate`` adds the interval; ``compare`` is the difference of two models'.

    ``least``: how many cases a criterion needs, if it does not say so itself; None where nothing is sampled,
    because all there is was counted or measured. ``scale``: the least and the most that a value can be.
    ``each_group``: the value of each group, for figures that take all scores to tell one group's; by default
    ``value`` of the group's own scores.
    """

    value: Callable[[Sequence[Score], Criterion], float]
    estimate: Callable[[Sequence[Score], Criterion], Estimate]
    compare: Callable[[Sequence[Score], Sequence[Score], Criterion], Comparison]
    least: Callable[[Criterion, str], Least] | None = None
    scale: Scale = (None, None)
    each_group: Callable[[Sequence[Score], Criterion], Mapping[str, float]] | None = None


def pairs(first: Sequence[Score], second: Sequence[Score]) -> Pairs:
    """The scores of the cases that both have, in one order.

    Raises:
        NotEvaluated: there is no such case.
    """
    other = {score.case: score for score in second}
    shared = [score for score in first if score.case in other]
    if not shared:
        raise NotEvaluated("no case is scored for both models")
    return shared, [other[score.case] for score in shared]


def _values(scores: Sequence[Score]) -> list[float]:
    return [score.value for score in scores]


def _weights(scores: Sequence[Score]) -> list[float]:
    return [score.weight for score in scores]


def _mean(scores: Sequence[Score], criterion: Criterion) -> float:
    return fmean(_values(scores))


# --- shares: each case is right or wrong ---------------------------------------------------------------


def _compare_shares(first: Sequence[Score], second: Sequence[Score], criterion: Criterion) -> Comparison:
    one, other = pairs(first, second)
    return stats.compare_shares(_values(one), _values(other), criterion.confidence)


share = Estimator(
    _mean,
    lambda scores, criterion: stats.proportion(_values(scores), criterion.confidence),
    _compare_shares,
    enough.of_shares,
    (0.0, 1.0),
)


# --- what is not sampled -------------------------------------------------------------------------------


def _counted(scores: Sequence[Score], criterion: Criterion) -> Estimate:
    return stats.counted(_values(scores))


def _only(scores: Sequence[Score], criterion: Criterion) -> Estimate:
    return stats.single(scores[0].value)


def _not_sampled(estimate: Callable[[Sequence[Score], Criterion], Estimate], scale: Scale) -> Estimator:
    return Estimator(
        lambda scores, criterion: estimate(scores, criterion).value,
        estimate,
        lambda first, second, criterion: stats.compare_counted(
            estimate(first, criterion), estimate(second, criterion)
        ),
        None,
        scale,
    )


counted = _not_sampled(_counted, (0.0, 1.0))
"""Share of right ones among all there are, such as the tensors of a file."""
only = _not_sampled(_only, (None, None))
"""The one value that was measured."""


# --- means ---------------------------------------------------------------------------------------------


def average(bottom: float | None = None, top: float | None = None) -> Estimator:
    """Mean over cases; ``bottom`` and ``top`` are the least and the most that a score can be."""
    scale = bottom, top

    def compare(first: Sequence[Score], second: Sequence[Score], criterion: Criterion) -> Comparison:
        one, other = pairs(first, second)
        return stats.compare_means(_values(one), _values(other), criterion.confidence, scale)

    return Estimator(
        _mean,
        lambda scores, criterion: stats.mean(_values(scores), criterion.confidence, scale),
        compare,
        enough.of_means(bottom, top),
        scale,
    )


def per_token(bottom: float | None = None, top: float | None = None) -> Estimator:
    """Mean over all tokens of all rows: scores are means of rows, weights their numbers of tokens."""
    scale = bottom, top

    def compare(first: Sequence[Score], second: Sequence[Score], criterion: Criterion) -> Comparison:
        one, other = (_rows(scores) for scores in pairs(first, second))
        return stats.compare_weighted_means(one, other, criterion.confidence, scale)

    return Estimator(
        lambda scores, criterion: stats.weighted_mean_of(*_rows(scores)),
        lambda scores, criterion: stats.weighted_mean(*_rows(scores), criterion.confidence, scale),
        compare,
        enough.of_means(bottom, top, stats.FEWEST_ROWS),
        scale,
    )


def _rows(scores: Sequence[Score]) -> tuple[list[float], list[float]]:
    return _values(scores), _weights(scores)


def _compare_perplexities(
    first: Sequence[Score], second: Sequence[Score], criterion: Criterion
) -> Comparison:
    one, other = (_rows(scores) for scores in pairs(first, second))
    return stats.compare_perplexity(one, other, criterion.confidence)


perplexity_over_rows = Estimator(
    lambda scores, criterion: stats.perplexity_of(*_rows(scores)),
    lambda scores, criterion: stats.perplexity(*_rows(scores), criterion.confidence),
    _compare_perplexities,
    enough.of_means(1.0, None, stats.FEWEST_ROWS),
    (1.0, None),
)
"""exp(sum of scores / sum of weights): scores are negative log-likelihoods, weights numbers of tokens."""


# --- percentiles ---------------------------------------------------------------------------------------


def _compare_percentiles(first: Sequence[Score], second: Sequence[Score], criterion: Criterion) -> Comparison:
    one, other = pairs(first, second)
    rank = enough.rank_of(criterion)
    return stats.compare_percentiles(_values(one), _values(other), rank, criterion.confidence)


percentile = Estimator(
    lambda scores, criterion: stats.percentile_of(_values(scores), enough.rank_of(criterion)),
    lambda scores, criterion: stats.percentile(
        _values(scores), enough.rank_of(criterion), criterion.confidence
    ),
    _compare_percentiles,
    enough.of_percentiles,
    (0.0, None),
)
"""The percentile that the criterion's settings name (default: the median)."""
