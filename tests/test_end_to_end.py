"""The whole path on a Llama of two layers: train a few steps, merge, convert, quantise, judge.

The model learns nothing worth shipping, and the gate must say so; what is tested is that every artifact is
built, once, and judged.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from seatrial.evals.fidelity.trained import _answered
from seatrial.evals.task import load_task
from seatrial.training import steps, train_steps
from seatrial.training.gguf_file import open_gguf
from seatrial.training.recipe import load_recipe
from seatrial.training.store import Store, default_root
from tests.conftest import clean_environment

REPOSITORY = Path(__file__).resolve().parents[1]
MINIATURE = REPOSITORY / "tests" / "miniature"
EXPORT_CRITERIA = """
[[criteria]]
id = "SC-4.adapter"
title = "The adapter loads"
metric = "adapter_loads"
at_least = 1
why = "test"

[[criteria]]
id = "SC-4.gguf"
title = "Every file loads and is asked"
metric = "gguf_answers"
at_least = 0.0
why = "A random model need not stop by itself; that it loads is what is tested."

[[criteria]]
id = "LATENCY.memory"
title = "Memory"
metric = "peak_memory"
at_most = 4.0
why = "test"
"""


def release(folder: Path, *more: str) -> tuple[int, dict, str]:
    """Run the gate on the miniature in ``folder``; its exit status, results.json and output."""
    reports = folder / "reports"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-m", "release", "-p", "no:cacheprovider"]
        + [f"--task={folder / 'task'}", f"--store={folder / 'store'}", f"--report-dir={reports}", *more],
        cwd=REPOSITORY,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=600,
    )
    results = json.loads((reports / "lamp" / "latest" / "results.json").read_text(encoding="utf-8"))
    return done.returncode, results, done.stdout + done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of the miniature with a base model and export criteria."""
    folder = tmp_path_factory.mktemp("end-to-end")
    task = folder / "task"
    shutil.copytree(MINIATURE, task, ignore=shutil.ignore_patterns("__pycache__"))
    real_base = Store(default_root()).build(steps.import_base(load_recipe("smollm2-135m-cpu")))
    out = task / "recipes" / "tiny-llama"
    subprocess.run(
        [sys.executable, str(MINIATURE / "make_base.py"), str(real_base.path), str(out)], check=True
    )
    with (task / "task.toml").open("a", encoding="utf-8") as file:
        file.write(EXPORT_CRITERIA)
    return folder


@pytest.fixture(scope="module")
def cold(folder):
    """The first run, which builds everything."""
    return release(folder)


def verdict(results, name):
    return next(v for v in results["verdicts"] if v["criterion"] == name)


def test_every_artifact_of_the_chain_is_built_and_recorded(cold):
    _, results, output = cold
    built = {artifact["step"] for artifact in results["artifacts"] if artifact["built_now"]}
    assert {"base", "dataset", "adapter", "merged", "gguf", "quantized", "generations", "timings"} <= built, (
        output
    )


def test_training_moves_the_weights_and_keeps_its_history(cold):
    history = cold[1]["adapter_history"]
    losses = [entry["loss"] for entry in history if "loss" in entry]
    assert losses[-1] < losses[0]
    assert all(entry["grad_norm"] > 1e-6 for entry in history if "grad_norm" in entry)
    assert any("eval_loss" in entry for entry in history)


@pytest.mark.parametrize("name", ["SC-4.adapter", "SC-4.gguf", "LATENCY.memory", "DATA.leakage"])
def test_the_export_passes_its_own_criteria(cold, name):
    assert verdict(cold[1], name)["status"] == "PASS", cold[2]


def test_a_model_that_learnt_nothing_does_not_ship(cold):
    status, results, output = cold
    assert status == 1, output
    assert results["gate"]["decision"] == "DO NOT SHIP"
    assert verdict(results, "SC-1")["status"] == "FAIL"


