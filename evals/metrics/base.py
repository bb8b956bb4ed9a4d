"""What a metric is, and how one that reads answers case by case is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from seatrial.evals.cases import Case
from seatrial.evals.evidence import Evidence
from seatrial.evals.metrics.estimators import Estimator, average, counted, only, percentile, share
from seatrial.evals.metrics.scores import Score
from seatrial.evals.models import Generation
from seatrial.evals.stats import Comparison, Estimate
from seatrial.training.task import Criterion

__all__ = [
    "Estimator",
    "Judge",
    "Measure",
    "Metric",
    "Score",
    "average",
    "counted",
    "only",
    "per_answer",
    "percentile",
    "scored",
    "share",
]

LONGEST_REASON = 1000  # characters

Judge = Callable[[Case, Generation, Criterion, "Evidence"], Score | None]
Measure = Callable[["Evidence", Criterion, str], list[Score]]


@dataclass(frozen=True)
class Metric:
    """A named measurement: how to score, how to estimate and compare, the unit, which direction is better.

    ``judge`` is there for metrics of single answers; per-case tests call it, too. ``needs_cases`` is false
    for what is measured of files and processes. ``settings``: the keys that a criterion's settings may have.
    """

    name: str
    about: str
    unit: str
    better: str
    measure: Measure
    estimator: Estimator
    judge: Judge | None = None
    needs_cases: bool = True
    settings: tuple[str, ...] = ()

    def estimate(self, scores: Sequence[Score], criterion: Criterion) -> Estimate:
        """The value of ``scores``, with its interval."""
        return self.estimator.estimate(scores, criterion)

    def compare(self, first: Sequence[Score], second: Sequence[Score], criterion: Criterion) -> Comparison:
        """The difference between the values of the cases that both have, with its interval."""
        return self.estimator.compare(first, second, criterion)


def per_answer(
    unit: str = "share",
    estimator: Estimator = share,
    better: str = "higher",
    settings: tuple[str, ...] = (),
) -> Callable[[Judge], Metric]:
    """Make a metric of a function that scores one answer; it returns None for a case that it skips."""

    def make(judge: Judge) -> Metric:
        def measure(evidence: Evidence, criterion: Criterion, model: str) -> list[Score]:
            scores = []
            for case_set in criterion.cases:
                answers = evidence.generations(model, case_set)
                for case in evidence.cases[case_set]:
                    if score := judge(case, answers[case.id], criterion, evidence):
                        scores.append(score)
            return scores

        about = (judge.__doc__ or "").strip()
        return Metric(judge.__name__, about, unit, better, measure, estimator, judge, settings=settings)

    return make


def cut(reason: str) -> str:
    """A reason that may quote an answer, cut to what a person reads; the answer stands beside it."""
    return reason if len(reason) <= LONGEST_REASON else f"{reason[:LONGEST_REASON]}…"


def scored(
    case: Case, generation: Generation, hit: bool | float, reason: str, expected: str, full: float = 1.0
) -> Score:
    """A score that carries its case; it counts as missed below ``full``."""
    value = float(hit)
    return Score(
        case=case.id,
        value=value,
        missed=value < full,
        reason="" if value >= full else cut(reason),
        expected=expected,
        actual=generation.text or generation.error,
        prompt=case.prompt,
        where=case.where,
        group=case.operation or "",
    )
