"""The nightly job on a GPU runner: actionlint reads it, and its shell steps are run, with stubs for what a GPU,
an environment of gigabytes and hours of training are needed for. What is judged in their place is a program.

python -m pytest tests/newcomer/test_nightly.py
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys

import pytest
import yaml

from tests.newcomer.test_ci import PROGRAM, ROOT, Runner, actionlint, new, own_questions, step_named

FILE = ".github/workflows/nightly.yml"
WORKFLOW = yaml.safe_load((ROOT / FILE).read_text(encoding="utf-8"))
JOB = WORKFLOW["jobs"]["nightly"]
STEPS = JOB["steps"]
TRIGGERS = WORKFLOW[True]  # YAML 1.1 reads the key "on" as a truth value
INCOMPLETE, UNUSABLE = 10, 3
VENV = """#!/bin/sh
# python3 -m venv FOLDER: its python installs nothing, and its tox runs the command of tox.ini's environment.
mkdir -p "$3/bin"
cat > "$3/bin/python" <<'END'
#!/bin/sh
printf '%s\\n' "$*" >> "$RUNNER_TEMP/typed"
case "$*" in
  "-m tox -e nightly") exec "PYTHON" "ROOT/.ci/nightly.py" ;;
esac
END
chmod +x "$3/bin/python"
"""
NVIDIA = """#!/bin/sh
case "$*" in *compute_cap*) echo 7.5 ;; *memory*) echo 15360 ;; esac
"""


@pytest.fixture
def runner(scratch, tmp_path, monkeypatch):
    """A runner with a GPU's tool and a new task in its checkout, on which a program stands for the model."""
    (tmp_path / "runner").mkdir()
    stub(tmp_path, "python3", VENV.replace("PYTHON", sys.executable).replace("ROOT", str(ROOT)))
    stub(tmp_path, "nvidia-smi", NVIDIA)
    monkeypatch.setenv("GATE", PROGRAM)
    new(scratch, "tickets", "--judges=program")
    values = {"inputs.task": "", "inputs.recipe": "smollm2-135m-cpu"}
    values |= {"secrets.HF_TOKEN": "", "vars.SEATRIAL_STORE": str(tmp_path / "store")}
    return Runner(scratch, tmp_path / "runner", values)


def stub(folder, name, text):
    path = folder / "bin" / name
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def run(runner):
    """The two steps with a script, as a runner runs them, the second whatever the first ended with."""
    trained = runner.step(step_named(STEPS, "Train and judge"))
    said = runner.step(step_named(STEPS, "Say the verdict"))
    assert said.returncode == 0, said.stderr
    return trained


def kept(runner):
    return runner.workspace / step_named(STEPS, "Keep report and adapter")["with"]["path"]


def test_the_verdict_is_the_jobs_and_what_was_found_is_kept(runner):
    trained = run(runner)
    assert trained.returncode == INCOMPLETE, trained.stdout + trained.stderr
    assert "DO NOT SHIP" in runner.summary and "CORE.samples" in runner.summary
    (results,) = (path for path in kept(runner).glob("tickets/2*/results.json"))
    assert json.loads(results.read_text(encoding="utf-8"))["gate"]["exit_status"] == INCOMPLETE
    assert (kept(runner) / "preflight.txt").is_file()
    typed = (runner.temp / "typed").read_text(encoding="utf-8").splitlines()
    assert typed == ["-m pip install --quiet tox>=4.30", "-m tox -e nightly"]


def test_a_night_that_ships_is_green(runner):
    own_questions(runner.workspace / "golden/tickets")
    trained = run(runner)
    assert trained.returncode == 0, trained.stdout + trained.stderr
    assert "SHIP" in runner.summary and "DO NOT SHIP" not in runner.summary


def test_without_a_gpu_nothing_is_trained_and_the_page_says_so(runner, tmp_path):
    stub(tmp_path, "nvidia-smi", "#!/bin/sh\nexit 9\n")
    trained = run(runner)
    assert trained.returncode == UNUSABLE
    assert "nvidia-smi finds no CUDA device" in trained.stderr and "tox -e release" in trained.stderr
    assert "no GPU" in runner.summary
    assert not list(kept(runner).glob("*/*/results.json"))


