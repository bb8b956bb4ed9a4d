"""The gate: all requirements together give SHIP or DO NOT SHIP. Fails closed: what is absent is not green."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evals.verdict import FAIL, INCONCLUSIVE, NOT_EVALUATED

SHIP, DO_NOT_SHIP = "SHIP", "DO NOT SHIP"
SHIPPED, FAILED, INCOMPLETE, UNCERTAIN = 0, 1, 10, 11  # exit statuses
PYTEST_OWN = frozenset({2, 3, 4})  # interrupted, internal error, wrong usage: left as they are


@dataclass(frozen=True)
class Decision:
    """SHIP or DO NOT SHIP, the exit status that says so, and every reason against shipping."""

    decision: str
    exit_status: int
    reasons: tuple[str, ...]


def decide(
    statuses: Mapping[str, str],
    required: Sequence[str],
    hard_cases: Mapping[str, bool | None],
    other_failures: Sequence[str],
    reasons: Mapping[str, str],
    pytest_status: int,
) -> Decision:
    """The decision.

    Args:
        statuses: verdict status of each criterion that was judged.
        required: ids of the criteria that must pass.
        hard_cases: for each hard case whether it was right; None if it was not evaluated.
        other_failures: failed tests of the release that stand for no criterion and no hard case.
        reasons: what is known about a criterion or case that has no verdict (skipped, error ...) or failed.
        pytest_status: the exit status that pytest would give.
    """
    found = {name: statuses.get(name, NOT_EVALUATED) for name in required}
    failed = [
        f"{name} FAIL" + (f": {reasons[name]}" if name in reasons else "")
        for name, status in found.items()
        if status == FAIL
    ]
    failed += [f"hard case {name} missed" for name, right in hard_cases.items() if right is False]
    failed += [f"test failed: {name}" for name in other_failures]
    absent = [
        f"{name} NOT EVALUATED: {reasons.get(name, 'its test did not run (deselected or not collected)')}"
        for name, status in found.items()
        if status == NOT_EVALUATED
    ]
    absent += [
        f"hard case {name} NOT EVALUATED: {reasons.get(name, 'its test did not run')}"
        for name, right in hard_cases.items()
        if right is None
    ]
    if not required:
        absent.append("no criterion is required, so nothing was proved")
    unsure = [f"{name} INCONCLUSIVE" for name, status in found.items() if status == INCONCLUSIVE]
    against = (*failed, *absent, *unsure)
    if pytest_status in PYTEST_OWN:
        stopped = f"the run was stopped (pytest exit status {pytest_status})"
        return Decision(DO_NOT_SHIP, pytest_status, (stopped, *against))
    if pytest_status and not against:
        unexplained = f"pytest ended with exit status {pytest_status}, which no verdict explains"
        return Decision(DO_NOT_SHIP, FAILED, (unexplained,))
    if not against:
        return Decision(SHIP, SHIPPED, ())
    status = FAILED if failed else INCOMPLETE if absent else UNCERTAIN
    return Decision(DO_NOT_SHIP, status, against)
