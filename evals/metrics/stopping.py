"""stopped and no_repetition: does an answer end, and does it say things once?"""

from __future__ import annotations

from evals.cases import Case
from evals.evidence import Evidence
from evals.metrics.base import Score, per_answer, scored
from evals.models import EOS, Generation
from evals.repetition import repetition
from training.task import Criterion


@per_answer()
def stopped(case: Case, generation: Generation, criterion: Criterion, evidence: Evidence) -> Score | None:
    """Share of answers that the model ended by itself, within the token limit."""
    reason = generation.error or (
        f"stopped by {generation.stop_reason!r} after {generation.completion_tokens} tokens"
    )
    return scored(case, generation, generation.stop_reason == EOS, reason, "an end-of-turn token")


@per_answer()
def no_repetition(
    case: Case, generation: Generation, criterion: Criterion, evidence: Evidence
) -> Score | None:
    """Share of answers without a loop of up to 1000 characters; what the question repeats may be quoted."""
    loop = repetition(generation.text)
    quoted = loop is not None and loop[0].strip() in case.prompt
    reason = f"repeats {loop[1]!r}" if loop else ""
    return scored(case, generation, loop is None or quoted, reason, "no repetition loop")
