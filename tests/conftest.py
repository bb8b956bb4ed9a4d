"""Runs Seatrial as its users do: in a repository of theirs, which holds a copy of the miniature task.

``gate`` gives each test a place of its own; ``perfect`` is one run of a perfect program that many tests read.
Such a process is forked from one that has imported the heavy packages, none of ours (1 s instead of 4 s a
run). The runs that prove the command line itself go through ``pytester.run`` or ``command_line``.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["pytester"]

REPOSITORY = Path(__file__).resolve().parent.parent
MINIATURE = REPOSITORY / "tests" / "miniature"
# This checkout's own package, whether or not one is installed; an installed plugin is loaded by its entry point.
PACKAGE = REPOSITORY / "fixtures"
PLUGIN = ("-p", "seatrial")
HEAVY = "pytest pydantic jsonschema jinja2 scipy.stats matplotlib.figure matplotlib.backends.backend_svg"
# Modules that take more than two minutes, by what they took with two workers.
LONG = (
    *("test_families", "test_fidelity", "test_recipes", "test_preference", "test_preference_gate"),
    *("test_distributed", "test_hub", "test_end_to_end", "test_docs", "test_remote_judged"),
    *("test_adapter_truth", "test_gate", "test_other_merges", "test_adapter_model", "test_closed"),
)
TIMEOUT = 120.0  # seconds; a run takes about one
# pytest prints whole messages in its summary where it sees CI; the others turn colours on or off.
CHANGES_OUTPUT = {"CI", "BUILD_NUMBER", "FORCE_COLOR", "NO_COLOR", "PY_COLORS"}
QUIET = (
    "-p",
    "no:cacheprovider",
    "-p",
    "no:hypothesispytest",
    "-p",
    "no:anyio",
)  # plugins that cost time and add nothing


def pytest_configure(config: pytest.Config) -> None:
    """Modules of these tests are started as child processes."""
    config.addinivalue_line("markers", "families: every family of models, all of them with -m families.")
    config.addinivalue_line("markers", "long: of a kind that a shorter test stands for; with -m long.")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(PACKAGE), str(REPOSITORY)])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest modules first: a worker that got one last would end minutes after the others."""
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.stem, len(LONG)))
    if "long" not in (config.getoption("markexpr") or ""):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip("takes a minute: tox -e families"))


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """These tests judge Seatrial; ``-m release`` and ``-m data`` in this repository judge its example."""
    from seatrial.fixtures.options import selects  # at module level, a forked run would find it imported

    return True if selects(config) else None


@dataclass(frozen=True)
class Run:
    """What a run left: its exit status, everything it printed, its report folder and results.json."""

    status: int
    output: str
    folder: Path | None
    results: dict[str, Any]

    @property
    def lines(self) -> pytest.LineMatcher:
        return pytest.LineMatcher(self.output.splitlines())

    @property
    def decision(self) -> str:
        """SHIP or DO NOT SHIP; empty if no gate decided."""
        return str(self.results["gate"]["decision"]) if self.results else ""

    @property
    def reasons(self) -> list[str]:
        """What stood against shipping."""
        return list(self.results["gate"]["reasons"])

    @property
    def verdicts(self) -> dict[str, dict[str, Any]]:
        return {verdict["criterion"]: verdict for verdict in self.results["verdicts"]}

    def with_status(self, status: str) -> set[str]:
        """Ids of the criteria whose verdict is ``status``."""
        return {name for name, verdict in self.verdicts.items() if verdict["status"] == status}


