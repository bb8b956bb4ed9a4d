"""Words that an answer must have: a coarse check, such as of general skills that tuning may cost."""

from __future__ import annotations

from seatrial.evals.cases import Case
from seatrial.evals.criterion import Criterion
from seatrial.evals.evidence import Evidence
from seatrial.evals.metrics.base import Score, metric, scored
from seatrial.evals.metrics.shapes import TEXTS
from seatrial.evals.models import Generation


@metric(expects={"contains_any": TEXTS})
def keyword_recall(
    case: Case, generation: Generation, criterion: Criterion, evidence: Evidence
) -> Score | None:
    """Share of answers that contain at least one of the expected words, whatever their case.

    Empty: wrong. Broken, refused: by their words.
    """
    words = case.expect["contains_any"]
    if not words:
        return None
    text = generation.text.casefold()
    hit = any(word.casefold() in text for word in words)
    return scored(case, generation, hit, "none of the expected words", f"one of {', '.join(words)}")
