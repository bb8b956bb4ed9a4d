"""A GGUF file that is read and written again is the same file, but for what was changed."""

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, quants

from tests.sabotage import gguf_edit

pytestmark = pytest.mark.sabotage


@pytest.fixture
def small(tmp_path):
    """A file with every kind of value that model files have, and tensors of three types."""
    path = tmp_path / "small.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_string("tokenizer.chat_template", "{{ messages }}")
    writer.add_string("general.name", "Änderung")
    writer.add_uint32("llama.block_count", 2)
    writer.add_float32("llama.rope.freq_base", 100_000.0)
    writer.add_bool("tokenizer.ggml.add_bos_token", False)
    writer.add_array("tokenizer.ggml.tokens", ["a", "b", "Ġc"])
    writer.add_array("tokenizer.ggml.token_type", [3, 1, 1])
    writer.add_array("tokenizer.ggml.scores", [0.5, 1.5, 2.5])
    numbers = np.random.default_rng(0).standard_normal((3, 64)).astype(np.float32)
    writer.add_tensor("norm", numbers[0])
    writer.add_tensor("square", numbers[:2, :2].astype(np.float16))
    quantised = quants.quantize(numbers, GGMLQuantizationType.Q8_0)
    writer.add_tensor("rows", quantised, raw_dtype=GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def copied(path, change=lambda content: None):
    content = gguf_edit.read(path)
    change(content)
    return gguf_edit.write(content, path.with_name("copy.gguf"))


def differences(first, second):
    """The keys and tensors in which two files differ."""
    one, two = GGUFReader(first), GGUFReader(second)
    fields = {
        name
        for name in [*one.fields, *two.fields]
        if name not in one.fields
        or name not in two.fields
        or one.fields[name].contents() != two.fields[name].contents()
        or one.fields[name].types != two.fields[name].types
    }
    mine, theirs = ({tensor.name: tensor for tensor in reader.tensors} for reader in (one, two))
    tensors = {
        name
        for name in [*mine, *theirs]
        if name not in mine
        or name not in theirs
        or mine[name].tensor_type != theirs[name].tensor_type
        or list(mine[name].shape) != list(theirs[name].shape)
        or mine[name].data.tobytes() != theirs[name].data.tobytes()
    }
    return fields | tensors


def test_a_file_that_is_only_copied_is_the_same_byte_for_byte(small):
    assert copied(small).read_bytes() == small.read_bytes()


def test_the_shipped_file_is_the_same_when_it_is_only_copied(good, tmp_path):
    copy = gguf_edit.write(gguf_edit.read(good.gguf), tmp_path / good.gguf.name)
    assert not differences(good.gguf, copy)


def test_a_changed_value_keeps_its_type_and_touches_nothing_else(small):
    def change(content):
        content["llama.rope.freq_base"] = 10_000.0

    assert differences(small, copied(small, change)) == {"llama.rope.freq_base"}


def test_a_key_and_a_tensor_can_be_taken_out(small):
    def change(content):
        del content.metadata["tokenizer.chat_template"]
        del content.tensors["rows"]

    gone = {"tokenizer.chat_template", "rows"}
    assert differences(small, copied(small, change)) == gone | {"GGUF.tensor_count", "GGUF.kv_count"}


def test_items_of_an_array_can_be_swapped(small):
    copy = copied(small, lambda content: content.swap("tokenizer.ggml.tokens", 0, 2))
    assert differences(small, copy) == {"tokenizer.ggml.tokens"}
    assert GGUFReader(copy).fields["tokenizer.ggml.tokens"].contents() == ["Ġc", "b", "a"]


def test_numbers_of_a_tensor_can_be_changed(small):
    copy = copied(small, lambda content: content.change("square", np.transpose))
    assert differences(small, copy) == {"square"}


@pytest.mark.parametrize(
    ("tensor", "how", "message"),
    [("rows", np.zeros_like, "is Q8_0"), ("norm", lambda numbers: numbers[1:], "has the shape")],
)
def test_a_change_that_would_not_fit_is_refused(small, tensor, how, message):
    with pytest.raises(ValueError, match=message):
        gguf_edit.read(small).change(tensor, how)


def test_a_file_is_never_written_onto_one_that_is_there(small):
    with pytest.raises(FileExistsError):
        gguf_edit.write(gguf_edit.read(small), small)
