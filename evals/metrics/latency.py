"""Latency and memory, measured alone: one question at a time, after a warm-up, no other work of ours.

An answer that did not come (an error, or nothing in it) took no time and no tokens, and must not look fast:
it counts as slower than any limit, so it weighs on a percentile as the slowest answer there can be. An answer
that was cut off at the token limit counts as it was timed: its caller waited exactly so long.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from seatrial.evals.cases import Case
from seatrial.evals.criterion import Criterion
from seatrial.evals.evidence import Evidence
from seatrial.evals.metrics.base import Estimator, Metric, Score, average, only, percentile, register
from seatrial.evals.models import ERROR, Generation
from seatrial.evals.verdict import NotEvaluated

Value = Callable[[Generation], float | None]


def _timed(
    name: str,
    about: str,
    unit: str,
    better: str,
    value: Value,
    estimator: Estimator,
    settings: tuple[str, ...] = (),
) -> Metric:
    """A metric of timed answers; ``value`` is None where an answer is too short to tell."""
    worst = math.inf if better == "lower" else 0.0

    def measure(evidence: Evidence, criterion: Criterion, model: str) -> list[Score]:
        scores = []
        for case_set in criterion.cases:
            answers = evidence.timings(model, case_set).answers
            for case in evidence.cases[case_set]:
                answer = answers[case.id]
                if problem := _missing(answer):
                    scores.append(_never(case, answer, problem, worst))
                    continue
                if not answer.seconds > 0:
                    raise NotEvaluated(f"the runtime of {model!r} gives no time for the case {case.id!r}")
                if (found := value(answer)) is not None:
                    scores.append(Score(case.id, found))
        return scores

    return register(Metric(name, about, unit, better, measure, estimator, settings=settings, of="file"))


def _missing(answer: Generation) -> str:
    """Why there is no answer; empty where there is one."""
    if answer.error or answer.stop_reason == ERROR:
        return answer.error or "it ended in an error"
    return "" if answer.text.strip() else "it is empty"


def _never(case: Case, answer: Generation, problem: str, worst: float) -> Score:
    reason = f"no answer came ({problem}): it counts as slower than any limit"
    return Score(
        case.id,
        worst,
        True,
        reason,
        expected="an answer",
        actual=answer.text or answer.error,
        prompt=case.prompt,
        where=case.where,
        group=case.label,
    )


def _first_token(answer: Generation) -> float:
    if answer.first_token_seconds is None:
        raise NotEvaluated("the runtime does not tell when the first token of an answer came")
    return answer.first_token_seconds


def _speed(answer: Generation) -> float | None:
    """Tokens after the first over the time after the first; an answer of one token has no such time."""
    seconds = answer.seconds - (answer.first_token_seconds or 0.0)
    if answer.completion_tokens < 2 or not seconds > 0:
        return None
    return (answer.completion_tokens - 1) / seconds


def _peak_memory(evidence: Evidence, criterion: Criterion, model: str) -> list[Score]:
    case_sets = criterion.cases or (evidence.first_case_set,)
    most = max(evidence.timings(model, case_set).peak_memory for case_set in case_sets)
    if most <= 0:
        raise NotEvaluated(f"the runtime of {model!r} does not tell its memory")
    return [Score("runtime process", most / 1e9)]


first_token_seconds = _timed(
    "first_token_seconds",
    "Seconds from the question to the first token of the answer",
    "s",
    "lower",
    _first_token,
    percentile,
    ("percentile",),
)
answer_seconds = _timed(
    "answer_seconds",
    "Seconds from the question to the end of the answer",
    "s",
    "lower",
    lambda answer: answer.seconds,
    percentile,
    ("percentile",),
)
tokens_per_second = _timed(
    "tokens_per_second",
    "Tokens per second after the first token",
    "tokens/s",
    "higher",
    _speed,
    average(0.0),
)
peak_memory = register(
    Metric(
        "peak_memory",
        "Peak resident memory of the runtime process",
        "GB",
        "lower",
        _peak_memory,
        only,
        needs_cases=False,
        of="file",
    )
)
