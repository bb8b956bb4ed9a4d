"""Metrics: (case, generation) → score with a reason, about twenty lines each.

A metric is one entry of ``METRICS``. Most score answers case by case (:func:`per_answer`); the others take
what they need from the evidence themselves. The estimate turns scores into a value with an interval.
"""

from __future__ import annotations

from seatrial.evals.metrics.arguments import argument_accuracy
from seatrial.evals.metrics.base import Metric, Score, per_answer
from seatrial.evals.metrics.contract import json_parse, schema_validity
from seatrial.evals.metrics.export import (
    adapter_loads,
    file_size,
    gguf_answers,
    ollama_answers,
    training_minutes,
)
from seatrial.evals.metrics.fidelity import (
    adapter_strength_error,
    kl_divergence,
    metadata_parity,
    nll_change,
    prompt_parity,
    token_parity,
    top1_agreement,
    weights_parity,
)
from seatrial.evals.metrics.keywords import keyword_recall
from seatrial.evals.metrics.latency import (
    answer_seconds,
    first_token_seconds,
    peak_memory,
    tokens_per_second,
)
from seatrial.evals.metrics.modelfile import modelfile_parity
from seatrial.evals.metrics.operation import operation_accuracy
from seatrial.evals.metrics.perplexity import perplexity
from seatrial.evals.metrics.rating import response_rating
from seatrial.evals.metrics.similarity import reply_similarity
from seatrial.evals.metrics.stopping import no_repetition, stopped
from seatrial.training.errors import SeatrialError

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        operation_accuracy,
        argument_accuracy,
        json_parse,
        schema_validity,
        stopped,
        no_repetition,
        response_rating,
        reply_similarity,
        keyword_recall,
        perplexity,
        first_token_seconds,
        answer_seconds,
        tokens_per_second,
        peak_memory,
        adapter_loads,
        gguf_answers,
        file_size,
        ollama_answers,
        training_minutes,
        modelfile_parity,
        metadata_parity,
        weights_parity,
        adapter_strength_error,
        token_parity,
        prompt_parity,
        kl_divergence,
        top1_agreement,
        nll_change,
    )
}


def register(metric: Metric) -> Metric:
    """Add a metric of a repository's own, from its conftest.py; a criterion names it like any other.

    Raises:
        SeatrialError: there is a metric of that name, which criteria elsewhere rely on.
    """
    known = METRICS.setdefault(metric.name, metric)
    if known is not metric:
        raise SeatrialError(
            f"there is a metric {metric.name!r} already", where="register", hint="give yours another name"
        )
    return metric


__all__ = ["METRICS", "Metric", "Score", "per_answer", "register"]
