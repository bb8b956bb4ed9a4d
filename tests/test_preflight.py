"""What is said before a training: every answer from numbers that are there, and "not known" for the others."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from seatrial.evals.baselines import baselines
from seatrial.evals.break_even import break_even
from seatrial.evals.case_sets import load_case_sets
from seatrial.evals.preflight import Known, Size, preflight
from seatrial.evals.preflight_rows import look_at_rows
from seatrial.evals.task import load_task
from seatrial.training import footprint, past
from seatrial.training.dataset import read_sharegpt
from seatrial.training.footprint import adapter_parameters, known_shape, training_bytes
from seatrial.training.lengths import Lengths
from seatrial.training.past import Pace
from seatrial.training.recipe import load_recipe
from seatrial.training.rules import rules
from seatrial.training.steps import import_base
from seatrial.training.store import Store, default_root
from tests.conftest import REPOSITORY
from tests.report_results import results
from tests.verb import document, seatrial, write

TASK = REPOSITORY / "golden/task_api"
PRICES = {"larger": {"input": 2.0, "output": 8.0, "per_hour": None, "why": "a list"}}
SHIPPED = {"shipped": {"input": None, "output": None, "per_hour": 0.5, "why": "a list"}}


@pytest.fixture(scope="module")
def task():
    return load_task(TASK)


@pytest.fixture(scope="module")
def known(task):
    """All that can be known without a store, and every row of 80 tokens."""
    conversations = read_sharegpt(task.train_file)
    lengths = Lengths([80] * len(conversations), [35] * len(conversations))
    recipe = load_recipe("smollm2-135m-cpu")
    rows = look_at_rows(task, load_case_sets(task), conversations, lengths)
    size = Size(recipe, known_shape(recipe.base.model))
    return Known(task, rows, [size], "float32", 8e9, "this machine")


def answers(known, **changes):
    return {each.question: each for each in preflight(replace(known, **changes))}


def ran(decision="DO NOT SHIP", **changes):
    """The results of a run: the made-up ones of the report's tests."""
    made = json.loads(json.dumps(results()))
    made["gate"]["decision"] = decision
    return made | changes


# --- sizes and memory ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        ("HuggingFaceTB/SmolLM2-135M-Instruct", 134_515_008),
        ("Qwen/Qwen3-4B", 4_022_468_096),
        ("meta-llama/Llama-3.1-8B-Instruct", 8_030_261_248),
    ],
)
def test_a_shape_gives_the_parameters_that_the_model_is_published_with(model, parameters):
    assert known_shape(model).parameters == pytest.approx(parameters, rel=1e-5)


def test_an_adapter_has_the_parameters_that_training_counted():
    """4,884,480 stand in the manifest of the CPU recipe's adapter, 41,943,040 on the page of every 8B one."""
    cpu, llama = (load_recipe(name) for name in ("smollm2-135m-cpu", "llama-3.1-8b-trl"))
    assert adapter_parameters(known_shape(cpu.base.model), cpu.lora) == 4_884_480
    assert adapter_parameters(known_shape(llama.base.model), llama.lora) == 41_943_040


def test_a_family_that_is_not_understood_has_no_shape_instead_of_a_wrong_one():
    config = dict(rules().shapes["Qwen/Qwen3-4B"])
    assert footprint.shape_of(config | {"model_type": "qwen3_moe"}) is None
    assert footprint.shape_of({"model_type": "llama"}) is None
    lora = load_recipe("qwen3-4b").lora.model_copy(update={"target_modules": ("experts",)})
    assert adapter_parameters(known_shape("Qwen/Qwen3-4B"), lora) is None