def test_a_base_that_is_no_gguf_is_exported_like_the_shipped_file_and_asked_the_same(cold):
    found = verdict(cold[1], "SC-3.perplexity")
    assert found["status"] == "INCONCLUSIVE"  # three rows prove nothing, however much is won
    assert found["against"]["model"] == "base"
    assert found["against"]["value"] > found["measured"]["value"] > 1


def test_the_modelfile_names_the_shipped_file_and_its_stop_string(cold):
    lines = cold[1]["modelfile"].splitlines()
    assert lines[0] == "FROM ./lamp-q8_0.gguf"
    assert 'PARAMETER stop "<|im_end|>"' in lines


def test_a_warm_run_with_two_workers_builds_nothing_and_says_the_same(folder, cold):
    status, results, output = release(folder, "-n", "2")
    assert not [artifact["step"] for artifact in results["artifacts"] if artifact["built_now"]], output
    assert status == cold[0]
    for again, before in zip(results["verdicts"], cold[1]["verdicts"], strict=True):
        assert again["measured"] == before["measured"], again["criterion"]
        assert again["status"] == before["status"]


def test_the_adapter_names_its_base_and_no_path_of_this_machine(folder, cold):
    config = json.loads(next((folder / "store" / "adapter").glob("*/adapter_config.json")).read_text())
    assert config["base_model_name_or_path"] == "seatrial/tiny-llama"


def test_a_damaged_gguf_file_is_found_and_built_again(folder, cold):
    file = next((folder / "store" / "quantized").glob("*/lamp-q8_0.gguf"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    _, results, output = release(folder, "-k", "gguf", "--require", "SC-4.gguf")
    assert "is damaged" in output
    assert verdict(results, "SC-4.gguf")["status"] == "PASS"


def test_the_file_does_not_hold_the_key_that_its_model_has_in_the_store(folder, cold):
    """llama.cpp's converter makes metadata of the name of the folder that it is given."""
    merged = {path.name for path in (folder / "store" / "merged").iterdir()}
    (file,) = (folder / "store" / "gguf").glob("*/lamp-f16.gguf")
    fields = open_gguf(file).fields
    told = {name: str(field.contents()) for name, field in fields.items() if name.startswith("general.")}
    assert told["general.name"] == "lamp"
    assert not [name for name, value in told.items() for key in merged if key[:8] in value]


def test_training_stops_early_when_the_validation_loss_no_longer_falls(folder, cold):
    """At a learning rate that changes nothing, the second epoch is no better than the first: no third."""
    tiny = folder / "task" / "recipes" / "tiny-llama.toml"
    text = tiny.read_text(encoding="utf-8")
    for old, new in (("learning_rate = 1e-2", "learning_rate = 1e-12"), ("patience = 0", "patience = 1")):
        assert text.count(old) == 1
        text = text.replace(old, new)
    patient = tiny.with_name("patient.toml")
    patient.write_text(text, encoding="utf-8")
    recipe, task, store = load_recipe(patient), load_task(folder / "task"), Store(folder / "store")
    assert recipe.trainer.epochs > 2
    dataset = store.build(steps.prepare_dataset(task.path(task.train), task.prompts.system, recipe))
    adapter = store.build(train_steps.train_adapter(recipe, store.build(steps.import_base(recipe)), dataset))
    assert [entry["epoch"] for entry in adapter.facts["history"] if "eval_loss" in entry] == [1, 2]


def test_answers_are_taken_over_only_where_every_token_is_the_most_likely_one(folder, cold):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    merged = next((folder / "store" / "merged").iterdir())
    model, tokenizer = AutoModelForCausalLM.from_pretrained(merged), AutoTokenizer.from_pretrained(merged)
    questions = [[{"role": "user", "content": text}] for text in ("Lights, please.", "Turn the lamp off.")]
    request = {"questions": questions, "max_tokens": 6}
    first, second = own = _answered(model, tokenizer, request, None)
    assert _answered(model, tokenizer, request, own) is own
    other = (second[-1] + 1) % len(tokenizer)
    assert _answered(model, tokenizer, request, [first, [*second[:-1], other]]) == own
