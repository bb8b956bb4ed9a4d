"""Job: base weights as a Hugging Face folder that trainers can load.

A GGUF file is dequantised by transformers. The tokenizer that transformers reads out of SmolLM2's GGUF
is wrong in ways that make llama.cpp abort on the exported model; ``tokenizer_repair = "smollm2"`` mends it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from seatrial.training import extras
from seatrial.training.errors import SeatrialError
from seatrial.training.recipe import Base


def locate(base: Base, folder: Path) -> Path:
    """The file or folder that holds the base weights; relative paths start at ``folder``.

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
    path = folder / base.path
    found = path.is_dir() if base.source == "folder" else path.is_file()
    if not found:
        raise SeatrialError(
            f"no base weights at {path}", where="recipe", hint=f"[base] path with source = {base.source!r}"
        )
    return path


def import_weights(request: dict[str, Any], send: Callable[..., None]) -> dict[str, Any]:
    """Write ``request["source"]`` (GGUF or folder) as a Hugging Face folder to ``request["out"]``."""
    source, out = Path(request["source"]), Path(request["out"])
    if source.is_dir():
        shutil.copytree(source, out, dirs_exist_ok=True)
    else:
        _dequantise(source, out, request["tokenizer_repair"])
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(out)
    return {"architecture": config.model_type, "context_length": config.max_position_embeddings}


def _dequantise(source: Path, out: Path, repair: str | None) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    place: dict[str, Any] = {"pretrained_model_name_or_path": source.parent, "gguf_file": source.name}
    model = AutoModelForCausalLM.from_pretrained(
        **place, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    tokenizer = AutoTokenizer.from_pretrained(**place)
    if repair == "smollm2":
        _repair_smollm2(tokenizer)
        for config in (model.config, model.generation_config):
            config.bos_token_id = tokenizer.bos_token_id
            config.eos_token_id = config.pad_token_id = tokenizer.eos_token_id
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


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
