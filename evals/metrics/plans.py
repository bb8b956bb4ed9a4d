"""Plans: steps that may be taken, in an order in which they work."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from seatrial.evals.cases import Case
from seatrial.evals.criterion import Criterion
from seatrial.evals.evidence import Evidence
from seatrial.evals.metrics.base import Score, average, metric, scored
from seatrial.evals.metrics.fields import plain
from seatrial.evals.metrics.shapes import TEXTS
from seatrial.evals.models import Generation


# The first of this file: a hard case is judged by it.
@metric(unit="of pairs", estimator=average(0.0, 1.0), settings=("field",), expects={"steps": TEXTS})
def step_order(case: Case, generation: Generation, criterion: Criterion, evidence: Evidence) -> Score | None:
    """Mean share of the pairs of expected steps of which the answer has both, in the expected order.

    The answer's steps are a JSON list of texts in the field of the setting ``field`` ("steps"). They are
    compared without case, quotes and marks; a repeated step counts where it stands first. A single expected
    step is right if it is there.

    Empty, broken, refused: 0.
    Source: (1 + Kendall's tau) / 2 where no step is missing.
    """
    steps = _steps(generation, criterion, evidence)
    places = {step: place for place, step in reversed([*enumerate(steps)])}
    wanted = list(dict.fromkeys(map(plain, case.expect["steps"])))
    if not wanted:
        return None
    pairs = list(combinations(wanted, 2))
    kept = [one in places and other in places and places[one] < places[other] for one, other in pairs]
    value = sum(kept) / len(pairs) if pairs else float(wanted[0] in places)
    lacking = [step for step in wanted if step not in places]
    reason = f"lacks {', '.join(lacking)}" if lacking else f"{kept.count(False)} pairs in another order"
    return scored(case, generation, value, reason, " → ".join(case.expect["steps"]))


@metric(unit="of steps", estimator=average(0.0, 1.0), settings=("field",), expects={"steps": TEXTS})
def step_validity(
    case: Case, generation: Generation, criterion: Criterion, evidence: Evidence
) -> Score | None:
    """Mean share of an answer's steps that are among the case's, in any order.

    The answer's steps are a JSON list of texts in the field of the setting ``field`` ("steps"). They are
    compared without case, quotes and marks.

    Empty, broken, refused: 0.
    """
    steps, allowed = _steps(generation, criterion, evidence), set(map(plain, case.expect["steps"]))
    others = [step for step in steps if step not in allowed]
    value = 1 - len(others) / len(steps) if steps else 0.0
    reason = f"{others[0]!r:.200} is no step of this" if others else "lists no steps"
    return scored(case, generation, value, reason, " → ".join(case.expect["steps"]))


def _steps(generation: Generation, criterion: Criterion, evidence: Evidence) -> list[str]:
    """The steps of an answer in plain spelling; what is no text is a step that nothing allows."""
    listed: Any = evidence.task.reader.field(generation.text, str(criterion.settings.get("field", "steps")))
    if not isinstance(listed, list):
        return []
    return [plain(step) if isinstance(step, str) else "(no text)" for step in listed]