def test_memory_grows_with_what_the_recipe_asks_for():
    recipe = load_recipe("llama-3.1-8b-trl")
    shape = known_shape(recipe.base.model)

    def needed(dtype="bfloat16", length=128, precision="nf4", **trainer):
        changed = recipe.model_copy(
            update={
                "trainer": recipe.trainer.model_copy(update=trainer),
                "base": recipe.base.model_copy(update={"precision": precision}),
            }
        )
        return training_bytes(shape, changed, dtype, length)

    parts = needed()
    # 6.98e9 projections in 4.5 bits, 1.05e9 others in 16: what QLoRA's 8B takes before anything is trained.
    assert parts["weights"] == pytest.approx(6.98e9 * 4.5 / 8 + 1.05e9 * 2, rel=0.01)
    assert needed(precision="bf16")["weights"] == pytest.approx(16.06e9, rel=0.01)
    assert needed(precision="nf4-double")["weights"] < parts["weights"]
    assert needed(gradient_checkpointing=False)["activations"] > 10 * parts["activations"]
    assert needed(length=256)["logits"] == 2 * parts["logits"]
    assert needed(optimizer="adamw_torch_fused")["adapter"] > parts["adapter"]


def test_what_does_not_fit_stands_against_training(known):
    assert answers(known)["does it fit"].state == "yes"
    small = answers(known, memory=1e8)["does it fit"]
    assert small.state == "no" and "0.1 GB" in small.said and "batch_size" in small.measure
    assert answers(known, memory=None)["does it fit"].state == "unknown"


# --- nothing is invented ------------------------------------------------------------------------------------
def test_without_measurements_nothing_is_said_of_what_only_they_tell(known):
    said = answers(replace(known, rows=replace(known.rows, lengths=None)))
    for question in ("tune or not", "which rank", "how long", "what it costs", "does it pay"):
        assert said[question].state == "unknown" and said[question].measure, question
        assert "not known" in said[question].said, question
    assert "max_length" in " ".join(said["does it fit"].reasons)


def test_rows_whose_tokens_are_not_known_speak_against_no_device(known):
    """Rows of max_length are the most that there can be: only weights and adapter are needed whatever they are."""
    recipe = load_recipe("llama-3.1-8b-trl")
    blind = replace(
        known,
        rows=replace(known.rows, lengths=None),
        sizes=[Size(recipe, known_shape(recipe.base.model))],
        dtype="float16",
    )
    t4 = answers(blind, memory=15e9)["does it fit"]
    assert t4.state == "unknown" and t4.figures["least"] < 15e9 < t4.figures["total"]
    assert answers(blind, memory=5e9)["does it fit"].state == "no"
    assert answers(blind, memory=80e9)["does it fit"].state == "yes"


def test_a_price_without_a_time_gives_no_cost(known):
    assert answers(known, gpu_hour=2.0)["what it costs"].state == "unknown"


def test_time_and_cost_follow_from_a_training_that_was_measured(known):
    said = answers(known, gpu_hour=3.0, pace=Pace(96_000, 960.0, "key", "2026-11-01T00:00:00Z"))
    # 480 of 500 rows of 80 tokens, three epochs, at 100 tokens a second
    assert said["how long"].figures["seconds"] == pytest.approx(480 * 80 * 3 / 100)
    assert said["how long"].figures["updates"] == 360
    assert said["what it costs"].figures["dollars"] == pytest.approx(1152 / 3600 * 3)
    assert "2026-11-01" in " ".join(said["how long"].reasons)


def test_only_a_training_of_the_same_kind_tells_a_time():
    recipe = load_recipe("smollm2-135m-cpu")
    manifest = {
        "key": "k",
        "built_at": "2026-11-01T00:00:00Z",
        "params": {
            "base_model": recipe.base.model,
            "backend": "trl",
            "trainer": {"compute_dtype": "float32", "batch_size": 4},
        },
        "facts": {"tokens": 1000, "history": [{"loss": 1.0}, {"train_runtime": 10.0}]},
    }
    assert past.pace([manifest], recipe, "trl", "float32").tokens_per_second == 100
    for other in (
        past.pace([manifest], recipe, "trl", "bfloat16"),
        past.pace([manifest], recipe, "unsloth", "float32"),
        past.pace(
            [manifest | {"params": manifest["params"] | {"base_model": "x"}}], recipe, "trl", "float32"
        ),
        past.pace(
            [manifest | {"params": manifest["params"] | {"precision": "bf16"}}], recipe, "trl", "float32"
        ),
        past.pace([manifest | {"facts": {}}], recipe, "trl", "float32"),
        past.pace([{}], recipe, "trl", "float32"),
    ):
        assert other is None


