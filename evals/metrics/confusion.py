"""Figures of a confusion matrix, with intervals by a Bayesian bootstrap within labels.

A score's ``group`` is the label that is right and its ``found`` the one that was read. Cases are weighted at
random (Rubin 1981, Annals of Statistics 9:130-134) within each label, so that every draw has as many cases of
each as there are. Half a case that is right and half a case that is wrong are added to each label: Jeffreys's
prior, by which Goutte and Gaussier (2005, ECIR, "A probabilistic interpretation of precision, recall and
F-score") keep an interval where every answer is right. Over many labels these halves add up to errors that
nobody made, so each bound is the farther one of the draws with and without them. ``benchmarks/coverage.py``
measures how often the interval holds the truth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from seatrial.evals.criterion import Criterion
from seatrial.evals.metrics import enough
from seatrial.evals.metrics.estimators import Estimator, pairs
from seatrial.evals.metrics.scores import Score
from seatrial.evals.stats import Comparison, Estimate
from seatrial.evals.stats.results import within
from seatrial.evals.stats.skewed import ALIKE
from seatrial.evals.verdict import NotEvaluated

DRAWS = 4000
SEED = 20_240_229
Counts = Any  # array (..., labels, labels and one more for anything else): right label by found label
METHOD = f"Bayesian bootstrap within labels, {DRAWS} draws"
NOTHING = "no interval: no case could have been otherwise"


def confusion(right: Sequence[str], found: Sequence[str]) -> Mapping[str, Any] | None:
    """How often each label was read where each was right, for the report; None without cases.

    ``counts[i][j]``: cases whose right label is ``rows[i]`` and which were read as ``columns[j]``; the column
    "" holds those of which no label was read.
    """
    if not right:
        return None
    rows = sorted(set(right))
    columns = [*rows, *sorted(set(found) - set(rows) - {""}), *([""] if "" in found else [])]
    seen = Counter(zip(right, found, strict=True))
    counts = [[seen[one, other] for other in columns] for one in rows]
    return {"kind": "confusion", "rows": rows, "columns": columns, "counts": counts}


def f1(counts: Counts) -> Any:
    """F1 of each label: 2 TP / (2 TP + FP + FN)."""
    hits, positives, found = _margins(counts)
    return 2 * hits / (positives + found)


def false_positive_rate(counts: Counts) -> Any:
    """FP / (FP + TN) of each label; of the only label there is, 0."""
    hits, positives, found = _margins(counts)
    negatives = positives.sum(axis=-1, keepdims=True) - positives
    return (found - hits) / (negatives + (negatives == 0))


def false_negative_rate(counts: Counts) -> Any:
    """FN / (FN + TP) of each label."""
    hits, positives, _ = _margins(counts)
    return (positives - hits) / positives


FIGURES: Mapping[str, Callable[[Counts], Any]] = {
    figure.__name__: figure for figure in (f1, false_positive_rate, false_negative_rate)
}


def of_labels(name: str) -> Estimator:
    """The estimator of one of :data:`FIGURES`: its mean over labels, or its value for one, ``label``."""
    figure = FIGURES[name]

    def value(scores: Sequence[Score], criterion: Criterion) -> float:
        labels = _labels(scores)
        return float(_chosen(figure(_counted(scores, labels)), labels, criterion))

    def estimate(scores: Sequence[Score], criterion: Criterion) -> Estimate:
        labels, found = _labels(scores), value(scores, criterion)
        draws = [_chosen(figure(counts), labels, criterion) for (counts,) in _drawn([scores], labels)]
        low, high = within(found, *_bounds(draws, criterion))
        return Estimate(found, low, high, len(scores), NOTHING if low is None else METHOD)

    def compare(first: Sequence[Score], second: Sequence[Score], criterion: Criterion) -> Comparison:
        one, other = pairs(first, second)
        labels = _labels(one)
        draws = [
            _chosen(figure(ours), labels, criterion) - _chosen(figure(theirs), labels, criterion)
            for ours, theirs in _drawn([one, other], labels)
        ]
        difference = value(one, criterion) - value(other, criterion)
        low, high = within(difference, *_bounds(draws, criterion))
        method = f"paired {METHOD}" if low is not None else NOTHING
        return Comparison(difference, low, high, None, method, len(one))

    def each_label(scores: Sequence[Score], criterion: Criterion) -> dict[str, float]:
        labels = _labels(scores)
        return dict(zip(labels, map(float, figure(_counted(scores, labels))), strict=True))

    return Estimator(value, estimate, compare, enough.of_means(0.0, 1.0), (0.0, 1.0), each_label)


def _margins(counts: Counts) -> tuple[Any, Any, Any]:
    """Hits, cases and findings of each label."""
    import numpy as np

    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    return hits, counts.sum(axis=-1), counts.sum(axis=-2)[..., :-1]


def _labels(scores: Sequence[Score]) -> list[str]:
    return sorted({score.group for score in scores})


def _chosen(values: Any, labels: Sequence[str], criterion: Criterion) -> Any:
    """The mean over labels, or the value of the label that the criterion asks for."""
    wanted = criterion.settings.get("label")
    if wanted is None:
        return values.mean(axis=-1)
    if wanted not in labels:
        raise NotEvaluated(f"no case expects the label {wanted!r}; there are: {', '.join(labels)}")
    return values[..., labels.index(wanted)]


def _places(scores: Sequence[Score], labels: Sequence[str]) -> list[int]:
    """The number of the label that each answer was read as; any other is the last."""
    known = {label: number for number, label in enumerate(labels)}
    return [known.get(score.found, len(labels)) for score in scores]


def _counted(scores: Sequence[Score], labels: Sequence[str]) -> Counts:
    import numpy as np

    counts = np.zeros((len(labels), len(labels) + 1))
    np.add.at(counts, ([labels.index(score.group) for score in scores], _places(scores, labels)), 1)
    return counts


def _drawn(models: Sequence[Sequence[Score]], labels: Sequence[str]) -> Iterator[list[Counts]]:
    """Counts under random weights of the cases, the same weights for each model: (draws, labels, labels + 1).

    Twice: with and without the half cases that are wrong.
    """
    import numpy as np

    wide = len(labels) + 1
    found = list(zip(*(_places(scores, labels) for scores in models), strict=True))
    for wrong in (True, False):
        random = np.random.default_rng(SEED)
        made = [np.zeros((DRAWS, len(labels), wide)) for _ in models]
        for number, label in enumerate(labels):
            seen: Counter[tuple[int, ...]] = Counter()
            for where, score in zip(found, models[0], strict=True):
                seen[where] += score.group == label
            cases = seen.total()
            for where, prior in _prior(number, wide, len(models), wrong):
                seen[where] += prior  # type: ignore[assignment]
            kept = {where: count for where, count in seen.items() if count > 0}
            weights = random.standard_gamma(list(kept.values()), (DRAWS, len(kept)))
            weights *= cases / weights.sum(axis=1, keepdims=True)
            for column, where in enumerate(kept):
                for counts, place in zip(made, where, strict=True):
                    counts[:, number, place] += weights[:, column]
        yield made


def _prior(right: int, wide: int, models: int, wrong_too: bool) -> Iterator[tuple[tuple[int, ...], float]]:
    """Half a case that every model has right, and half a case that one of them has wrong, in any way."""
    yield (right,) * models, 0.5
    for model in range(models if wrong_too else 0):
        for wrong in set(range(wide)) - {right}:
            where = [right] * models
            where[model] = wrong
            yield tuple(where), 0.5 / models / (wide - 1)


def _bounds(draws: Sequence[Any], criterion: Criterion) -> tuple[float | None, float | None]:
    """The outermost quantiles of several sets of draws; None where all draws are the same, such as false
    alarms where no case has another label."""
    import numpy as np

    if not any(np.ptp(drawn) > ALIKE for drawn in draws):
        return None, None
    tail = (1 - criterion.confidence) / 2
    bounds = [np.quantile(drawn, [tail, 1 - tail]) for drawn in draws]
    return min(float(low) for low, _ in bounds), max(float(high) for _, high in bounds)
