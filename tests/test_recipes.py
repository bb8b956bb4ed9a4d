"""Recipes: what each setting does to a training, what it leaves as it was, and what is told where it cannot be.

python -m pytest tests/test_recipes.py
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from seatrial.training import choices, memory_ladder, steps, train_steps
from seatrial.training.dataset import prepare
from seatrial.training.errors import SeatrialError
from seatrial.training.recipe import RECIPES, load_recipe
from tests.trained_tiny import Tiny, losses, run_here

ARTIFACT = SimpleNamespace(digest="0" * 64, path=Path())
# of the recipe as 0.1.0 had it: whoever trained it must not train it again
KEYS = {"float32": "312541adb448f0226589fbba305abe6f", "bfloat16": "039aa0a7371c1baa17a88e9efe3c8d60"}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for module in (steps, memory_ladder):
            patch.setattr(module, "run_job", run_here)
        yield Tiny(tmp_path_factory.mktemp("recipes"))


# --- the files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*.toml")))
def test_every_recipe_can_be_read_and_is_named_as_its_file(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.base.license


@pytest.mark.parametrize("name", ["llama-3.1-8b-unsloth", "llama-3.1-8b-trl"])
def test_the_specification_s_numbers(name):
    recipe = load_recipe(name)
    assert recipe.base.precision == "nf4-double"
    lora, trainer = recipe.lora, recipe.trainer
    assert (lora.r, lora.alpha, lora.dropout, len(lora.target_modules)) == (16, 16, 0, 7)
    assert (trainer.epochs, trainer.batch_size, trainer.gradient_accumulation) == (3, 4, 4)
    assert (trainer.learning_rate, trainer.warmup_ratio, trainer.weight_decay) == (2e-4, 0.03, 0.01)
    assert (trainer.seed, trainer.max_length) == (42, 2048)


@pytest.mark.parametrize("dtype", KEYS)
def test_an_adapter_that_was_trained_before_there_were_more_settings_is_the_same_one(dtype, monkeypatch):
    monkeypatch.setattr(train_steps, "resolve_dtype", lambda wanted: dtype)
    assert train_steps.train_adapter(load_recipe("smollm2-135m-cpu"), ARTIFACT, ARTIFACT).key == KEYS[dtype]


CHANGES = {
    "nf4-double": {"base": {"precision": "nf4-double"}},
    "int8": {"base": {"precision": "int8"}},
    "bf16": {"base": {"precision": "bf16"}},
    "fp32": {"base": {"precision": "fp32"}},
    "rslora": {"lora": {"rslora": True}},
    "dora": {"lora": {"dora": True}},
    "modules-to-save": {"lora": {"modules_to_save": ["lm_head"]}},
    "checkpointing": {"trainer": {"gradient_checkpointing": True}},
    "packing": {"trainer": {"packing": True}},
    "optimizer": {"trainer": {"optimizer": "adafactor"}},
    "neftune": {"trainer": {"neftune_alpha": 5.0}},
    "by-length": {"trainer": {"order": "length"}},
}
LONG = {"bf16": pytest.mark.long}  # a minute without a processor that multiplies it


@pytest.mark.parametrize("name", [pytest.param(name, marks=LONG.get(name, ())) for name in CHANGES])
def test_a_setting_makes_another_adapter_whose_key_says_so(tiny, name):
    _, _, plain = tiny.train(tiny.recipe())
    _, _, changed = tiny.train(tiny.recipe(**CHANGES[name]))
    assert changed.key != plain.key
    assert losses(changed)[-1] < losses(changed)[0]
    # here is no FlashAttention
    assert changed.facts.get("rows_see_each_other", False) == (name == "packing")
    if name == "checkpointing":  # the same numbers, computed again instead of kept
        assert losses(changed) == pytest.approx(losses(plain), rel=1e-3)
    else:
        assert losses(changed) != losses(plain)


@pytest.mark.parametrize(
    "name",
    [
        *("nf4-double", "int8", "fp32", "rslora", "dora", "modules-to-save"),
        pytest.param("bf16", marks=pytest.mark.long),
    ],
)
def test_the_merged_model_is_what_was_trained(tiny, name):
    """Beside the base as training held it, the adapter says what the merged model says."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from seatrial.training.base_model import load_base

    recipe = tiny.recipe(**CHANGES[name])
    store, base, adapter = tiny.train(recipe)
    merged = store.build(steps.merge(base, adapter))
    assert merged.facts["peak_memory"] > 1e8  # torch alone is larger
    held = load_base(base.path, torch.float32, recipe.base.precision)
    trained = PeftModel.from_pretrained(held, adapter.path).eval()
    written = AutoModelForCausalLM.from_pretrained(merged.path, dtype=torch.float32).eval()
    ids = torch.arange(20, 60).reshape(2, 20)
    with torch.no_grad():
        one, other = (torch.log_softmax(each(ids).logits.float(), -1) for each in (trained, written))
    divergence = (one.exp() * (one - other)).sum(-1).mean()
    assert divergence < (0.01 if name in ("int8", "bf16") else 1e-5)  # these two round activations, too


# --- rows -----------------------------------------------------------------------------------------------


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def row(question, answer="yes", **more):
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return {"conversations": turns, **more}


def prompts(folder):
    lines = (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["prompt"] for line in lines]


def test_rows_are_sorted_by_length_and_the_validation_rows_stay_the_same(tmp_path):
    source = write(tmp_path / "rows", [row("x" * (7 * n % 30)) for n in range(30)])
    found = {}
    for order in ("shuffled", "length"):
        (tmp_path / order).mkdir()
        prepare(source, tmp_path / order, "", 5, 1, order)
        found[order] = [len(prompt[-1]["content"]) for prompt in prompts(tmp_path / order)]
    assert found["length"][:25] == sorted(found["shuffled"][:25]) != found["shuffled"][:25]
    assert found["length"][25:] == found["shuffled"][25:]


