"""What the merges of other tools cost, and what the gate says of them.

python -m pytest tests/test_other_merges.py -s   prints the matrix of docs/adapters.md
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from seatrial.evals.fidelity.strength import fit, mistake
from seatrial.training import steps
from seatrial.training.recipe import load_recipe
from seatrial.training.store import Store, default_root
from tests.adapters import Way, gguf, made
from tests.conftest import MINIATURE, REPOSITORY
from tests.other_merges import TOOLS, merged_by

WAYS = {
    "nf4": Way(),
    "nf4-double, rsLoRA": Way("nf4-double", lora={"use_rslora": True}),
    "nf4, DoRA": Way(lora={"use_dora": True}),
    "nf4, embeddings and head": Way(lora={"modules_to_save": ["embed_tokens", "lm_head"]}),
    "bf16": Way("bf16"),
}
DECODING = {"temperature": 0.0, "max_tokens": 16, "context": 512}
WRONG = {"LLaMA-Factory": "the base as it was published", "peft": "rounds the sum once more"}


@pytest.fixture(scope="module", params=WAYS)
def trained(request, tmp_path_factory):
    torch.set_num_threads(1)
    one = made(WAYS[request.param], tmp_path_factory.mktemp("way"))
    return request.param, one, gguf(one.merged(), one.place)


@pytest.mark.parametrize("tool", TOOLS)
def test_a_merge_is_told_by_what_it_did(trained, tool):
    name, one, f16 = trained
    if tool == "peft" and not one.way.precision.startswith("nf4"):
        pytest.skip("there is nothing to round again")
    folder = merged_by(tool, one, one.place / tool, "bfloat16" if one.way.precision == "bf16" else "float16")
    file = gguf(folder, one.place)
    found = fit(file, file, None, one.adapter, one.base, one.held)
    cost, said = one.divergence(folder), mistake(found, merge=True)
    print(f"\n| {name} | {tool} | {cost:.5f} | {found.adapter:.2f} | {said or 'right'} |")
    wrong = WRONG.get(tool) if one.way.precision.startswith("nf4") else None
    if wrong is None:
        assert said == ""
        assert cost < 1e-3
    else:
        assert wrong in said
        assert cost > 1e-4
    assert mistake(fit(f16, f16, None, one.adapter, one.base, one.held), merge=True) == ""


# --- in the gate ----------------------------------------------------------------------------------------
CRITERIA = """
[[criteria]]
id = "FIDELITY.adapter"
title = "The adapter is in the file once"
metric = "adapter_strength_error"
at_most = 0.08
why = "For this test."

[[criteria]]
id = "FIDELITY.kl.merged"
title = "Divergence of the merged model"
metric = "kl_divergence"
model = "merged"
cases = "heldout"
at_most = 0.00001
least_cases = 3
stage = "merge"
why = "For this test."

[waivers]
contract = "test"
stopping = "test"
base = "test"
export = "test"
"""


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """The miniature's base, tuned by plain peft, and LLaMA-Factory's merge of it as a file; the adapter names its
    base's folder, and nothing says how that was held."""
    torch.set_num_threads(1)
    folder, store = tmp_path_factory.mktemp("tuned"), Store(default_root())
    tokenizer = store.build(steps.import_base(load_recipe("smollm2-135m-cpu"))).path
    make = [sys.executable, str(MINIATURE / "make_base.py"), str(tokenizer), str(folder / "base")]
    subprocess.run(make, check=True, cwd=REPOSITORY)
    one = made(Way(), folder, folder / "base")
    merged = merged_by("LLaMA-Factory", one, folder / "by-llama-factory")
    converter = store.build(steps.fetch_converter())
    f16 = store.build(steps.convert(store.build(steps.take_in_folder(merged, "model")), converter, "lamp"))
    return steps.gguf_file(store.build(steps.quantize(f16, "f16", "lamp", "", DECODING))), one.adapter, merged


def options(tuned):
    return [f"--{name}={path}" for name, path in zip(("gguf", "adapter", "hf-model"), tuned, strict=True)]


def test_the_gate_says_what_another_tool_s_merge_costs_and_what_to_do_instead(gate, tuned, monkeypatch):
    monkeypatch.setattr("tests.conftest.TIMEOUT", 400.0)  # models are loaded
    text = (gate.task / "task.toml").read_text(encoding="utf-8")
    (gate.task / "task.toml").write_text(text.partition("[[criteria]]")[0] + CRITERIA, encoding="utf-8")
    for cases in gate.task.glob("cases/*.jsonl"):  # no criterion here reads an expectation, so there is none
        rows = [json.loads(line) for line in cases.read_text(encoding="utf-8").splitlines()]
        bare = ({key: value for key, value in row.items() if key != "expect"} for row in rows)
        cases.write_text("".join(json.dumps(row) + "\n" for row in bare), encoding="utf-8")
    gate.store = default_root()
    run = gate(*options(tuned), "--trained-on=nf4", fault="")
    merge, strength = run.verdicts["FIDELITY.kl.merged"], run.verdicts["FIDELITY.adapter"]
    assert (merge["status"], strength["status"]) == ("FAIL", "FAIL"), run.output
    assert any("the base as it was published" in note for note in merge["notes"])
    assert "without --hf-model, Seatrial merges --adapter that way itself" in merge["advice"]
    assert "the base as it was published" in strength["misses"][0]["reason"]
    assert merge["stages"] == ["merge"]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ([], "nothing says in which precision the base was held"),
        (["--trained-on=nf5"], "did you mean 'nf4'"),
    ],
)
def test_what_an_adapter_was_trained_on_is_asked_before_anything_is_built(gate, tuned, more, told, own_store):
    run = gate(*options(tuned), *more, fault="")
    assert (run.status, run.folder) == (4, None)
    assert told in run.output
    assert "--trained-on" in run.output
    assert not any(own_store.glob("*/*/manifest.json"))


def test_the_option_needs_an_adapter(gate):
    run = gate("--trained-on=nf4", fault="")
    assert run.status == 4
    run.lines.fnmatch_lines(["*--trained-on: needs --adapter=DIR*"])
