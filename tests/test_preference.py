"""Preference optimisation after fine-tuning: the stage itself, its record, its criteria, and a gate with it.

python -m pytest tests/test_preference.py
"""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import pytest

from seatrial.training import memory_ladder, steps, train_steps
from seatrial.training.errors import SeatrialError
from seatrial.training.pairs import prepare, read_pairs
from tests.miniature.write_rows import TRAIN, answer
from tests.trained_tiny import Tiny, run_here

STAGE = {
    "method": "dpo",
    "beta": 0.1,
    "learning_rate": 1e-3,
    "epochs": 2,
    "batch_size": 4,
    "gradient_accumulation": 1,
    "max_length": 128,
    "validation_pairs": 4,
}


def pair(question: str, chosen: str, rejected: str) -> dict:
    """A row of a file of pairs."""
    said = {"chosen": chosen, "rejected": rejected}
    answers = {key: [{"role": "assistant", "content": text}] for key, text in said.items()}
    return {"prompt": [{"role": "user", "content": question}], **answers}


def lamp(swapped: bool = False) -> list[dict]:
    """Pairs of the miniature's answers, of which the one is polite; or the other way round."""
    rows = []
    for operation, texts in TRAIN.items():
        for text in texts:
            both = [answer(operation), answer(operation).replace("Anything else?", "Goodbye.")]
            rows.append(pair(text, *(reversed(both) if swapped else both)))
    return rows


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for module in (steps, memory_ladder):
            patch.setattr(module, "run_job", run_here)
        yield Tiny(tmp_path_factory.mktemp("preference"))


def preferred(tiny, rows=None, tables=None, **settings):
    """The store, the base, the adapter before and the one after the stage."""
    recipe = tiny.recipe(preference={**STAGE, **settings}, **(tables or {}))
    store, base, sft = tiny.train(recipe)
    source = write(tiny.folder / "pairs.jsonl", rows or lamp())
    pairs = store.build(train_steps.prepare_pairs(source, "", recipe))
    return store, base, sft, store.build(train_steps.prefer(recipe, base, sft, pairs))


@pytest.fixture(scope="module")
def made(tiny):
    return preferred(tiny)


def weights(artifact):
    from safetensors.torch import load_file

    return load_file(artifact.path / "adapter_model.safetensors")


def margins(adapter):
    return [
        (chosen[1] - chosen[0]) - (rejected[1] - rejected[0])
        for chosen, rejected in ((each["chosen"], each["rejected"]) for each in adapter.facts["held_out"])
    ]


# --- the stage ------------------------------------------------------------------------------------------


def test_the_stage_starts_at_the_adapter_of_fine_tuning_and_moves_held_out_answers_apart(made):
    *_, adapter = made
    history = [entry for entry in adapter.facts["history"] if "loss" in entry]
    assert history[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)  # policy and reference are the same
    assert history[0]["rewards/margins"] == pytest.approx(0, abs=1e-5)
    assert history[-1]["rewards/margins"] > 0.05
    assert len(adapter.facts["held_out"]) == 4 and min(margins(adapter)) > 0
    told = [entry["eval_rewards/margins"] for entry in adapter.facts["history"] if "eval_loss" in entry]
    assert told[-1] == pytest.approx(STAGE["beta"] * sum(margins(adapter)) / 4, rel=1e-3)  # TRL's own figure


