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


def test_a_status_that_is_none_is_told(gate):
    said = "def test_typo(seatrial_record_verdict):\n    seatrial_record_verdict(verdict('MINE', 'pass'))\n"
    gate.write("test_own.py", OWN + "@pytest.mark.verdict('MINE')\n" + said)
    run = gate()
    assert (run.status, run.decision) == (FAILED, "DO NOT SHIP")
    assert "the status of MINE is 'pass', allowed: PASS, FAIL, INCONCLUSIVE, NOT EVALUATED" in run.output


# --- tests of one's own that are not run ---------------------------------------------------------------
SKIPPING = """
import pytest

def pytest_collection_modifyitems(items):
    for item in items:
        if "licence" in item.name:
            item.add_marker(pytest.mark.{mark}(reason="not today"))
"""
PLAIN = OWN + "def test_licence():\n    assert False, 'there is none'\n"
ITS_TEST = "the test test_own.py::test_licence NOT EVALUATED: "


@pytest.mark.parametrize("workers", [0, 2])
def test_a_test_of_the_release_that_is_deselected_is_incomplete(gate, workers):
    gate.write("test_own.py", PLAIN)
    run = gate("-k", "not licence", workers=workers)
    assert (run.status, run.decision) == (INCOMPLETE, "DO NOT SHIP")
    assert run.reasons == [f"{ITS_TEST}its test did not run (deselected or not collected)"]


@pytest.mark.parametrize(
    ("mark", "why"),
    [
        ("skip", "skipped: not today"),
        ("xfail", "it failed, as a marker 'xfail' lets it: not today"),
    ],
)
def test_a_test_of_the_release_that_a_marker_excuses_is_incomplete(gate, mark, why):
    gate.write("test_own.py", PLAIN)
    gate.write("conftest.py", SKIPPING.format(mark=mark))
    run = gate()
    assert (run.status, run.reasons) == (INCOMPLETE, [ITS_TEST + why])


def test_a_test_of_the_release_that_is_not_required_may_be_skipped(gate):
    source = (
        "@pytest.mark.verdict('MINE', required=False)\ndef test_licence():\n    pytest.skip('no server')\n"
    )
    gate.write("test_own.py", OWN + source)
    assert gate().decision == "SHIP"


@pytest.mark.parametrize("how", ["skipped", "deselected"])
def test_a_criterion_of_which_one_of_several_tests_passed_is_not_proved(gate, how):
    gate.write(
        "test_own.py",
        OWN + "@pytest.mark.verdict('MINE')\n@pytest.mark.parametrize('place', ['here', 'there'])\n"
        "def test_licence(place, seatrial_record_verdict):\n"
        f"    if place == 'there' and {how == 'skipped'}:\n        pytest.skip('too far')\n"
        "    seatrial_record_verdict(verdict('MINE'))\n",
    )
    run = gate(*(["--deselect=test_own.py::test_licence[there]"] if how == "deselected" else []))
    assert (run.status, run.decision) == (INCOMPLETE, "DO NOT SHIP")
    assert run.verdicts["MINE"]["status"] == "NOT EVALUATED"
    assert run.verdicts["MINE"]["reason"].startswith("test_own.py::test_licence[there]: ")


# --- tests of one's own that are not seen --------------------------------------------------------------
@pytest.mark.parametrize(
    "words",
    [
        ["--ignore=test_own.py"],
        ["--ignore-glob=*own*"],
        ["-o", "python_files=none_*.py"],
        ["-o", "testpaths=miniature"],
        ["-o", "addopts=--ignore=test_own.py"],
        [SUITE],
    ],
    ids=" ".join,
)
def test_what_keeps_tests_from_being_collected_is_incomplete(gate, words):
    gate.write("test_own.py", PLAIN)
    run = gate(*words)
    assert (run.status, run.decision) == (INCOMPLETE, "DO NOT SHIP")
    (reason,) = run.reasons
    assert reason.startswith(f"tests of this repository's own may have been left out, by {' '.join(words)}")


def test_what_the_configuration_leaves_out_is_not_of_the_gate(gate):
    gate.write("test_own.py", PLAIN)
    with (gate.folder / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write('addopts = ["--ignore=test_own.py"]\n')
    assert gate().decision == "SHIP"


@pytest.mark.parametrize("where", [".", "below"])
@pytest.mark.parametrize("how", ["tryfirst", "wrapper"])
def test_no_hook_takes_a_test_away_unseen(gate, how, where):
    (gate.folder / "below").mkdir()
    gate.write(f"{where}/test_own.py", PLAIN)
    gate.write(
        f"{where}/conftest.py",
        f"import pytest\n\n@pytest.hookimpl({how}=True)\ndef pytest_collection_modifyitems(items):\n"
        "    items[:] = [item for item in items if 'licence' not in item.name]\n"
        f"    {'return (yield)' if how == 'wrapper' else ''}\n",
    )
    run = gate()
    assert (run.status, run.decision) == (INCOMPLETE, "DO NOT SHIP")


def test_a_marker_that_a_conftest_gives_is_seen(gate):
    gate.write("test_own.py", PLAIN.replace("[pytest.mark.release]", "[]"))
    gate.write("conftest.py", SKIPPING.format(mark="release"))
    run = gate("-k", "not licence")
    assert (run.status, run.decision) == (INCOMPLETE, "DO NOT SHIP")


def test_another_rootdir_leaves_no_test_out(gate):
    gate.write("test_own.py", PLAIN)
    (gate.folder / "below").mkdir()
    gate.folder /= "below"
    run = gate("--rootdir=.", f"--task={gate.task}")
    assert run.status == USAGE
    run.lines.fnmatch_lines(["ERROR: -m release was started in *below*", f"  cd {gate.folder.parent} and*"])


# --- the exit status -----------------------------------------------------------------------------------
@pytest.mark.parametrize("body", ["session.exitstatus = 0", "pytest.exit('done', returncode=0)"])
def test_no_hook_makes_a_refusal_green(gate, body):
    hook = "@pytest.hookimpl(trylast=True)\ndef pytest_sessionfinish(session):\n"
    gate.write("conftest.py", f"import pytest\n\n{hook}    {body}\n")
    run = gate(fault="never-stops")
    assert (run.status, run.decision) == (FAILED, "DO NOT SHIP")
