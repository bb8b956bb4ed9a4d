"""reply_similarity: how close a reply's wording is to the reference reply."""

from __future__ import annotations

import re

from seatrial.evals.answer import find_object
from seatrial.evals.cases import Case
from seatrial.evals.evidence import Evidence
from seatrial.evals.metrics.base import Score, average, per_answer, scored
from seatrial.evals.models import Generation
from seatrial.evals.near_duplicates import rouge_l
from seatrial.training.task import Criterion


@per_answer(unit="ROUGE-L F1", estimator=average(0.0, 1.0), settings=("miss_below",))
def reply_similarity(
    case: Case, generation: Generation, criterion: Criterion, evidence: Evidence
) -> Score | None:
    """Mean ROUGE-L F1 between reply and reference reply (Lin 2004, ACL W04-1013), words as rouge-score's."""
    if case.question.reference is None:
        return None
    reference, reply = _reply(case.question.reference), _reply(generation.text)
    first, second = _words(reference), _words(reply)
    value = rouge_l(first, second) if first and second else 0.0
    floor = float(criterion.settings.get("miss_below", 0.3))
    return scored(case, generation, value, f"ROUGE-L {value:.2f}", reference, full=floor)


def _words(text: str) -> list[str]:
    """The words of rouge-score's tokenizer without a stemmer."""
    return re.findall(r"[a-z0-9]+", text.lower())


def _reply(text: str) -> str:
    found = find_object(text)
    reply = found.get("reply") if found else None
    return reply if isinstance(reply, str) else text
