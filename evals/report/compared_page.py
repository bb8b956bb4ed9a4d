"""Two compared runs as one HTML page that needs no other file, in the look of the report."""

from __future__ import annotations

from typing import Any

from seatrial.evals.compare import BETTER, SAME, UNKNOWN, WORSE, Change, RunsCompared
from seatrial.evals.report import compared as words
from seatrial.evals.report import environment
from seatrial.evals.report.view import KINDS, bar

ARROW = "\N{RIGHTWARDS ARROW}"
MOST_CASES = 500  # a browser must open the page at once
LONGEST = 2_000  # characters of an answer that are shown
MARKS = {WORSE: "fail", BETTER: "ship", UNKNOWN: "none", SAME: "same"}


def page(found: RunsCompared) -> str:
    """The comparison as a page."""
    return (
        environment()
        .get_template("compared.html")
        .render(
            found=found,
            words=words,
            changes=[(change, drawing(change)) for change in words.ordered(found)],
            cases=found.cases[:MOST_CASES],
            more_cases=max(len(found.cases) - MOST_CASES, 0),
            kinds=KINDS,
            marks=MARKS,
            arrow=ARROW,
            longest=LONGEST,
            compared={"models": ["before", "after"]},
        )
    )


def drawing(change: Change) -> dict[str, Any] | None:
    """The difference on a line, against what its margin allows; None where it has no interval."""
    paired, verdict = change.paired, change.verdict
    if paired is None or not paired.interval:
        return None
    allowed = change.margin if verdict["better"] == "lower" else -change.margin
    compared = {"difference": paired.difference, "low": paired.low, "high": paired.high}
    return bar({**verdict, "comparison": compared, "threshold": allowed})
