"""The gate: SHIP can be reached, every fault turns its criteria red, and whatever is absent is not green.

python -m pytest tests/test_gate.py
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from types import SimpleNamespace

import pytest

from seatrial.evals.core import NO_FILE
from seatrial.fixtures.options import is_gate
from tests.conftest import Gate, Run
from tests.miniature.program import FAULTS

SHIPPED, FAILED, INTERRUPTED, USAGE, INCOMPLETE, UNCERTAIN = 0, 1, 2, 4, 10, 11
ALL = {
    "SC-1",
    "SC-2",
    "SC-3.operations",
    "SC-3.perplexity",
    "SCHEMA.parses",
    "SCHEMA.valid",
    "EOS.stopped",
    "EOS.repetition",
    "LAMP",
}
NO_ANSWERS = {"crash", "garbage-line", "too-few-lines"}
RED = {
    "wrong-operation": {"SC-1", "SC-3.operations", "LAMP"},
    "no-better-than-base": {"SC-1", "SC-3.operations", "LAMP"},
    "not-json": {"SC-1", "SC-3.operations", "SCHEMA.parses", "SCHEMA.valid", "LAMP"},
    "prose-around-json": {"SCHEMA.parses", "SCHEMA.valid"},
    "wrong-schema": {"SC-2", "SCHEMA.valid"},
    "extra-key": {"SCHEMA.valid"},
    "wrong-arguments": {"LAMP"},
    "never-stops": {"EOS.stopped"},
    "loops": {"SC-2", "EOS.repetition"},
    "curt": {"SC-2"},
    "foreign-terms": {"SC-2"},
    "empty": {"SC-1", "SC-2", "SC-3.operations", "SCHEMA.parses", "SCHEMA.valid", "LAMP"},
    "hostile": {"SC-1", "SC-2", "SC-3.operations", "SCHEMA.parses", "SCHEMA.valid", "LAMP"},
}
PLUGIN = """
import pytest

@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if item.nodeid.endswith({test!r}):
            item.{change}
