"""Models that lie in their files otherwise than transformers lays them out, and adapters that change the base's own
weights: merged tensor by tensor, they are what peft makes of the whole model.

python -m pytest tests/test_layout.py
"""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from seatrial.training import exact
from seatrial.training.merge import merge
from tests.adapters import SIZE, WORDS, Way, _tokenizer, made

ATTENTION = {"target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"]}
EXPERTS = {"target_parameters": ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]}
SMALL = {
    "vocab_size": WORDS,
    "hidden_size": SIZE,
    "intermediate_size": SIZE // 2,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
QWEN = (
    "Qwen3Moe",
    {"num_experts": 12, "num_experts_per_tok": 2, "moe_intermediate_size": 64, "head_dim": 64},
)
MIXTRAL = ("Mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2})
# the family of the base (None: a Llama), and how it is trained
WAYS = {
    "Qwen 3 MoE, attention": (QWEN, Way("nf4", lora=ATTENTION)),
    "Qwen 3 MoE, attention and experts": (QWEN, Way("nf4", lora={**ATTENTION, **EXPERTS})),
    "Mixtral, one tensor of the experts": (
        MIXTRAL,
        Way("bf16", lora={**ATTENTION, "target_parameters": ["mlp.experts.down_proj"], "use_rslora": True}),
    ),
    "PiSSA": (None, Way("fp32", lora={"init_lora_weights": "pissa"}, stored="float32")),
    "PiSSA, 16 bits, patterns": (
        None,
        Way("bf16", lora={"init_lora_weights": "pissa", "rank_pattern": {"q_proj": 4}, "use_rslora": True}),
    ),
    "OLoRA": (None, Way("fp32", lora={"init_lora_weights": "olora"}, stored="float32")),
}


@pytest.fixture(scope="module", params=WAYS)
def trained(request, tmp_path_factory):
    torch.set_num_threads(1)
    family, way = WAYS[request.param]
    place = tmp_path_factory.mktemp("way")
    return made(way, place, base_of(family, place) if family else None)


def base_of(family, place):
    import transformers

    name, settings = family
    config = getattr(transformers, f"{name}Config")(**SMALL, **settings)
    torch.manual_seed(7)
    model = getattr(transformers, f"{name}ForCausalLM")(config).to(torch.bfloat16)
    model.save_pretrained(place / "base")
    _tokenizer(place / "base")
    return place / "base"


def merged(trained, name, adapter=None):
    """The tensors of the merge and what it says of itself."""
    out = trained.place / name
    out.mkdir()
    request = {"base": str(trained.base), "adapter": str(adapter or trained.adapter), "out": str(out)}
    facts = merge({**request, **trained.held}, lambda **event: None)
    files = sorted(out.glob("model*.safetensors"))
    return {key: tensor for file in files for key, tensor in load_file(file).items()}, facts


def test_it_is_merged_tensor_by_tensor_and_equals_peft_s_merge_of_the_whole_model(trained, monkeypatch):
    found, facts = merged(trained, "merged")
    assert "whole" not in facts, facts
    monkeypatch.setattr("seatrial.training.merge.Exact", refuse)
    expected, whole = merged(trained, "whole")
    assert whole["whole"] == "for this test" and facts["parameters"] == whole["parameters"]
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name
    folders = [trained.place / folder for folder in ("merged", "whole")]
    one, other = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders)
    assert one == other
    assert abs(trained.divergence(trained.place / "merged")) < 1e-6


def refuse(*anything):
    raise exact.NotByTensor("for this test")


def test_training_changed_what_the_adapter_is_on(trained):
    """Else the merge would be right without its adapter, too."""
    bare = trained.place / "bare"
    bare.mkdir()
    merge({"base": str(trained.base), "out": str(bare), **trained.held}, lambda **event: None)
    assert trained.divergence(bare) > 1e-4
    parts = exact.Exact(trained.base, trained.adapter, torch.float32, trained.way.precision)
    named = trained.way.lora.get("target_parameters", [])
    assert all(any(name.endswith(wanted) for name in parts.changed()) for wanted in named)
    for name in [name for name in parts.changed() if ".layers.0." in name]:
        assert not torch.equal(parts.merged(name), parts.held(name)), name


@pytest.mark.parametrize("start", ["pissa_niter_4", "loftq", "corda", "lora_ga"])
def test_a_start_that_is_drawn_or_needs_data_is_merged_whole_with_the_reason(start, tmp_path):
    folder = tmp_path / "adapter"
    folder.mkdir()
    config = {"peft_type": "LORA", "init_lora_weights": start}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(exact.NotByTensor, match=f"the start '{start}' changes the base's weights"):
        exact._require_layers(folder)
