"""argument_accuracy: does the answer act on the right thing, with the right values?"""

from __future__ import annotations

import json
import re
from typing import Any

from seatrial.evals.answer import find_object
from seatrial.evals.cases import Case
from seatrial.evals.evidence import Evidence
from seatrial.evals.metrics.base import Score, per_answer, scored
from seatrial.evals.models import Generation
from seatrial.training.task import Criterion


@per_answer()
def argument_accuracy(
    case: Case, generation: Generation, criterion: Criterion, evidence: Evidence
) -> Score | None:
    """Share of answers whose operation and arguments are all right; case, articles and quotes are ignored."""
    if "arguments" not in case.expect:
        return None
    wanted = {"operation": case.operation, **case.expect["arguments"]}
    answer = find_object(generation.text) or {}
    arguments = answer.get("arguments")
    given = {"operation": answer.get("operation")} | (arguments if isinstance(arguments, dict) else {})
    differing = sorted(
        key for key in wanted.keys() | given.keys() if _plain(wanted.get(key)) != _plain(given.get(key))
    )
    reason = ", ".join(f"{key}: {given.get(key)!r} where {wanted.get(key)!r} is right" for key in differing)
    return scored(case, generation, not differing, reason, json.dumps(wanted, ensure_ascii=False))


def _plain(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    words = re.sub(r"[\"'“”‘’.,!?#]", "", value.casefold()).split()
    return " ".join(words[1:] if words[:1] in (["the"], ["a"], ["an"], ["my"]) else words)
