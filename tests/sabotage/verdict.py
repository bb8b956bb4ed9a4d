"""Asks the gate about an artefact, as a user does: ``pytest -m release --gguf=FILE ...`` in a process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.conftest import REPOSITORY, Run, clean_environment
from tests.sabotage.workshop import Artefact

TIMEOUT = 3600.0  # seconds; a run takes minutes
# What the store holds of the model itself; answers, likelihoods and the rest are evidence about it.
PIPELINE = ("base", "converter", "dataset", "adapter", "merged", "gguf", "quantized")
PROMPT_ONLY = ("SC-1", "SCHEMA", "EOS")  # groups that a suite which only asks questions has, too
RED = ("FAIL", "NOT EVALUATED")


def judge(artefact: Artefact, store: Path, reports: Path, *more: str) -> Run:
    """One run of the gate on ``artefact``; its report is read and stays in ``reports``."""
    command = [sys.executable, "-m", "pytest", "-m", "release", "-p", "no:cacheprovider"]
    command += [f"--task={artefact.task}", f"--store={store}", f"--report-dir={reports}"]
    command += [f"--gguf={artefact.gguf}", f"--modelfile={_modelfile_for(artefact, reports)}"]
    command += [f"--hf-model={artefact.hf_model}", f"--adapter={artefact.adapter}"]
    command += [f"--base-gguf={artefact.base_gguf}", f"--train={rows_of(artefact.task)}", *more]
    before = set(reports.glob("*/[0-9]*/results.json"))
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        timeout=TIMEOUT,
    )
    written = set(reports.glob("*/[0-9]*/results.json")) - before
    path = written.pop() if written else None
    results = json.loads(path.read_text(encoding="utf-8")) if path else {}
    return Run(done.returncode, done.stdout, path.parent if path else None, results)


def _modelfile_for(artefact: Artefact, folder: Path) -> Path:
    """The Modelfile, away from the good file where that is not the one under judgement: beside the good file,
    the good Modelfile serves the good file. What else lies beside one, a fault put there."""
    beside = artefact.modelfile.parent / artefact.gguf.name
    of_store = (artefact.modelfile.parent / "manifest.json").exists()
    if not (of_store and beside.exists()) or beside.samefile(artefact.gguf):
        return artefact.modelfile
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(artefact.modelfile, folder / "Modelfile"))


def rows_of(task: Path) -> Path:
    """The training rows that a task names."""
    return task / tomllib.loads((task / "task.toml").read_text(encoding="utf-8"))["train"]


def red_criteria(run: Run) -> dict[str, list[str]]:
    """The required criteria that stood against shipping, with the stages that they name."""
    return {
        name: list(verdict.get("stages", []))
        for name, verdict in run.verdicts.items()
        if verdict["required"] and verdict["status"] in RED
    }


def prompt_only_says(run: Run) -> str:
    """What a suite that only asks questions would have said of the same answers."""
    red = [name for name in red_criteria(run) if name.partition(".")[0] in PROMPT_ONLY]
    return f"red: {', '.join(red)}" if red else "green"


def store_without_evidence(source: Path, folder: Path) -> Path:
    """A store that has the model of ``source`` and no evidence about it; files are hard links where possible."""
    for step in PIPELINE:
        if (source / step).is_dir():
            shutil.copytree(source / step, folder / step, copy_function=_link)
    return folder


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)
