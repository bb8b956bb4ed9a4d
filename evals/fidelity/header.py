"""A GGUF file's header as runtimes take it: which keys they read, and what they make of absent ones.

What our own export does not say may still decide answers, so every key counts but those that no runtime reads
while it answers. A key that is in one header only is right if its value is what its absence means. Taken
from llama.cpp (``llama-model.cpp``, ``llama-vocab.cpp``, ``common.cpp``) and from Ollama's own engine
(``model/models``): where those two make different things of an absent key, it has no meaning here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatrial.training.gguf_file import open_gguf

LABEL = "general.file_type"
# Runtimes look up keys that begin with one of these words or with the architecture's name; what begins with
# another architecture's, or with a company's own word, is never asked for.
NAMESPACES = ("general", "tokenizer", "split", "adapter", "xielu")
# general.* is about the file (names, licences, the label, which is compared apart), but for these. A wrong
# general.alignment shifts every tensor, a right one none: that is seen in the weights.
GENERAL = ("general.architecture", "general.type", "general.sampling.", "general.tensor_extra.")
# Templates with a name are used by who asks for that name, except the one for tools.
OTHER_TEMPLATES = re.compile(r"tokenizer\.chat_templates|tokenizer\.chat_template\.(?!tool_use$).+")
IMATRIX = "quantize.imatrix."  # beginning of the keys by which a file names its importance matrix
PADDING = "tokenizer.ggml.padding_token_id"


@dataclass(frozen=True)
class Header:
    """A GGUF file's metadata and its tensors: name -> (shape, type)."""

    path: Path
    fields: Mapping[str, Any]
    tensors: Mapping[str, tuple[tuple[int, ...], str]]

    @property
    def architecture(self) -> str:
        return str(self.fields.get("general.architecture", ""))

    def get(self, key: str) -> Any:
        """A value by its key after the architecture's name, such as ``rope.freq_base``."""
        return self.fields.get(f"{self.architecture}.{key}")

    @property
    def by_importance(self) -> bool:
        """Whether the file says that it was quantised with an importance matrix."""
        return any(key.startswith(IMATRIX) for key in self.fields)

    def reads(self, key: str) -> bool:
        """Whether a runtime may read ``key`` in this file."""
        if key.startswith("general."):
            return key.startswith(GENERAL)
        namespace = key.partition(".")[0]
        return namespace in (*NAMESPACES, self.architecture) and not OTHER_TEMPLATES.fullmatch(key)

    def unsaid(self, key: str) -> tuple[Any, ...]:
        """The values that say the same as leaving ``key`` out of this header; none where not known."""
        meaning = UNSAID.get(key.removeprefix(f"{self.architecture}."), ())
        return meaning(self) if callable(meaning) else meaning


def read_header(path: Path) -> Header:
    """Read a GGUF file's header.

    Raises:
        SeatrialError: not a GGUF file, or one that ends before its last tensor does.
    """
    reader = open_gguf(path)
    tensors = {
        t.name: (tuple(int(size) for size in t.shape), str(t.tensor_type.name)) for t in reader.tensors
    }
    return Header(path, {name: field.contents() for name, field in reader.fields.items()}, tensors)


def _head_size(header: Header) -> tuple[Any, ...]:
    size, heads = header.get("embedding_length"), header.get("attention.head_count")
    whole = isinstance(size, int) and isinstance(heads, int) and heads > 0
    return (size // heads,) if whole else ()


def _rotated(header: Header) -> tuple[Any, ...]:
    said = header.get("attention.key_length")
    return _head_size(header) if said is None else (said,)


def _is_tokenizer(kind: str) -> Callable[[Header], tuple[Any, ...]]:
    """True for one kind of tokenizer, False for the byte-pair kind, not known for others."""

    def meaning(header: Header) -> tuple[Any, ...]:
        model = header.fields.get("tokenizer.ggml.model")
        return (model == kind,) if model in (kind, "gpt2", "llama") else ()

    return meaning


Meaning = tuple[Any, ...] | Callable[[Header], tuple[Any, ...]]
UNSAID: Mapping[str, Meaning] = {
    "general.type": ("model",),
    "split.no": (0,),
    "split.count": (0, 1),
    "split.tensors.count": lambda header: (0, len(header.tensors)),
    "vocab_size": lambda header: (len(header.fields.get("tokenizer.ggml.tokens") or ()),),
    "embedding_length_out": lambda header: (0, header.get("embedding_length")),
    "attention.causal": (True,),
    "attention.key_length": _head_size,
    "attention.value_length": _head_size,
    "pooling_type": (0,),
    "expert_count": (0,),
    "expert_used_count": (0,),
    "expert_group_count": (0,),
    "expert_group_used_count": (0,),
    "expert_shared_count": (0,),
    "nextn_predict_layers": (0,),
    "rope.dimension_count": _rotated,
    # Linear by a factor of 1 is no scaling; another factor is found under its own key.
    "rope.scaling.type": ("none", "linear"),
    "rope.scaling.factor": (1.0, 0.0),
    "rope.scale_linear": (1.0, 0.0),
    "rope.scaling.attn_factor": (1.0,),
    "rope.scaling.finetuned": (False, True),  # shown, never used
    "rope.scaling.original_context_length": lambda header: (header.get("context_length"),),
    "tokenizer.ggml.add_eos_token": _is_tokenizer("t5"),
    "tokenizer.ggml.add_sep_token": _is_tokenizer("bert"),
    "tokenizer.ggml.add_space_prefix": _is_tokenizer("llama"),
    "tokenizer.ggml.remove_extra_whitespaces": _is_tokenizer("t5"),
    # llama.cpp ends a turn at the end of the text, too, and finds the usual end-of-turn tokens by their text.
    "tokenizer.ggml.eot_token_id": lambda header: (header.fields.get("tokenizer.ggml.eos_token_id"),),
    # tokenizer.ggml.add_bos_token is not here: unsaid, llama.cpp adds no BOS to most byte-pair vocabularies,
    # and Ollama does.
}
