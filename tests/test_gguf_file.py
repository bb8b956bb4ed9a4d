"""Reading GGUF files fast must be reading them right.

python -m pytest tests/test_gguf_file.py
"""

import os

import numpy as np
import pytest
from gguf import GGUFReader

from seatrial.training import base
from seatrial.training.errors import SeatrialError
from seatrial.training.gguf_file import open_gguf
from seatrial.training.recipe import load_recipe


@pytest.fixture(scope="module")
def gguf(tmp_path_factory):
    """A copy of the base model's file, as it lies in its package."""
    recipe = load_recipe("smollm2-135m-cpu")
    copy = tmp_path_factory.mktemp("gguf") / "base.gguf"
    copy.write_bytes(base.locate(recipe.base, recipe.folder).read_bytes())
    return copy


def test_a_file_reads_as_the_package_reads_it(gguf):
    fast, slow = open_gguf(gguf), GGUFReader(gguf)
    assert {name: field.contents() for name, field in fast.fields.items()} == {
        name: field.contents() for name, field in slow.fields.items()
    }
    assert len(fast.tensors) == len(slow.tensors) > 100
    for ours, theirs in zip(fast.tensors, slow.tensors, strict=True):
        assert (ours.name, ours.tensor_type, ours.data_offset) == (
            theirs.name,
            theirs.tensor_type,
            theirs.data_offset,
        )
        assert np.array_equal(ours.data, theirs.data)


def test_a_file_is_read_once_by_all_its_names_and_again_when_it_changed(gguf, tmp_path):
    other = tmp_path / "other.gguf"
    other.hardlink_to(gguf)
    assert open_gguf(other) is open_gguf(gguf)
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(gguf.read_bytes())
    first = open_gguf(copy)
    os.utime(copy, ns=(1, 1))
    assert open_gguf(copy) is not first


@pytest.mark.parametrize("content", [b"", b"GGUF", b"not a model at all"])
def test_what_is_no_gguf_file_is_refused_every_time(tmp_path, content):
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    for _ in range(2):
        with pytest.raises(SeatrialError, match="is not a whole GGUF file"):
            open_gguf(path)
