"""Job: the adapter merged into its base by the exact route.

The adapter was trained against the base as its recipe held it, by default in NF4, so it is merged into those
weights, dequantised.
Merging into the original 16-bit weights, or calling ``merge_and_unload()`` on the 4-bit model, gives a
model that nobody trained.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any


def merge(request: dict[str, Any], send: Callable[..., None]) -> dict[str, Any]:
    """Write base ``request["base"]`` + adapter ``request["adapter"]`` as float32 to ``request["out"]``."""
    import torch
    from peft import PeftModel
    from transformers import AutoTokenizer

    from seatrial.training.base_model import DEFAULT, load_dequantised

    out = Path(request["out"])
    dtype, precision = getattr(torch, request["compute_dtype"]), request.get("precision", DEFAULT)
    model = load_dequantised(Path(request["base"]), dtype, precision)
    merged = PeftModel.from_pretrained(model, request["adapter"]).merge_and_unload(safe_merge=True)
    merged.save_pretrained(out)
    AutoTokenizer.from_pretrained(request["base"]).save_pretrained(out)
    _keep_pieces(Path(request["base"]), out)
    return {"parameters": sum(parameter.numel() for parameter in merged.parameters())}


def _keep_pieces(base: Path, out: Path) -> None:
    """Copy the base's SentencePiece model, which transformers leaves out: without its scores llama.cpp would
    split words otherwise than the tokenizer that was trained with."""
    pieces = base / "tokenizer.model"
    if pieces.is_file() and not (out / pieces.name).exists():
        shutil.copyfile(pieces, out / pieces.name)
