"""What a metric is, and the decorator that makes one of a function which scores one answer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, wraps
from math import isfinite
from pathlib import Path
from typing import Any

from seatrial.evals.cases import Case
from seatrial.evals.criterion import Criterion
from seatrial.evals.evidence import Evidence
from seatrial.evals.metrics.estimators import Estimator, average, counted, only, percentile, share
from seatrial.evals.metrics.scores import Score
from seatrial.evals.metrics.shapes import ANYTHING, Shape
from seatrial.evals.models import Generation
from seatrial.evals.stats import Comparison, Estimate
from seatrial.evals.verdict import NotEvaluated
from seatrial.training.errors import SeatrialError, at
from seatrial.training.extras import MissingExtra, require

__all__ = [
    "ANYTHING",
    "FIELDS",
    "LABEL",
    "METRICS",
    "Estimator",
    "Judge",
    "Measure",
    "Metric",
    "Score",
    "Shape",
    "average",
    "counted",
    "counts_against",
    "metric",
    "only",
    "percentile",
    "register",
    "scored",
    "share",
]

LONGEST_REASON = 1000  # characters
LABEL = "{label}"  # an expectation: of the field that the settings name, else of the task's label
FIELDS = "{fields}"  # an expectation: of any field of the answer

Judge = Callable[[Case, Generation, Criterion, "Evidence"], Score | None]
Measure = Callable[["Evidence", Criterion, str], list[Score]]
Picture = Callable[[Sequence[Score]], Mapping[str, Any] | None]


@dataclass(frozen=True)
class Metric:
    """A named measurement: how to score, how to estimate and compare, the unit, which direction is better.

    Args:
        judge: for metrics of single answers; per-case tests call it, too.
        needs_cases: false for what is measured of files and processes.
        settings: the keys that a criterion's settings may have.
        expects: what it reads of a case's ``expect``, with the shape that it must have there.
        needs: those of ``expects`` without which a case is not scored; a hard case that has them is.
        hard: whether it judges hard cases that say what it reads.
        always: whether every hard case is judged by it, whatever it expects.
        of: what it is measured of: ``answers`` of whatever is judged, a ``file``, or the ``trained`` model.
        covers: the part of the standard core that a criterion with it covers.
        picture: what the report draws of the scores beside the value, such as a confusion matrix.
        extra: the extra whose packages it needs, if any.
        source: the file that defines it, where that is not one of ours.
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
    expects: Mapping[str, Shape] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    hard: bool = True
    always: bool = False
    of: str = "answers"
    covers: str = ""
    picture: Picture | None = None
    extra: str = ""
    source: Path | None = None

    def estimate(self, scores: Sequence[Score], criterion: Criterion) -> Estimate:
        """The value of ``scores``, with its interval."""
        return self.estimator.estimate(scores, criterion)

    def compare(self, first: Sequence[Score], second: Sequence[Score], criterion: Criterion) -> Comparison:
        """The difference between the values of the cases that both have, with its interval."""
        return self.estimator.compare(first, second, criterion)

    def expected(self, settings: Mapping[str, Any], main: str, fields: Sequence[str]) -> dict[str, Shape]:
        """What it reads of ``expect`` under these settings, where ``main`` is the task's label."""
        found: dict[str, Shape] = {}
        for key, shape in self.expects.items():
            if key == LABEL:
                found[str(settings.get("field", main))] = shape
            elif key == FIELDS:
                found |= dict.fromkeys(settings.get("fields") or fields, shape)
            else:
                found[key] = shape
        return found

    @property
    def shapes(self) -> dict[str, Shape]:
        """What it reads of ``expect`` under names of its own, whatever the task's fields are called."""
        return {key: shape for key, shape in self.expects.items() if key not in (LABEL, FIELDS)}

    def needed(self, settings: Mapping[str, Any], main: str) -> set[str]:
        """What of ``expect`` a case must have to be scored; fields that the settings name are needed, all."""
        found = {str(settings.get("field", main)) if key == LABEL else key for key in self.needs}
        return found | set(settings.get("fields", ()) if FIELDS in self.expects else ())


METRICS: dict[str, Metric] = {}


def register(metric: Metric) -> Metric:
    """Enter a metric, so that criteria can name it.

    Raises:
        SeatrialError: there is another one of that name, which criteria elsewhere rely on.
    """
    known = METRICS.get(metric.name)
    if known is not None and known is not metric:
        raise SeatrialError(
            f"there is a metric {metric.name!r} already", where="register", hint="give yours another name"
        )
    METRICS[metric.name] = metric
    return metric


