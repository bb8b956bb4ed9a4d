"""What is said of headers in ``evals/fidelity/header.py`` is what the installed llama.cpp does with them.

python -m pytest tests/test_header_in_llama_cpp.py
"""

from __future__ import annotations

import ctypes
import faulthandler
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType

from tests import test_header
from tests.sabotage import gguf_edit
from tests.sabotage.gguf_edit import Gguf, Tensor
from tests.test_header import ANY_KIND, DAMAGED, KINDS, UNREAD, _with_key

llama_cpp = pytest.importorskip("llama_cpp")
reference = test_header.reference
TEXTS = ("ab a", "<|im_start|>  a <|im_end|>  b", "")
UNASKED = {"tokenizer.ggml.eot_token_id"}  # shown as another end of a turn; where answers end is the same


@pytest.fixture(scope="module")
def model(reference, tmp_path_factory) -> Path:
    """The header of ``test_header`` with all tensors of a model of one layer."""
    content, random = gguf_edit.read(reference), np.random.default_rng(1)
    content.say("llama.feed_forward_length", 32)
    content.say("llama.attention.layer_norm_rms_epsilon", 1e-5)
    sizes = {"attn_q": (64, 64), "attn_k": (32, 64), "attn_v": (32, 64), "attn_output": (64, 64)}
    sizes |= {"ffn_gate": (32, 64), "ffn_up": (32, 64), "ffn_down": (64, 32)}
    names = {f"blk.0.{name}.weight": size for name, size in sizes.items()} | {"token_embd.weight": (4, 64)}
    for name, size in names.items():
        content.tensors[name] = Tensor(
            random.standard_normal(size).astype(np.float16), GGMLQuantizationType.F16
        )
    for name in ("blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight"):
        content.tensors[name] = Tensor(np.ones(64, dtype=np.float32), GGMLQuantizationType.F32)
    return gguf_edit.write(content, tmp_path_factory.mktemp("model") / "right.gguf")


@pytest.fixture
def seen(model, tmp_path):
    """What llama.cpp makes of the model with ``change`` made to it."""

    def seen(change) -> object:
        content = gguf_edit.read(model)
        change(content)
        return asked(gguf_edit.write(content, tmp_path / f"{len(list(tmp_path.iterdir()))}.gguf"))

    return seen


def asked(path: Path) -> object:
    """Token ids, ends, and next-token logits; None where llama.cpp refuses the file or aborts."""
    here, there = multiprocessing.Pipe()
    child = os.fork()
    if not child:
        try:
            faulthandler.disable()  # an abort of llama.cpp is an answer here
            for stream in (1, 2):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
            there.send(_ask(path))
        finally:
            os._exit(0)
    there.close()
    try:
        return here.recv()
    except EOFError:
        return None
    finally:
        os.waitpid(child, 0)


def _ask(path: Path) -> object:
    model = llama_cpp.llama_model_load_from_file(os.fsencode(path), llama_cpp.llama_model_default_params())
    if not model:
        return None
    vocabulary, params = llama_cpp.llama_model_get_vocab(model), llama_cpp.llama_context_default_params()
    params.n_ctx, params.n_threads, params.n_threads_batch = 64, 1, 1
    context = llama_cpp.llama_init_from_model(model, params)
    ids, room = [], (llama_cpp.llama_token * 64)()
    for text in TEXTS:
        count = llama_cpp.llama_tokenize(vocabulary, text.encode(), len(text.encode()), room, 64, True, True)
        ids.append(list(room[:count]))
    tokens = (llama_cpp.llama_token * 8)(0, 1, 3, 0, 2, 3, 3, 0)
    llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(tokens, 8))
    logits = ctypes.cast(llama_cpp.llama_get_logits_ith(context, -1), ctypes.POINTER(ctypes.c_float))
    ends = [llama_cpp.llama_vocab_is_eog(vocabulary, token) for token in range(4)]
    return ids, ends, logits[:4]


def test_the_model_answers(seen):
    ids, ends, logits = seen(lambda content: None)
    assert ids[1] == [1, 0, 2, 3] and ends == [False, False, True, False]
    assert np.isfinite(logits).all() and len(set(logits)) == 4
    scaled = seen(lambda content: content.say("llama.rope.scaling.factor", 2.0))
    assert scaled[2] != logits  # so that what is the same is not so because nothing is heard


@pytest.mark.parametrize("key", KINDS)
def test_a_value_of_another_kind_is_refused(key, seen):
    assert seen(lambda content: content.say(key, *KINDS[key])) is None


@pytest.mark.parametrize("key", ANY_KIND)
def test_a_value_of_any_kind_changes_nothing_where_nobody_reads_it(key, seen, model):
    assert seen(lambda content: content.say(key, *ANY_KIND[key])) == asked(model)


@pytest.mark.parametrize("key", sorted(UNREAD.keys() - UNASKED))
def test_a_key_that_is_no_finding_changes_nothing(key, seen, model):
    assert seen(lambda content: content.say(key, UNREAD[key])) == asked(model)


def test_a_name_can_keep_a_file_from_loading(seen):
    assert seen(lambda content: content.say("general.name", "phi-3 for tickets")) is None


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0"])
def test_a_norm_in_fewer_bits_is_no_model(kind, seen):
    from gguf import quants

    def change(content: Gguf) -> None:
        numbers = quants.quantize(np.ones(64, dtype=np.float32), GGMLQuantizationType[kind])
        content.tensors["output_norm.weight"] = Tensor(numbers, GGMLQuantizationType[kind])

    assert seen(change) is None


@pytest.mark.parametrize("damage", ["a list of lists", "an empty key", "the other byte order", "a key twice"])
def test_what_is_no_whole_file_is_refused(damage, model, tmp_path):
    file = tmp_path / "damaged.gguf"
    file.write_bytes(DAMAGED[damage](model.read_bytes()))
    assert asked(file) is None


def test_a_name_that_is_no_utf_8_is_read(model, tmp_path):
    file = tmp_path / "latin.gguf"
    value = b"\x08\0\0\0" + (30).to_bytes(8, "little") + b"J\xf6rg" + b"." * 26
    file.write_bytes(_with_key(model.read_bytes(), b"general.author", value))
    assert asked(file) == asked(model)