def test_rows_are_sorted_by_the_difficulty_that_each_says(tmp_path):
    source = write(tmp_path / "rows", [row(str(n), difficulty=n / 2) for n in range(30)])
    prepare(source, tmp_path, "", 5, 1, "difficulty")
    found = [int(prompt[-1]["content"]) for prompt in prompts(tmp_path)][:25]
    assert found == sorted(found)


@pytest.mark.parametrize("value", ["hard", None, True])
def test_a_row_without_a_difficulty_is_told_with_its_line(tmp_path, value):
    source = write(tmp_path / "rows", [row("a", difficulty=1), row("b", difficulty=value)])
    with pytest.raises(SeatrialError, match=r"rows:2: 'difficulty' is"):
        prepare(source, tmp_path, "", 1, 1, "difficulty")


def test_a_share_of_general_rows_is_trained_on_without_the_task_s_system_prompt(tmp_path):
    source = write(tmp_path / "rows", [row(f"task {n}") for n in range(35)])
    general = write(tmp_path / "general", [row(f"general {n}") for n in range(50)])
    facts = prepare(source, tmp_path, "You are it.", 5, 1, mix=general, share=0.25)
    found = prompts(tmp_path)
    assert (facts["general_rows"], facts["rows"], len(found)) == (10, 45, 45)  # 10 of 40 that are trained on
    kinds = [prompt[-1]["content"].split()[0] for prompt in found]
    assert kinds[-5:] == ["task"] * 5
    assert len({prompt[-1]["content"] for prompt in found}) == 45
    for kind, prompt in zip(kinds, found, strict=True):
        assert (prompt[0]["role"] == "system") == (kind == "task")


def test_more_general_rows_than_there_are_is_one_error(tmp_path):
    source = write(tmp_path / "rows", [row(f"task {n}") for n in range(35)])
    general = write(tmp_path / "general", [row("general")])
    with pytest.raises(SeatrialError, match="asks for 10 general rows, but .* has only 1"):
        prepare(source, tmp_path, "", 5, 1, mix=general, share=0.25)


def test_the_general_rows_are_part_of_the_dataset_s_key(tiny, tmp_path):
    keys = set()
    for text in ("one", "other"):
        write(tiny.recipes / "general.jsonl", [row(text)] * 9)
        mixed = tiny.recipe(mix={"file": "general.jsonl", "share": 0.2})
        keys.add(steps.prepare_dataset(tiny.rows, "", mixed).key)
    assert len(keys | {steps.prepare_dataset(tiny.rows, "", tiny.recipe()).key}) == 3


# --- what cannot be -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("optimizer", "told"),
    [
        ("paged_adamw_8bit", "there is no CUDA device"),
        ("adam_torch", "did you mean adamw_torch"),
    ],
)
def test_an_optimizer_that_cannot_run_here_is_one_error(tiny, optimizer, told):
    with pytest.raises(SeatrialError, match=told):
        tiny.train(tiny.recipe(trainer={"optimizer": optimizer}))


def test_float16_without_a_gpu_is_told_before_anything_is_built(tiny, monkeypatch):
    recipe = tiny.recipe(trainer={"compute_dtype": "float16"})
    with pytest.raises(SeatrialError, match="needs a CUDA device"):
        train_steps.train_adapter(recipe, ARTIFACT, ARTIFACT)


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ({"trainer": {"gradient_checkpointing": "unsloth"}}, 'needs backend = "unsloth"'),
        ({"trainer": {"packing": True, "order": "length"}}, "does not keep order"),
        ({"mix": {"file": "general.jsonl", "share": 1.0}}, "less than 1"),
    ],
)
def test_settings_that_contradict_each_other_are_told(tiny, tables, told):
    with pytest.raises(ValueError, match=told):
        tiny.recipe(**tables)


def test_a_missing_tracker_is_one_error_and_a_tracker_changes_no_key(tiny, monkeypatch):
    recipe = tiny.recipe(trainer={"report_to": "trackio"})
    monkeypatch.setattr(choices, "_installed", lambda module: False)
    with pytest.raises(SeatrialError, match="needs the package 'trackio'.*\n.*pip install trackio"):
        train_steps.train_adapter(recipe, ARTIFACT, ARTIFACT)
    monkeypatch.setattr(choices, "_installed", lambda module: True)
    plain = train_steps.train_adapter(tiny.recipe(), ARTIFACT, ARTIFACT)
    assert train_steps.train_adapter(recipe, ARTIFACT, ARTIFACT).key == plain.key


def test_a_missing_backend_is_one_error_or_the_recipe_s_other_one_said_aloud(tiny, monkeypatch):
    monkeypatch.setattr(choices, "_installed", lambda module: module != "unsloth")
    told = "backend = 'unsloth' needs the package.*\n.*seatrial.gpu.*fallback = \"trl\""
    with pytest.raises(SeatrialError, match=told):
        choices.choose_backend(tiny.recipe(top={"backend": "unsloth"}))
    recipe = tiny.recipe(top={"backend": "unsloth", "fallback": "trl"})
    base, dataset = SimpleNamespace(digest="b", path=Path()), SimpleNamespace(digest="d")
    said: list[str] = []
    step = train_steps.train_adapter(recipe, base, dataset, said.append)
    assert len(said) == 1 and "trl trains by the recipe" in said[0]
    assert step == replace(train_steps.train_adapter(tiny.recipe(), base, dataset), build=step.build)
