"""Merged folders as other tools write them: their arithmetic, read in their sources and done here without them.

``llama_factory``: its export loads the base in the 16-bit type that it finds, calls ``merge_and_unload()`` and
saves in that type, whatever precision the training had. ``unsloth``: each 4-bit layer is dequantised, the
product of the two matrices is added in float32, and the sum is saved in 16 bits. ``peft_script``: the merge that
most people type, ``merge_and_unload()`` on the model as it was trained, in 4 bits, which rounds the sum to 4
bits again; then dequantised to be saved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from seatrial.training.adapted import with_adapter
from seatrial.training.base_model import load_base, load_dequantised
from tests.adapters import Trained


def llama_factory(trained: Trained, dtype: str) -> Any:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(trained.base, dtype=getattr(torch, dtype))
    return with_adapter(model, trained.adapter).merge_and_unload().to(getattr(torch, dtype))


def unsloth(trained: Trained, dtype: str) -> Any:
    model = load_dequantised(trained.base, torch.float32, trained.way.precision)
    return with_adapter(model, trained.adapter).merge_and_unload().to(getattr(torch, dtype))


def peft_script(trained: Trained, dtype: str) -> Any:
    model = load_base(trained.base, getattr(torch, dtype), trained.way.precision)
    return with_adapter(model, trained.adapter).merge_and_unload().dequantize().to(getattr(torch, dtype))


TOOLS: Mapping[str, Callable[[Trained, str], Any]] = {
    "LLaMA-Factory": llama_factory,
    "Unsloth": unsloth,
    "peft": peft_script,
}


def merged_by(tool: str, trained: Trained, out: Path, dtype: str = "float16") -> Path:
    """The folder ``out`` as ``tool`` would write it."""
    from transformers import AutoTokenizer

    model = TOOLS[tool](trained, dtype)
    if getattr(model.config, "quantization_config", None) is not None:
        del model.config.quantization_config
    vars(model).pop("_weight_conversions", None)  # saving would pack the weights again as they were found
    model.save_pretrained(out)
    AutoTokenizer.from_pretrained(trained.base).save_pretrained(out)
    return out
