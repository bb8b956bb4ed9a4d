"""A GGUF file's header as runtimes take it: which keys they read, and what they make of absent ones.

What our own export does not say may still decide answers, so every key counts but those that no runtime reads
while it answers. A key that is in one header only is right if its value is what its absence means. Values
have kinds, too: asked for a whole number of 32 bits, llama.cpp refuses a file that has one of 64 there, and
Ollama takes its default instead. Taken from llama.cpp (``llama-model.cpp``, ``llama-vocab.cpp``,
``common.cpp``) and from Ollama's own engine (``model/models``): where those two make different things of an
absent key, it has no meaning here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatrial.training.gguf_file import open_gguf

LABEL, NAME = "general.file_type", "general.name"
# Runtimes look up keys that begin with one of these words or with the architecture's name; what begins with
# another architecture's, or with a company's own word, is never asked for.
NAMESPACES = ("general", "tokenizer", "split", "adapter", "xielu")
# general.* is about the file (authors, licences), but for these. A wrong general.alignment shifts every
# tensor, a right one none: that is seen in the weights.
GENERAL = (LABEL, NAME, "general.architecture", "general.type", "general.sampling.", "general.tensor_extra.")
# Templates with a name are used by who asks for that name, except the one for tools.
TEMPLATE = "tokenizer.chat_template"
OTHER_TEMPLATES = re.compile(r"tokenizer\.chat_templates|tokenizer\.chat_template\.(?!tool_use$).+")
IMATRIX = "quantize.imatrix."  # beginning of the keys by which a file names its importance matrix
PADDING = "tokenizer.ggml.padding_token_id"
# A file that has no head of its own answers with its embeddings.
EMBEDDINGS, HEAD = "token_embd.weight", "output.weight"
ALIGNED = 32  # the first tensor's place is a multiple of so many bytes, or ggml aborts on the mapped file
# llama.cpp drops blanks behind control tokens in files with such a name, and gives up if there is no </s>.
NAMES_THAT_COUNT = re.compile(r"phi-?3", re.IGNORECASE)
# Kept by converters of other times, and asked for by nobody.
FORGOTTEN = ("tokenizer.huggingface.json", "tokenizer.rwkv.world", "tokenizer.ggml.added_tokens")
# Keys of tokenizers that are no byte-pair ones. Theirs have no scores, and bytes for what is unknown.
SCORES = "tokenizer.ggml.scores"
NOT_OF_BYTE_PAIRS = (
    SCORES,
    *(f"tokenizer.ggml.{name}_token_id" for name in ("unknown", "cls", "mask")),
)


@dataclass(frozen=True)
class Header:
    """A GGUF file's metadata, the kinds of its values, such as ``UINT32`` or ``ARRAY of INT32``, and its
    tensors: name -> (shape, type), of which the first begins at the byte ``data``."""

    path: Path
    fields: Mapping[str, Any]
    kinds: Mapping[str, str]
    tensors: Mapping[str, tuple[tuple[int, ...], str]]
    data: int = 0

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
        unread = key in FORGOTTEN or OTHER_TEMPLATES.fullmatch(key)
        return namespace in (*NAMESPACES, self.architecture) and not unread

    def spare(self, key: str) -> bool:
        """Whether what this header says, or does not say, under ``key`` is read and then not used."""
        if self.fields.get("tokenizer.ggml.model") == "gpt2" and key in NOT_OF_BYTE_PAIRS:
            scores, tokens = (self.fields.get(name) for name in (SCORES, "tokenizer.ggml.tokens"))
            return key != SCORES or scores is None or len(scores) == len(tokens or ())
        return key in (NAME, LABEL)

    def said(self, key: str) -> Any:
        """What this header says under ``key``, None for nothing; a template as Jinja and llama.cpp read it,
        who take all line ends for one and drop the last."""
        value = self.fields.get(key)
        if key.startswith(TEMPLATE) and isinstance(value, str):
            return as_jinja_reads(value)
        return value

    def unsaid(self, key: str) -> tuple[Any, ...]:
        """The values that say the same as leaving ``key`` out of this header; none where not known."""
        meaning = UNSAID.get(key.removeprefix(f"{self.architecture}."), ())
        return meaning(self) if callable(meaning) else meaning

    def kind_read(self, key: str, said: Any) -> str | None:
        """The kind as which llama.cpp reads a key that this header leaves out and another one says; None
        where any will do."""
        name = key.removeprefix(f"{self.architecture}.")
        usual = next((value for value in self.unsaid(key) if value is not None), said)
        return KINDS.get(name, BY_VALUE.get(type(usual)))

    @property
    def names_that_count(self) -> set[str]:
        """The words in the model's name that llama.cpp acts upon."""
        return {word.lower() for word in NAMES_THAT_COUNT.findall(str(self.fields.get(NAME, "")))}


