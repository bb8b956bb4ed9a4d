"""A base model as training holds it: in 4 or 8 bits, or whole. Training and merging load it here.

What an adapter was trained beside is part of what was trained, so a merge starts from the same numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from seatrial.training.nf4 import load_nf4

if TYPE_CHECKING:
    import torch

DEFAULT = "nf4"
WHOLE = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


def load_base(folder: Path, dtype: torch.dtype, precision: str, storage: torch.dtype | None = None) -> Any:
    """The base of ``folder``, its linear layers held as ``precision`` says and computed in ``dtype``.

    ``nf4-double`` quantises the scales of the 4-bit blocks, too, which saves 0.37 bits per weight (Dettmers
    et al. 2023, arXiv:2305.14314); ``int8`` is LLM.int8() (Dettmers et al. 2022, arXiv:2208.07339); the
    others are the weights as they are, in that type. ``storage``: see :func:`load_nf4`.
    """
    if precision in ("nf4", "nf4-double"):
        return load_nf4(folder, dtype, double=precision == "nf4-double", storage=storage)
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    if precision == "int8":
        config = BitsAndBytesConfig(load_in_8bit=True)
        return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, quantization_config=config)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, WHOLE[precision]))


def load_dequantised(folder: Path, dtype: torch.dtype, precision: str) -> Any:
    """The numbers that :func:`load_base` computes with, as float32 weights and without its quantisation."""
    model = load_base(folder, dtype, precision)
    if precision in WHOLE:
        return model.float()
    model = model.dequantize().float()
    model.config.quantization_config = None
    del model.config.quantization_config
    return model