# --- tune or not --------------------------------------------------------------------------------------------
def test_untuned_models_below_the_thresholds_say_tune(known):
    said = answers(known, results=ran())["tune or not"]
    assert said.state == "yes" and "base" in said.said and "prompted_base" in said.said
    assert any("prompted_base: SC-1: accuracy 65%" in reason for reason in said.reasons), said.reasons


def test_a_run_that_may_ship_needs_no_tuning(known):
    said = answers(known, results=ran("SHIP"))["tune or not"]
    assert said.state == "no" and "may ship as it is" in said.said


def test_an_untuned_model_that_reaches_what_was_measured_is_named_with_its_certainty(known):
    def reach(value, low):
        made = ran()
        for verdict in made["verdicts"]:
            if (verdict["against"] or {}).get("model") == "prompted_base":
                verdict["against"] |= {"value": value, "low": low}
        return answers(known, results=made)["tune or not"]

    assert reach(0.95, 0.91).state == "no" and "surely" in reach(0.95, 0.91).said
    assert reach(0.95, 0.76).state == "unknown" and "not surely" in reach(0.95, 0.76).said


def test_what_training_makes_is_no_baseline():
    assert set(baselines(ran())) == {"shipped", "base", "prompted_base"}


# --- rows and rank ------------------------------------------------------------------------------------------
def test_rows_are_counted_by_what_they_say(task):
    def row(question, operation):
        answer = json.dumps({"operation": operation, "arguments": {}, "reply": "Done."})
        return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]

    texts = [
        "Please add a task to water the plants this evening",
        "please add a task to water the plants this evening!",
    ]
    texts += ["Please add a task to water the plants this morning", "Delete the note about the dentist"]
    cases = load_case_sets(task)
    leaked = next(iter(cases["domain"]))
    rows = look_at_rows(
        task, cases, [*(row(text, "create") for text in texts), row(leaked.prompt, "list")], None
    )
    assert (rows.count, rows.distinct, rows.repeated) == (5, 4, 1)
    assert rows.labels == {"create": 4, "list": 1}
    assert rows.leaked == [leaked.id]
    assert {"update", "complete", "delete"} <= set(rows.unseen)


def test_rows_that_spoil_a_training_stand_against_it(known):
    def with_(**changes):
        return answers(known, rows=replace(known.rows, **changes))["how many rows"]

    assert with_().state == "yes"
    assert with_(leaked=["domain-create-1"]).state == "no"
    assert with_(unseen=["delete"]).state == "no"
    cut = with_(lengths=Lengths([600, *[80] * 499], [35] * 500))
    assert cut.state == "no" and "1 rows are longer than max_length = 512" in cut.said
    assert "OpenAI" in " ".join(with_(distinct=20).reasons) and with_(distinct=20).state == "unknown"
    assert with_(count=20).state == "no" and "leave none" in with_(count=20).said
    assert with_(repeated=200).state == "unknown"


def test_a_rank_is_held_against_what_the_answers_can_say(known):
    enough = answers(known)["which rank"]
    assert enough.state == "yes" and "at most, log2 of the vocabulary" in " ".join(enough.reasons)
    assert enough.figures["answer_bits"] == pytest.approx(500 * 35 * math.log2(49152))
    measured = answers(known, results=ran())["which rank"]
    assert measured.figures["answer_bits"] == pytest.approx(500 * 35 * math.log2(11.8))
    much = replace(known.rows, lengths=Lengths([500] * 500, [100_000] * 500))
    wanted = answers(known, rows=much)["which rank"]
    assert wanted.state == "unknown" and "from r = " in wanted.said


