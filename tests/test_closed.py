"""Ways to SHIP without evidence that were found, each shut: nothing that decides can be switched off in silence.

python -m pytest tests/test_closed.py
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from seatrial.evals.core import PARTS as CORE
from seatrial.fixtures import PARTS
from tests.conftest import PLUGIN, Gate, answers, clean_environment

SHIPPED, FAILED, USAGE, INCOMPLETE = 0, 1, 4, 10
OWN = """
import pytest
from seatrial.evals.verdict import Verdict


def mine(status, required=True):
    return Verdict(
        criterion="MINE", title="The licence is there", status=status, required=required, metric="licence",
        unit="", better="higher", rule="point", requirement="a licence", why="Without it nobody may use it.",
    )


@pytest.mark.release
@pytest.mark.verdict("MINE"{how})
def test_licence(seatrial_record_verdict):
    {body}
"""
JUDGED = (
    "verdict = seatrial_record_verdict(mine({status!r}))\n    assert verdict.acceptable, verdict.explain()"
)


def own(gate: Gate, body: str, how: str = "") -> None:
    """A test module in the user's repository, which pytest collects by itself."""
    gate.write("test_licence.py", OWN.format(body=body, how=how))


# --- the gate's parts ------------------------------------------------------------------------------------
@pytest.mark.parametrize("part", ["seatrial.fixtures.options", *PARTS])
@pytest.mark.parametrize("where", ["the command", "PYTEST_ADDOPTS"])
def test_no_part_of_the_gate_can_be_switched_off(gate, part, where):
    option = ["-p", f"no:{part}"]
    command = [sys.executable, "-m", "pytest", *PLUGIN, "-m", "release"]
    command += [f"--store={gate.store}", f"--program={answers('none')}"]
    environment = clean_environment()
    if where == "PYTEST_ADDOPTS":
        environment["PYTEST_ADDOPTS"] = " ".join(option)
    else:
        command += option
    done = subprocess.run(
        command, cwd=gate.folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode not in (SHIPPED, 5)
    assert "SHIP" not in done.stdout + done.stderr
    assert done.returncode == USAGE
    assert f"-p no:{part}: Seatrial's parts cannot be switched off one by one" in done.stderr


@pytest.mark.parametrize("plugin", ["terminal", "junitxml", "cacheprovider", "xdist"])
def test_a_plugin_of_pytest_that_is_switched_off_takes_no_evidence_away(gate, plugin):
    run = gate("-p", f"no:{plugin}")
    assert run.status == SHIPPED
    assert run.decision == "SHIP"
    assert (run.folder / "report.html").is_file()


def test_the_gate_itself_has_no_name_to_switch_it_off_by(gate):
    run = gate("-p", "no:seatrial-collector", fault="never-stops")
    assert (run.status, run.decision) == (FAILED, "DO NOT SHIP")


def test_without_the_plugin_nothing_ships(gate):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:seatrial", "-m", "release", "-p", "no:cacheprovider"],
        cwd=gate.folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 5
    assert "SHIP" not in done.stdout + done.stderr


def test_a_report_that_does_not_say_what_the_gate_says_takes_the_ship_back(gate):
    gate.write(
        "user_plugin.py",
        "import seatrial.evals.report\n"
        "def write(results, folder):\n"
        '    (folder / \'results.json\').write_text(\'{"gate": {"spoken": "SHIP"}}\')\n'
        "    (folder / 'report.html').write_text('')\n"
        "seatrial.evals.report.write_report = write\n",
    )
    run = gate("-p", "user_plugin")
    assert (run.status, run.results) == (INCOMPLETE, {})
    run.lines.fnmatch_lines(["against shipping: the report could not be written*does not hold the decision*"])


# --- criteria of one's own -------------------------------------------------------------------------------
def test_an_own_criterion_that_passes_stands_beside_the_others(gate):
    own(gate, JUDGED.format(status="PASS"))
    run = gate()
    assert (run.status, run.decision) == (SHIPPED, "SHIP")
    assert (run.verdicts["MINE"]["status"], run.verdicts["MINE"]["required"]) == ("PASS", True)
    run.lines.fnmatch_lines(["*PASS  MINE: *"])
    assert "The licence is there" in (run.folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("workers", [0, 2])
def test_an_own_criterion_that_is_skipped_is_incomplete(gate, workers):
    own(gate, "pytest.skip('no licence server')")
    run = gate(workers=workers)
    assert (run.status, run.decision) == (INCOMPLETE, "DO NOT SHIP")
    assert run.reasons == ["MINE NOT EVALUATED: skipped: no licence server"]
    assert run.verdicts["MINE"]["status"] == "NOT EVALUATED"
    run.lines.fnmatch_lines(["NOT EVALUATED  MINE: skipped: no licence server"])


@pytest.mark.parametrize("workers", [0, 2])
def test_an_own_criterion_that_is_deselected_is_incomplete(gate, workers):
    own(gate, JUDGED.format(status="PASS"))
    run = gate("--deselect", "test_licence", "-k", "not licence", workers=workers)
    assert (run.status, run.decision) == (INCOMPLETE, "DO NOT SHIP")
    assert [reason.partition(":")[0] for reason in run.reasons] == ["MINE NOT EVALUATED"]


def test_an_own_criterion_whose_test_says_nothing_is_incomplete(gate):
    own(gate, "pass")
    run = gate()
    assert (run.status, run.decision) == (INCOMPLETE, "DO NOT SHIP")
    assert run.reasons == ["MINE NOT EVALUATED: its test recorded no verdict, or did not run"]


def test_an_own_criterion_that_fails_is_explained_by_its_verdict(gate):
    own(gate, JUDGED.format(status="FAIL"))
    run = gate()
    assert (run.status, run.reasons) == (FAILED, ["MINE FAIL"])
    assert run.with_status("FAIL") == {"MINE"}


def test_an_own_criterion_that_fails_without_asserting_does_not_ship(gate):
    own(gate, "seatrial_record_verdict(mine('FAIL'))")
    run = gate()
    assert (run.status, run.reasons) == (FAILED, ["MINE FAIL"])


def test_an_own_criterion_whose_test_breaks_is_a_failure_with_its_words(gate):
    own(gate, "assert 'licence' == 'there'")
    run = gate()
    assert (run.status, run.decision) == (FAILED, "DO NOT SHIP")
    assert any("test_licence" in reason and "assert 'licence' == 'there'" in reason for reason in run.reasons)


def test_an_own_criterion_may_be_optional(gate):
    own(gate, "seatrial_record_verdict(mine('FAIL', required=False))", how=", required=False")
    run = gate()
    assert (run.status, run.decision) == (SHIPPED, "SHIP")
    assert (run.verdicts["MINE"]["status"], run.verdicts["MINE"]["required"]) == ("FAIL", False)


@pytest.mark.parametrize("how", ["", ", reqired=False"], ids=["two names", "misspelt"])
def test_a_marker_that_is_wrong_is_one_error(gate, how):
    own(gate, "pass", how=how or ', "YOURS"')
    run = gate()
    assert run.status == USAGE
    assert "the marker 'verdict' names one criterion" in run.output


# --- hard cases ------------------------------------------------------------------------------------------
def test_no_other_file_takes_a_regression_away(gate):
    gate.add_case("regressions", "seen-1", "dim the lamp", "off")
    for nothing in (os.devnull, gate.write("empty.jsonl", "")):
        run = gate(f"--cases=regressions={nothing}")
        assert (run.status, run.reasons) == (FAILED, ["hard case seen-1 missed"])


def test_another_file_adds_regressions(gate):
    gate.add_case("regressions", "seen-1", "darken the hall", "off")
    more = gate.write(
        "more.jsonl", '{"id": "seen-2", "prompt": "dim the lamp", "expect": {"operation": "off"}}\n'
    )
    run = gate(f"--cases=regressions={more}")
    assert run.reasons == ["hard case seen-2 missed"]
    assert run.results["hard_cases"]["total"] == 2


def test_locked_questions_leave_the_critical_cases_of_the_set_that_they_stand_in_for(gate):
    gate.add_case("domain", "domain-off-9", "dim the lamp", "off", "critical")
    locked = gate.write("locked.jsonl", _locked("on", "off"))
    run = gate(f"--cases=domain={locked}")
    assert "hard case domain-off-9 missed" in run.reasons
    assert set(run.verdicts["SC-1"]["measured"]["scores"]) == {f"locked-{i}" for i in range(10)}


def _locked(*operations: str) -> str:
    words = {"on": "light it up", "off": "darken it"}
    rows = [(operations[i % len(operations)], i) for i in range(10)]
    return "".join(
        json.dumps(
            {"id": f"locked-{i}", "prompt": f"{words[name]}, please, {i}", "expect": {"operation": name}}
        )
        + "\n"
        for name, i in rows
    )


def test_the_failing_hard_case_prints_the_case_and_no_internals(gate):
    gate.add_case("regressions", "seen-1", "dim the lamp", "off")
    run = gate()
    run.lines.fnmatch_lines(
        ["seen-1 MISSED (*regressions.jsonl:1)", "  asked:    dim the lamp", "  expected: off"]
    )
    for internal in ("Case(", "observe_hard", "Traceback", "observation.acceptable"):
        assert internal not in run.output


# --- what was judged and asked ---------------------------------------------------------------------------
def test_results_hold_every_case_file_with_its_digest_and_the_report_says_which_is_not_the_tasks(gate):
    locked = gate.write("locked.jsonl", _locked("on", "off"))
    run = gate(f"--cases=domain={locked}")
    files = {(file["case_set"], file["own"]): file for file in run.results["case_files"]}
    assert set(files) == {("domain", True), ("domain", False), ("heldout", True), ("regressions", True)}
    stood_in = files["domain", False]
    assert (stood_in["path"], stood_in["cases"], stood_in["bytes"]) == (
        str(locked),
        10,
        locked.stat().st_size,
    )
    assert re.fullmatch("[0-9a-f]{64}", stood_in["sha256"])
    assert (files["domain", True]["cases"], files["heldout", True]["cases"]) == (0, 3)
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert str(locked) in page
    assert "not the task’s own" in page


def test_a_program_is_named_as_what_was_judged(perfect):
    assert perfect.results["program"].endswith("program.py none")
    assert "judged: the program " in perfect.output
    assert "no file was judged" not in (perfect.folder / "report.html").read_text(encoding="utf-8")


# --- training data ---------------------------------------------------------------------------------------
def test_a_program_s_training_data_are_searched_where_they_are_named(gate):
    talk = [{"from": "human", "value": "lamp off, quickly"}, {"from": "gpt", "value": "{}"}]
    rows = gate.write("rows.jsonl", json.dumps({"conversations": talk}) + "\n")
    run = gate(f"--train={rows}")
    assert run.status == FAILED
    assert [reason.partition(":")[0] for reason in run.reasons] == ["DATA.leakage FAIL"]
    assert gate(f"--train={gate.task / 'train.jsonl'}").status == SHIPPED


@pytest.mark.parametrize(
    ("arguments", "fault", "says"),
    [
        (["--train=nowhere.jsonl"], "none", "*nowhere.jsonl: this file does not exist"),
        (["--train=miniature/task.toml"], "none", "*task.toml:1: not valid JSON*"),
        (["--train=miniature/task.toml"], "", "--train: needs --gguf=FILE or --program=COMMAND*"),
    ],
    ids=["missing", "no rows", "trained here"],
)
def test_training_data_that_cannot_be_read_are_one_error(gate, arguments, fault, says):
    run = gate(*arguments, fault=fault)
    assert run.status == USAGE
    run.lines.fnmatch_lines([f"ERROR: {says}"])


# --- the standard core -----------------------------------------------------------------------------------
ONE_CRITERION = """
[[criteria]]
id = "SC-1"
title = "The right operation"
metric = "no_repetition"
cases = "domain"
at_least = 0.9
why = "A wrong switch is worse than none."
"""


def empty(gate: Gate, more: str = "") -> None:
    """Leave the task one criterion."""
    path = gate.task / "task.toml"
    head = path.read_text(encoding="utf-8").partition("[[criteria]]")[0]
    path.write_text(more + head + ONE_CRITERION, encoding="utf-8")
    for cases in (gate.task / "cases").glob("*.jsonl"):  # which expect what no metric reads any more
        rows = [json.loads(line) for line in cases.read_text(encoding="utf-8").splitlines()]
        kept = [{key: value for key, value in row.items() if key != "expect"} for row in rows]
        cases.write_text("".join(f"{json.dumps(row)}\n" for row in kept), encoding="utf-8")


def waive(gate: Gate, **reasons: str) -> None:
    """Put waivers at the end of the task's file."""
    lines = "".join(
        f"{json.dumps(name.replace('__', '.'))} = {json.dumps(why)}\n" for name, why in reasons.items()
    )
    with (gate.task / "task.toml").open("a", encoding="utf-8") as file:
        file.write(f"\n[waivers]\n{lines}")


def test_a_task_that_is_emptied_of_the_core_is_incomplete_and_told_what_to_add(gate):
    empty(gate)
    run = gate()
    assert (run.status, run.decision) == (INCOMPLETE, "DO NOT SHIP")
    missing = {"CORE.contract", "CORE.stopping", "CORE.base"}
    assert run.with_status("NOT EVALUATED") == missing
    assert "[waivers] stopping" in run.verdicts["CORE.stopping"]["reason"]
    assert 'metric = "stopped"' in run.verdicts["CORE.stopping"]["reason"]


def test_waivers_let_it_ship_and_stand_beside_the_verdict_everywhere(gate):
    empty(gate)
    waive(
        gate, contract="A lamp reads prose.", stopping="The program cannot go on.", base="There is no base."
    )
    run = gate()
    assert (run.status, run.decision, run.reasons) == (SHIPPED, "SHIP", [])
    assert run.results["gate"]["spoken"] == "SHIP, with 3 waivers"
    assert {w["name"]: w["why"] for w in run.results["gate"]["waivers"]}["contract"] == "A lamp reads prose."
    run.lines.fnmatch_lines(["waived: contract: A lamp reads prose.", "SHIP, with 3 waivers (exit status 0)"])
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert "SHIP, with 3 waivers" in page
    assert "A lamp reads prose." in page
    properties = {
        each.get("name"): each.get("value")
        for each in ElementTree.parse(run.folder / "junit.xml").getroot().iter("property")
    }
    assert properties["seatrial.decision"] == "SHIP, with 3 waivers"
    assert properties["seatrial.waiver.base"] == "There is no base."


def test_a_part_whose_only_criterion_is_optional_counts_as_waived(gate):
    gate.edit('metric = "stopped"\n', 'metric = "stopped"\nrequired = false\n')
    run = gate(fault="never-stops")
    assert (run.status, run.results["gate"]["spoken"]) == (SHIPPED, "SHIP, with 1 waiver")
    (waiver,) = run.results["gate"]["waivers"]
    assert waiver == {"name": "stopping", "why": "EOS.stopped is not required: Endless answers cost money."}


def test_a_criterion_may_be_waived_by_its_id(gate):
    waive(gate, EOS__stopped="This program streams.")
    run = gate(fault="never-stops")
    assert run.verdicts["EOS.stopped"]["required"] is False
    assert (run.status, run.results["gate"]["spoken"]) == (SHIPPED, "SHIP, with 1 waiver")


def test_require_takes_a_waiver_back(gate):
    waive(gate, EOS__stopped="This program streams.")
    run = gate("--require=EOS.stopped", fault="never-stops")
    assert (run.status, run.reasons) == (FAILED, ["EOS.stopped FAIL"])


@pytest.mark.parametrize(
    ("name", "why", "says"),
    [
        (
            "stoping",
            "x",
            "*task.toml:*'stoping', which is neither a part of the standard core nor a criterion",
        ),
        ("stopping", " ", "*task.toml:*the waiver of 'stopping' gives no reason"),
        ("stopping", ".", "*task.toml:*the waiver of 'stopping' gives no reason"),
        ("stopping", "\u200b", "*task.toml:*the waiver of 'stopping' gives no reason"),
        ("SC-3__perplexity", "x", "*task.toml:*'SC-3.perplexity', which is not required anyway"),
    ],
)
def test_a_waiver_that_is_wrong_is_one_error(gate, name, why, says):
    waive(gate, **{name: why})
    run = gate()
    assert run.status == USAGE
    run.lines.fnmatch_lines([f"ERROR: {says}"])


def test_every_part_of_the_core_says_why_and_what_would_cover_it():
    assert {part.name for part in CORE} == {"contract", "stopping", "base", "export", "fidelity"}
    assert all(part.why and part.criterion for part in CORE)


# --- what reaches the terminal ---------------------------------------------------------------------------
def test_control_characters_of_an_answer_are_shown_and_not_sent(gate):
    program = gate.write(
        "hostile.py",
        "import json, sys\n"
        "for line in sys.stdin:\n"
        "    print(json.dumps({'text': '\\x1b[2J\\x1b]0;owned\\x07\\u202e\\x9b1mgone', 'stop_reason': 'eos'}))\n",
    )
    gate.add_case("regressions", "seen-1", "dim the lamp", "off")
    run = gate("-v", program=f"{sys.executable} {program}")
    assert run.status == FAILED
    junit = (run.folder / "junit.xml").read_text(encoding="utf-8")
    for sent in ("\x1b", "\x07", "\u202e", "\x9b"):
        assert sent not in run.output
        assert sent not in junit
    assert "\\x1b[2J\\x1b]0;owned\\x07\\u202e\\x9b1mgone" in run.output
    assert "\\x1b[2J" in junit


def test_reasons_with_one_cause_are_told_once(gate):
    run = gate("-k", "no_test_has_this_name")
    told = [line for line in run.output.splitlines() if line.startswith("against shipping")]
    assert (
        told
        == [
            "against shipping: 8 requirements NOT EVALUATED: its test did not run (deselected or not collected) "
            "(SC-1, SC-2, SC-3.operations and 5 more)",
            "against shipping: no file was judged: no test that ran asked one anything",
        ][: len(told)]
    )
    assert run.results["gate"]["summary"][0] in told[0]


def test_the_gate_section_fits_100_columns(gate):
    gate.edit('id = "LAMP"\n', f'id = "LAMP{"." + "x" * 120}"\n')
    run = gate(fault="never-stops")
    section = run.output.partition("seatrial gate =")[2].partition("against shipping")[0].splitlines()[1:]
    assert section
    assert max(map(len, section)) <= 100


# --- paths -----------------------------------------------------------------------------------------------
def test_a_task_is_named_from_where_the_user_stands(gate, tmp_path):
    below = gate.folder / "below"
    below.mkdir()
    shutil.copytree(gate.task, below / "lamp")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *PLUGIN, "--task=lamp", "--collect-only", "-m", "release"]
        + ["-q", "-p", "no:cacheprovider"],
        cwd=below,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "test_criterion[LAMP]" in done.stdout, done.stderr
