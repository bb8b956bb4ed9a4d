"""Workers change how fast a run is, and nothing else.

python -m pytest tests/test_xdist.py
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MINIATURE, Gate, Run

COUNTING = """
import runpy, sys
with open({log!r}, "a") as log:
    log.write("asked\\n")
sys.argv = [{program!r}, *sys.argv[1:]]
runpy.run_path({program!r}, run_name="__main__")
"""
CHANGING = {"run", "seconds", "built_at", "built_now"}  # what differs between any two runs


@dataclass(frozen=True)
class Pair:
    """The same program judged without workers and by two, each with an empty store."""

    alone: Run
    shared: Run
    asked: int  # how often programs were started by the run with two workers
    store: Path  # of the run with two workers


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, forked: Any) -> Pair:
    folder = tmp_path_factory.mktemp("pair")
    gate = Gate(folder, folder / "store-shared", forked)
    gate.add_case("regressions", "seen-1", "dim the lamp", "off")
    gate.add_case("regressions", "seen-2", "darken the hall", "off")
    log = folder / "asked.txt"
    gate.write("counting.py", COUNTING.format(log=str(log), program=str(MINIATURE / "program.py")))
    program = shlex.join([sys.executable, str(folder / "counting.py"), "wrong-arguments"])
    shared = gate(program=program, workers=2)
    asked = len(log.read_text(encoding="utf-8").splitlines())
    gate.store = folder / "store-alone"
    return Pair(gate(program=program), shared, asked, folder / "store-shared")


def stable(value: Any) -> Any:
    """``value`` without what differs between any two runs."""
    if isinstance(value, dict):
        return {name: stable(item) for name, item in value.items() if name not in CHANGING}
    return [stable(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("part", ["gate", "verdicts", "observations", "hard_cases", "tests", "artifacts"])
def test_two_workers_find_what_one_process_finds(pair, part):
    assert stable(pair.shared.results[part]) == stable(pair.alone.results[part])


def test_two_workers_write_the_same_results_altogether(pair):
    assert stable(pair.shared.results) == stable(pair.alone.results)


def test_two_workers_give_the_same_exit_status_and_gate_section(pair):
    def section(run: Run) -> str:
        return run.output.partition("seatrial gate")[2].partition("DO NOT SHIP")[0].strip(" =\n")

    assert pair.shared.status == pair.alone.status == 1
    assert section(pair.shared) == section(pair.alone) != ""
    assert pair.alone.reasons == ["LAMP FAIL", "hard case seen-1 missed"]


def test_two_workers_ask_each_question_once(pair):
    assert pair.asked == 3  # domain, heldout, regressions; the base is another program
    folders = [path for path in (pair.store / "generations").iterdir() if path.is_dir()]
    assert len(folders) == 4
    assert pair.shared.output.count(" built in 0:") == 4


def test_what_two_workers_built_is_called_built_now(pair):
    assert [artifact["built_now"] for artifact in pair.alone.results["artifacts"]] == [True, True, True]
    assert [artifact["built_now"] for artifact in pair.shared.results["artifacts"]] == [True, True, True]


def test_a_killed_worker_does_not_ship(gate):
    gate.write(
        "test_extra.py",
        "import os, signal, pytest\n\n@pytest.mark.release\ndef test_out_of_memory():\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n",
    )
    run = gate(workers=2)
    assert (run.status, run.decision) == (1, "DO NOT SHIP")
    assert "test_out_of_memory" in run.reasons[0]
    assert "crashed" in run.reasons[0]
