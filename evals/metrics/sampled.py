"""pass_at_k and pass_hat_k: is one of k drawn answers right, and are all of them?

Another metric, which the settings name, judges each of the answers that ``[sampling]`` of the task draws;
of a case's ``expect`` these read what it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from seatrial.evals import stats
from seatrial.evals.cases import Case
from seatrial.evals.criterion import Criterion
from seatrial.evals.evidence import Evidence
from seatrial.evals.metrics.base import METRICS, Metric, Score, Shape, average, register, scored
from seatrial.evals.models import Generation
from seatrial.evals.verdict import NotEvaluated

SETTINGS = ("metric", "k", "settings")


class Sampled(Metric):
    """A metric of several answers, which reads what the metric that its settings name reads."""

    def expected(self, settings: Mapping[str, Any], main: str, fields: Sequence[str]) -> dict[str, Shape]:
        judge = _named(settings)
        return judge.expected(_inner(settings), main, fields) if judge else {}

    def needed(self, settings: Mapping[str, Any], main: str) -> set[str]:
        judge = _named(settings)
        return judge.needed(_inner(settings), main) if judge else set()


def _named(settings: Mapping[str, Any]) -> Metric | None:
    found = METRICS.get(str(settings.get("metric")))
    return found if found is not None and found.judge is not None else None


def _inner(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    given = settings.get("settings", {})
    return given if isinstance(given, Mapping) else {}


def _sampled(name: str, about: str, estimate: Callable[[int, int, int], float]) -> Metric:
    def measure(evidence: Evidence, criterion: Criterion, model: str) -> list[Score]:
        k = _attempts(criterion, evidence.task.sampling.samples)
        judge, probe = _judge(criterion)
        scores = []
        for case_set in criterion.cases:
            drawn = evidence.samples(model, case_set)
            for case in evidence.cases[case_set]:
                found = [judge(case, answer, probe, evidence) for answer in drawn[case.id]]
                if any(score is not None for score in found):  # else the case says nothing of what is judged
                    scores.append(_score(case, drawn[case.id], found, k, estimate))
        return scores

    estimator = average(0.0, 1.0)
    return register(
        Sampled(name, about, "share", "higher", measure, estimator, settings=SETTINGS, hard=False)
    )


def _attempts(criterion: Criterion, samples: int) -> int:
    k = criterion.settings.get("k", 1)
    if not isinstance(k, int) or isinstance(k, bool) or k < 1:
        raise NotEvaluated(f"k = {k!r} in the settings of {criterion.id}: give a whole number from 1")
    if k > samples:
        raise NotEvaluated(
            f"k = {k} in the settings of {criterion.id}, but {samples} answers are drawn for each case: "
            f"[sampling] samples = {k}, or more"
        )
    return k


def _judge(criterion: Criterion) -> tuple[Callable[..., Score | None], Criterion]:
    """What judges one answer, and the criterion that it is given."""
    metric, inner = _named(criterion.settings), _inner(criterion.settings)
    if metric is None:
        told = criterion.settings.get("metric")
        known = ", ".join(name for name, each in METRICS.items() if each.judge)
        said = (
            "name no metric" if told is None else f"name the metric {told!r}, which judges no single answer"
        )
        raise NotEvaluated(f"the settings of {criterion.id} {said}: metric = one of {known}")
    if unknown := sorted(set(inner) - set(metric.settings)):
        raise NotEvaluated(
            f"{metric.name} does not know the setting {unknown[0]!r} that {criterion.id} gives it; "
            f"it knows: {', '.join(metric.settings) or 'none'}"
        )
    assert metric.judge is not None
    return metric.judge, criterion.model_copy(update={"metric": metric.name, "settings": inner})


def _score(
    case: Case,
    drawn: Sequence[Generation],
    found: Sequence[Score | None],
    k: int,
    estimate: Callable[[int, int, int], float],
) -> Score:
    """The score of one case; an answer that its metric does not score counts as wrong."""
    wrong = [number for number, score in enumerate(found) if score is None or score.missed]
    value = estimate(len(found), len(found) - len(wrong), k)
    first = wrong[0] if wrong else 0
    score = found[first]
    why = score.reason if score else "it cannot be judged"
    reason = f"{len(wrong)} of {len(found)} drawn answers are wrong, first number {first + 1}: {why}"
    return scored(case, drawn[first], value, reason, score.expected if score else "")


pass_at_k = _sampled(
    "pass_at_k",
    """Mean chance that at least one of ``k`` drawn answers is right: pass@k, for callers that can pick it.

    Each answer that the task's ``[sampling]`` draws is judged by the metric that the setting ``metric``
    names, with ``settings`` of its own; it is right where that metric counts no miss. The estimate of a case
    is unbiased; ``k`` is 1 unless it is said, and at most ``samples``. The interval is over cases.

    Empty, broken, refused: as the named metric judges them.
    Source: Chen et al. 2021, arXiv:2107.03374, section 2.1.""",
    stats.pass_at_k,
)
pass_hat_k = _sampled(
    "pass_hat_k",
    """Mean chance that all of ``k`` drawn answers are right: pass^k, for callers that must rely on each.

    Each answer that the task's ``[sampling]`` draws is judged by the metric that the setting ``metric``
    names, with ``settings`` of its own; it is right where that metric counts no miss. The estimate of a case
    is unbiased; ``k`` is 1 unless it is said, and at most ``samples``. The interval is over cases.

    Empty, broken, refused: as the named metric judges them.
    Source: Yao et al. 2024, arXiv:2406.12045.""",
    stats.pass_hat_k,
)
