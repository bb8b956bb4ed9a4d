"""Hard requirements: regression cases and cases tagged ``critical``. One miss stops the release."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from seatrial.evals.cases import Case
from seatrial.evals.criterion import Criterion
from seatrial.evals.evidence import Evidence
from seatrial.evals.metrics import METRICS, Score
from seatrial.evals.metrics.base import Metric
from seatrial.evals.task import Task
from seatrial.evals.verdict import NotEvaluated

CONTRACT = "contract"  # what is judged only where answers must fulfil the contract


class Unjudged(NotEvaluated):
    """No metric judged what a hard case expects, so that nothing of it could have been missed."""


def hard_cases(cases: Mapping[str, Sequence[Case]]) -> list[Case]:
    """The cases that must all be right, in file order."""
    return [case for group in cases.values() for case in group if case.hard]


def judge_hard(case: Case, evidence: Evidence) -> list[Score]:
    """Scores of the shipped model's answer by every metric that reads what the case expects.

    With the settings of the task's criteria where they name such a metric, else without any; and by those
    that judge every hard case: contract and stopping.

    Raises:
        Unjudged: none of them judges what it expects, so that nothing of it could be missed.
    """
    answer = evidence.generations("shipped", case.case_set)[case.id]
    scores, judged = [], False
    for metric, settings in _judges(evidence.task, case):
        assert metric.judge is not None
        probe = Criterion(
            id="HARD", title="hard case", metric=metric.name, why="hard case", at_least=1.0, settings=settings
        )
        if score := metric.judge(case, answer, probe, evidence):
            scores.append(score)
            judged = judged or not metric.always
    if not judged and not any(score.missed for score in scores):
        told = ", ".join(sorted(case.expect))
        raise Unjudged(f"no metric judges what {case.id} expects ({told}): expect what an answer can miss")
    return scores


def _judges(task: Task, case: Case) -> Iterator[tuple[Metric, Mapping[str, Any]]]:
    told: list[tuple[str, Mapping[str, Any]]] = []
    read: set[str] = set()
    for criterion in task.criteria:
        metric = METRICS.get(criterion.metric)
        if metric is None or not metric.judge or not metric.hard or (metric.name, criterion.settings) in told:
            continue
        if names := _expected(metric, criterion.settings, task, case):
            read |= names
            told.append((metric.name, criterion.settings))
            yield metric, criterion.settings
    for metric in METRICS.values():
        if metric.judge and metric.hard and not any(name == metric.name for name, _ in told):
            names = _expected(metric, {}, task, case)
            if metric.always and (case.contract or metric.covers != CONTRACT):
                yield metric, {}
            elif names - read and metric.source is None:
                read |= names
                yield metric, {}


def _expected(metric: Metric, settings: Mapping[str, Any], task: Task, case: Case) -> set[str]:
    """What of the case's expectations the metric reads, if it has all that the metric needs."""
    reader = task.reader
    names = set(metric.expected(settings, reader.main, list(reader.fields))) & set(case.expect)
    return names if metric.needed(settings, reader.main) <= case.expect.keys() else set()
