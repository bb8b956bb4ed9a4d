"""Workers change how fast a run is, and nothing else.

python -m pytest tests/test_xdist.py
"""

from __future__ import annotations

import pickle
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from seatrial.fixtures.batches import BATCH, HELD, Batches, pytest_configure_node
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


@pytest.mark.parametrize("how", ["worksteal", "loadscope", "each"])
def test_however_tests_are_handed_out_all_reports_arrive(gate, how):
    run = gate("--dist", how, workers=2)
    times = 2 if how == "each" else 1
    assert run.decision == "SHIP", run.output
    assert run.results["tests"]["passed"] == times * gate("-p", "no:xdist").results["tests"]["passed"]


class Interactor:
    """xdist's plugin in a worker, as far as batches know it: what it was made to send, and what it has to run."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.torun = self
        self.waiting: list[int] = [1]

    @contextmanager
    def lock(self) -> Iterator[list[int]]:
        yield self.waiting

    def sendevent(self, name: str, **values: Any) -> None:
        self.sent.append((name, values))


def test_reports_of_per_case_tests_wait_for_each_other_and_no_other_message_passes_them():
    interactor = Interactor()
    batches = Batches(interactor)
    interactor.sendevent("testreport", data=0)  # not of a per-case test
    batches.hold(True)
    interactor.sendevent("testreport", data=1)
    interactor.sendevent("runtest_protocol_complete", item_index=1)
    assert interactor.sent == [("testreport", {"data": 0})]
    interactor.sendevent("warning_recorded", when="runtest")
    held = [("testreport", {"data": 1}), ("runtest_protocol_complete", {"item_index": 1})]
    assert pickle.loads(interactor.sent[1][1]["events"]) == held
    assert [name for name, _ in interactor.sent[1:]] == [BATCH, "warning_recorded"]


def test_what_is_held_is_sent_before_another_test_when_idle_and_when_it_is_much():
    interactor = Interactor()
    batches = Batches(interactor)
    batches.hold(True)
    interactor.sendevent("testreport", data=1)
    batches.hold(False)  # pytest runs the next test as usual: it may take long, or kill the process
    assert len(interactor.sent) == 1
    batches.hold(True)
    interactor.waiting = []  # the controller sends no more before it has heard of this one
    interactor.sendevent("testreport", data=2)
    assert len(interactor.sent) == 2
    interactor.waiting = [1]
    for number in range(HELD):
        interactor.sendevent("testreport", data=number)
    assert len(interactor.sent) == 3 and len(pickle.loads(interactor.sent[2][1]["events"])) == HELD


def test_the_controller_takes_a_batch_for_the_messages_that_it_holds():
    class Node:
        def __init__(self) -> None:
            self.heard: list[Any] = []

        def process_from_remote(self, message: Any) -> None:
            self.heard.append(message)

    node, interactor = Node(), Interactor()
    pytest_configure_node(node)
    batches = Batches(interactor)
    batches.hold(True)
    first, second = ("testreport", {"data": (1, "é")}), ("runtest_protocol_complete", {"item_index": 1})
    for name, values in (first, second):
        interactor.sendevent(name, **values)
    batches.hold(False)
    for message in (("workerready", {}), *interactor.sent, "the end"):
        node.process_from_remote(message)
    assert node.heard == [("workerready", {}), first, second, "the end"]
