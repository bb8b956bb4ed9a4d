"""The unsloth backend on Unsloth's CPU path: the same losses as the trl backend, the same kind of adapter.

tox -e unsloth, or python -m pytest tests/test_unsloth.py where Unsloth is installed
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch

from seatrial.evals.fidelity.strength import fit, mistake
from seatrial.training import steps, train_steps
from seatrial.training.errors import SeatrialError
from seatrial.training.recipe import Recipe, load_recipe
from seatrial.training.store import Store, default_root
from tests.adapters import RATE, STEPS, Trained, Way, changed, gguf, lines, llama
from tests.conftest import REPOSITORY, clean_environment
from tests.trained_tiny import Tiny, losses

pytestmark = pytest.mark.skipif(find_spec("unsloth") is None, reason="no Unsloth here: tox -e unsloth")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return Tiny(tmp_path_factory.mktemp("unsloth"))


@pytest.mark.parametrize("precision", ["fp32", "nf4-double"])
def test_its_losses_are_those_of_the_trl_backend_on_the_same_rows(tiny, precision):
    trained = {}
    for backend in ("trl", "unsloth"):
        recipe = tiny.recipe(top={"backend": backend}, base={"precision": precision})
        store, base, trained[backend] = tiny.train(recipe)
    ours, theirs = trained["trl"], trained["unsloth"]
    assert ours.key != theirs.key
    assert (theirs.facts["backend"], theirs.facts["precision"]) == ("unsloth", precision)
    assert theirs.facts["unsloth"]
    assert losses(theirs)[-1] < losses(theirs)[0]  # it learns, so that equal losses are no two stalls
    assert losses(theirs) == pytest.approx(losses(ours), abs=2e-3)
    assert theirs.facts["eval_loss"] == pytest.approx(ours.facts["eval_loss"], abs=2e-3)
    configs = [json.loads((each.path / "adapter_config.json").read_text()) for each in (ours, theirs)]
    for key in ("r", "lora_alpha", "base_model_name_or_path", "peft_type"):
        assert configs[0][key] == configs[1][key]
    assert store.build(steps.merge(base, theirs)).path.joinpath("model.safetensors").exists()


WAYS = {
    "nf4-double": Way("nf4-double"),
    "nf4-double, rsLoRA": Way("nf4-double", lora={"use_rslora": True}),
    "bf16": Way("bf16"),
    "fp32, DoRA": Way("fp32", lora={"use_dora": True}),
}


@pytest.mark.parametrize("name", WAYS)
def test_an_adapter_that_unsloth_trained_alone_merges_to_what_it_trained_and_a_wrong_merge_is_found(
    name, tmp_path
):
    way = WAYS[name]
    torch.manual_seed(7)
    base, script = llama(way, tmp_path), REPOSITORY / "tests/children/unsloth_trainer.py"
    words = [
        base,
        tmp_path,
        way.precision,
        json.dumps(way.lora),
        STEPS,
        RATE,
        json.dumps(lines(way).tolist()),
    ]
    done = subprocess.run(
        [sys.executable, script, *map(str, words)], env=clean_environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    trained = Trained(way, base, tmp_path / "adapter", tmp_path)
    merged = trained.merged()
    f16 = gguf(merged, tmp_path)

    def found(folder, kind="F16"):
        return fit(gguf(folder, tmp_path, kind), f16, None, trained.adapter, base, trained.held)

    assert abs(trained.divergence(merged)) < 1e-6
    assert abs(trained.divergence(held=True)) < (2e-2 if way.precision == "bf16" else 1e-3)
    assert all(found(merged, kind).right for kind in ("F16", "Q4_K"))
    stronger = trained.merged("stronger", adapter=changed(trained, "strong", lora_alpha=1.3 * 16))
    assert "the adapter is 1." in mistake(found(stronger))
    theirs = tmp_path / "unsloth-merged"
    if theirs.exists():
        print(name, "Unsloth's own merge:", trained.divergence(theirs), "nats")
        assert abs(trained.divergence(theirs)) < 1e-5
        assert found(theirs).right
    else:
        published = trained.merged("published", precision="fp32")
        print(name, "merged into the published base:", trained.divergence(published), "nats")
        assert "the base as it was published" in mistake(found(published))


def test_a_published_model_learns_the_examples_rows_alike(tmp_path):
    """SmolLM2-135M, as the CPU recipe has it, for fifteen updates of four rows; prints what each came to."""
    rows = tmp_path / "rows.jsonl"
    lines = (REPOSITORY / "training/data/task_api/train.jsonl").read_text(encoding="utf-8").splitlines()
    rows.write_text("\n".join(lines[:64]) + "\n", encoding="utf-8")
    recipe, store = load_recipe("smollm2-135m-cpu"), Store(tmp_path / "store")
    base = Store(default_root()).build(steps.import_base(recipe))
    changed = {"epochs": 1, "validation_rows": 4, "compute_dtype": "float32"}
    found = {}
    for backend in ("trl", "unsloth"):
        data = recipe.model_dump(mode="json", exclude_none=True) | {"backend": backend}
        data["base"]["precision"] = "nf4-double"
        data["trainer"] |= changed
        by = Recipe.model_validate(data)
        dataset = store.build(steps.prepare_dataset(rows, "Answer with one JSON object.", by))
        found[backend] = store.build(train_steps.train_adapter(by, base, dataset))
        print(
            backend,
            losses(found[backend]),
            found[backend].facts["eval_loss"],
            found[backend].manifest["seconds"],
        )
    assert losses(found["trl"])[-1] < losses(found["trl"])[0]
    assert losses(found["unsloth"]) == pytest.approx(losses(found["trl"]), abs=2e-3)
    assert found["unsloth"].facts["eval_loss"] == pytest.approx(found["trl"].facts["eval_loss"], abs=2e-3)


def test_a_precision_that_unsloth_does_not_hold_is_told_before_it_loads(tiny):
    recipe = tiny.recipe(top={"backend": "unsloth"}, base={"precision": "nf4"})
    with pytest.raises(SeatrialError, match="Unsloth holds no base as 'nf4'\n.*nf4-double"):
        tiny.train(recipe)


def test_unsloth_that_cannot_be_used_is_one_error(tiny, monkeypatch):
    monkeypatch.setenv("UNSLOTH_DISABLE_CPU_FALLBACK", "1")
    recipe = tiny.recipe(top={"backend": "unsloth"}, base={"precision": "fp32"}, trainer={"epochs": 1})
    with pytest.raises(
        SeatrialError, match="Unsloth cannot be used here.*\n.*backend = .trl. trains the same"
    ):
        tiny.train(recipe)