def as_jinja_reads(template: str) -> str:
    return template.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")


def read_header(path: Path) -> Header:
    """Read a GGUF file's header.

    Raises:
        SeatrialError: not a GGUF file, or one that ends before its last tensor does.
    """
    reader = open_gguf(path)
    tensors = {
        t.name: (tuple(int(size) for size in t.shape), str(t.tensor_type.name)) for t in reader.tensors
    }
    kinds = {name: " of ".join(kind.name for kind in field.types) for name, field in reader.fields.items()}
    fields = {name: field.contents() for name, field in reader.fields.items()}
    return Header(path, fields, kinds, tensors, int(reader.data_offset))


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


def _end(header: Header) -> tuple[Any, ...]:
    return (header.fields.get("tokenizer.ggml.eos_token_id"),)


def _plain_attention(header: Header) -> tuple[Any, ...]:
    return (0.0, *(size**-0.5 for size in _rotated(header) if isinstance(size, int) and size > 0))


BY_VALUE = {bool: "BOOL", int: "UINT32", float: "FLOAT32", str: "STRING"}
# What is read as another kind than its value's usual one; None: it is read in no file that says its default.
KINDS: Mapping[str, str | None] = {
    "split.count": "UINT16",
    "split.no": None,
    "split.tensors.count": None,
    "expert_shared_count": None,
}
Meaning = tuple[Any, ...] | Callable[[Header], tuple[Any, ...]]
UNSAID: Mapping[str, Meaning] = {
    "general.type": ("model",),
    "split.no": (0,),
    "split.count": (0, 1),
    "split.tensors.count": lambda header: (0, len(header.tensors)),
    "vocab_size": lambda header: (len(header.fields.get("tokenizer.ggml.tokens") or ()),),
    "embedding_length_out": lambda header: (0, header.get("embedding_length")),
    "attention.causal": (True,),
    "attention.scale": _plain_attention,
    "attention.clamp_kqv": (0.0,),
    "attention.max_alibi_bias": (0.0,),
    "attention.key_length": _head_size,
    "attention.value_length": _head_size,
    "pooling_type": (0,),
    "expert_count": (0,),
    "expert_used_count": (0,),
    "expert_group_count": (0,),
    "expert_group_used_count": (0,),
    "expert_shared_count": (0,),
    "nextn_predict_layers": (0,),
    "logit_scale": (1.0,),
    "embedding_scale": (1.0,),
    "residual_scale": (1.0,),
    "tensor_data_layout": ("Meta AI original pth",),  # of the first converters; never read
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
    "tokenizer.ggml.eot_token_id": _end,
    "tokenizer.ggml.eom_token_id": _end,
    "tokenizer.ggml.eos_token_ids": lambda header: (list(_end(header)),),
    # For tools the chat template is used, where there is no other.
    "tokenizer.chat_template.tool_use": lambda header: (header.said(TEMPLATE),),
    # tokenizer.ggml.add_bos_token is not here: unsaid, llama.cpp adds no BOS to most byte-pair vocabularies,
    # and Ollama does.
}
