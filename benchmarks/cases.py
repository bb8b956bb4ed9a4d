"""What a case costs: the whole gate on N cases, against plain pytest on as many trivial tests.

    python benchmarks/cases.py 1000 10000 50000
    python benchmarks/cases.py 1000 10000 --criteria=5 --workers 0 2

A task with N cases is made in a temporary folder, and a program answers it at once, one case in ten wrong.
Each figure is one run of ``python -m pytest -m release`` in a process of its own with an empty store: asking
the program, all per-case tests, the criteria, results.json and report.html are in it. The plain run is a
module with ``pytest.mark.parametrize`` and as many tests as the gate runs per case, in the same minute.

What is counted: *cases* are rows of the case file; *tests* are per-case tests, one for each case and
criterion (``--criteria``, default 1). Seconds are wall-clock time beyond start-up; start-up is the same run
with ten cases. A start takes seconds and a thousand cases half a second, so each run is made ``--rounds``
times, in turn with the others, and the fastest counts: what is slower was something else on the machine.
*CPU* is what all processes of that run computed, beyond start-up. *Peak memory* is that of the run's largest
process. *Store* is how often all processes of the run asked the store for an artifact and read an artifact's
file: it must not grow with the cases.

Run it on a machine that does nothing else. Exit status 1 if a run did not judge every case.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

REPOSITORY = Path(__file__).resolve().parent.parent
STARTUP = 10  # cases of the run that is taken for start-up
METRICS = ("accuracy", "json_parse", "schema_validity", "stopped", "no_repetition")

TASK = """
name = "cost"
title = "What a case costs"
intent = "Sorts requests. Made to be asked many cases."
non_goals = ["Anything else."]
recipe = "smollm2-135m-cpu"
train = "train.jsonl"
[answer]
schema = "contract.schema.json"
label = "operation"
otherwise = "off"
text = "reply"
[decoding]
temperature = 0
max_tokens = 32
context = 512
[prompts]
system = "Answer with one JSON object."
prompted_base = "prompted_base.txt"
[case_sets.many]
file = "many.jsonl"
why = "They are many."
[case_sets.regressions]
file = "regressions.jsonl"
why = "None yet."
"""
CRITERION = """
[[criteria]]
id = "SC-1.{metric}"
title = "{metric}"
metric = "{metric}"
cases = "many"
at_least = 0.8
why = "It is measured."
"""
CONTRACT = {
    "type": "object",
    "properties": {"operation": {"enum": ["on", "off"]}, "reply": {"type": "string"}},
    "required": ["operation", "reply"],
}
PROGRAM = """
import json, sys
for number, line in enumerate(sys.stdin):
    prompt = json.loads(line)["messages"][-1]["content"]
    operation = "off" if number % 10 == 3 else "on"
    answer = {"operation": operation, "reply": f"Done as you said: {prompt[:60]}"}
    print(json.dumps({"text": json.dumps(answer), "stop_reason": "eos"}))
"""
PLAIN = """
import pytest

@pytest.mark.parametrize("number", range({tests}))
def test_case(number):
    assert number >= 0
"""


@dataclass(frozen=True)
class Run:
    """One run: wall-clock and CPU seconds, the largest process's peak memory in MB, what was counted."""

    seconds: float
    cpu: float
    peak_mb: float
    asked: int = 0
    read: int = 0
    report_mb: float = 0.0
    results_mb: float = 0.0


Measured = Callable[[int, int, int], Run]  # of cases, criteria and workers
Setup = tuple[Measured, int, int]  # what is measured, with how many cases, by how many workers


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("cases", nargs="*", type=int, default=[1000, 10000, 50000])
    parser.add_argument("--criteria", type=int, default=1, choices=range(1, len(METRICS) + 1))
    parser.add_argument(
        "--workers", nargs="+", type=int, default=[0], help="pytest-xdist workers; 0: no xdist"
    )
    parser.add_argument("--no-plain", action="store_true", help="leave the plain run out")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each number of cases")
    options = parser.parse_args()
    runs = (gate,) if options.no_plain else (gate, plain)
    numbers = (STARTUP, *options.cases)
    setups = [(run, cases, workers) for workers in options.workers for cases in numbers for run in runs]
    fastest = in_turn(setups, options.criteria, options.rounds)
    for workers in options.workers:
        print(f"{workers} workers; the fastest of {options.rounds}")
        for line in told({(run, cases): fastest[run, cases, workers] for run in runs for cases in numbers}):
            print(line)
    return 0


def told(runs: dict[tuple[Measured, int], Run]) -> Iterator[str]:
    """A line on start-up and one on each number of cases, of runs by as many workers."""
    start, bare_start = runs[gate, STARTUP], runs.get((plain, STARTUP))
    plainly = f"; plain {bare_start.seconds:.2f} s" if bare_start else ""
    yield f"start-up ({STARTUP} cases): gate {start.seconds:.2f} s, {start.peak_mb:.0f} MB{plainly}"
    first = None
    for cases in sorted({cases for _, cases in runs} - {STARTUP}):
        run, more = runs[gate, cases], cases - STARTUP
        seconds = beyond(run, start)
        first = first or seconds / more
        line = (
            f"{cases} cases: {seconds:.2f} s, {more / seconds:.0f} cases/s, "
            f"cost per case {1000 * seconds / more:.2f} ms, {seconds / more / first:.2f} of the first; "
            f"CPU {run.cpu - start.cpu:.1f} s; peak {run.peak_mb:.0f} MB; "
            f"store: {run.asked} asked, {run.read} read; "
            f"report.html {run.report_mb:.1f} MB, results.json {run.results_mb:.1f} MB"
        )
        if bare_start:
            bare = beyond(runs[plain, cases], bare_start)
            line += (
                f"; plain parametrize {bare:.2f} s, {1000 * bare / more:.2f} ms, ratio {seconds / bare:.2f}"
            )
        yield line


