"""Latency and memory, measured alone: one question at a time, after a warm-up, no other work of ours."""

from __future__ import annotations

from collections.abc import Callable

from evals.evidence import Evidence
from evals.metrics.base import Estimator, Metric, Score, average, only, percentile
from evals.models import Generation
from training.task import Criterion


def _timed(
    name: str, about: str, unit: str, better: str, value: Callable[[Generation], float], estimate: Estimator
) -> Metric:
    def measure(evidence: Evidence, criterion: Criterion, model: str) -> list[Score]:
        timings = evidence.timings(model, criterion.cases[0])
        return [Score(case, value(answer)) for case, answer in timings.answers.items()]

    return Metric(name, about, unit, better, measure, estimate)


def _speed(answer: Generation) -> float:
    """Tokens after the first one over the time after the first one."""
    seconds = answer.seconds - (answer.first_token_seconds or 0.0)
    return (answer.completion_tokens - 1) / seconds if seconds > 0 else 0.0


def _peak_memory(evidence: Evidence, criterion: Criterion, model: str) -> list[Score]:
    case_set = criterion.cases[0] if criterion.cases else evidence.first_case_set
    return [Score("runtime process", evidence.timings(model, case_set).peak_memory / 1e9)]


first_token_seconds = _timed(
    "first_token_seconds",
    "Seconds from the question to the first token of the answer",
    "s",
    "lower",
    lambda answer: answer.first_token_seconds or 0.0,
    percentile,
)
answer_seconds = _timed(
    "answer_seconds",
    "Seconds from the question to the end of the answer",
    "s",
    "lower",
    lambda answer: answer.seconds,
    percentile,
)
tokens_per_second = _timed(
    "tokens_per_second", "Tokens per second after the first token", "tokens/s", "higher", _speed, average
)
peak_memory = Metric(
    "peak_memory",
    "Peak resident memory of the runtime process",
    "GB",
    "lower",
    _peak_memory,
    only,
    needs_cases=False,
)