"""


def against(run: Run, name: str) -> str:
    """The one reason of a run that speaks of ``name``."""
    found = [reason for reason in run.reasons if name in reason]
    assert len(found) == 1, run.reasons
    return found[0]


# --- SHIP ----------------------------------------------------------------------------------------------
def test_a_perfect_program_ships(perfect):
    assert (perfect.status, perfect.decision, perfect.reasons) == (SHIPPED, "SHIP", [])
    assert perfect.with_status("PASS") == ALL - {"SC-3.perplexity"}
    assert perfect.lines.str().count("SHIP (exit status 0)") == 1


def test_a_run_leaves_its_report_results_and_junit_behind(perfect):
    assert {"report.html", "results.json", "junit.xml", "ratings-to-fill.csv"} <= {
        path.name for path in perfect.folder.iterdir()
    }
    tests = ElementTree.parse(perfect.folder / "junit.xml").getroot().findall(".//testcase")
    assert len(tests) == sum(perfect.results["tests"].values())
    assert "SHIP" in (perfect.folder / "report.html").read_text(encoding="utf-8")
    assert f"report: {perfect.folder / 'report.html'}" in perfect.output


def test_latest_leads_to_the_newest_report(gate):
    older = gate.reports / "lamp" / "20200101T000000Z-0000"
    older.mkdir(parents=True)
    (older.parent / "latest").symlink_to(older.name)
    assert gate().folder == (gate.reports / "lamp" / "latest").resolve() != older


def test_the_results_say_what_was_run(perfect):
    run = perfect.results["run"]
    assert run["command"].startswith("pytest -p seatrial --store=")
    assert (perfect.results["gate"]["exit_status"], run["id"]) == (0, perfect.folder.name)
    assert perfect.results["hard_cases"] == {"total": 0, "passed": 0, "missed": [], "not_evaluated": []}


# --- faults --------------------------------------------------------------------------------------------
def test_every_fault_of_the_program_is_tried():
    assert set(RED) | NO_ANSWERS == set(FAULTS)


@pytest.mark.parametrize("fault", RED)
def test_a_fault_turns_exactly_its_criteria_red(gate, fault):
    run = gate(fault=fault)
    assert (run.status, run.decision) == (FAILED, "DO NOT SHIP")
    assert run.with_status("FAIL") == RED[fault]
    assert run.with_status("PASS") == ALL - RED[fault] - {"SC-3.perplexity"}
    assert sorted(run.reasons) == sorted(f"{name} FAIL" for name in RED[fault])


def test_a_program_that_equals_its_base_fails_the_comparison_alone(gate):
    run = gate(base="none")
    assert (run.status, run.with_status("FAIL")) == (FAILED, {"SC-3.operations"})


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("crash", "the program gave 0 answers to 10 questions and ended with exit status -6"),
        ("too-few-lines", "the program gave 9 answers to 10 questions and ended with exit status 0"),
        ("garbage-line", "the program wrote '?' (JSONDecodeError"),
    ],
)
def test_a_program_without_answers_is_one_error_and_incomplete(gate, fault, error):
    run = gate(fault=fault)
    assert (run.status, run.decision) == (INCOMPLETE, "DO NOT SHIP")
    assert run.with_status("NOT EVALUATED") == ALL
    assert error in against(run, "SC-1 NOT EVALUATED")
    # The hint belongs to the whole message: all later ones are a word about the first.
    assert run.output.count("\n  it must write one JSON line") + run.output.count("\n  a line must be") == 1
    assert "Traceback" not in run.output
    assert len(run.output.splitlines()) < 90
    assert run.results["tests"]["failed"] + run.results["tests"]["errors"] == len(ALL) - 1


# --- fails closed --------------------------------------------------------------------------------------
def test_a_deselected_criterion_is_incomplete(gate):
    run = gate("--deselect", "seatrial/evals/suite/test_criteria.py::test_criterion[SC-1]")
    assert (run.status, run.decision) == (INCOMPLETE, "DO NOT SHIP")
    assert run.with_status("NOT EVALUATED") == {"SC-1", "SC-3.perplexity"}
    assert len(run.reasons) == 1
    assert "did not run" in against(run, "SC-1 NOT EVALUATED")


def test_a_keyword_that_leaves_criteria_out_is_incomplete(gate):
    run = gate("-k", "EOS or SCHEMA")
    assert (run.status, run.decision) == (INCOMPLETE, "DO NOT SHIP")
    assert run.with_status("PASS") == {"EOS.stopped", "EOS.repetition", "SCHEMA.parses", "SCHEMA.valid"}


def test_nothing_selected_is_incomplete(gate):
    run = gate("-k", "no_test_has_this_name")
    assert (run.status, run.decision) == (INCOMPLETE, "DO NOT SHIP")
    assert run.with_status("NOT EVALUATED") == ALL
    assert len(run.reasons) == len(ALL) - 1


def test_a_skipped_criterion_is_incomplete_and_gives_the_reason(gate):
    skip = "add_marker(pytest.mark.skip(reason='not today'))"
    gate.write("user_plugin.py", PLUGIN.format(test="test_criterion[SC-1]", change=skip))
    run = gate("-p", "user_plugin")
    assert (run.status, run.decision) == (INCOMPLETE, "DO NOT SHIP")
    assert run.reasons == ["SC-1 NOT EVALUATED: skipped: not today"]


def test_an_expected_failure_is_a_failure(gate):
    gate.write("user_plugin.py", PLUGIN.format(test="[EOS.stopped]", change="add_marker(pytest.mark.xfail)"))
    run = gate("-p", "user_plugin", fault="never-stops")
    assert (run.status, run.reasons) == (FAILED, ["EOS.stopped FAIL"])


def test_a_criterion_whose_fixture_breaks_is_incomplete_and_gives_the_error(gate):
    plugin = PLUGIN.format(
        test="test_criterion[SC-1]", change="__setattr__('fixturenames', [*item.fixturenames, 'broken'])"
    )
    broken = "\n@pytest.fixture\ndef broken():\n    raise RuntimeError('the server is away')\n"
    gate.write("user_plugin.py", plugin + broken)
    run = gate("-p", "user_plugin")
    assert (run.status, run.decision) == (INCOMPLETE, "DO NOT SHIP")
    assert run.reasons == ["SC-1 NOT EVALUATED: error: RuntimeError: the server is away"]


def test_an_error_after_a_verdict_stops_the_release(gate):
    plugin = PLUGIN.format(
        test="test_criterion[SC-1]", change="__setattr__('fixturenames', [*item.fixturenames, 'broken'])"
    )
    broken = "\n@pytest.fixture\ndef broken():\n    yield\n    raise RuntimeError('could not clean up')\n"
    gate.write("user_plugin.py", plugin + broken)
    run = gate("-p", "user_plugin")
    assert "1 error" in run.output
    assert (run.status, run.decision) == (FAILED, "DO NOT SHIP")
    assert "could not clean up" in " ".join(run.reasons)


def test_a_later_pass_does_not_hide_an_earlier_fail(gate):
    gate.write(
        "test_extra.py",
        "import dataclasses, pytest\n"
        "from seatrial.evals import criteria\n"
        "pytestmark = [pytest.mark.release, pytest.mark.criteria('EOS')]\n\n"
        "def test_kinder(criterion, seatrial_evidence, seatrial_record_verdict):\n"
        "    seatrial_record_verdict(dataclasses.replace(criteria.judge(criterion, seatrial_evidence), status='PASS'))\n",
    )
    run = gate(fault="never-stops")
    assert "1 failed" in run.output
    assert (run.status, run.decision) == (FAILED, "DO NOT SHIP")
    assert "EOS.stopped" in " ".join(run.reasons)


def test_an_empty_case_file_is_incomplete(gate):
    (gate.task / "cases" / "domain.jsonl").write_text("", encoding="utf-8")
    run = gate()
    assert (run.status, run.decision) == (INCOMPLETE, "DO NOT SHIP")
    assert {"SC-1", "SC-2", "SC-3.operations", "LAMP"} <= run.with_status("NOT EVALUATED")
    assert "the case set 'domain' is empty" in against(run, "SC-1")


def test_a_criterion_that_is_not_required_may_go_unevaluated(perfect):
    verdict = perfect.verdicts["SC-3.perplexity"]
    assert (verdict["status"], verdict["required"]) == ("NOT EVALUATED", False)
    assert verdict["reason"] == NO_FILE


@pytest.mark.parametrize("name", ["SC-3.perplexity", "perplexity"])
def test_what_require_names_must_be_evaluated(gate, name):
    run = gate("--require", name)
    assert (run.status, run.decision) == (INCOMPLETE, "DO NOT SHIP")
    assert run.reasons == [f"SC-3.perplexity NOT EVALUATED: {NO_FILE}"]


def test_the_task_itself_may_require_a_criterion(gate):
    gate.edit('train = "train.jsonl"', 'train = "train.jsonl"\nrequire = ["perplexity"]')
    run = gate()
    assert (run.status, run.verdicts["SC-3.perplexity"]["required"]) == (INCOMPLETE, True)


def test_too_few_cases_to_be_sure_are_inconclusive(gate):
    gate.edit("at_least = 0.9\n", 'at_least = 0.9\nrule = "confident"\nleast_cases = 10\n')
    run = gate()
    assert (run.status, run.decision, run.reasons) == (UNCERTAIN, "DO NOT SHIP", ["SC-1 INCONCLUSIVE"])
    assert run.verdicts["SC-1"]["cases_needed"] > run.verdicts["SC-1"]["measured"]["n"] == 10


def test_a_criterion_that_is_not_required_fails_as_missed_and_ships(gate):
    gate.edit('id = "LAMP"\n', 'id = "LAMP"\nrequired = false\n')
    run = gate("-v", fault="wrong-arguments")
    assert (run.status, run.decision, run.reasons) == (SHIPPED, "SHIP", [])
    assert run.with_status("FAIL") == {"LAMP"}
    run.lines.fnmatch_lines(["*LAMP FAIL: A criterion that no module names*"])
    assert run.results["tests"]["missed"] == 11  # ten cases and the criterion


def test_a_report_that_cannot_be_written_is_no_ship(gate):
    gate.write(
        "test_extra.py",
        "import pytest\nfrom seatrial.fixtures.report import FOLDER\n\n"
        "@pytest.mark.release\ndef test_in_the_way(pytestconfig):\n"
        "    (pytestconfig.stash[FOLDER] / 'report.html').mkdir()\n",
    )
    run = gate()
    assert (run.status, run.results) == (INCOMPLETE, {})
    run.lines.fnmatch_lines(
        ["against shipping: the report could not be written*", "DO NOT SHIP (exit status 10)"]
    )


# --- hard cases ----------------------------------------------------------------------------------------
def test_a_missed_regression_stops_the_release_though_all_criteria_pass(gate):
    gate.add_case("regressions", "seen-1", "dim the lamp", "off")
    run = gate()
    assert (run.status, run.decision, run.reasons) == (FAILED, "DO NOT SHIP", ["hard case seen-1 missed"])
    assert run.with_status("FAIL") == set()
    assert run.results["hard_cases"]["missed"] == ["seen-1"]


def test_a_missed_critical_case_stops_the_release_though_all_criteria_pass(gate):
    gate.add_case("domain", "domain-off-5", "dim the lamp", "off", "critical")
    run = gate()
    assert (run.status, run.reasons) == (FAILED, ["hard case domain-off-5 missed"])
    assert run.verdicts["SC-1"]["measured"]["value"] == pytest.approx(10 / 11)
    assert run.with_status("FAIL") == set()


def test_hard_cases_that_are_right_and_tests_that_pass_ship(gate):
    gate.add_case("regressions", "seen-1", "darken the hall", "off")
    gate.add_case("domain", "domain-off-5", "the lamp off at once", "off", "critical")
    source = "import pytest\n\n@pytest.mark.release\ndef test_licence():\n    pass\n"
    gate.write("test_extra.py", source)
    run = gate()
    assert (run.status, run.decision) == (SHIPPED, "SHIP")
    assert (run.results["hard_cases"]["total"], run.results["hard_cases"]["passed"]) == (2, 2)


def test_a_deselected_hard_case_is_incomplete(gate):
    gate.add_case("regressions", "seen-1", "darken the hall", "off")
    run = gate("--deselect", "seatrial/evals/suite/test_regressions.py")
    assert (run.status, run.decision) == (INCOMPLETE, "DO NOT SHIP")
    assert run.results["hard_cases"]["not_evaluated"] == ["seen-1"]
    assert against(run, "seen-1").startswith("hard case seen-1 NOT EVALUATED")


# --- tests of the user's own, and runs that stop early ---------------------------------------------------
def test_a_failing_release_test_of_the_users_own_stops_the_release(gate):
    source = "import pytest\n\n@pytest.mark.release\ndef test_licence():\n    assert 'licence' == 'there'\n"
    gate.write("test_extra.py", source)
    run = gate()
    assert (run.status, run.decision) == (FAILED, "DO NOT SHIP")
    assert len(run.reasons) == 1
    assert "test_licence" in run.reasons[0]
    assert run.with_status("FAIL") == set()


def test_a_module_that_cannot_be_imported_does_not_ship(gate):
    gate.write("test_extra.py", "import a_package_that_nobody_has\n")
    run = gate()
    assert (run.status, run.decision) == (INTERRUPTED, "DO NOT SHIP")
    run = gate("--continue-on-collection-errors")
    assert (run.status, run.decision) == (FAILED, "DO NOT SHIP")
    assert run.with_status("PASS") == ALL - {"SC-3.perplexity"}


@pytest.mark.parametrize("stop", ["-x", "--maxfail=1"])
def test_a_run_that_stops_at_the_first_failure_does_not_ship(gate, stop):
    run = gate(stop, fault="never-stops")
    assert (run.status, run.decision) == (FAILED, "DO NOT SHIP")
    assert "LAMP" in run.with_status("NOT EVALUATED")


def test_an_interrupted_run_keeps_its_exit_status_and_does_not_ship(gate):
    source = "import pytest\n\n@pytest.mark.release\ndef test_control_c():\n    raise KeyboardInterrupt\n"
    gate.write("test_extra.py", source)
    run = gate()
    assert (run.status, run.decision) == (INTERRUPTED, "DO NOT SHIP")
    assert run.with_status("FAIL") == set()
    assert run.reasons[0] == "the run was stopped (pytest exit status 2)"
    assert all("did not run" in reason for reason in run.reasons[1:])  # the shipped tests come last


# --- where a gate decides ------------------------------------------------------------------------------
def no_gate(run: Run, gate: Gate) -> bool:
    return "seatrial gate" not in run.output and "SHIP" not in run.output and not gate.reports.exists()


def test_without_the_marker_pytest_runs_unit_tests_alone(gate):
    gate.write(
        "test_own.py",
        "import pytest\n\ndef test_unit():\n    pass\n\n"
        "@pytest.mark.release\ndef test_licence():\n    assert False, 'takes a model'\n",
    )
    run = gate(marked=None, fault="curt")
    assert run.status == 0
    assert "1 passed, 1 deselected" in run.output
    assert no_gate(run, gate)


def test_tests_that_are_named_are_run_without_a_verdict(gate):
    run = gate(marked=None, fault="curt", modules=("seatrial/evals/suite/test_criteria.py",))
    assert run.status == FAILED
    assert "SC-2 FAIL" in run.output
    assert no_gate(run, gate)


def test_not_release_is_no_gate(gate):
    run = gate(marked="not release")
    assert run.status == 5, "pytest's own: nothing was collected"
    assert no_gate(run, gate)


def test_a_part_of_the_release_is_a_gate(gate):
    run = gate(marked="release and not data")
    assert (run.status, run.decision) == (SHIPPED, "SHIP")


@pytest.mark.parametrize(
    ("expression", "gate_decides"),
    [
        ("release", True),
        ("(release)", True),
        ("not data and release", True),
        ("release and not slow", True),
        ("", False),
        ("data", False),
        ("prerelease", False),
        ("not release", False),
        ("not  release", False),
        ("not (release)", False),
        ("data and not release", False),
    ],
)
def test_the_marker_expression_says_whether_a_gate_decides(expression, gate_decides):
    options = {"markexpr": expression, "collectonly": False}
    assert is_gate(SimpleNamespace(getoption=options.get)) is gate_decides


def test_collecting_only_is_no_gate(gate):
    run = gate("--collect-only", "-q")
    assert run.status == 0
    assert no_gate(run, gate)


def test_running_nothing_of_what_was_selected_is_incomplete(gate):
    run = gate("--setup-only")
    assert (run.status, run.decision) == (INCOMPLETE, "DO NOT SHIP")


def test_an_unwritable_report_folder_is_refused_before_anything_runs(gate, own_store):
    run = gate(f"--report-dir={gate.write('a_file', '')}/reports")
    assert run.status == USAGE
    assert "the report cannot be written" in run.output
    assert "--report-dir" in run.output
    assert "Traceback" not in run.output
    assert not (own_store / "generations").exists()
