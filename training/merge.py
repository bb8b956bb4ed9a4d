"""Job: the adapter merged into its base by the exact route.

The adapter was trained against the base as its recipe held it, by default in NF4, so it is merged into those
weights, dequantised.
Merging into the original 16-bit weights, or calling ``merge_and_unload()`` on the 4-bit model, gives a
model that nobody trained.

The result is float32: in 16 bits the sum would be rounded before its conversion to GGUF rounds it, and small
updates of an adapter would be lost. It is written in shards, one tensor after the other, so that memory does
not grow with the model (:mod:`seatrial.training.exact`).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seatrial.training.adapted import with_adapter
from seatrial.training.base_model import DEFAULT, load_dequantised
from seatrial.training.exact import Exact
from seatrial.training.shards import NotByTensor, write_shards

if TYPE_CHECKING:
    import torch

SHARD = 10**9  # bytes of a file
PIECES = "tokenizer.model"


def merge(request: dict[str, Any], send: Callable[..., None]) -> dict[str, Any]:
    """Write base ``request["base"]`` + adapter ``request["adapter"]`` as float32 to ``request["out"]``;
    without an adapter, the base as it was held."""
    import torch

    out, base = Path(request["out"]), Path(request["base"])
    adapter = Path(request["adapter"]) if request.get("adapter") else None
    held = getattr(torch, request["compute_dtype"]), request.get("precision", DEFAULT), request.get("skipped")
    try:
        facts = _by_tensor(Exact(base, adapter, *held), base, out, send)
    except NotByTensor as reason:
        model = load_dequantised(base, *held)
        if adapter:
            model = with_adapter(model, adapter).merge_and_unload(safe_merge=True)
        model.save_pretrained(out)
        count = sum(parameter.numel() for parameter in model.parameters())
        facts = {"parameters": count, "whole": str(reason)}
    _save_tokenizer(adapter, base, out)
    return facts


def _by_tensor(exact: Exact, base: Path, out: Path, send: Callable[..., None]) -> dict[str, Any]:
    import torch

    # What is tied and may have come apart is compared; if it did, both are written.
    known = {name: exact.merged(name) for pair in exact.apart() for name in pair}
    shared = {n for n, other in exact.tied.items() if n not in known or torch.equal(known[n], known[other])}
    names: dict[str, str] = {}  # of the model's tensors, by what is saved of them
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in exact.shapes.items():
        if name not in shared:
            parts = exact.written(name, torch.empty(shape, device="meta"))
            names |= dict.fromkeys(parts, name)
            shapes |= {part: tuple(tensor.shape) for part, tensor in parts.items()}
    parts_of: tuple[str, dict[str, torch.Tensor]] = ("", {})

    def made(part: str) -> torch.Tensor:
        nonlocal parts_of
        name = names[part]
        if parts_of[0] != name:
            tensor = known.pop(name) if name in known else exact.merged(name)
            parts_of = name, dict(exact.written(name, tensor))
        return parts_of[1].pop(part)

    count = write_shards(out, shapes, made, send, SHARD)
    _save_config(exact, bool(shared), base, out)
    return {"parameters": count}


def _save_config(exact: Exact, tied: bool, base: Path, out: Path) -> None:
    from transformers import GenerationConfig

    model = exact.model
    model.config.architectures, model.config.dtype = [type(model).__name__], "float32"
    if exact.tied:
        model.config.tie_word_embeddings = tied
    model.config.save_pretrained(out)
    if (base / "generation_config.json").is_file():
        GenerationConfig.from_pretrained(base).save_pretrained(out)
    elif model.can_generate():
        model.generation_config.save_pretrained(out)


def _save_tokenizer(adapter: Path | None, base: Path, out: Path) -> None:
    """That of the training: the adapter's own, where one lies beside it, else the base's. Its SentencePiece
    model is copied, which transformers leaves out: without its scores llama.cpp splits words otherwise."""
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(base).save_pretrained(out)
    other = adapter if adapter and _has_tokenizer(adapter) and not _same_tokenizer(adapter, out) else None
    if other:
        AutoTokenizer.from_pretrained(other).save_pretrained(out)
    for folder in filter(None, (other, base)):
        if (folder / PIECES).is_file() and not (out / PIECES).exists():
            shutil.copyfile(folder / PIECES, out / PIECES)


def _has_tokenizer(folder: Path) -> bool:
    files = ("tokenizer.json", PIECES, "vocab.json")
    return (folder / "tokenizer_config.json").is_file() and any((folder / name).is_file() for name in files)


def _same_tokenizer(folder: Path, out: Path) -> bool:
    def read(path: Path) -> bytes | None:
        return path.read_bytes() if path.is_file() else None

    names = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "added_tokens.json")
    return all(read(folder / name) == read(out / name) for name in names)
