"""The GPU recipe from base weights to the verdict: ``tox -e nightly``, and the workflow nightly.yml by it.

What is trained stands in variables, which no shell reads: NIGHTLY_RECIPE (default: the specification's),
NIGHTLY_TASK (default: the one of pytest's configuration). Options are pytest's. Below ``reports/nightly`` it
leaves the run's report, the adapter beside it, ``preflight.txt``, and ``summary.md`` for the job's page,
whatever became of the run; GGUF files stay in the store, where results.json says. Exit status: the gate's
(docs/exit-codes.md), 3 where there is no GPU. NIGHTLY_DEVICE=any goes without one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from seatrial.evals.record import read_record
from seatrial.training.errors import SeatrialError
from seatrial.training.hardware import cuda_capability
from seatrial.training.process import python, python_path
from seatrial.training.store import default_root

RECIPE = "llama-3.1-8b-unsloth"
OUT = Path("reports/nightly")
UNUSABLE = 3


def main(options: list[str]) -> int:
    """The exit status of the nightly run; ``options``: further ones of pytest."""
    recipe, task = os.environ.get("NIGHTLY_RECIPE") or RECIPE, os.environ.get("NIGHTLY_TASK", "")
    OUT.mkdir(parents=True, exist_ok=True)
    for name in ("summary.md", "preflight.txt"):  # of an earlier night
        (OUT / name).unlink(missing_ok=True)
    if os.environ.get("NIGHTLY_DEVICE") != "any" and cuda_capability() is None:
        print(
            "error: the nightly run trains on a GPU, and nvidia-smi finds no CUDA device here\n"
            "  install the driver, or train the recipe for two CPU cores: tox -e release",
            file=sys.stderr,
        )
        say("There is no GPU on the runner: nothing was trained.")
        return UNUSABLE
    _preflight(recipe, task)
    before = set(finished())
    asked = [f"--recipe={recipe}", *([f"--task={task}"] if task else []), *options]
    status = subprocess.call(python("seatrial.ci", str(OUT), *asked), env=_environment())
    new = sorted(set(finished()) - before)
    if not new:
        say(f"The run by the recipe `{_code(recipe)}` ended without a report (exit status {status}).")
        return status
    run = new[-1]
    keep_adapter(run)
    command = python("seatrial", "report", str(run), "--format=markdown")
    told = subprocess.run(command, env=_environment(), stdout=subprocess.PIPE, text=True, check=False)
    say(told.stdout or f"The report could not be summed up; exit status of the gate: {status}.")
    return status


def finished() -> list[Path]:
    """Folders of the runs whose results were written."""
    return [path.parent for path in OUT.glob("*/*/results.json") if not path.parent.is_symlink()]


def keep_adapter(run: Path) -> None:
    """Copy the adapter that the run rests on beside its report, where the store still holds it."""
    try:
        artifacts: list[dict[str, Any]] = read_record(run).document.get("artifacts") or []
    except SeatrialError as error:
        print(f"the adapter is not kept: {error}", file=sys.stderr)
        return
    made = next((each for each in artifacts if each["step"] == "adapter"), None)
    folder = default_root() / "adapter" / str(made["key"]) if made else None
    if folder and folder.is_dir():
        shutil.copytree(folder, run / "adapter", dirs_exist_ok=True)


def say(text: str) -> None:
    """What the job's page shows."""
    (OUT / "summary.md").write_text(text.rstrip("\n") + "\n", encoding="utf-8")


def _preflight(recipe: str, task: str) -> None:
    """What was known beforehand, beside what came of it; it stops nothing."""
    command = python("seatrial", "preflight", f"--recipe={recipe}", *(["--", task] if task else []))
    done = subprocess.run(
        command, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    (OUT / "preflight.txt").write_text(done.stdout, encoding="utf-8")
    print(done.stdout)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": python_path()}


def _code(text: str) -> str:
    return "".join(each for each in text if each.isprintable() and each not in "`<>|")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
