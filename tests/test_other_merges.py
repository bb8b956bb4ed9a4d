"""What the merges of other tools cost, and what the gate says of them.

python -m pytest tests/test_other_merges.py -s   prints the matrix of docs/adapters.md
"""

from __future__ import annotations

import pytest
import torch

from seatrial.evals.fidelity.strength import fit, mistake
from tests.adapters import Way, gguf, made
from tests.other_merges import TOOLS, merged_by

WAYS = {
    "nf4": Way(),
    "nf4-double, rsLoRA": Way("nf4-double", lora={"use_rslora": True}),
    "nf4, DoRA": Way(lora={"use_dora": True}),
    "nf4, embeddings and head": Way(lora={"modules_to_save": ["embed_tokens", "lm_head"]}),
    "bf16": Way("bf16"),
}
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
