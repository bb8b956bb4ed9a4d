"""response_rating: the quality of a reply on a scale of 1 to 5.

A person's rating of exactly this answer decides where there is one; else an automatic rubric does, and the
verdict says which. The rubric: one point, plus one each for a fulfilled contract, an acknowledgement of
the action, a follow-up question, and the task's own terms.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from seatrial.evals.cases import Case
from seatrial.evals.criterion import Criterion
from seatrial.evals.evidence import Evidence
from seatrial.evals.metrics.base import Score, average, metric, scored
from seatrial.evals.models import Generation
from seatrial.evals.ratings import answer_digest

GOOD = 4.0  # an answer rated below this is listed as missed


@metric(
    unit="points",
    estimator=average(1.0, 5.0),
    settings=("follow_up_words", "foreign_terms", "acknowledgements"),
)
def response_rating(
    case: Case, generation: Generation, criterion: Criterion, evidence: Evidence
) -> Score | None:
    """Mean rating of the replies, 1 to 5: by people where they rated exactly this answer, else by rubric.

    The rubric: 1 point, and 1 each for a fulfilled contract, an acknowledgement (the words that the setting
    ``acknowledgements`` lists for the expected label), a question with one of ``follow_up_words``, and none
    of ``foreign_terms``.

    Empty: 1. Broken, refused: no point for the contract.
    """
    given = evidence.ratings.get(answer_digest(case.id, generation.text))
    if given:
        value, source = sum(given) / len(given), "human"
        reason = f"rated {value:.3g} by {len(given)} of the people asked"
    else:
        value, lacking = rubric(case, generation, criterion.settings, evidence)
        source, reason = "rubric", f"rubric {value:.3g}: {', '.join(lacking)}"
    score = scored(case, generation, value, reason, "a rating of 4 or 5", full=GOOD)
    return Score(**{**vars(score), "note": source})


def rubric(
    case: Case, generation: Generation, settings: Mapping[str, Any], evidence: Evidence
) -> tuple[float, list[str]]:
    """The automatic rating, and what it found lacking."""
    reader = evidence.task.reader
    reply = reader.strict_prose(generation.text)
    checks = {
        "breaks the contract": not reader.problem(generation.text),
        "does not acknowledge the action": _has(reply, _acknowledgements(settings, case.label)),
        "no follow-up question": _asks(reply, settings.get("follow_up_words", ())),
        "uses other terms than the task's": not _has(reply, settings.get("foreign_terms", ())),
    }
    lacking = [what for what, good in checks.items() if not good]
    if not reply.strip():
        lacking, checks = ["no reply at all"], dict.fromkeys(checks, False)
    return 1.0 + sum(checks.values()), lacking


def _acknowledgements(settings: Mapping[str, Any], label: str) -> Sequence[str]:
    words: Sequence[str] = settings.get("acknowledgements", {}).get(label, ())
    return words


def _has(reply: str, phrases: Sequence[str]) -> bool:
    return any(re.search(rf"\b{re.escape(phrase)}s?\b", reply, re.IGNORECASE) for phrase in phrases)


def _asks(reply: str, words: Sequence[str]) -> bool:
    parts = re.split(r"([.!?])", reply)  # sentences, each before the mark that ends it
    return any(
        mark == "?" and _has(sentence, words) for sentence, mark in zip(parts[::2], parts[1::2], strict=False)
    )
