"""A model in float32 whose weights stay in their files: mapped into memory, read as they are computed with.

Numbers that a 16-bit type would round are kept in float32, twice the size of the model as it ships. On the
processor nothing of that is copied: where memory is short, the operating system gives back the pages that
were read longest ago, so a model of any size is computed, the slower the less of it fits. Where a GPU holds
all of it, it goes there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seatrial.training.adapted import with_adapter
from seatrial.training.device import placed
from seatrial.training.merge import merge

SPARE = 1.25  # what is computed besides, as a share of the weights


def mapped(folder: Path, adapter: Path | None = None) -> Any:
    """The float32 model in ``folder``, ``adapter`` beside its weights and not merged, ready to answer."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if adapter:
        model = with_adapter(model, adapter)
    needed = SPARE * sum(parameter.nbytes for parameter in model.parameters())
    return model.to(placed(needed)).eval()


def write_held(
    base: Path, out: Path, dtype: str, precision: str, skipped: Sequence[str] | None = None
) -> Path:
    """The weights that training computed with, dequantised, as a float32 model in the folder ``out``.

    Args:
        dtype: what training multiplied in, which is how the base was loaded: float32, bfloat16 or float16.
        precision: how it held the base, in the words of recipes.
        skipped: modules that it left out of quantisation; None: those that transformers leaves out.
    """
    out.mkdir(parents=True)
    held = {"compute_dtype": dtype, "precision": precision, "skipped": skipped}
    merge({"base": str(base), "out": str(out), **held}, lambda **event: None)
    return out