def test_a_night_without_a_report_says_so(runner, monkeypatch):
    runner.values["inputs.recipe"] = "no-such-recipe"
    monkeypatch.setenv("GATE", "")
    trained = run(runner)
    assert trained.returncode not in (0, 1)
    assert "no-such-recipe" in runner.summary and "without a report" in runner.summary
    assert "there is no recipe 'no-such-recipe'" in (kept(runner) / "preflight.txt").read_text(
        encoding="utf-8"
    )


def test_the_page_of_an_earlier_night_is_not_shown_again(runner, tmp_path):
    run(runner)
    stub(tmp_path, "python3", '#!/bin/sh\nmkdir -p "$3/bin"; printf "#!/bin/sh\\nexit 1\\n" > "$3/bin/python"; chmod +x "$3/bin/python"\n')  # fmt: skip
    (runner.temp / "summary.md").unlink()
    shutil.rmtree(runner.workspace / "reports")  # as actions/checkout cleans what git does not know
    assert runner.step(step_named(STEPS, "Train and judge")).returncode == 1
    runner.step(step_named(STEPS, "Say the verdict"))
    assert "before it began" in runner.summary


def test_no_shell_runs_what_somebody_types_for_a_run(runner):
    runner.values["inputs.task"] = "$(touch caught); `touch caught`"
    runner.values["inputs.recipe"] = "x; touch caught"
    assert run(runner).returncode not in (0, 1)
    assert not list(runner.workspace.rglob("caught"))


def test_expressions_stand_in_no_script():
    assert [step["run"] for step in STEPS if "${{" in step.get("run", "")] == []


def test_actions_are_named_by_their_commit():
    used = [step["uses"] for step in STEPS if "uses" in step]
    assert used and all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", each) for each in used), used
    for line in (ROOT / FILE).read_text(encoding="utf-8").splitlines():
        assert "uses:" not in line or re.search(r"# v\d+\.\d+\.\d+$", line), line


def test_the_job_may_read_and_nothing_else_and_runs_for_no_strangers_change():
    assert WORKFLOW["permissions"] == {"contents": "read"} and "permissions" not in JOB
    assert set(TRIGGERS) == {"schedule", "workflow_dispatch"}
    assert STEPS[0]["with"]["persist-credentials"] is False
    assert WORKFLOW["concurrency"] == {"group": "nightly-gpu", "cancel-in-progress": False}
    assert JOB["timeout-minutes"] <= 360
    assert "self-hosted" in JOB["runs-on"] and "vars.NIGHTLY_RUNNER" in JOB["if"]


def test_what_was_found_is_kept_whatever_became_of_the_run():
    keep = step_named(STEPS, "Keep report and adapter")
    assert "always()" in keep["if"] and keep["with"]["path"] == "reports/nightly"


def test_actionlint_finds_nothing_in_it(scratch):
    shutil.copytree(ROOT / ".github", scratch / ".github")
    assert actionlint(scratch) == ""
    path = scratch / FILE
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("inputs.recipe", "inputs.recipes"), encoding="utf-8")
    assert 'property "recipes" is not defined' in actionlint(scratch)


def test_the_adapter_is_kept_beside_the_report_that_rests_on_it(tmp_path, monkeypatch):
    from importlib.util import module_from_spec, spec_from_file_location

    from tests.verb import document, write

    spec = spec_from_file_location("nightly", ROOT / ".ci/nightly.py")
    nightly = module_from_spec(spec)
    spec.loader.exec_module(nightly)
    monkeypatch.setenv("SEATRIAL_STORE", str(tmp_path / "store"))
    made = document()
    (adapter,) = [each for each in made["artifacts"] if each["step"] == "adapter"]
    folder = tmp_path / "store/adapter" / adapter["key"]
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}", encoding="utf-8")
    run = write(tmp_path / "run", made)
    nightly.keep_adapter(run)
    assert (run / "adapter/adapter_config.json").is_file()
    assert os.path.isdir(folder)


def test_tox_runs_what_the_tests_run():
    import configparser

    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    assert ".ci/nightly.py" in tox["testenv:nightly"]["commands"]
    assert "NIGHTLY_*" in tox["testenv"]["pass_env"]
