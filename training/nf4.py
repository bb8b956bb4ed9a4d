"""A base model as QLoRA sees it: its linear layers in 4 bits. Training, merging and judging load it here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def load_nf4(
    folder: Path, dtype: torch.dtype, double: bool = False, storage: torch.dtype | None = None
) -> Any:
    """The base model with its linear layers in 4-bit NormalFloat (Dettmers et al. 2023, arXiv:2305.14314).

    ``double``: the scales of the blocks are quantised, too. ``storage``: the type in whose bytes the 4-bit
    numbers lie, by default uint8; FSDP shards floats only, and of one type. The numbers are the same.

    On CPUs with AVX512-BF16 bitsandbytes repacks the weights at the first evaluation forward pass, and
    training after it stalls in silence with gradients near zero; repacking is turned off.
    """
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    model = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=dtype,
        quantization_config=BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=dtype,
            bnb_4bit_use_double_quant=double,
            bnb_4bit_quant_storage=storage,
        ),
    )
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model
