"""Reviews: are the issues found that there are, and no others?"""

from __future__ import annotations

from typing import Any

from seatrial.evals.cases import Case
from seatrial.evals.criterion import Criterion
from seatrial.evals.evidence import Evidence
from seatrial.evals.metrics.base import Score, average, metric, scored
from seatrial.evals.metrics.fields import plain
from seatrial.evals.metrics.shapes import ISSUES
from seatrial.evals.models import Generation

Issue = tuple[str, ...]


@metric(
    unit="F1",
    estimator=average(0.0, 1.0),
    settings=("field", "severity", "miss_below"),
    expects={"issues": ISSUES},
)
def issue_f1(case: Case, generation: Generation, criterion: Criterion, evidence: Evidence) -> Score | None:
    """Mean F1 of the issues that answers report, by their ids; where there is none and none is reported, 1.

    The answer's field of the setting ``field`` ("issues") is a list of texts, which are ids, or of objects
    with an ``id``; where the setting ``severity`` is true, a wrong ``severity`` makes an issue a wrong one.
    An issue that is reported twice counts once. An answer below ``miss_below`` (1) is listed as a miss.

    Empty, broken, refused: 0.
    """
    strict = bool(criterion.settings.get("severity", False))
    wanted = {found for entry in case.expect["issues"] if (found := _issue(entry, strict))}
    listed = evidence.task.reader.field(generation.text, str(criterion.settings.get("field", "issues")))
    floor = float(criterion.settings.get("miss_below", 1.0))
    if not isinstance(listed, list):
        return scored(case, generation, 0.0, "lists no issues", _told(wanted), full=floor)
    known = [_issue(entry, strict) for entry in listed]
    given = {issue for issue in known if issue}
    total = len(wanted) + len(given) + (None in known)  # entries that are no issue are one wrong one
    value = 2 * len(wanted & given) / total if total else 1.0
    reason = f"misses {_told(wanted - given)}; invents {_told(given - wanted)}"
    return scored(case, generation, value, reason, _told(wanted), full=floor)


def _issue(entry: Any, strict: bool) -> Issue | None:
    """An issue's id, and its severity where that counts; None where it has no id."""
    if isinstance(entry, str):
        entry = {"id": entry}
    if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
        return None
    severity = entry.get("severity")
    return (plain(entry["id"]), *((str(plain(severity)),) if strict and isinstance(severity, str) else ()))


def _told(issues: set[Issue]) -> str:
    return ", ".join(" ".join(issue) for issue in sorted(issues)[:20]) or "none"
