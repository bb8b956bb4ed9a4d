"""The regressions in results.json and on the page: each with its incident and whether it held in this run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from seatrial.evals.cases import Case
from seatrial.evals.history import On


def regressions(cases: Iterable[Case], held: Mapping[str, bool | None]) -> list[dict[str, Any]]:
    """One entry a regression, in file order; ``held`` says of each case's id whether its answer was right, or
    None if nobody asked. The histories are those of the rows as they were read."""
    return [
        {
            "case": case.id,
            "where": case.where,
            "prompt": case.prompt,
            "held": held.get(case.id),
            "incident": case.history.incident,
            "seen_where": case.history.seen.where,
            "seen_when": case.history.seen.when,
            "added": case.history.added,
            "red_on": case.history.red_on,
            "green_since": _check(case.history.green_since),
            "last_red": _check(case.history.last_red),
        }
        for case in cases
    ]


def _check(check: On | None) -> dict[str, str] | None:
    return {"when": check.when, "on": check.on} if check else None