class Gate:
    """A user's repository: a copy of the miniature task, pytest's configuration, a store, and the gate."""

    def __init__(
        self, folder: Path, store: Path, start: Callable[[list[str], Path], tuple[int, str]]
    ) -> None:
        self.folder, self.store, self._start = folder, store, start
        self.reports = folder / "reports"
        self.task = shutil.copytree(MINIATURE, folder / "miniature")
        self.write("pyproject.toml", '[tool.pytest.ini_options]\nseatrial_task = "miniature"\n')

    def __call__(
        self,
        *arguments: str | Path,
        fault: str = "none",
        base: str | None = "wrong-operation",
        program: str | None = None,
        task: Path | None = None,
        workers: int = 0,
        modules: tuple[str, ...] = (),
        marked: str | None = "release",
    ) -> Run:
        """Run pytest with the program that has ``fault``, or with no program for ``fault=''``.

        ``modules``: what is named on the command line; nothing is all: the shipped suite and what lies here.
        """
        command = [*modules, f"--store={self.store}", *QUIET, *(["-m", marked] if marked else [])]
        command += [f"--task={task}"] if task else []
        if fault:
            command += [f"--program={program or answers(fault)}"]
            command += [f"--base-program={answers(base)}"] if base else []
        command += ["-n", str(workers)] if workers else []
        before = set(self._finished())
        status, output = self._start([str(word) for word in (*command, *arguments)], self.folder)
        new = [folder for folder in self._finished() if folder not in before]
        assert len(new) <= 1, "one run writes one report"
        results = json.loads((new[0] / "results.json").read_text(encoding="utf-8")) if new else {}
        return Run(status, output, new[0] if new else None, results)

    def write(self, name: str, text: str) -> Path:
        """A file of the user's own, such as a test module or a plugin (named with ``-p``)."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def edit(self, old: str, new: str, name: str = "task.toml") -> None:
        """Replace ``old``, which must be there once, in a file of this test's copy of the task."""
        path = self.task / name
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} is not in {name} exactly once"
        path.write_text(text.replace(old, new), encoding="utf-8")

    def add_case(self, case_set: str, identifier: str, prompt: str, operation: str, *tags: str) -> None:
        """Append a case that expects ``operation``."""
        row = {"id": identifier, "prompt": prompt, "expect": {"operation": operation}, "tags": list(tags)}
        with (self.task / "cases" / f"{case_set}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def _finished(self) -> list[Path]:
        return [path.parent for path in self.reports.glob("*/[0-9]*/results.json")]


def answers(fault: str) -> str:
    """The command line of the miniature's program with ``fault``."""
    return shlex.join([sys.executable, str(MINIATURE / "program.py"), fault])


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store for all runs: what is in it is keyed by program, fault and questions, so they may share it."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="session")
def forked() -> Callable[[list[str], Path], tuple[int, str]]:
    """Runs pytest in a process forked from a warm one; gives its exit status and output."""
    warm = "forkserver" in multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("forkserver" if warm else "spawn")
    if warm:
        context.set_forkserver_preload(HEAVY.split())

    def run(arguments: list[str], folder: Path) -> tuple[int, str]:
        output = folder / "output.txt"
        process = context.Process(target=_pytest, args=(arguments, folder, output))
        process.start()
        process.join(TIMEOUT)
        if process.is_alive():
            process.kill()
            process.join()
        return process.exitcode, output.read_text(encoding="utf-8")

    return run


def _pytest(arguments: list[str], folder: Path, output: Path) -> None:
    """The forked process: pytest as its own command, with modules of ``folder`` importable for ``-p``."""
    with output.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.update(clean_environment())
    for name in set(os.environ) - set(clean_environment()):
        del os.environ[name]
    os.chdir(folder)
    sys.path[:0] = [str(folder), str(PACKAGE)]
    sys.exit(int(pytest.main([*PLUGIN, *arguments])))


def clean_environment() -> dict[str, str]:
    """Ours, without what an outer pytest, the user's own settings or a CI service would change in a run."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST_", "SEATRIAL_")) and name not in CHANGES_OUTPUT
    }
    return {**kept, "COLUMNS": "100", "PYTHONPATH": str(PACKAGE)}


def command_line(arguments: list[str], folder: Path) -> tuple[int, str]:
    """Runs ``python -m pytest`` in ``folder``; gives its exit status and output."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *PLUGIN, *arguments],
        cwd=folder,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        timeout=TIMEOUT,
    )
    return done.returncode, done.stdout


@pytest.fixture
def gate(tmp_path: Path, store: Path, forked: Callable[[list[str], Path], tuple[int, str]]) -> Gate:
    """The gate on a copy of the miniature that the test may change."""
    return Gate(tmp_path, store, forked)


@pytest.fixture
def own_store(gate: Gate) -> Path:
    """Gives ``gate`` an empty store that no other test uses."""
    gate.store = gate.folder / "store"
    return gate.store


@pytest.fixture(scope="session")
def perfect(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """``python -m pytest -m release`` on a perfect program, with an empty store; read it, change nothing."""
    folder = tmp_path_factory.mktemp("perfect")
    return Gate(folder, folder / "store", command_line)()


@pytest.fixture(scope="session")
def wrong(tmp_path_factory: pytest.TempPathFactory, store: Path, forked: Any) -> Run:
    """A run on a program that switches on for off and off for on; read it, change nothing."""
    return Gate(tmp_path_factory.mktemp("wrong"), store, forked)(fault="wrong-operation")
