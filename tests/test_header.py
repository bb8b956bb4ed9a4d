"""A header that says more, or less, than our own export of the same model: what counts and what does not.

python -m pytest tests/test_header.py
"""

from __future__ import annotations

import json
import struct
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
        file = gguf_edit.write(content, tmp_path / "changed.gguf")
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
    "tokenizer.ggml.scores": [1.0, 2.0, 3.0, 4.0],
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
    "split.count": 1,
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


@pytest.mark.parametrize(
    "name", ["rope_freqs.weight", "blk.0.attn_q.bias", "output.weight", "blk.0.attn_q.scale"]
)
def test_a_tensor_that_our_own_export_does_not_have_is_found(name, findings):
    def add(content):
        content.tensors[name] = content.tensors["token_embd.weight"]

    assert findings(add) == {"number of tensors": "conversion", f"shape of {name}": "conversion"}


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


DAMAGED = {
    "empty": lambda data: b"",
    "no GGUF": lambda data: b"not a model at all",
    "cut in its header": lambda data: data[:300],
    "cut in its tensors": lambda data: data[:-4096],
    "a key twice": _twice,
    "a tensor of unknown type": _unknown_type,
    "an endless list": _endless,
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