def metric(
    unit: str = "share",
    estimator: Estimator = share,
    better: str = "higher",
    settings: tuple[str, ...] = (),
    expects: Mapping[str, Shape] | Sequence[str] = (),
    optional: Sequence[str] = (),
    hard: bool = True,
    always: bool = False,
    covers: str = "",
    picture: Picture | None = None,
    of: str = "answers",
    extra: str = "",
) -> Callable[[Judge], Metric]:
    """Make a metric of a function that scores one answer, under the function's name, and enter it.

    The function takes the case, the answer, the criterion and the evidence, and returns a score, or None for
    a case that it skips. Its docstring is what docs/metrics.md says. A case without what ``expects`` names is
    skipped before the function is called, unless ``optional`` names it. Without the packages of ``extra``,
    :class:`MissingExtra` is raised instead.
    """
    shapes = dict(expects) if isinstance(expects, Mapping) else dict.fromkeys(expects, ANYTHING)
    needs = tuple(key for key in shapes if key not in optional and key != FIELDS)

    def make(function: Judge) -> Metric:
        file = Path(inspect.getfile(function))
        own = file if not (function.__module__ or "").startswith("seatrial.") else None
        if own and covers:
            raise SeatrialError(
                f"the metric {function.__name__!r} says that it covers {covers!r} of the standard core: take "
                f'that out, and say in task.toml what you ask instead: [waivers] {covers} = "why"',
                where=at(own),
            )
        judge = _guarded(function, needs, own, extra, unit == "share")

        def measure(evidence: Evidence, criterion: Criterion, model: str) -> list[Score]:
            scores = []
            for case_set in criterion.cases:
                answers = evidence.generations(model, case_set)
                for case in evidence.cases[case_set]:
                    if score := judge(case, answers[case.id], criterion, evidence):
                        scores.append(score)
            return scores

        return register(
            Metric(
                name=function.__name__,
                about=inspect.cleandoc(function.__doc__ or ""),
                unit=unit,
                better=better,
                measure=measure,
                estimator=estimator,
                judge=judge,
                settings=settings,
                expects=shapes,
                needs=needs,
                hard=hard,
                always=always,
                of=of,
                covers=covers,
                picture=picture,
                extra=extra,
                source=own,
            )
        )

    return make


@cache
def _have(extra: str) -> None:
    """Raise :class:`MissingExtra` unless the extra is here; that it is, is found out once."""
    require(extra)


def _guarded(function: Judge, needs: Sequence[str], own: Path | None, extra: str, bounded: bool) -> Judge:
    """``function`` for cases that say what it needs; a mistake in somebody's own is told with its line.

    ``bounded``: what it scores is a share, from 0 to 1.
    """

    @wraps(function)
    def judge(case: Case, generation: Generation, criterion: Criterion, evidence: Evidence) -> Score | None:
        for key in needs:
            name = str(criterion.settings.get("field", evidence.task.reader.main)) if key == LABEL else key
            if name not in case.expect:
                return None
        if extra:
            _have(extra)
        if own is None:
            return function(case, generation, criterion, evidence)
        try:
            score = function(case, generation, criterion, evidence)
            if score is not None and not isinstance(score, Score):
                raise TypeError(f"it returned {score!r:.80}, no score: return scored(case, generation, ...)")
            if score is not None and not (isfinite(score.value) and (not bounded or 0 <= score.value <= 1)):
                raise ValueError(
                    f"it scored {score.value}, where {'0 to 1' if bounded else 'a number'} counts"
                )
            return score
        except (NotEvaluated, MissingExtra, SeatrialError):
            raise
        except Exception as error:
            raise NotEvaluated(_told(error, own, function.__name__, case)) from error

    return judge


def _told(error: Exception, own: Path, name: str, case: Case) -> str:
    """What went wrong in a metric of somebody's own, where, and at which case."""
    trace = error.__traceback__
    line = 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(own):
            line = trace.tb_lineno
        trace = trace.tb_next
    place = f"{own.name}:{line}" if line else own.name
    return f"{place}: the metric {name!r} raised {type(error).__name__} at the case {case.id}: {error}"


def cut(reason: str) -> str:
    """A reason that may quote an answer, cut to what a person reads; the answer stands beside it."""
    return reason if len(reason) <= LONGEST_REASON else f"{reason[:LONGEST_REASON]}…"


def scored(
    case: Case,
    generation: Generation,
    hit: bool | float,
    reason: str,
    expected: str,
    full: float = 1.0,
    found: str = "",
    group: str | None = None,
) -> Score:
    """A score that carries its case; it counts as missed below ``full``.

    ``found``: the label that the answer was read as, for metrics that count confusions. ``group``: under what
    it stands in breakdowns, by default the label that the case expects.
    """
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
        group=case.label if group is None else group,
        found=found,
        unanswered=bool(generation.error),
    )


def counts_against(case: Case, generation: Generation, bad: bool, reason: str, expected: str) -> Score:
    """The score of a share of which less is better: 1, and missed, where ``bad``."""
    return replace(scored(case, generation, not bad, reason, expected), value=float(bad))
