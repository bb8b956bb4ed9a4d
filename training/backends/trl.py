"""The ``trl`` backend: QLoRA with transformers, peft, bitsandbytes NF4 and TRL, on a CPU or one GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from transformers import AutoTokenizer, set_seed

from seatrial.training.backends.arguments import require_usable
from seatrial.training.backends.sft import fine_tune, lora_settings
from seatrial.training.base_model import load_base
from seatrial.training.recipe import Recipe


def train(request: dict[str, Any], send: Callable[..., None]) -> dict[str, Any]:
    """See :class:`seatrial.training.backends.Backend`."""
    recipe = Recipe.model_validate(request["recipe"])
    require_usable(recipe.trainer.optimizer)  # before the model is loaded, which takes minutes
    set_seed(recipe.trainer.seed)  # before the model: LoRA weights are drawn when it is wrapped
    folder, dtype = Path(request["base"]), getattr(torch, request["compute_dtype"])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    sharded = bool((request.get("launch") or {}).get("sharded"))
    model = load_base(folder, dtype, recipe.base.precision, storage=dtype if sharded else None)
    config = LoraConfig(**lora_settings(recipe), task_type="CAUSAL_LM")
    return fine_tune(recipe, request, send, model, tokenizer, config)
