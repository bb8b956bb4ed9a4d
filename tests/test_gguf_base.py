"""A base out of a GGUF file: tensor by tensor, it is bit by bit what transformers reads of the whole file.

python -m pytest tests/test_gguf_base.py
"""

from __future__ import annotations

import json
import weakref
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from seatrial.training import base
from seatrial.training.gguf_weights import GgufWeights
from seatrial.training.shards import INDEX, NotByTensor, write_shards
from tests.gguf_families import FAMILIES, written
from tests.tiny import tiny_gguf


def silent(**event):
    pass


@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_is_read_tensor_by_tensor_as_transformers_reads_it_whole(name, tmp_path):
    path = written(name, tmp_path)
    weights = GgufWeights(path)
    expected = base._loaded(path).state_dict()
    found = {name: weights.tensor(name) for name in weights.shapes}
    assert expected.keys() - found.keys() <= {"lm_head.weight"}
    for name, tensor in found.items():
        assert torch.equal(tensor, expected[name]), name
        assert tensor.std() > 0, name


def test_the_weights_and_what_is_said_of_them_are_the_same_byte_by_byte(tmp_path, monkeypatch):
    none = SimpleNamespace(save_pretrained=str)  # the real one takes half a minute, and is read in one way
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *args, **more: none)
    monkeypatch.setattr(base, "loadable", lambda *place: {})
    source, folders = tiny_gguf(tmp_path / "tiny.gguf"), []
    for whole in (False, True):
        out = tmp_path / f"whole-{whole}"
        out.mkdir()
        if whole:
            monkeypatch.setattr(base, "GgufWeights", refuse)
        request = {"source": str(source), "out": str(out), "tokenizer_repair": None}
        facts = base.import_weights(request, silent)
        assert facts.get("whole") == ("for this test" if whole else None)
        folders.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert folders[0].keys() == folders[1].keys() and "model.safetensors" in folders[0]
    assert folders[0] == folders[1]


def refuse(path):
    raise NotByTensor("for this test")


def test_a_file_that_lacks_a_tensor_is_left_to_transformers(tmp_path):
    path = written("llama", tmp_path, left_out="blk.1.ffn_up.weight")
    with pytest.raises(NotByTensor, match="no tensor of the file is model.layers.1.mlp.up_proj.weight"):
        GgufWeights(path)


def test_no_more_than_one_tensor_is_held(tmp_path):
    """Each tensor is written before the next one is made, so at most one is alive."""
    alive = []

    def made(name):
        assert not [other for other in alive if other() is not None], "an earlier tensor is held"
        tensor = torch.full((3, 5), float(name))
        alive.append(weakref.ref(tensor))
        return tensor

    write_shards(tmp_path, {str(n): (3, 5) for n in range(6)}, made, silent, 10**9)
    assert len(alive) == 6


@pytest.mark.parametrize("names", [["b", "a", "model.ä.weight", "scalar"], ["a"]])
def test_a_file_is_that_of_the_safetensors_package(names, tmp_path):
    generator = torch.Generator().manual_seed(1)
    tensors = {name: torch.randn((4, 3, n), generator=generator) for n, name in enumerate(names, 1)}
    if "scalar" in tensors:
        tensors["scalar"] = torch.tensor(3.5)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    count = write_shards(tmp_path, shapes, tensors.__getitem__, silent, 10**9)
    assert count == sum(tensor.numel() for tensor in tensors.values())
    save_file(tensors, tmp_path / "expected.safetensors", metadata={"format": "pt"})
    assert (tmp_path / "model.safetensors").read_bytes() == (tmp_path / "expected.safetensors").read_bytes()


def test_what_does_not_fit_a_file_is_written_to_several_with_an_index(tmp_path):
    tensors = {name: torch.full((8,), float(n)) for n, name in enumerate("abcd")}
    write_shards(tmp_path, dict.fromkeys(tensors, (8,)), tensors.__getitem__, silent, 64)
    index = json.loads((tmp_path / INDEX).read_text())
    assert len(set(index["weight_map"].values())) == 2
    found = {name: load_file(tmp_path / file)[name] for name, file in index["weight_map"].items()}
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_a_tensor_of_another_shape_than_was_told_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a: torch.float32 \(2, 3\), not float32 \(3, 2\)"):
        write_shards(tmp_path, {"a": (3, 2)}, lambda name: torch.zeros(2, 3), silent, 10**9)
