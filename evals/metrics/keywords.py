"""keyword_recall: a coarse check of general skills, for what tuning cost."""

from __future__ import annotations

from seatrial.evals.cases import Case
from seatrial.evals.evidence import Evidence
from seatrial.evals.metrics.base import Score, per_answer, scored
from seatrial.evals.models import Generation
from seatrial.training.task import Criterion


@per_answer()
def keyword_recall(
    case: Case, generation: Generation, criterion: Criterion, evidence: Evidence
) -> Score | None:
    """Share of answers that contain at least one of the expected words, whatever their case."""
    words = case.expect.get("contains_any")
    if not words:
        return None
    text = generation.text.casefold()
    hit = any(word.casefold() in text for word in words)
    return scored(case, generation, hit, "none of the expected words", f"one of {', '.join(words)}")
