"""Faults in what runtimes read of a header, and in tensors that a file has beside the trained ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType

from tests.sabotage.faults import Make, fault
from tests.sabotage.gguf_edit import Gguf, Tensor
from tests.sabotage.workshop import Artefact, Good, edited, edited_before_quantisation

# name -> (stage, why, what is said); {arch} is the model's architecture.
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
                content.say(key.format(arch=content["general.architecture"]), value)

        return edited(good, out, change)

    make.__name__ = name.replace("-", "_")
    return make


for _name, (_stage, _why, _said) in SAID.items():
    fault(_stage, _why)(_saying(_name, _said))


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
