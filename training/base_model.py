"""A base model as training holds it: in 4 or 8 bits, or whole. Training and merging load it here.

What an adapter was trained beside is part of what was trained, so a merge starts from the same numbers. A
base whose weights lie there quantised already (``…-bnb-4bit``) is loaded as it is, whatever precision is
asked for: its own ``quantization_config`` says which layers are packed and how.

On CPUs with AVX512-BF16 bitsandbytes repacks the weights at the first evaluation forward pass, and training
after it stalls in silence with gradients near zero; repacking is turned off.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seatrial.training.store import Artifact
from seatrial.training.trained_on import FOUR_BITS, quantization_config

if TYPE_CHECKING:
    import torch

DEFAULT = "nf4"
WHOLE = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


def held_as(adapter: Artifact) -> dict[str, Any]:
    """How training held the base of ``adapter``: ``compute_dtype``, ``precision``, and the modules that were
    ``skipped``, if that was said."""
    said = {"compute_dtype": "float32", "precision": DEFAULT} | dict(adapter.facts)
    return {name: said[name] for name in ("compute_dtype", "precision", "skipped") if name in said}


def load_base(
    folder: Path,
    dtype: torch.dtype,
    precision: str,
    skipped: Sequence[str] | None = None,
    storage: torch.dtype | None = None,
) -> Any:
    """The base of ``folder``, its linear layers held as ``precision`` says and computed in ``dtype``.

    ``nf4`` is 4-bit NormalFloat and ``nf4-double`` quantises the scales of its blocks, too, which saves 0.37
    bits per weight (Dettmers et al. 2023, arXiv:2305.14314); ``int8`` is LLM.int8() (Dettmers et al. 2022,
    arXiv:2208.07339); the others are the weights as they are, in that type. ``skipped``: modules that are
    not quantised; None: those that transformers leaves out, such as the head. ``storage``: the type in whose
    bytes 4-bit numbers lie, by default uint8; FSDP shards floats only, and of one type. The numbers are the
    same.
    """
    from transformers import AutoModelForCausalLM

    if quantization_config(folder):
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    elif precision in WHOLE:
        return AutoModelForCausalLM.from_pretrained(folder, dtype=whole(precision))
    else:
        config = bitsandbytes(precision, dtype, skipped, storage)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, quantization_config=config)
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model


def load_dequantised(
    folder: Path, dtype: torch.dtype, precision: str, skipped: Sequence[str] | None = None
) -> Any:
    """The numbers that :func:`load_base` computes with, as float32 weights and without its quantisation."""
    model = load_base(folder, dtype, precision, skipped)
    if getattr(model.config, "quantization_config", None) is None:
        return model.float()
    model = model.dequantize().float()
    model.config.quantization_config = None
    del model.config.quantization_config
    vars(model).pop("_weight_conversions", None)  # saving would pack the weights again as they were found
    return model


def bitsandbytes(
    precision: str,
    dtype: torch.dtype,
    skipped: Sequence[str] | None = None,
    storage: torch.dtype | None = None,
) -> Any:
    """The BitsAndBytesConfig of a quantised ``precision``."""
    from transformers import BitsAndBytesConfig

    names = None if skipped is None else list(skipped)
    if precision == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=names)
    if precision not in FOUR_BITS:
        raise ValueError(f"{precision!r} is no quantisation that is made here")
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_use_double_quant=precision == "nf4-double",
        bnb_4bit_quant_storage=storage,
        llm_int8_skip_modules=names,
    )


def whole(precision: str) -> torch.dtype:
    """The number type of a ``precision`` that is no quantisation."""
    import torch

    found: torch.dtype = getattr(torch, WHOLE[precision])
    return found
