"""Hard requirements: regression cases and cases tagged ``critical``. One miss stops the release."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from seatrial.evals.cases import Case
from seatrial.evals.evidence import Evidence
from seatrial.evals.metrics import METRICS, Score
from seatrial.training.task import Criterion

ALWAYS = ("operation_accuracy", "argument_accuracy", "keyword_recall", "stopped")
WITH_CONTRACT = ("json_parse", "schema_validity")


def hard_cases(cases: Mapping[str, Sequence[Case]]) -> list[Case]:
    """The cases that must all be right, in file order."""
    return [case for group in cases.values() for case in group if case.hard]


def judge_hard(case: Case, evidence: Evidence) -> list[Score]:
    """Scores of the shipped model's answer by every metric for which the case says what is right."""
    answer = evidence.generations("shipped", case.case_set)[case.id]
    scores = []
    for name in _metrics(case.contract):
        judge = METRICS[name].judge
        assert judge is not None
        probe = Criterion(id="HARD", title="hard case", metric=name, why="hard case", at_least=1.0)
        if score := judge(case, answer, probe, evidence):
            scores.append(score)
    return scores


def _metrics(contract: bool) -> Iterable[str]:
    return (*ALWAYS, *WITH_CONTRACT) if contract else ALWAYS
