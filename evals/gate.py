"""The gate: all requirements together give SHIP or DO NOT SHIP. Fails closed: what is absent is not green."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seatrial.evals.verdict import FAIL, INCONCLUSIVE, NOT_EVALUATED

SHIP, DO_NOT_SHIP = "SHIP", "DO NOT SHIP"
SHIPPED, FAILED, INCOMPLETE, UNCERTAIN = 0, 1, 10, 11  # exit statuses
PYTEST_OWN = frozenset({2, 3, 4})  # interrupted, internal error, wrong usage: left as they are
ALIKE = 3  # requirements that fail for one cause, from which on they are told in one line
MISSED = "missed"  # what becomes of a hard case, which has no verdict of its own
UNRUN = "its test did not run (deselected or not collected)"
NAMED = 3  # of them that are named in that line


@dataclass(frozen=True)
class Reason:
    """What speaks against shipping: a requirement, what became of it, and why where that is known."""

    what: str
    status: str = ""
    why: str = ""

    def __str__(self) -> str:
        return f"{self.what} {self.status}".strip() + (f": {self.why}" if self.why else "")


@dataclass(frozen=True)
class Decision:
    """SHIP or DO NOT SHIP, the exit status that says so, and every reason against shipping."""

    decision: str
    exit_status: int
    reasons: tuple[Reason, ...]


def spoken(decision: str, waivers: int) -> str:
    """The decision as people read it: a SHIP with waivers is not the same as one without."""
    if decision != SHIP or not waivers:
        return decision
    return f"{SHIP}, with {waivers} waiver{'s' if waivers > 1 else ''}"


def told_once(reasons: Sequence[Reason]) -> list[str]:
    """Reasons as text, those of one cause in one line, in the order of the first of each."""
    causes: dict[tuple[str, str], list[Reason]] = {}
    for reason in reasons:
        causes.setdefault((reason.status, reason.why), []).append(reason)
    lines: list[str] = []
    for (status, why), alike in causes.items():
        if len(alike) < ALIKE or not (why or status == MISSED):
            lines += map(str, alike)
            continue
        some = ", ".join(reason.what for reason in alike[:NAMED])
        more = f" and {len(alike) - NAMED} more" if len(alike) > NAMED else ""
        lines.append(f"{Reason(f'{len(alike)} requirements', status, why)} ({some}{more})")
    return lines


def decide(
    statuses: Mapping[str, str],
    required: Sequence[str],
    hard_cases: Mapping[str, bool | None],
    other_failures: Mapping[str, str],
    reasons: Mapping[str, str],
    pytest_status: int,
    nothing_judged: str = "",
    tests_not_run: Mapping[str, str] | None = None,
    left_out: str = "",
) -> Decision:
    """The decision.

    Args:
        statuses: verdict status of each criterion that was judged.
        required: ids of the criteria that must pass.
        hard_cases: for each hard case whether it was right; None if it was not evaluated.
        other_failures: failed tests of the release that stand for no criterion and no hard case, and what
            they said.
        reasons: what is known about a criterion or case that has no verdict (skipped, error ...) or failed.
        pytest_status: the exit status that pytest would give.
        nothing_judged: why no file and no program stands behind the verdicts; empty if one does.
        tests_not_run: tests of the user's own that stand for no criterion and did not end, and why.
        left_out: what may have left out more tests of the user's own, unseen; empty if nothing did.
    """
    found = {name: statuses.get(name, NOT_EVALUATED) for name in required}
    failed = [Reason(name, FAIL, reasons.get(name, "")) for name, status in found.items() if status == FAIL]
    failed += [Reason(f"hard case {name}", MISSED) for name, right in hard_cases.items() if right is False]
    failed += [Reason(f"test failed: {name} ({said})") for name, said in other_failures.items()]
    absent = [
        Reason(name, NOT_EVALUATED, reasons.get(name, UNRUN))
        for name, status in found.items()
        if status == NOT_EVALUATED
    ]
    absent += [
        Reason(f"hard case {name}", NOT_EVALUATED, reasons.get(name, UNRUN))
        for name, right in hard_cases.items()
        if right is None
    ]
    absent += [
        Reason(f"the test {name}", NOT_EVALUATED, why) for name, why in sorted((tests_not_run or {}).items())
    ]
    absent += [Reason(said) for said in (nothing_judged, left_out) if said]
    if not required:
        absent.append(Reason("no criterion is required, so nothing was proved"))
    unsure = [Reason(name, INCONCLUSIVE) for name, status in found.items() if status == INCONCLUSIVE]
    against = (*failed, *absent, *unsure)
    if pytest_status in PYTEST_OWN:
        stopped = Reason(f"the run was stopped (pytest exit status {pytest_status})")
        return Decision(DO_NOT_SHIP, pytest_status, (stopped, *against))
    if pytest_status and not against:
        unexplained = Reason(f"pytest ended with exit status {pytest_status}, which no verdict explains")
        return Decision(DO_NOT_SHIP, FAILED, (unexplained,))
    if not against:
        return Decision(SHIP, SHIPPED, ())
    status = FAILED if failed else INCOMPLETE if absent else UNCERTAIN
    return Decision(DO_NOT_SHIP, status, against)