def in_turn(setups: list[Setup], criteria: int, rounds: int) -> dict[Setup, Run]:
    """The fastest run of each; rounds take turns, so that a slow minute falls on all of them, in an order of
    their own, so that none always follows the longest."""
    fastest: dict[Setup, Run] = {}
    order = Random(0)
    for _ in range(rounds):
        for setup in order.sample(setups, len(setups)):
            measured, cases, workers = setup
            run = measured(cases, criteria, workers)
            fastest[setup] = min(fastest.setdefault(setup, run), run, key=lambda each: each.seconds)
    return fastest


def beyond(run: Run, start: Run) -> float:
    """Seconds beyond start-up."""
    return max(run.seconds - start.seconds, 1e-3)


def gate(cases: int, criteria: int, workers: int) -> Run:
    """The real gate on a task with ``cases`` cases."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_task(folder, cases, METRICS[:criteria])
        reads = folder / "reads.txt"
        command = [
            *["-m", "release", "-q", "-p", "no:cacheprovider", "-p", "benchmarks.store_reads"],
            *[f"--task={folder}", f"--store={folder / 'store'}", f"--report-dir={folder / 'reports'}"],
            f"--program={shlex.join([sys.executable, str(folder / 'program.py')])}",
        ]
        seconds, cpu, peak, output = timed(command, workers, {"SEATRIAL_STORE_READS": str(reads)})
        reports = list(folder.glob("reports/*/[0-9]*"))
        results = json.loads((reports[0] / "results.json").read_text(encoding="utf-8")) if reports else {}
        seen = sum(results.get("tests", {}).get(name, 0) for name in ("passed", "missed"))
        if seen < cases * criteria:
            raise SystemExit(f"{seen} tests ran instead of {cases * criteria}:\n{output[-3000:]}")
        counts = [json.loads(line) for line in reads.read_text(encoding="utf-8").splitlines()]
        return Run(
            seconds,
            cpu,
            peak,
            asked=sum(count.get("build", 0) for count in counts),
            read=sum(count.get("read_json", 0) for count in counts),
            report_mb=(reports[0] / "report.html").stat().st_size / 1e6,
            results_mb=(reports[0] / "results.json").stat().st_size / 1e6,
        )


def plain(cases: int, criteria: int, workers: int) -> Run:
    """As many trivial parametrised tests, with nothing of ours."""
    with TemporaryDirectory() as temporary:
        module = Path(temporary) / "test_plain.py"
        module.write_text(PLAIN.format(tests=cases * criteria), encoding="utf-8")
        command = [str(module), "-q", "-p", "no:cacheprovider", f"--rootdir={temporary}", "-c", os.devnull]
        seconds, cpu, peak, _ = timed(command, workers, {})
        return Run(seconds, cpu, peak)


def timed(command: list[str], workers: int, more: dict[str, str]) -> tuple[float, float, float, str]:
    """Wall-clock and CPU seconds, peak memory in MB of the largest process, and output of one pytest run."""
    xdist = ["-n", str(workers)] if workers else ["-p", "no:xdist"]
    with TemporaryDirectory() as temporary, (Path(temporary) / "output").open("w+", encoding="utf-8") as file:
        started = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *command, *xdist],
            cwd=REPOSITORY,
            env={**os.environ, **more},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - started
        file.seek(0)
        return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e3, file.read()


def write_task(folder: Path, cases: int, metrics: tuple[str, ...]) -> None:
    """A task whose case file has ``cases`` rows, all different, beside the program that answers them."""
    text = TASK + "".join(CRITERION.format(metric=metric) for metric in metrics)
    (folder / "task.toml").write_text(text, encoding="utf-8")
    (folder / "contract.schema.json").write_text(json.dumps(CONTRACT), encoding="utf-8")
    (folder / "prompted_base.txt").write_text("Answer with JSON.", encoding="utf-8")
    (folder / "regressions.jsonl").write_text("", encoding="utf-8")
    (folder / "program.py").write_text(PROGRAM, encoding="utf-8")
    row = {"conversations": [{"from": "human", "value": "hello"}, {"from": "gpt", "value": "hello"}]}
    (folder / "train.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    with (folder / "many.jsonl").open("w", encoding="utf-8") as file:
        for number in range(cases):
            where = f"lamp {number} in room {number % 97}"
            prompt = f"Please switch {where} on before the guests of day {number % 31} come"
            file.write(json.dumps({"id": f"case-{number}", "prompt": prompt, "expect": {"operation": "on"}}))
            file.write("\n")


if __name__ == "__main__":
    sys.exit(main())
