"""Two compared runs in words: the same for the terminal, Markdown and the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seatrial.evals.compare import BETTER, SAME, UNKNOWN, WORSE, CaseChange, Change, RunsCompared
from seatrial.evals.report.wording import amount, interval, size

Json = Mapping[str, Any]
ORDER = (WORSE, BETTER, UNKNOWN, SAME)


def headline(found: RunsCompared) -> str:
    """Such as ``2 criteria got worse, 1 better, 6 stayed; 1 hard case got worse``."""
    count = {direction: sum(c.direction == direction for c in found.criteria) for direction in ORDER}
    worse = count[WORSE]
    told = f"{worse} {'criterion' if worse == 1 else 'criteria'} got worse, {count[BETTER]} better"
    told += f", {count[SAME]} stayed"
    if count[UNKNOWN]:
        told += f", {count[UNKNOWN]} cannot be compared"
    if hard := sum(each.direction == WORSE for each in found.hard):
        told += f"; {hard} hard {'case' if hard == 1 else 'cases'} got worse"
    return told


def conclusion(found: RunsCompared) -> str:
    """What counts as a regression, beyond the margins."""
    names = found.regressions
    if not names:
        return "No regression beyond the margins."
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8:,} more" if len(names) > 8 else "")
    return f"Regressions beyond the margins: {shown}."


def ordered(found: RunsCompared) -> list[Change]:
    """Criteria that got worse first; else in the order of the task."""
    return sorted(found.criteria, key=lambda change: ORDER.index(change.direction))


def judged(run: Json) -> str:
    """What a run judged."""
    if shipped := run["shipped"]:
        return f"{shipped['name']}, {size(shipped['bytes'])}, SHA-256 {shipped['sha256'][:16]}"
    return f"the program {run['program']}" if run["program"] else "nothing"


def commit(run: Json) -> str:
    """The commit of a run, shortened."""
    git = run["run"]["git"]
    return f"commit {git['commit'][:10]}{', changed' if git['dirty'] else ''}" if git else "no commit"


def statuses(change: Change, arrow: str) -> str:
    """PASS, or PASS -> FAIL."""
    states = [verdict["status"] for verdict in (change.before, change.after) if verdict]
    return states[0] if len(set(states)) == 1 else f" {arrow} ".join(states)


def values(change: Change, arrow: str) -> str:
    """Both values with their unit; empty where they are not compared."""
    if change.paired is None:
        return ""
    unit = change.verdict["unit"]
    both = [amount(value, unit) for value in (change.paired.before, change.paired.after)]
    return both[0] if both[0] == both[1] else f" {arrow} ".join(both)


def difference(change: Change) -> str:
    """The difference with its interval, p-value and number of pairs, or why there is none."""
    paired, unit = change.paired, change.verdict["unit"]
    if paired is None:
        return change.reason
    if paired.difference is None:
        return "one of the values is not a number"
    told = amount(paired.difference, unit, True).replace("percentage points", "points")
    if bounds := interval(paired.low, paired.high, unit, True):
        told += f" ({bounds.replace(' percentage points', '')})"
    if paired.p_value is not None:
        told += f", p = {paired.p_value:.2g}"
    why = "" if paired.interval else f", {paired.method}"
    return f"{told}, n = {paired.n}{why}"


def tally(change: Change) -> str:
    """How many cases got better and worse."""
    if change.paired is None or not (change.paired.won or change.paired.lost):
        return ""
    return f"{len(change.paired.lost)} worse, {len(change.paired.won)} better"


def within(change: Change) -> str:
    """A word about a loss that its margin allows."""
    if change.direction != WORSE or change.regressed:
        return ""
    return f"within the margin of {amount(change.margin, change.verdict['unit'])}"


def scores(case: CaseChange, arrow: str) -> str:
    """Which criteria saw a case change, such as ``SC-1 1 -> 0``."""
    return ", ".join(
        f"{criterion} {amount(before)} {arrow} {amount(after)}" for criterion, before, after, _ in case.scores
    )


def only(found: RunsCompared) -> list[tuple[str, list[str]]]:
    """Cases that could not be paired, by reason."""
    lists = (
        ("asked by the earlier run only", found.only_before),
        ("asked by the later run only", found.only_after),
        ("another question under the same id", found.changed),
    )
    return [(what, cases) for what, cases in lists if cases]


def pairing(found: RunsCompared) -> str:
    """How the cases were paired."""
    told = f"Paired over the {found.shared:,} cases that both runs asked; intervals at 95 %."
    if found.by_id:
        told += f" {found.by_id:,} of them by id alone: a record does not say what was asked."
    return told
