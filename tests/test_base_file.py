"""The untuned base as a GGUF file, where no such file was published.

python -m pytest tests/test_base_file.py
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from seatrial.fixtures.pipeline import _exported
from seatrial.training import steps
from seatrial.training.base_model import load_base, load_dequantised
from seatrial.training.gguf_file import open_gguf
from seatrial.training.recipe import load_recipe
from seatrial.training.store import Store, default_root
from seatrial.training.trained_on import is_packed
from tests.conftest import MINIATURE

TENSORS = {
    "blk.0.ffn_down.weight": "model.layers.0.mlp.down_proj.weight",
    "blk.1.attn_v.weight": "model.layers.1.self_attn.v_proj.weight",
    "token_embd.weight": "model.embed_tokens.weight",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A Llama of two layers with a real tokenizer."""
    out = tmp_path_factory.mktemp("base") / "whole"
    tokenizer = Store(default_root()).build(steps.import_base(load_recipe("smollm2-135m-cpu"))).path
    subprocess.run([sys.executable, str(MINIATURE / "make_base.py"), str(tokenizer), str(out)], check=True)
    return out


@pytest.mark.parametrize("precision", ["nf4-double", pytest.param("int8", marks=pytest.mark.long)])
def test_the_file_of_a_base_that_lies_there_packed_holds_the_numbers_that_it_stands_for(
    precision, folder, tmp_path
):
    from transformers import AutoTokenizer

    packed = tmp_path / "packed"
    load_base(folder, torch.float32, precision, ["lm_head"]).save_pretrained(packed)
    AutoTokenizer.from_pretrained(folder).save_pretrained(packed)
    assert is_packed(packed) and not is_packed(folder)
    found, expected = exported(packed, tmp_path), load_dequantised(packed, torch.float32, precision)
    weights, whole = expected.state_dict(), load_dequantised(folder, torch.float32, "fp32").state_dict()
    for name, other in TENSORS.items():
        assert np.array_equal(found[name], weights[other].numpy().astype(np.float16)), name
    rounded = TENSORS["blk.0.ffn_down.weight"]
    assert not torch.equal(weights[rounded], whole[rounded]), "nothing was packed"


def exported(folder, place):
    """The tensors of the 16-bit file of the base in ``folder``, by name."""
    store = Store(place / "store")
    converter = Store(default_root()).build(steps.fetch_converter())
    kept = store.root / "converter" / converter.key
    kept.parent.mkdir(parents=True)
    kept.symlink_to(converter.path)
    base = store.build(steps.take_in_folder(folder, "model"))
    file = _exported(store, base, "f16", {"temperature": 0.0, "max_tokens": 16, "context": 64, "seed": 0})
    return {tensor.name: tensor.data for tensor in open_gguf(file).tensors}
