"""Job: base weights as a Hugging Face folder that trainers can load.

The files of a folder or of the hub's cache are linked, not copied: by a hard link, or by a symbolic one where
they lie on another file system. A link is no copy: who changes the file changes what the store holds. So the
store's manifest keeps the digest of every file, each run compares them, and what differs is told and taken in
again. A GGUF file is dequantised as transformers would, one tensor after the other. The tokenizer that
transformers reads out of SmolLM2's GGUF is wrong in ways that make llama.cpp abort on the exported model;
``tokenizer_repair = "smollm2"`` mends it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from seatrial.training import extras
from seatrial.training.errors import SeatrialError
from seatrial.training.gguf_weights import GgufWeights
from seatrial.training.recipe import Base
from seatrial.training.shards import NotByTensor, write_shards

SHARD = 50 * 10**9  # bytes of a file of dequantised weights, as transformers saves them by default


def locate(base: Base, folder: Path) -> Path:
    """The file or folder that holds the base weights; relative paths start at ``folder``.

    Not for ``source = "hub"``, whose files lie where ``hub.fetch`` says.

    Raises:
        SeatrialError: it is not there; the hint says how to get it.
    """
    if base.source == "package":
        spec = find_spec(str(base.package))
        if spec is None or spec.origin is None:
            raise SeatrialError(
                f"the base weights of {base.model} come from the package {base.package!r}, "
                "which is not installed",
                where="recipe",
                hint=extras.line_for(str(base.package)),
            )
        folder = Path(spec.origin).parent
    path = folder / str(base.path)
    found = path.is_dir() if base.source == "folder" else path.is_file()
    if not found:
        raise SeatrialError(
            f"no base weights at {path}", where="recipe", hint=f"[base] path with source = {base.source!r}"
        )
    return path


def published_file(base: Base, folder: Path) -> Path | None:
    """The base weights as the GGUF file that they were published as; None where they are a model folder."""
    return locate(base, folder) if base.source in ("package", "gguf") else None


def import_weights(request: dict[str, Any], send: Callable[..., None]) -> dict[str, Any]:
    """Write ``request["out"]``, a Hugging Face folder, from the GGUF file ``request["source"]`` or from
    ``request["files"]``, a path for each name.

    Raises:
        SeatrialError: it is no model that can be loaded, or its tokenizer belongs to another one.
    """
    out, facts = Path(request["out"]), {}
    if "files" in request:
        link(request["files"], out)
    else:
        facts = _dequantise(Path(request["source"]), out, request["tokenizer_repair"], send)
    return {**loadable(out, request.get("where") or str(request.get("source"))), **facts}


def link(files: Mapping[str, str], out: Path) -> None:
    """Hard links to ``files`` (path by name) in ``out``; symbolic ones where the file system allows no hard
    ones between the two."""
    for name, path in files.items():
        source = Path(path).resolve()
        try:
            (out / name).hardlink_to(source)
        except OSError:
            (out / name).symlink_to(source)


def loadable(folder: Path, where: str) -> dict[str, Any]:
    """What the model's configuration says of it, once its files were found to fit each other; no weights
    are read.

    Raises:
        SeatrialError: configuration, tokenizer or weights cannot be read, or do not belong together.
    """
    from safetensors import SafetensorError, safe_open
    from transformers import AutoConfig, AutoTokenizer

    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, "np") as opened:
                opened.keys()
        except SafetensorError as error:
            raise SeatrialError(
                f"{path.name} is half there or damaged: {error}", where=where, hint="get this file again"
            ) from None
    try:
        config = AutoConfig.from_pretrained(folder)
    except (ValueError, OSError, KeyError) as error:
        raise SeatrialError(
            f"config.json is of no model that the installed transformers knows: {_first_line(error)}",
            where=where,
            hint="python -m pip install --upgrade transformers, if the model is newer; a model that brings "
            "code of its own (auto_map in config.json) is not loaded",
        ) from None
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (ValueError, OSError, KeyError, TypeError, ImportError) as error:
        raise SeatrialError(
            f"there is no tokenizer that can be loaded: {_first_line(error)}",
            where=where,
            hint="tokenizer.json, or tokenizer.model, and tokenizer_config.json belong beside the weights",
        ) from None
    text = config.get_text_config()
    _require_own_tokenizer(tokenizer, text.vocab_size, where)
    return {"architecture": config.model_type, "context_length": text.max_position_embeddings}


def _require_own_tokenizer(tokenizer: Any, rows: int, where: str) -> None:
    """Every token of the vocabulary and every one that a model begins, pads or ends with has its row of
    ``rows``. Tokens that were added and mean nothing to a model may have none (Gemma 3 1B has such)."""
    used = [tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id]
    last = max([tokenizer.vocab_size - 1, *(token for token in used if token is not None)])
    if last >= rows:
        raise SeatrialError(
            f"the tokenizer of another model: it has a token {last}, and the model's last is {rows - 1}",
            where=where,
            hint="take weights and tokenizer from the same commit of the same model",
        )


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[
        :300
    ]


def _dequantise(source: Path, out: Path, repair: str | None, send: Callable[..., None]) -> dict[str, Any]:
    """Write the float32 model of a GGUF file; its facts say why, if all of it was loaded at once."""
    from transformers import AutoTokenizer

    facts = {}
    try:
        weights = GgufWeights(source)
        model = weights.model
        write_shards(out, weights.shapes, weights.tensor, send, SHARD)
    except NotByTensor as reason:
        facts = {"whole": str(reason)}
        model = _loaded(source)
        model.save_pretrained(out)
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    if repair == "smollm2":
        _repair_smollm2(tokenizer)
        for config in (model.config, model.generation_config):
            config.bos_token_id = tokenizer.bos_token_id
            config.eos_token_id = config.pad_token_id = tokenizer.eos_token_id
    model.config.architectures, model.config.dtype = [type(model).__name__], "float32"
    model.config.save_pretrained(out)
    if model.can_generate():
        model.generation_config.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return facts


def _loaded(source: Path) -> Any:
    """The float32 model of a GGUF file, read by transformers."""
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    return AutoModelForCausalLM.from_pretrained(
        source.parent,
        gguf_file=source.name,
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
    )


def _repair_smollm2(tokenizer: Any) -> None:
    """Restore SmolLM2's own tokenizer: digits one by one, byte-level BPE, no BOS, ``<|im_end|>`` ends."""
    from tokenizers import decoders, pre_tokenizers

    backend = tokenizer.backend_tokenizer
    backend.model.byte_fallback = False
    backend.normalizer = None
    backend.post_processor = None
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    tokenizer.bos_token = "<|im_start|>"
    tokenizer.eos_token = tokenizer.pad_token = "<|im_end|>"
    tokenizer.add_bos_token = False
