"""The ``unsloth`` backend: Unsloth's model and adapter, trained by the same trainer on the same rows.

Unsloth rewrites parts of transformers and TRL when it is imported, so it is imported before them, in a job
that does nothing else. Without a GPU it trains on the CPU, with its own loader. In 4 bits it always quantises
the scales of the blocks, too, and leaves some modules whole: a recipe must say so (``nf4-double``), and what
was loaded is read back, because merging and judging start from the base as it was trained on.
"""

from __future__ import annotations

import os

os.environ.setdefault("UNSLOTH_DISABLE_STATISTICS", "1")  # it would ask the hub, which a job may not

from collections.abc import Callable
from typing import Any

from seatrial.training.errors import SeatrialError

try:
    import unsloth  # before torch's friends, see above
except (
    Exception
) as error:  # it raises whatever it finds wrong with a machine: no GPU, another torch, a driver
    raise SeatrialError(
        f"Unsloth cannot be used here: {type(error).__name__}: {error}",
        where="recipe",
        hint='backend = "trl" trains the same without it',
    ) from None

import torch
from transformers import set_seed

from seatrial.training.backends.arguments import require_usable
from seatrial.training.backends.sft import fine_tune, lora_settings
from seatrial.training.recipe import Recipe

WHOLE = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
FOUR = "nf4-double"


def train(request: dict[str, Any], send: Callable[..., None]) -> dict[str, Any]:
    """See :class:`seatrial.training.backends.Backend`; facts have ``unsloth``, its version, too.

    Raises:
        SeatrialError: Unsloth holds no base at the recipe's precision, or loaded another.
    """
    recipe = Recipe.model_validate(request["recipe"])
    settings, precision = recipe.trainer, recipe.base.precision
    if precision not in (FOUR, *WHOLE):
        raise SeatrialError(
            f"Unsloth holds no base as {precision!r}",
            where="recipe [base] precision",
            hint=f"it takes {FOUR}, {', '.join(WHOLE)}; in 4 bits it quantises the scales of the blocks, too",
        )
    if request.get("launch"):
        raise SeatrialError(
            "Unsloth trains in one process", where="recipe", hint='backend = "trl" trains in several'
        )
    require_usable(settings.optimizer)
    set_seed(settings.seed)
    four = precision == FOUR
    model, tokenizer = unsloth.FastLanguageModel.from_pretrained(
        model_name=request["base"],
        max_seq_length=settings.max_length,
        dtype=getattr(torch, request["compute_dtype"]) if four else WHOLE[precision],
        load_in_4bit=four,
        use_gradient_checkpointing=settings.gradient_checkpointing,
    )
    _require_precision(model, four)
    model = unsloth.FastLanguageModel.get_peft_model(
        model,
        **lora_settings(recipe),
        use_gradient_checkpointing=settings.gradient_checkpointing,
        random_state=settings.seed,
        max_seq_length=settings.max_length,
    )
    facts = fine_tune(recipe, request, send, model, tokenizer, None)
    return {**facts, "unsloth": unsloth.__version__}


def _require_precision(model: Any, four: bool) -> None:
    """Raise :class:`SeatrialError` unless the linear layers are held as the recipe says: Unsloth loads a base
    in 16 bits where 4 do not work on this machine, and says so in a line that nobody reads."""
    held = [module for module in model.modules() if type(module).__name__ == "Linear4bit"]
    states = [getattr(module.weight, "quant_state", None) for module in held]
    if bool(held) is not four or any(state is None or not state.nested for state in states):
        raise SeatrialError(
            f"Unsloth loaded {len(held)} layers in 4 bits where the recipe says "
            f"{'all linear ones' if four else 'none'}",
            where="recipe [base] precision",
            hint='try backend = "trl", or another precision',
        )
