"""A gate on a model with a stage on pairs of answers: right pairs, swapped ones, and what is told of both.

python -m pytest tests/test_preference_gate.py
"""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from seatrial.training import steps
from seatrial.training.recipe import load_recipe
from seatrial.training.store import Store, default_root
from tests.miniature.write_rows import answer
from tests.test_end_to_end import MINIATURE, release, verdict
from tests.test_preference import lamp, write

STAGE = """
[preference]
method = "dpo"
beta = 0.1
learning_rate = 1e-2
epochs = 4
batch_size = 4
gradient_accumulation = 1
max_length = 128
validation_pairs = 4
"""
ASKED = """
[[criteria]]
id = "PREFERENCE.accuracy"
title = "The polite answer is the likelier one"
metric = "preference_accuracy"
cases = "preferences"
at_least = 0.8
least_cases = 5
stage = "preference"
why = "test"

[[criteria]]
id = "TRAINING.preference-margin"
title = "Held-out answers were moved apart"
metric = "preference_margin"
at_least = 0.5
least_cases = 3
required = false
why = "test"

[[losses]]
id = "LOSS.preferences"
title = "Polite answers preferred"
metric = "preference_accuracy"
cases = "preferences"
margin = 0.05
least_cases = 5
why = "test"
"""
ASIDE = ["brighter if you can", "no light now", "the lamp bothers me", "dusk, so the usual", "what about tea"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The miniature with a stage on pairs; ``pairs.jsonl`` is each test's own."""
    folder = tmp_path_factory.mktemp("preference-gate")
    task = folder / "task"
    shutil.copytree(MINIATURE, task, ignore=shutil.ignore_patterns("__pycache__"))
    real = Store(default_root()).build(steps.import_base(load_recipe("smollm2-135m-cpu")))
    out = task / "recipes" / "tiny-llama"
    subprocess.run([sys.executable, str(MINIATURE / "make_base.py"), str(real.path), str(out)], check=True)
    with (task / "recipes" / "tiny-llama.toml").open("a", encoding="utf-8") as file:
        file.write(STAGE)
    text = (task / "task.toml").read_text(encoding="utf-8")
    text = text.replace('train = "train.jsonl"\n', 'train = "train.jsonl"\npreference = "pairs.jsonl"\n')
    named = (
        '[case_sets.preferences]\nfile = "cases/preferences.jsonl"\nwhy = "Manners."\n\n[case_sets.heldout]'
    )
    text = text.replace("[case_sets.heldout]", named)
    (task / "task.toml").write_text(text + ASKED, encoding="utf-8")
    operations = ["on", "off", "off", "on", "none"]
    cases = [
        {
            "id": f"preferences-{number}",
            "prompt": prompt,
            "expect": {"rejected": answer(operation).replace("Anything else?", "Goodbye.")},
            "reference": answer(operation),
        }
        for number, (prompt, operation) in enumerate(zip(ASIDE, operations, strict=True))
    ]
    write(task / "cases" / "preferences.jsonl", cases)
    return folder


def judged(folder, rows):
    write(folder / "task" / "pairs.jsonl", rows)
    _, results, output = release(folder)
    return results, output


@pytest.fixture(scope="module")
def right(folder):
    return judged(folder, lamp())


@pytest.fixture(scope="module")
def swapped(folder, right):
    return judged(folder, lamp(swapped=True))


def test_right_pairs_pass_and_the_stage_is_a_step_of_the_losses(right):
    results, output = right
    assert verdict(results, "PREFERENCE.accuracy")["status"] == "PASS", output
    assert verdict(results, "TRAINING.preference-margin")["status"] == "PASS", output
    models = {
        name: [verdict(results, f"LOSS.preferences.{name}")[key]["model"] for key in ("against", "measured")]
        for name in ("training", "preference", "merge")
    }
    assert models == {
        "training": ["base", "sft"],
        "preference": ["sft", "adapter"],
        "merge": ["adapter", "merged"],
    }
    built = [artifact["step"] for artifact in results["artifacts"]]
    assert {"adapter", "pairs", "preference"} <= set(built)
    assert any("rewards/margins" in entry for entry in results["preference_history"])
    assert any("loss" in entry for entry in results["adapter_history"])


def test_the_report_tells_what_the_stage_did(right, folder):
    page = (folder / "reports" / "lamp").glob("*/report.html")
    text = next(path for path in page if "latest" not in path.parts).read_text(encoding="utf-8")
    assert "adapter after fine-tuning" in text
    assert "Margin between chosen and rejected answers" in text
    assert "reference optimisation" in text


def test_swapped_pairs_are_seen_in_the_file_that_ships_and_told_to_the_stage(swapped, right):
    results, output = swapped
    found = verdict(results, "PREFERENCE.accuracy")
    assert found["status"] == "FAIL", output
    assert found["measured"]["value"] < verdict(right[0], "PREFERENCE.accuracy")["measured"]["value"]
    lost = verdict(results, "LOSS.preferences.preference")
    assert (lost["status"], lost["stages"]) == ("FAIL", ["preference"])
    assert verdict(results, "LOSS.preferences.merge")["status"] == "PASS"
    rebuilt = {artifact["step"] for artifact in results["artifacts"] if artifact["built_now"]}
    assert "preference" in rebuilt and not {"base", "dataset", "adapter"} & rebuilt


def test_a_case_among_the_pairs_is_a_leak(folder, right):
    rows = lamp()
    rows[0]["prompt"][0]["content"] = "please put the lamp on"
    write(folder / "task" / "pairs.jsonl", rows)
    done = release_data(folder)
    assert done.returncode == 1
    assert "please put the lamp on" in done.stdout and "train.jsonl and pairs.jsonl" in done.stdout


def test_a_recipe_with_the_stage_and_a_task_without_pairs_is_one_error(folder, right):
    path = folder / "task" / "task.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('preference = "pairs.jsonl"\n', ""), encoding="utf-8")
    try:
        done = release_data(folder)
    finally:
        path.write_text(text, encoding="utf-8")
    assert done.returncode == 4
    assert "this task has no 'preference', and its recipe has a stage [preference]" in done.stderr


def release_data(folder):
    from tests.conftest import clean_environment
    from tests.test_end_to_end import REPOSITORY

    words = [sys.executable, "-m", "pytest", "-m", "data", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*words, f"--task={folder / 'task'}", f"--store={folder / 'store'}"],
        cwd=REPOSITORY,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
