"""Faults in what runtimes read of a header, and in tensors that a file has beside the trained ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType

from seatrial.training.gguf_file import open_gguf
from tests.sabotage.faults import Make, fault
from tests.sabotage.gguf_edit import Gguf, Tensor
from tests.sabotage.workshop import Artefact, Good, edited, edited_before_quantisation

# name -> (stage, why, what is said); {arch} is the model's architecture. A pair is a value and its kind.
SAID: Mapping[str, tuple[str, str, dict[str, Any]]] = {
    "rope-scaled-linearly": (
        "conversion",
        "A context extension was tried out and its two keys stayed in the header.",
        {"{arch}.rope.scaling.type": "linear", "{arch}.rope.scaling.factor": 1.05},
    ),
    "rope-scaled-by-a-factor-alone": (
        "conversion",
        "The type was taken out again, the factor was not: llama.cpp scales linearly by it.",
        {"{arch}.rope.scaling.factor": 1.05},
    ),
    "rope-scaled-by-the-old-key": (
        "conversion",
        "An editor of headers knows llama.cpp's key of 2023, which is still read.",
        {"{arch}.rope.scale_linear": 1.1},
    ),
    "rope-scaled-by-yarn": (
        "conversion",
        "The keys of a model card for long contexts were added to a model that was not trained for them.",
        {"{arch}.rope.scaling.type": "yarn", "{arch}.rope.scaling.factor": 2.0},
    ),
    "attention-not-causal": (
        "conversion",
        "The header was made from an embedding model's.",
        {"{arch}.attention.causal": False},
    ),
    "attention-scaled": (
        "conversion",
        "A converter wrote the scale of the family's next generation.",
        {"{arch}.attention.scale": 0.1},
    ),
    "sliding-window-said": (
        "conversion",
        "config.json of another family has a sliding window.",
        {"{arch}.attention.sliding_window": 64},
    ),
    "logits-scaled": ("conversion", "A key of Granite in a Llama.", {"{arch}.logit_scale": 0.5}),
    "experts-said": ("conversion", "A config was merged with a mixture's.", {"{arch}.expert_count": 2}),
    "sampling-said": (
        "conversion",
        "generation_config.json of the base asks for a temperature, which newer llama.cpp takes as its default.",
        {"general.sampling.temp": 1.5},
    ),
    "space-prefix-added": (
        "tokenizer",
        "The converter took the tokenizer for SentencePiece's.",
        {"tokenizer.ggml.add_space_prefix": True},
    ),
    "eos-appended": (
        "tokenizer",
        "The tokenizer was saved with add_eos_token, as some trainers want it.",
        {"tokenizer.ggml.add_eos_token": True},
    ),
    "turn-ends-at-a-word": (
        "tokenizer",
        "eot_token_id was set by its number in another vocabulary.",
        {"tokenizer.ggml.eot_token_id": 263},
    ),
    "tools-have-another-template": (
        "template",
        "The base's template for tools was kept when the chat template was replaced.",
        {"tokenizer.chat_template.tool_use": "{{ messages[0]['content'] }}"},
    ),
    "blanks-dropped-by-name": (
        "tokenizer",
        "The model was named after the one it replaces; by that name llama.cpp drops blanks, or gives up.",
        {"general.name": "our phi-3 replacement"},
    ),
    "word-ends-the-answer": (
        "tokenizer",
        "A token for code repositories was set by its number in another vocabulary: llama.cpp stops at it.",
        {"tokenizer.ggml.fim_rep_token_id": 263},
    ),
    "word-never-said": (
        "tokenizer",
        "generation_config.json of another family suppresses a token, by its number.",
        {"tokenizer.ggml.suppress_tokens": ([263], "INT32")},
    ),
    "add-bos-said-as-a-number": (
        "tokenizer",
        "A script wrote 0 for false: llama.cpp refuses the file, Ollama adds BOS.",
        {"tokenizer.ggml.add_bos_token": (0, "UINT8")},
    ),
    "parts-counted-in-32-bits": (
        "conversion",
        "A tool that joins split files wrote their number with 32 bits, where llama.cpp asks for 16.",
        {"split.count": (1, "UINT32")},
    ),
    "no-experts-in-64-bits": (
        "conversion",
        "A default was said out loud by a tool that writes every number with 64 bits.",
        {"{arch}.expert_count": (0, "UINT64")},
    ),
    "key-length-wrong": (
        "conversion",
        "The size of a head was computed from another number of heads.",
        {"{arch}.attention.key_length": 32},
    ),
}


def _saying(name: str, said: Mapping[str, Any]) -> Make:
    def make(good: Good, out: Path) -> Artefact:
        def change(content: Gguf) -> None:
            for key, value in said.items():
                pair = value if isinstance(value, tuple) else (value,)
                content.say(key.format(arch=content["general.architecture"]), *pair)

        return edited(good, out, change)

    make.__name__ = name.replace("-", "_")
    return make


for _name, (_stage, _why, _said) in SAID.items():
    fault(_stage, _why)(_saying(_name, _said))


# --- right values of a wrong kind -------------------------------------------------------------------------
KINDS: Mapping[str, tuple[str, str, str, str]] = {
    "context-length-in-64-bits": (
        "conversion",
        "A header was edited by a script whose language knows one kind of whole number.",
        "{arch}.context_length",
        "UINT64",
    ),
    "rope-base-as-a-whole-number": (
        "conversion",
        "config.json has 100000 without a point, and the converter took its kind from there.",
        "{arch}.rope.freq_base",
        "UINT32",
    ),
    "eos-with-a-sign": (
        "tokenizer",
        "Token ids are signed in most libraries, and one of them wrote the header.",
        "tokenizer.ggml.eos_token_id",
        "INT32",
    ),
    "token-types-without-a-sign": (
        "tokenizer",
        "The other way round: llama.cpp refuses the list, and Ollama has no special tokens then.",
        "tokenizer.ggml.token_type",
        "UINT32",
    ),
}


def _as_kind(name: str, key: str, kind: str) -> Make:
    def make(good: Good, out: Path) -> Artefact:
        def change(content: Gguf) -> None:
            said = key.format(arch=content["general.architecture"])
            value = content[said]
            content.say(said, int(value) if isinstance(value, float) else value, kind)

        return edited(good, out, change)

    make.__name__ = name.replace("-", "_")
    return make


for _name, (_stage, _why, _key, _kind) in KINDS.items():
    fault(_stage, _why)(_as_kind(_name, _key, _kind))


# --- where tensors lie, and as what -----------------------------------------------------------------------
@fault("quantisation", "A script of one's own wrote every tensor with 16 bits, norms too: llama.cpp aborts.")
def norms_in_16_bits(good: Good, out: Path) -> Artefact:
    def change(content: Gguf) -> None:
        for name, tensor in content.tensors.items():
            if tensor.data.ndim == 1:
                content.tensors[name] = Tensor(tensor.data.astype(np.float16), GGMLQuantizationType.F16)

    return edited(good, out, change)


@fault("conversion", "Alignment was set to 1 to save a few bytes, and the file cannot be mapped any more.")
def tensors_not_aligned(good: Good, out: Path) -> Artefact:
    def change(content: Gguf) -> None:
        content.say("general.alignment", 1)
        odd = 33  # no multiple of two, so that with it or without it the header ends off a multiple of 32
        content.say("general.note", "x" * odd)

    artefact = edited(good, out, change)
    if not open_gguf(artefact.gguf).data_offset % 32:
        artefact.gguf.unlink()
        return edited(good, out, lambda content: content.say("general.alignment", 1))
    return artefact


@fault("file", "A tool that repairs files left a hole before the last tensor, which llama.cpp does not take.")
def hole_before_the_last_tensor(good: Good, out: Path) -> Artefact:
    data, last = good.gguf.read_bytes(), open_gguf(good.gguf).tensors[-1]
    *others, offset = last.field.parts
    place = last.field.offset + sum(int(part.nbytes) for part in others)
    moved = int(offset[0] + 32).to_bytes(8, "little")
    whole = data[:place] + moved + data[place + 8 : last.data_offset] + bytes(32) + data[last.data_offset :]
    path = out / good.gguf.name
    path.write_bytes(whole)
    return good.artefact.but(gguf=path)


# --- conventions of other families ------------------------------------------------------------------------
@fault("conversion", "Queries and keys were left in transformers' order of the rotary embedding.")
def queries_and_keys_not_reordered(good: Good, out: Path) -> Artefact:
    def change(content: Gguf) -> None:
        prefix = f"{content['general.architecture']}.attention.head_count"
        for kind, key in {"attn_q": prefix, "attn_k": f"{prefix}_kv"}.items():
            for name in [name for name in content.tensors if f".{kind}.weight" in name]:
                content.change(name, partial(_unpermuted, heads=content[key]))

    return edited_before_quantisation(good, out, change)


def _unpermuted(weights: np.ndarray, heads: int) -> np.ndarray:
    halves = weights.reshape(heads, len(weights) // heads // 2, 2, -1)
    return halves.swapaxes(1, 2).reshape(weights.shape)


@fault(
    "conversion", "Gemma's norms are kept without their 1, which its converter adds; this model's are not."
)
def one_added_to_norms(good: Good, out: Path) -> Artefact:
    def change(content: Gguf) -> None:
        for name in [name for name in content.tensors if name.endswith("_norm.weight")]:
            content.change(name, lambda numbers: numbers + 1)

    return edited_before_quantisation(good, out, change)


@fault("conversion", "Gemma scales its embeddings by the root of their size; a script did it in the file.")
def embeddings_scaled_by_the_root_of_their_size(good: Good, out: Path) -> Artefact:
    def change(content: Gguf) -> None:
        content.change("token_embd.weight", lambda numbers: numbers * numbers.shape[1] ** 0.5)

    return edited_before_quantisation(good, out, change)


@fault("conversion", "The two halves of a fused projection were cut apart in the wrong order.")
def gate_and_up_exchanged(good: Good, out: Path) -> Artefact:
    def change(content: Gguf) -> None:
        gate, up = "blk.1.ffn_gate.weight", "blk.1.ffn_up.weight"
        content.tensors[gate], content.tensors[up] = content.tensors[up], content.tensors[gate]

    return edited_before_quantisation(good, out, change)


@fault(
    "conversion",
    "Tokens were added after the embeddings had been enlarged, and one has no row.",
    also=("merge", "file"),
)
def embedding_of_one_token_lost(good: Good, out: Path) -> Artefact:
    def change(content: Gguf) -> None:
        begin = content["tokenizer.ggml.bos_token_id"]
        content.change(
            "token_embd.weight", lambda rows: np.where(np.arange(len(rows))[:, None] == begin, 0, rows)
        )

    return edited_before_quantisation(good, out, change)


# --- tensors and tokens that are there, too --------------------------------------------------------------
@fault("conversion", "The head was untied for the training and saved as it was before.", also=("merge",))
def stale_head_beside_tied_embeddings(good: Good, out: Path) -> Artefact:
    def change(content: Gguf) -> None:
        embeddings = content.tensors["token_embd.weight"]
        numbers = np.array(embeddings.data, dtype=np.float32)
        head = np.roll(numbers, 1, axis=0).astype(embeddings.data.dtype)
        content.tensors["output.weight"] = Tensor(head, embeddings.kind)

    return edited_before_quantisation(good, out, change)


@fault("conversion", "A script added biases, for a family whose attention has them.", also=("merge",))
def bias_added(good: Good, out: Path) -> Artefact:
    def change(content: Gguf) -> None:
        width = int(content.tensors["blk.0.attn_output.weight"].data.shape[0])
        bias = np.full(width, 0.01, dtype=np.float32)
        content.tensors["blk.0.attn_output.bias"] = Tensor(bias, GGMLQuantizationType.F32)

    return edited(good, out, change)


@fault("conversion", "Frequency factors of Llama 3.1 were copied into a model that has none.")
def rope_factors_added(good: Good, out: Path) -> Artefact:
    def change(content: Gguf) -> None:
        count = content[f"{content['general.architecture']}.rope.dimension_count"] // 2
        factors = np.linspace(1, 4, count, dtype=np.float32)
        content.tensors["rope_freqs.weight"] = Tensor(factors, GGMLQuantizationType.F32)

    return edited(good, out, change)


@fault("conversion", "A row-wise penalty was merged into the embeddings, too.", also=("merge",))
def embeddings_changed(good: Good, out: Path) -> Artefact:
    def change(content: Gguf) -> None:
        content.change("token_embd.weight", lambda numbers: numbers * np.float16(1.15))

    return edited_before_quantisation(good, out, change)


@fault("conversion", "Two layers changed places when shards were joined.", also=("merge", "quantisation"))
def layers_swapped(good: Good, out: Path) -> Artefact:
    def change(content: Gguf) -> None:
        for name in [name for name in content.tensors if name.startswith("blk.0.")]:
            other = name.replace("blk.0.", "blk.1.")
            tensors = content.tensors
            tensors[name], tensors[other] = tensors[other], tensors[name]

    return edited_before_quantisation(good, out, change)


def _edited_kinds(change: Callable[[list[int]], None]) -> Callable[[Gguf], None]:
    def edit(content: Gguf) -> None:
        kinds = list(content["tokenizer.ggml.token_type"])
        change(kinds)
        content["tokenizer.ggml.token_type"] = kinds

    return edit


@fault("tokenizer", "Every token was marked as an ordinary one by an old converter.")
def no_token_is_special(good: Good, out: Path) -> Artefact:
    def plain(kinds: list[int]) -> None:
        kinds[:] = [1] * len(kinds)

    return edited(good, out, _edited_kinds(plain))


@fault("tokenizer", "A merge of the vocabulary was lost at the end of the list.")
def last_merges_lost(good: Good, out: Path) -> Artefact:
    def change(content: Gguf) -> None:
        content["tokenizer.ggml.merges"] = content["tokenizer.ggml.merges"][:-200]

    return edited(good, out, change)