# --- does it pay --------------------------------------------------------------------------------------------
def test_break_even_by_hand():
    # 10,000 requests a day at $2 for 1,000: $20. One machine at $0.50 an hour: $12. $16 of training: 2 days.
    found = break_even(10_000, 2.0, 1.0, 0.5, 16.0)
    assert (found.endpoint_a_day, found.own_a_day, found.machines, found.days) == (20.0, 12.0, 1, 2.0)
    assert found.from_requests == 6000
    # 100,000 answers of a second need two machines, since a day has 86,400.
    assert break_even(100_000, 2.0, 1.0, 0.5, 16.0).machines == 2
    assert break_even(1_000, 2.0, 1.0, 0.5, 16.0).days == math.inf
    assert break_even(10_000, 2.0, 1.0, 0.5, None).days is None
    for lacking in ((None, 1.0, 0.5), (2.0, None, 0.5), (2.0, 1.0, None)):
        assert break_even(10_000, *lacking, 16.0) is None


def priced(**prices):
    """A run in which ``larger`` and the shipped model answered 100 questions of 1,000 + 100 tokens."""
    made = ran()
    sums = {"case_set": "domain", "answers": 100, "errors": 0, "prompt_tokens": 100_000}
    sums |= {"completion_tokens": 10_000, "seconds": 80.0, "drawn": 0}
    made["answered"] = [{"model": name, **sums} for name in ("larger", "shipped")]
    made["timings"] = [{"case": f"c{n}", "seconds": 0.8, "first_token_seconds": 0.1} for n in range(20)]
    return made | {"prices": prices}


def test_an_endpoint_is_compared_by_todays_prices(known):
    changes = {
        "results": priced(**PRICES, **SHIPPED),
        "pace": Pace(96_000, 960.0, "k", "2026"),
        "gpu_hour": 3.0,
    }
    said = answers(known, requests_a_day=10_000, **changes)["does it pay against larger"]
    # 1,000 x $2 + 100 x $8 a million tokens: $0.0028 a request, $28 a day; own: 24 x $0.50 = $12
    assert said.figures["endpoint_a_day"] == pytest.approx(28)
    assert said.figures["own_a_day"] == 12
    assert said.figures["days"] == pytest.approx(0.96 / 16)
    never = answers(known, requests_a_day=100, **changes)["does it pay against larger"]
    assert never.state == "no" and never.said.startswith("never")


def test_without_a_price_it_says_which_is_missing(known):
    said = answers(known, requests_a_day=100, results=priced())["does it pay"]
    assert said.state == "unknown" and "prices.toml" in said.measure and "--gpu-hour" in said.measure


# --- the command --------------------------------------------------------------------------------------------
def test_the_command_answers_without_store_and_results(tmp_path):
    said = seatrial("preflight", TASK, "--store", tmp_path / "none", "--memory=15", "--dtype=float16")
    assert said.status == 0, said.err
    for question in ("tune or not", "how many rows", "which size", "does it fit", "which rank", "how long"):
        assert question in said.out
    assert "not in the store" in said.out and "15.0 GB" in said.out and "computed in float16" in said.out
    assert not (tmp_path / "none").exists(), "nothing is built"
    told = json.loads(seatrial("preflight", TASK, "--store", tmp_path / "none", "--json").out)
    assert told["recipe"] == "smollm2-135m-cpu" and len(told["answers"]) >= 8


def test_the_command_counts_tokens_with_the_bases_own_tokenizer():
    recipe = load_recipe("smollm2-135m-cpu")
    Store(default_root()).build(import_base(recipe))
    told = json.loads(seatrial("preflight", TASK, "--store", default_root(), "--json").out)
    rank = next(each for each in told["answers"] if each["question"] == "which rank")
    assert rank["figures"]["answer_bits"] == pytest.approx(18_408 * math.log2(49152))


def test_a_run_of_another_task_is_refused(tmp_path):
    path = write(tmp_path / "run", document(lambda made: made["task"].update(name="other")))
    said = seatrial("preflight", TASK, "--store", tmp_path, "--results", path)
    assert said.status == 3 and "of the task 'other'" in said.err


def test_a_run_that_speaks_against_training_ends_with_1(tmp_path):
    path = write(tmp_path / "run", document())
    said = seatrial("preflight", TASK, "--store", tmp_path, "--results", path)
    assert said.status == 1, said.out + said.err
    assert "! tune or not: no:" in said.out


def test_every_rule_says_why_and_where_it_is_from():
    for name, rule in rules().rules.items():
        assert rule.why.endswith(".") and rule.source and rule.unit, name
