"""What a metric is, and how one that reads answers case by case is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from evals import stats
from evals.cases import Case
from evals.evidence import Evidence
from evals.models import Generation
from evals.stats import Estimate
from training.task import Criterion


@dataclass(frozen=True)
class Score:
    """One case's score. ``weight`` is its number of tokens where a metric counts tokens.

    ``missed`` says that the case counts against the criterion; ``group`` puts it into a breakdown; ``stage``
    says where between data and user the fault of a missed check came in.
    """

    case: str
    value: float
    missed: bool = False
    reason: str = ""
    expected: str = ""
    actual: str = ""
    prompt: str = ""
    where: str = ""
    group: str = ""
    weight: float = 1.0
    note: str = ""
    stage: str = ""


LONGEST_REASON = 1000  # characters

Judge = Callable[[Case, Generation, Criterion, "Evidence"], Score | None]
Measure = Callable[["Evidence", Criterion, str], list[Score]]
Estimator = Callable[[Sequence[Score], Criterion], Estimate]


@dataclass(frozen=True)
class Metric:
    """A named measurement: how to score, how to estimate, in which unit, and which direction is better.

    ``judge`` is there for metrics of single answers; per-case tests call it, too. ``needs_cases`` is false
    for what is measured of files and processes.
    """

    name: str
    about: str
    unit: str
    better: str
    measure: Measure
    estimate: Estimator
    judge: Judge | None = None
    needs_cases: bool = True


def share(scores: Sequence[Score], criterion: Criterion) -> Estimate:
    """Share of ones with a Wilson interval."""
    return stats.proportion([score.value for score in scores], criterion.confidence)


def counted(scores: Sequence[Score], criterion: Criterion) -> Estimate:
    """Share of ones among all there are."""
    return stats.counted([score.value for score in scores])


def average(scores: Sequence[Score], criterion: Criterion) -> Estimate:
    """Mean with a bootstrap interval."""
    return stats.mean([score.value for score in scores], criterion.confidence)


def percentile(scores: Sequence[Score], criterion: Criterion) -> Estimate:
    """The percentile that the criterion's settings name (default: the median)."""
    rank = float(criterion.settings.get("percentile", 50))
    return stats.percentile([score.value for score in scores], rank, criterion.confidence)


def only(scores: Sequence[Score], criterion: Criterion) -> Estimate:
    """The one value that was measured."""
    return stats.single(scores[0].value)


def per_answer(
    unit: str = "share", estimate: Estimator = share, better: str = "higher"
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

        name = judge.__name__
        return Metric(name, (judge.__doc__ or "").strip(), unit, better, measure, estimate, judge)

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
