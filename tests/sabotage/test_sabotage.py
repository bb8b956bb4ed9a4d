"""The gate turns red on every faulty artefact, names the stage, and stays green on the good one."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from seatrial.evals.fidelity.stages import PREFERENCE, QUANTISATION, STAGES, TRAINING
from seatrial.training.store import default_root
from tests.conftest import REPOSITORY, Run
from tests.sabotage.entries import FAULTS, HARMLESS
from tests.sabotage.faults import Fault
from tests.sabotage.harmless import Harmless
from tests.sabotage.table import Row, Table
from tests.sabotage.verdict import judge, prompt_only_says, red_criteria, store_without_evidence
from tests.sabotage.workshop import Artefact, Good

pytestmark = pytest.mark.sabotage
CLEAN_RUNS = 10
OF_ANSWERS = ("SC-1", "SC-2", "SC-3", "SCHEMA.", "EOS.", "LOSS.")  # criteria that judge what was answered
CONTROLS = [fault for fault in FAULTS.values() if fault.control]


@pytest.fixture
def out(tmp_path_factory):
    """A folder for the files of one artefact, gone when its test ends."""
    folder = tmp_path_factory.mktemp("artefact")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def commit() -> str:
    """Which state of the suite judges."""
    return subprocess.check_output(
        ["git", "describe", "--always", "--dirty"], cwd=REPOSITORY, text=True
    ).strip()


@pytest.fixture
def own_store(out: Path) -> Path:
    """A store without evidence that no other test uses."""
    return store_without_evidence(default_root(), out / "store")


@pytest.fixture
def judged(out: Path, table: Table, commit: str) -> Callable[[str, str, Artefact, Path], Run]:
    """Judges an artefact and puts what became of it into the table."""

    def judged(name: str, stage: str, artefact: Artefact, store: Path) -> Run:
        started = time.monotonic()
        run = judge(artefact, store, out / "reports")
        assert run.results, f"the gate wrote no results:\n{run.output}"
        seconds = round(time.monotonic() - started, 1)
        row = Row(name, stage, run.decision, red_criteria(run), prompt_only_says(run), seconds, commit)
        table.add(row)
        return run

    return judged


def test_the_table_of_faults_is_whole():
    assert len(FAULTS) >= 25
    assert {fault.stage for fault in FAULTS.values()} == set(STAGES) - {
        TRAINING,
        PREFERENCE,
    }  # no faults of an export


@pytest.mark.parametrize("number", range(1, CLEAN_RUNS + 1))
def test_the_good_artefact_ships_whenever_it_is_asked(number, good: Good, own_store, judged):
    run = judged(f"none, run {number}", "", good.artefact, own_store)
    assert (run.status, run.decision) == (0, "SHIP"), run.output


@pytest.mark.parametrize("fault", CONTROLS, ids=lambda fault: fault.name)
def test_what_a_fault_was_put_into_ships(fault: Fault, good: Good, out, evidence, judged):
    assert fault.control
    run = judged(f"none, before {fault.name}", "", fault.control(good, _files(out)), evidence)
    assert (run.status, run.decision) == (0, "SHIP"), run.output


@pytest.mark.parametrize("change", HARMLESS.values(), ids=lambda change: change.name)
def test_a_harmless_change_is_not_refused(change: Harmless, good: Good, out, evidence, judged):
    """What is not SHIP rests on criteria that say why they could not be evaluated, or on answers that really
    changed by another quantisation; then no other stage is blamed."""
    run = judged(f"harmless: {change.name}", "", change.make(good, _files(out)), evidence)
    red = {name: verdict for name, verdict in run.verdicts.items() if name in red_criteria(run)}
    failed = {name for name, verdict in red.items() if verdict["status"] == "FAIL"}
    if change.requantised:
        assert {stage for name in failed for stage in red_criteria(run)[name]} <= {QUANTISATION}, run.output
        failed = {name for name in failed if not name.startswith(OF_ANSWERS)}
    assert not failed, run.output
    assert all(verdict["reason"] for name, verdict in red.items() if verdict["status"] != "FAIL"), run.output
    assert run.decision == "SHIP" or red, run.output


@pytest.mark.parametrize("fault", [f for f in FAULTS.values() if not f.mended], ids=lambda fault: fault.name)
def test_a_faulty_artefact_does_not_ship_and_the_stage_is_named(
    fault: Fault, good: Good, out, evidence, request, judged
):
    artefact = fault.make(good, _files(out))
    store = _prepared(artefact, out, request) if artefact.prepare_store else evidence
    run = judged(fault.name, fault.stage, artefact, store)
    assert run.status != 0, run.output
    assert run.decision == "DO NOT SHIP"
    named = {stage for stages in red_criteria(run).values() for stage in stages}
    assert named & set(fault.accepted), f"{fault.stage} was not named, but {sorted(named)}\n{run.output}"


@pytest.mark.parametrize("fault", [f for f in FAULTS.values() if f.mended], ids=lambda fault: fault.name)
def test_damaged_evidence_is_made_again_and_said(fault: Fault, good: Good, out, request, judged):
    artefact = fault.make(good, _files(out))
    run = judged(fault.name, fault.stage, artefact, _prepared(artefact, out, request))
    assert "is damaged" in run.output
    assert (run.status, run.decision) == (0, "SHIP"), run.output


def _files(out: Path) -> Path:
    folder = out / "files"
    folder.mkdir()
    return folder


def _prepared(artefact: Artefact, out: Path, request: pytest.FixtureRequest) -> Path:
    """A store of its own that has the evidence of a first run, to which the fault was then done."""
    store: Path = request.getfixturevalue("own_store")
    first = judge(artefact, store, out / "first")
    assert first.decision == "SHIP", first.output
    assert artefact.prepare_store
    artefact.prepare_store(store)
    return store
