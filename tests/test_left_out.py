"""Tests of one's own belong to the gate: none stands in for the gate's own, and none is left out in silence.

python -m pytest tests/test_left_out.py
"""

from __future__ import annotations

import pytest

SHIPPED, FAILED, USAGE, INCOMPLETE = 0, 1, 4, 10
SUITE = "seatrial/evals/suite"
OWN = """
import pytest
from seatrial.evals.verdict import Verdict

pytestmark = [pytest.mark.release]


def verdict(name, status="PASS"):
    return Verdict(
        criterion=name, title="The licence is there", status=status, required=True, metric="licence",
        unit="", better="higher", rule="point", requirement="a licence", why="Without it nobody may use it.",
    )

"""


# --- what a test of one's own may say ------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        ("EOS.stopped", f"{SUITE}/test_criteria.py::test_criterion[EOS.stopped]"),
        ("DATA.leakage", f"{SUITE}/test_data.py"),
        ("CORE.stopping", "nothing"),
    ],
    ids=["a criterion", "the data", "the core"],
)
def test_a_kinder_test_of_one_s_own_stands_in_for_none_of_the_gate(gate, name, left_out):
    said = f"def test_kinder(seatrial_record_verdict):\n    seatrial_record_verdict(verdict({name!r}))\n"
    gate.write("test_own.py", OWN + said)
    if left_out == "nothing":
        gate.edit('metric = "stopped"', 'metric = "no_repetition"')
    run = gate(f"--train={gate.task / 'train.jsonl'}", f"--deselect={left_out}")
    assert (run.status, run.decision) == (INCOMPLETE, "DO NOT SHIP")
    assert [reason.partition(":")[0] for reason in run.reasons] == [f"{name} NOT EVALUATED"]
