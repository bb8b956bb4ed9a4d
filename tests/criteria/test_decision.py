"""The decision of the gate fails closed, whatever stands against shipping."""

import itertools

import pytest

from seatrial.evals.gate import DO_NOT_SHIP, SHIP, decide
from seatrial.evals.verdict import FAIL, INCONCLUSIVE, NOT_EVALUATED, PASS


def gate(
    statuses=None,
    required=("A", "B"),
    hard=None,
    other=None,
    reasons=None,
    pytest_status=0,
    nothing_judged="",
):
    statuses = {"A": PASS, "B": PASS} | (statuses or {})
    return decide(statuses, required, hard or {}, other or {}, reasons or {}, pytest_status, nothing_judged)


def test_all_green_ships_without_a_reason_against():
    decision = gate(hard={"h": True}, statuses={"C": FAIL, "D": NOT_EVALUATED})
    assert (decision.decision, decision.exit_status, decision.reasons) == (SHIP, 0, ())


@pytest.mark.parametrize(
    ("state", "exit_status", "reason"),
    [
        ({"statuses": {"A": FAIL}}, 1, "A FAIL"),
        ({"statuses": {"A": INCONCLUSIVE}}, 11, "A INCONCLUSIVE"),
        (
            {"statuses": {"A": NOT_EVALUATED}},
            10,
            "A NOT EVALUATED: its test did not run (deselected or not collected)",
        ),
        (
            {"required": ("A", "B", "C")},
            10,
            "C NOT EVALUATED: its test did not run (deselected or not collected)",
        ),
        (
            {"required": ("A", "C"), "reasons": {"C": "skipped: no GPU"}},
            10,
            "C NOT EVALUATED: skipped: no GPU",
        ),
        ({"required": ()}, 10, "no criterion is required, so nothing was proved"),
        ({"hard": {"h": False, "i": True}}, 1, "hard case h missed"),
        (
            {"hard": {"h": None}},
            10,
            "hard case h NOT EVALUATED: its test did not run (deselected or not collected)",
        ),
        ({"nothing_judged": "no file was judged"}, 10, "no file was judged"),
        (
            {"hard": {"h": None}, "reasons": {"h": "error: boom"}},
            10,
            "hard case h NOT EVALUATED: error: boom",
        ),
        (
            {"other": {"evals/test_x.py::test_y": "boom"}, "pytest_status": 1},
            1,
            "test failed: evals/test_x.py::test_y (boom)",
        ),
    ],
)
def test_one_thing_against_shipping_is_enough_and_is_told(state, exit_status, reason):
    decision = gate(**state)
    assert (decision.decision, decision.exit_status) == (DO_NOT_SHIP, exit_status)
    assert tuple(map(str, decision.reasons)) == (reason,)


@pytest.mark.parametrize("first", [PASS, FAIL, INCONCLUSIVE, NOT_EVALUATED])
@pytest.mark.parametrize("second", [PASS, FAIL, INCONCLUSIVE, NOT_EVALUATED])
@pytest.mark.parametrize("right", [True, False, None])
def test_the_exit_status_is_that_of_the_gravest_thing_against_shipping(first, second, right):
    decision = gate({"A": first, "B": second}, hard={"h": right})
    seen = {first, second, {True: PASS, False: FAIL, None: NOT_EVALUATED}[right]}
    gravest = next(status for status in (FAIL, NOT_EVALUATED, INCONCLUSIVE, PASS) if status in seen)
    assert decision.exit_status == {FAIL: 1, NOT_EVALUATED: 10, INCONCLUSIVE: 11, PASS: 0}[gravest]
    assert decision.decision == (SHIP if gravest == PASS else DO_NOT_SHIP)
    assert len(decision.reasons) == [first, second, right].count(FAIL) + len(
        [one for one in (first, second) if one in (INCONCLUSIVE, NOT_EVALUATED)]
    ) + (right is not True)


@pytest.mark.parametrize(
    ("status", "state"), list(itertools.product([2, 3, 4], [{}, {"statuses": {"A": FAIL}}]))
)
def test_a_run_that_was_stopped_keeps_pytest_s_exit_status_and_never_ships(status, state):
    decision = gate(pytest_status=status, **state)
    assert (decision.decision, decision.exit_status) == (DO_NOT_SHIP, status)
    assert str(decision.reasons[0]) == f"the run was stopped (pytest exit status {status})"
    assert len(decision.reasons) == 1 + len(state)


@pytest.mark.parametrize("status", [1, 5, 6])
def test_a_run_that_pytest_calls_bad_never_ships_even_if_nothing_explains_why(status):
    # For instance a fixture that fails in teardown, after its criterion has passed.
    decision = gate(pytest_status=status)
    assert decision.decision == DO_NOT_SHIP
    assert decision.exit_status != 0
    assert decision.reasons
