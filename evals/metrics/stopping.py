"""stopped and no_repetition: does an answer end, and does it say things once?"""

from __future__ import annotations

from dataclasses import replace

from seatrial.evals.cases import Case
from seatrial.evals.criterion import Criterion
from seatrial.evals.evidence import Evidence
from seatrial.evals.metrics.base import METRICS, Score, metric, scored
from seatrial.evals.models import EOS, ERROR, LENGTH, Generation
from seatrial.evals.repetition import repetition
from seatrial.evals.verdict import NotEvaluated


@metric(always=True, covers="stopping")
def stopped(case: Case, generation: Generation, criterion: Criterion, evidence: Evidence) -> Score | None:
    """Share of answers that the model ended by itself, within the token limit.

    Not evaluated where a program does not say why an answer ended.

    Empty, broken, refused: by how they ended.
    """
    if _untold(generation):
        return None
    reason = generation.error or (
        f"stopped by {generation.stop_reason!r} after {generation.completion_tokens} tokens"
    )
    return scored(case, generation, generation.stop_reason == EOS, reason, "an end-of-turn token")


def _untold(generation: Generation) -> bool:
    """Whether nobody said why the answer ended; that it just ended proves nothing."""
    return not generation.error and generation.stop_reason not in (EOS, LENGTH, ERROR)


def _all_told(evidence: Evidence, criterion: Criterion, model: str) -> list[Score]:
    answers = [a for name in criterion.cases for a in evidence.generations(model, name).values()]
    untold = sum(map(_untold, answers))
    if untold:
        raise NotEvaluated(
            f"the program does not say why {untold} of its {len(answers)} answers ended: "
            f"let it write 'stop_reason' ({EOS}, {LENGTH} or {ERROR})"
        )
    return _MEASURE(evidence, criterion, model)


_MEASURE = stopped.measure
METRICS["stopped"] = stopped = replace(stopped, measure=_all_told)


@metric()
def no_repetition(
    case: Case, generation: Generation, criterion: Criterion, evidence: Evidence
) -> Score | None:
    """Share of answers without a loop of up to 1000 characters; what the question repeats may be quoted.

    Empty: right. Broken, refused: by their text.
    """
    loop = repetition(generation.text)
    quoted = loop is not None and loop[0].strip() in case.prompt
    reason = f"repeats {loop[1]!r}" if loop else ""
    return scored(case, generation, loop is None or quoted, reason, "no repetition loop")