def test_one_adapter_of_the_same_shape_comes_of_it_and_is_merged_as_before(made):
    store, base, sft, adapter = made
    before, after = weights(sft), weights(adapter)
    assert {name: value.shape for name, value in before.items()} == {n: v.shape for n, v in after.items()}
    assert any((before[name] != after[name]).any() for name in before)
    assert {path.name for path in sft.path.iterdir()} == {path.name for path in adapter.path.iterdir()}
    config = json.loads((adapter.path / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == "seatrial/tiny-llama"
    merged = store.build(steps.merge(base, adapter))
    assert (merged.path / "model.safetensors").is_file()


@pytest.mark.parametrize(
    "name",
    [
        "modules-to-save",
        "sft-weight",
        *(pytest.param(name, marks=pytest.mark.long) for name in ("dora", "fp32")),
    ],
)
def test_whatever_the_adapter_is_made_of_the_stage_trains_it_on(tiny, name):
    tables = {
        "dora": {"lora": {"dora": True}},
        "modules-to-save": {"lora": {"modules_to_save": ["lm_head"]}},
        "fp32": {"base": {"precision": "fp32"}},
        "sft-weight": {},
    }[name]
    more = {"sft_weight": 1.0} if name == "sft-weight" else {}
    _, _, sft, adapter = preferred(tiny, tables=tables, epochs=1, **more)
    assert weights(sft).keys() == weights(adapter).keys()
    assert margins(adapter) and min(margins(adapter)) > 0
    first = next(entry for entry in adapter.facts["history"] if "rewards/margins" in entry)
    assert first["rewards/margins"] == pytest.approx(0, abs=1e-4)


def test_swapped_pairs_teach_the_opposite(tiny, made):
    *_, adapter = preferred(tiny, lamp(swapped=True))
    polite = [-each for each in margins(adapter)]
    assert max(polite) < 0 < min(margins(made[-1]))


# --- keys -----------------------------------------------------------------------------------------------


def test_the_stage_has_a_key_of_its_own_and_leaves_that_of_fine_tuning_as_it_was(tiny, tmp_path):
    plain, staged = tiny.recipe(), tiny.recipe(preference=STAGE)
    artifact = SimpleNamespace(digest="0" * 64, path=tmp_path)
    assert (
        train_steps.train_adapter(plain, artifact, artifact).key
        == train_steps.train_adapter(staged, artifact, artifact).key
    )
    assert steps.prepare_dataset(tiny.rows, "", plain).key == steps.prepare_dataset(tiny.rows, "", staged).key

    def key(recipe=staged, **other):
        inputs = {name: SimpleNamespace(digest=other.get(name, "0" * 64), path=tmp_path) for name in "bap"}
        return train_steps.prefer(recipe, *inputs.values()).key

    others = [tiny.recipe(preference={**STAGE, "beta": 0.2}), tiny.recipe(preference={**STAGE, "epochs": 3})]
    keys = [key(), *map(key, others), key(b="1" * 64), key(a="1" * 64), key(p="1" * 64)]
    assert len(set(keys)) == len(keys)
    write(tmp_path / "one", lamp())
    write(tmp_path / "other", lamp(swapped=True))
    assert train_steps.prepare_pairs(tmp_path / "one", "", staged).key != (
        train_steps.prepare_pairs(tmp_path / "other", "", staged).key
    )


def test_out_of_memory_takes_less_of_the_pairs_at_a_time(tiny, monkeypatch):
    from seatrial.training.errors import OutOfMemory

    asked = []

    def tight(job, request, out, progress, online=False):
        settings = request["recipe"]["trainer"]
        asked.append((settings["batch_size"], settings["gradient_accumulation"]))
        if settings["batch_size"] > 1:
            raise OutOfMemory("no room")
        return {"history": []}

    monkeypatch.setattr(memory_ladder, "run_job", tight)
    recipe = tiny.recipe(preference=STAGE)
    nothing = SimpleNamespace(digest="0" * 64, path=tiny.folder, facts={"validation_rows": 4})
    step = train_steps.prefer(recipe, nothing, nothing, nothing)
    out = tiny.folder / "tmp" / "out"
    out.mkdir(parents=True)
    facts = step.build(out, SimpleNamespace(say=lambda text: None))
    assert asked == [(4, 1), (2, 2), (1, 4)]  # of the stage, not of [trainer]; four pairs an update each time
    assert facts["memory_ladder"]["used"] == {"batch_size": 1, "gradient_accumulation": 4}


# --- pairs ----------------------------------------------------------------------------------------------


def test_a_prompt_is_held_out_with_all_its_pairs(tmp_path):
    rows = [pair(f"question {n // 3}", "yes", f"no {n}") for n in range(30)]
    facts = prepare(write(tmp_path / "pairs", rows), tmp_path, "You are it.", 4, 1)
    lines = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert facts["validation_rows"] == 6 and len(lines) == facts["rows"] == 30  # two prompts of three pairs
    asked = [line["prompt"][-1]["content"] for line in lines]
    assert not set(asked[:24]) & set(asked[24:])
    assert all(line["prompt"][0] == {"role": "system", "content": "You are it."} for line in lines)


GOOD = pair("a", "yes", "no")
BROKEN = {
    "no rejected": (
        {key: GOOD[key] for key in ("prompt", "chosen")},
        "'rejected' must be a list of messages",
    ),
    "a text": ({**GOOD, "prompt": "a"}, "'prompt' must be a list of messages"),
    "the same": (pair("a", "yes", "yes"), "'chosen' and 'rejected' are the same"),
    "no question": ({**GOOD, "prompt": GOOD["chosen"]}, "the last message of 'prompt' must be the user's"),
    "no answer": ({**GOOD, "chosen": GOOD["prompt"]}, "'chosen' must be one message of the role 'assistant'"),
    "a role": ({**GOOD, "prompt": [{"role": "human", "content": "a"}]}, "a message of 'prompt' is"),
    "no content": ({**GOOD, "prompt": [{"role": "user"}]}, "a message of 'prompt' is"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_row_that_is_no_pair_is_one_error_with_file_and_line(tmp_path, name):
    row, told = BROKEN[name]
    with pytest.raises(SeatrialError, match=rf"pairs\.jsonl:2: {told}"):
        read_pairs(write(tmp_path / "pairs.jsonl", [GOOD, row]))


def test_no_rows_and_too_few_of_them_are_told(tmp_path):
    with pytest.raises(SeatrialError, match="holds no rows"):
        read_pairs(write(tmp_path / "pairs.jsonl", []))
    with pytest.raises(SeatrialError, match="validation_pairs = 2, but .* has pairs on 2 prompts only"):
        prepare(write(tmp_path / "pairs.jsonl", [GOOD, pair("b", "yes", "no")]), tmp_path, "", 2, 1)


def test_prompts_that_leave_no_room_for_an_answer_are_one_error(tiny):
    with pytest.raises(SeatrialError, match="fill max_length = 8: no answer is left"):
        preferred(tiny, max_length=8)
