"""A header that says more, or less, than our own export of the same model: what counts and what does not.

python -m pytest tests/test_header.py
"""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter

from seatrial.evals.fidelity.metadata import compare
from seatrial.training.errors import SeatrialError
from seatrial.training.gguf_file import open_gguf
from seatrial.training.modelfile import quantization_of
from tests.sabotage import gguf_edit

TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
TOKENIZER = {"eos": 2, "bos": 1, "pad": 2, "ends": [2], "template": TEMPLATE}
CONFIG = {"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4, "rope_theta": 100000.0}
TOKENS = ["a", "<|im_start|>", "<|im_end|>", "b"]


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> Path:
    """What our own export looks like, with two tensors; config.json lies beside it."""
    folder = tmp_path_factory.mktemp("export")
    (folder / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    path = folder / "own-f16.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_type("model")
    writer.add_name("own")
    writer.add_file_type(1)
    writer.add_context_length(512)
    writer.add_embedding_length(64)
    writer.add_block_count(1)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_rope_freq_base(100000.0)
    writer.add_rope_dimension_count(16)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(TOKENS)
    writer.add_token_types([1, 3, 3, 1])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
    writer.add_tensor("token_embd.weight", np.ones((4, 64), dtype=np.float16))
    writer.add_tensor("blk.0.attn_q.weight", np.ones((64, 64), dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def findings(reference, tmp_path):
    """The wrong findings on the reference with ``change`` made to it: check -> stage."""

    def findings(change) -> dict[str, str]:
        content = gguf_edit.read(reference)
        change(content)
        file = gguf_edit.write(content, tmp_path / f"{len(list(tmp_path.iterdir()))}.gguf")
        found = compare(file, reference.parent, TOKENIZER, reference, None)
        return {finding.check: finding.stage for finding in found if not finding.ok}

    return findings


def test_a_header_is_right_by_its_own_measure(findings):
    assert findings(lambda content: None) == {}


# A key that our own export does not say, with a value that a runtime answers otherwise by.
READ = {
    "llama.rope.scaling.factor": 1.05,
    "llama.rope.scale_linear": 1.05,
    "llama.rope.scaling.type": "yarn",
    "llama.rope.scaling.attn_factor": 1.2,
    "llama.rope.scaling.original_context_length": 128,
    "llama.rope.scaling.yarn_beta_fast": 8.0,
    "llama.attention.causal": False,
    "llama.attention.key_length": 8,
    "llama.attention.scale": 0.5,
    "llama.attention.sliding_window": 64,
    "llama.attention.clamp_kqv": 0.1,
    "llama.logit_scale": 0.5,
    "llama.embedding_scale": 2.0,
    "llama.final_logit_softcapping": 5.0,
    "llama.expert_count": 2,
    "llama.pooling_type": 1,
    "llama.nextn_predict_layers": 1,
    "llama.something_of_tomorrow": 1,
    "tokenizer.ggml.add_eos_token": True,
    "tokenizer.ggml.add_space_prefix": True,
    "tokenizer.ggml.remove_extra_whitespaces": True,
    "tokenizer.ggml.eot_token_id": 3,
    "tokenizer.ggml.eom_token_id": 3,
    "tokenizer.ggml.fim_pad_token_id": 3,
    "tokenizer.ggml.eos_token_ids": [2, 3],
    "tokenizer.ggml.suppress_tokens": [3],
    "tokenizer.ggml.scores": [1.0, 2.0],  # fewer than tokens: llama.cpp refuses the file
    "tokenizer.ggml.token_type_count": 2,
    "tokenizer.ggml.precompiled_charsmap": [1],
    "tokenizer.chat_template.tool_use": "{{ tools }}",
    "general.sampling.temp": 1.5,
    "general.sampling.top_k": 40,
    "general.tensor_extra.name": ["token_embd.weight"],
    "split.count": 2,
    "adapter.type": "lora",
    "xielu.eps": 0.5,
}
# The same for values that say what saying nothing says, and for keys that no runtime reads.
UNREAD = {
    "llama.rope.scaling.type": "none",
    "llama.rope.scaling.factor": 1.0,
    "llama.rope.scale_linear": 1.0,
    "llama.rope.scaling.attn_factor": 1.0,
    "llama.rope.scaling.original_context_length": 512,
    "llama.attention.causal": True,
    "llama.attention.key_length": 16,
    "llama.attention.value_length": 16,
    "llama.expert_count": 0,
    "llama.expert_used_count": 0,
    "tokenizer.ggml.add_eos_token": False,
    "tokenizer.ggml.add_space_prefix": False,
    "tokenizer.ggml.remove_extra_whitespaces": False,
    "tokenizer.ggml.eot_token_id": 2,
    "tokenizer.chat_template.rag": "{{ documents }}",
    "tokenizer.chat_templates": ["rag"],
    "general.author": "somebody",
    "general.license": "Apache-2.0",
    "general.base_model.0.name": "base",
    "general.a_note_of_our_own": "x",
    "quantize.imatrix.file": "imatrix.dat",
    "tokenizer.ggml.scores": [1.0, 2.0, 3.0, 4.0],  # byte pairs are joined by rank
    "tokenizer.ggml.unknown_token_id": 3,
    "tokenizer.ggml.eom_token_id": 2,
    "tokenizer.ggml.eos_token_ids": [2],
    "tokenizer.chat_template.tool_use": TEMPLATE,
    "tokenizer.huggingface.json": "{}",
    "llama.attention.scale": 0.25,
    "llama.attention.clamp_kqv": 0.0,
    "llama.logit_scale": 1.0,
    "llama.tensor_data_layout": "Meta AI original pth",
    "general.name": "assistant of ours",
    "qwen2.rope.freq_base": 1.0,
    "company.build": "4711",
}


@pytest.mark.parametrize("key", READ)
def test_a_key_that_a_runtime_reads_is_found_although_our_own_export_does_not_say_it(key, findings):
    stage = {"tokenizer": "tokenizer"}.get(key.partition(".")[0], "conversion")
    stage = "template" if "chat_template" in key else stage
    assert findings(lambda content: content.say(key, READ[key])) == {key: stage}


@pytest.mark.parametrize("key", UNREAD)
def test_a_key_that_changes_nothing_is_not_found(key, findings):
    assert findings(lambda content: content.say(key, UNREAD[key])) == {}


# As another kind of value llama.cpp refuses these, whatever they say, and Ollama takes its default.
KINDS = {
    "llama.context_length": (512, "UINT64"),
    "llama.block_count": (1, "INT32"),
    "llama.embedding_length": (64, "FLOAT32"),
    "llama.rope.freq_base": (100000, "UINT32"),
    "llama.vocab_size": (4, "UINT64"),
    "llama.expert_count": (0, "UINT16"),
    "llama.attention.causal": (1, "UINT8"),
    "llama.rope.scaling.factor": (1, "UINT32"),
    "llama.rope.scaling.attn_factor": (1.0, "FLOAT64"),
    "split.count": (1, "UINT32"),
    "tokenizer.ggml.eos_token_id": (2, "INT64"),
    "tokenizer.ggml.unknown_token_id": (3, "UINT64"),
    "tokenizer.ggml.padding_token_id": (2, "INT32"),
    "tokenizer.ggml.add_bos_token": (0, "UINT32"),
    "tokenizer.ggml.add_space_prefix": (0, "UINT8"),
    "tokenizer.ggml.token_type": ([1, 3, 3, 1], "UINT32"),
    "general.file_type": (1, "UINT64"),
    "general.name": (7, "UINT32"),
}
# Nothing reads them in a file that is not split, has no experts, or at all.
ANY_KIND = {
    "split.count": (1, "UINT16"),
    "split.no": (0, "UINT64"),
    "split.tensors.count": (2, "INT64"),
    "llama.expert_shared_count": (0, "UINT16"),
    "general.quantization_version": (2, "UINT64"),
    "general.size_label": (1, "UINT8"),
    "quantize.imatrix.entries_count": (4, "INT64"),
    "company.weights": ([0.5], "FLOAT64"),
}


@pytest.mark.parametrize("key", KINDS)
def test_a_value_of_another_kind_than_is_read_is_found_although_it_is_right(key, findings):
    stage = "tokenizer" if key.startswith("tokenizer.") else "conversion"
    assert findings(lambda content: content.say(key, *KINDS[key])) == {key: stage}


@pytest.mark.parametrize("key", ANY_KIND)
def test_a_value_that_nobody_reads_may_be_of_any_kind(key, findings):
    assert findings(lambda content: content.say(key, *ANY_KIND[key])) == {}


@pytest.mark.parametrize("name", ["phi-3 for tickets", "My-Phi3-mini"])
def test_a_name_by_which_llama_cpp_tokenises_otherwise_is_found(name, findings):
    assert findings(lambda content: content.say("general.name", name)) == {"general.name": "tokenizer"}


@pytest.mark.parametrize(
    ("change", "right"),
    [
        (lambda text: text + "\n", True),  # dropped by Jinja, in transformers and in llama.cpp
        (lambda text: text.replace("\n", "\r\n"), True),
        (lambda text: text + "\n\n", False),
        (lambda text: text + " ", False),
        (lambda text: " " + text, False),
        (lambda text: "", False),
    ],
    ids=["a newline", "other line ends", "two newlines", "a blank", "a blank before", "empty"],
)
def test_white_space_of_a_template_counts_where_it_is_rendered(change, right, reference, tmp_path):
    from jinja2 import Template

    template = TEMPLATE.replace("{% endfor", "\n{% endfor")
    files = []
    for text in (template, change(template)):
        content = gguf_edit.read(reference)
        content.say("tokenizer.chat_template", text)
        files.append(gguf_edit.write(content, tmp_path / f"{len(files)}.gguf"))
    found = compare(files[1], reference.parent, {**TOKENIZER, "template": template}, files[0], None)
    wrong = {finding.check for finding in found if not finding.ok}
    assert wrong == (set() if right else {"chat template", "tokenizer.chat_template"})
    rendered = [Template(text).render(messages=[{"content": "x"}]) for text in (template, change(template))]
    assert (rendered[0] == rendered[1]) == right


def test_scaling_by_a_factor_is_found_whatever_the_type_is_said_to_be(findings):
    def scale(content):
        content.say("llama.rope.scaling.type", "linear")
        content.say("llama.rope.scaling.factor", 1.05)

    assert findings(scale) == {"llama.rope.scaling.factor": "conversion"}


@pytest.mark.parametrize(
    "key",
    [
        "tokenizer.ggml.padding_token_id",  # no runtime pads
        "general.name",
        "llama.vocab_size",  # the number of tokens in the list
        "llama.rope.dimension_count",  # the size of a head
        "general.type",
    ],
)
def test_a_key_whose_absence_says_the_same_may_be_left_out(key, findings):
    assert findings(lambda content: content.metadata.pop(key)) == {}


@pytest.mark.parametrize(
    "key",
    [
        "llama.context_length",
        "llama.rope.freq_base",
        "llama.attention.head_count_kv",
        "tokenizer.ggml.eos_token_id",
        "tokenizer.ggml.pre",
        "tokenizer.ggml.token_type",
        "tokenizer.ggml.add_bos_token",  # unsaid, Ollama adds one
        "tokenizer.chat_template",
    ],
)
def test_a_key_whose_absence_says_something_else_may_not(key, findings):
    assert key in findings(lambda content: content.metadata.pop(key))


def test_a_wrong_padding_token_is_found(findings):
    found = findings(lambda content: content.say("tokenizer.ggml.padding_token_id", 3))
    assert set(found) == {"pad token id", "tokenizer.ggml.padding_token_id"}


@pytest.mark.parametrize("name", ["rope_freqs.weight", "blk.0.attn_q.bias", "blk.0.attn_q.scale"])
def test_a_tensor_that_our_own_export_does_not_have_is_found(name, findings):
    def add(content):
        content.tensors[name] = content.tensors["token_embd.weight"]

    assert findings(add) == {"number of tensors": "conversion", f"shape of {name}": "conversion"}


def test_a_head_beside_tied_weights_has_the_shape_of_the_embeddings(findings):
    """Its values are for the comparison of weights: ``test_a_tied_head_is_judged_by_its_values``."""

    def add(change):
        def to(content):
            embeddings = content.tensors["token_embd.weight"]
            content.tensors["output.weight"] = replace(embeddings, data=change(embeddings.data))

        return to

    assert findings(add(lambda data: data)) == {}
    assert findings(add(lambda data: data[:-1])) == {"shape of output.weight": "conversion"}


def test_tensors_that_lie_where_ggml_cannot_map_them_are_found(findings):
    def aligned(by, author):
        def change(content):
            content.say("general.alignment", by)
            content.say("general.author", author)

        return findings(change)

    assert {"place of the tensors": "conversion"} in [aligned(1, "a"), aligned(1, "two")]
    assert aligned(64, "a") == aligned(4096, "two") == {}


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0"])
def test_a_norm_in_fewer_bits_is_found_as_no_runtime_computes_with_it(kind, reference, tmp_path):
    from gguf import GGMLQuantizationType, quants

    def with_norm(kind):
        content = gguf_edit.read(reference)
        numbers = quants.quantize(np.ones(64, dtype=np.float32), kind)
        content.tensors["blk.0.attn_norm.weight"] = gguf_edit.Tensor(numbers, kind)
        return gguf_edit.write(content, tmp_path / f"{kind.name}.gguf")

    right, file = with_norm(GGMLQuantizationType.F32), with_norm(GGMLQuantizationType[kind])
    for quantised in (None, right):
        found = compare(file, reference.parent, TOKENIZER, right, quantised)
        wrong = {finding.check: finding.stage for finding in found if not finding.ok}
        assert wrong == {"type of blk.0.attn_norm.weight": "quantisation"}


def test_tensors_in_another_order_are_the_same(findings):
    def turn(content):
        content.tensors = dict(reversed(content.tensors.items()))

    assert findings(turn) == {}


def test_a_tensor_of_a_finer_type_than_usual_is_right_and_of_a_coarser_one_wrong(reference, tmp_path):
    from gguf import GGMLQuantizationType, quants

    def typed(kind):
        content = gguf_edit.read(reference)
        numbers = np.ones((64, 64), dtype=np.float32)
        content.tensors["blk.0.attn_q.weight"] = gguf_edit.Tensor(quants.quantize(numbers, kind), kind)
        return gguf_edit.write(content, tmp_path / f"{kind.name}.gguf")

    usual = typed(GGMLQuantizationType.Q5_0)
    for kind, right in {"Q8_0": True, "Q5_0": True, "Q4_0": False}.items():
        file = usual if kind == "Q5_0" else typed(GGMLQuantizationType[kind])
        found = compare(file, reference.parent, TOKENIZER, reference, usual)
        wrong = {finding.check: finding.stage for finding in found if not finding.ok}
        assert wrong == ({} if right else {"type of blk.0.attn_q.weight": "quantisation"}), kind


def test_a_coarser_type_is_right_in_a_file_that_names_its_importance_matrix(reference, tmp_path):
    from gguf import GGMLQuantizationType, quants

    def typed(kind, *said):
        content = gguf_edit.read(reference)
        numbers = np.ones((64, 64), dtype=np.float32)
        content.tensors["blk.0.attn_q.weight"] = gguf_edit.Tensor(quants.quantize(numbers, kind), kind)
        for key in said:
            content.say(key, "imatrix.dat")
        return gguf_edit.write(content, tmp_path / f"{kind.name}{len(said)}.gguf")

    usual = typed(GGMLQuantizationType.Q5_0)
    for said, right in {(): False, ("quantize.imatrix.file",): True}.items():
        found = compare(
            typed(GGMLQuantizationType.Q4_0, *said), reference.parent, TOKENIZER, reference, usual
        )
        assert all(finding.ok for finding in found) == right


# --- files that cannot be read --------------------------------------------------------------------------
def _twice(data: bytes) -> bytes:
    """The key general.name becomes a second general.type."""
    return data.replace(struct.pack("<Q", 12) + b"general.name", struct.pack("<Q", 12) + b"general.type")


def _unknown_type(data: bytes) -> bytes:
    place = data.index(b"blk.0.attn_q.weight") + len(b"blk.0.attn_q.weight") + 4 + 2 * 8
    return data[:place] + struct.pack("<I", 9999) + data[place + 4 :]


def _endless(data: bytes) -> bytes:
    """The list of tokens is said to have 2^30 whole numbers, which end with the file."""
    place = data.index(b"tokenizer.ggml.tokens") + len(b"tokenizer.ggml.tokens") + 4
    return data[:place] + struct.pack("<IQ", 4, 2**30) + data[place + 12 :]


def _with_key(data: bytes, key: bytes, value: bytes) -> bytes:
    """One key more, before the others. It has a multiple of 32 bytes, so that the tensors stay aligned."""
    assert (8 + len(key) + len(value)) % 32 == 0
    (count,) = struct.unpack("<Q", data[16:24])
    return data[:16] + struct.pack("<QQ", count + 1, len(key)) + key + value + data[24:]


def _list_of_lists(data: bytes) -> bytes:
    return _with_key(data, b"company.lists of lists x", struct.pack("<IIQIQI", 9, 9, 1, 4, 1, 7))


def _empty_key(data: bytes) -> bytes:
    return _with_key(data, b"", struct.pack("<IQ", 8, 12) + b"twelve bytes")


def _offset(data: bytes, tensor: bytes, dimensions: int = 2) -> int:
    return data.index(tensor) + len(tensor) + 4 + 8 * dimensions + 4


def _gap(data: bytes) -> bytes:
    """32 bytes that belong to nobody lie before the last tensor."""
    place, size = _offset(data, b"blk.0.attn_q.weight"), 2 * 64 * 64
    (offset,) = struct.unpack("<Q", data[place : place + 8])
    moved = data[:place] + struct.pack("<Q", offset + 32) + data[place + 8 :]
    return moved[:-size] + bytes(32) + moved[-size:]


def _twice_the_same_bytes(data: bytes) -> bytes:
    place = _offset(data, b"blk.0.attn_q.weight")
    return data[:place] + struct.pack("<Q", 0) + data[place + 8 :]


def _other_byte_order(data: bytes) -> bytes:
    """Of the header no more than the version is needed to tell."""
    return data[:4] + struct.pack(">IQQ", 3, 0, 0)


DAMAGED = {
    "empty": lambda data: b"",
    "no GGUF": lambda data: b"not a model at all",
    "cut in its header": lambda data: data[:300],
    "cut in its tensors": lambda data: data[:-4096],
    "a key twice": _twice,
    "a tensor of unknown type": _unknown_type,
    "an endless list": _endless,
    "a list of lists": _list_of_lists,
    "an empty key": _empty_key,
    "a gap between tensors": _gap,
    "two tensors of the same bytes": _twice_the_same_bytes,
    "the other byte order": _other_byte_order,
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_is_one_finding_and_no_traceback(damage, reference, tmp_path):
    file = tmp_path / "damaged.gguf"
    file.write_bytes(DAMAGED[damage](reference.read_bytes()))
    (finding,) = compare(file, reference.parent, TOKENIZER, reference, None)
    assert (finding.check, finding.stage, finding.ok) == ("readable", "file", False)
    assert quantization_of(file) is None
    with pytest.raises(SeatrialError, match="is not a whole GGUF file"):
        open_gguf(file)


def test_a_name_that_is_no_utf_8_is_no_damage(reference, tmp_path):
    text = "Jörg, who has an old editor, eh".encode("latin-1")[:30]
    file = tmp_path / "latin.gguf"
    value = struct.pack("<IQ", 8, len(text)) + text
    file.write_bytes(_with_key(reference.read_bytes(), b"general.author", value))
    assert all(finding.ok for finding in compare(file, reference.parent, TOKENIZER, reference, None))
    assert open_gguf(file).fields["general.author"].contents().startswith("J\\xf6rg")


def test_a_file_without_tensors_is_found(findings):
    assert "number of tensors" in findings(lambda content: content.tensors.clear())


def test_every_type_that_the_format_knows_has_a_name(reference, tmp_path):
    from gguf import LlamaFileType

    content = gguf_edit.read(reference)
    for label, name in {LlamaFileType.MOSTLY_IQ4_XS: "iq4_xs", LlamaFileType.ALL_F32: "f32"}.items():
        content["general.file_type"] = int(label)
        assert quantization_of(gguf_edit.write(content, tmp_path / f"{name}.gguf")) == name
    content["general.file_type"] = 1024
    assert quantization_of(gguf_edit.write(content, tmp_path / "guessed.gguf")) is None
