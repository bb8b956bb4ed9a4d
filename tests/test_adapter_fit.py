"""An adapter and a base that are not of each other.

python -m pytest tests/test_adapter_fit.py
"""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from seatrial.training import steps
from seatrial.training.adapter_fit import require_fit
from seatrial.training.errors import SeatrialError
from seatrial.training.store import Artifact

LAYER = "model.layers.0.self_attn.q_proj"


def zeros(shapes):
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


@pytest.fixture
def pair(tmp_path):
    """An adapter of rank 2 on a layer of 6 x 4, and a base."""

    def make(base, config=None, layer=LAYER):
        for name in ("adapter", "base"):
            (tmp_path / name).mkdir()
        prefix = f"base_model.model.{layer}"
        halves = zeros({f"{prefix}.lora_A.weight": (2, 4), f"{prefix}.lora_B.weight": (6, 2)})
        save_file(halves, tmp_path / "adapter" / "adapter_model.safetensors")
        told = {"base_model_name_or_path": "org/right"}
        (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(told))
        save_file(zeros(base), tmp_path / "base" / "model.safetensors")
        (tmp_path / "base" / "config.json").write_text(json.dumps(config or {}))
        return tmp_path / "adapter", tmp_path / "base"

    return make


@pytest.mark.parametrize("shape", [(6, 4), (4, 6)])
def test_layers_of_the_right_size(pair, shape):
    require_fit(*pair({f"{LAYER}.weight": shape}))


def test_a_layer_of_another_size(pair):
    with pytest.raises(SeatrialError, match=r"its model.*q_proj is 6 x 4, that of .*base is 8 x 4") as told:
        require_fit(*pair({f"{LAYER}.weight": (8, 4)}))
    assert "names 'org/right'" in str(told.value)


def test_a_model_of_another_family(pair):
    with pytest.raises(SeatrialError, match=r"which .*base does not have"):
        require_fit(*pair({"transformer.h.0.attn.c_attn.weight": (6, 4)}))


def test_a_text_model_inside_another_goes_by_another_name(pair):
    require_fit(*pair({"language_model.model.layers.0.self_attn.q_proj.weight": (6, 4)}))


def test_experts_that_are_put_together_go_by_another_name(pair):
    experts = "model.layers.0.mlp.experts.gate_up_proj"
    require_fit(*pair({"model.layers.0.mlp.experts.0.w1.weight": (6, 4)}, layer=experts))


def test_a_base_in_four_bits_does_not_show_its_sizes(pair):
    require_fit(
        *pair({f"{LAYER}.weight": (12, 1)}, {"quantization_config": {"quant_method": "bitsandbytes"}})
    )


def test_a_layer_that_the_base_keeps_under_another_name(pair):
    adapter, base = pair({f"{LAYER}.weight": (6, 4)})
    halves = zeros(
        {"base_model.model.lm_head.lora_A.weight": (2, 4), "base_model.model.lm_head.lora_B.weight": (9, 2)}
    )
    save_file(halves, adapter / "more.safetensors")
    require_fit(adapter, base)


def test_merging_says_so_before_anything_is_loaded(pair):
    adapter, base = pair({f"{LAYER}.weight": (8, 4)})
    manifest = {"key": "k", "facts": {}, "files": {}}
    with pytest.raises(SeatrialError, match="trained on another base"):
        steps.merge(Artifact(base, manifest), Artifact(adapter, manifest))
