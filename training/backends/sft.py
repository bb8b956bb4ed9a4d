"""Supervised fine-tuning with TRL's SFTTrainer, for every backend: the loss covers the answer only.

A backend brings the model, bare with its LoRA settings or wrapped already; rows, settings, progress and facts
are the same. A trap of this stack is handled here, where it bites: TRL's bf16 adapters.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from peft.helpers import disable_input_dtype_casting
from transformers import EarlyStoppingCallback
from transformers.trainer_pt_utils import LengthGroupedSampler
from trl import SFTTrainer

from seatrial.training import out_of_memory
from seatrial.training.backends.arguments import arguments, kept_by, tracked
from seatrial.training.backends.around import Tell, name_base, require_gradients
from seatrial.training.chat_date import stop_clock
from seatrial.training.recipe import Recipe


def lora_settings(recipe: Recipe) -> dict[str, Any]:
    """A recipe's adapter in peft's words, which Unsloth shares."""
    lora = recipe.lora
    targets = lora.target_modules
    return {
        "r": lora.r,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "target_modules": targets if isinstance(targets, str) else list(targets),
        "use_rslora": lora.rslora,
        "use_dora": lora.dora,
        "modules_to_save": list(lora.modules_to_save) or None,
    }


def fine_tune(
    recipe: Recipe,
    request: dict[str, Any],
    send: Callable[..., None],
    model: Any,
    tokenizer: Any,
    peft_config: LoraConfig | None,
) -> dict[str, Any]:
    """Train ``model`` by the recipe and save its adapter; arguments and facts as a backend's ``train``.

    ``peft_config``: the adapter that the model is to get; None where it has one already.
    """
    stop_clock()
    settings, out = recipe.trainer, Path(request["out"])
    dtype = getattr(torch, request["compute_dtype"])
    tracked(settings.report_to, Path(request["logs"]))
    lines = Path(request["rows"]).read_text(encoding="utf-8").split("\n")
    rows = [json.loads(line) for line in lines if line]
    training, validation = rows[: -settings.validation_rows], rows[-settings.validation_rows :]
    launch = request.get("launch") or {}
    sharded = bool(launch.get("sharded"))
    trainer = (_Shared if launch else SFTTrainer)(
        model=model,
        args=arguments(recipe, Path(request["checkpoints"]), dtype, shared=bool(launch)),
        train_dataset=Dataset.from_list(training),
        eval_dataset=Dataset.from_list(validation),
        processing_class=tokenizer,
        peft_config=peft_config,
        callbacks=[Tell(send)],
    )
    for parameter in trainer.model.parameters():
        # TRL makes QLoRA adapters bf16, too coarse for small updates; but FSDP wants one type of all weights.
        if parameter.requires_grad and not sharded:
            parameter.data = parameter.data.float()
    if settings.early_stopping_patience:
        trainer.add_callback(EarlyStoppingCallback(settings.early_stopping_patience))
    # peft would cast every input to the adapter's float32, only for autocast to cast it back.
    longest = None if settings.packing else max(len(ids) for ids in trainer.train_dataset["input_ids"])
    mingled = settings.packing and request["backend"] == "trl" and not _keeps_rows_apart(trainer.model)
    if mingled:
        send(say=f"the recipe {recipe.name!r} packs rows, and without FlashAttention they see each other")
    halves = recipe.base.precision in ("bf16", "fp16") and dtype is torch.float32  # nothing casts back there
    casting = nullcontext() if halves else disable_input_dtype_casting(trainer.model)
    with casting, kept_by(settings.report_to), out_of_memory.told(longest):
        result = trainer.train()
    history = trainer.state.log_history
    require_gradients(history)
    if sharded:  # every process has a part of it; the first one writes the whole
        trainer.save_model(str(out))
        (out / "training_args.bin").unlink(missing_ok=True)
    elif trainer.is_world_process_zero():
        trainer.model.save_pretrained(out)
    if trainer.is_world_process_zero():
        tokenizer.save_pretrained(out)
        name_base(out, recipe.base.model)
    return {
        "history": history,
        "train_rows": len(training),
        "validation_rows": len(validation),
        "tokens": int(trainer.state.num_input_tokens_seen),
        "train_loss": result.training_loss,
        "eval_loss": next((e["eval_loss"] for e in reversed(history) if "eval_loss" in e), None),
        "compute_dtype": str(dtype).removeprefix("torch."),
        "adapter_parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        **({"rows_see_each_other": True} if mingled else {}),
    }


def _keeps_rows_apart(model: Any) -> bool:
    """Whether attention ends where a row of a packed sequence does: in transformers FlashAttention's variants
    do, as TRL's documentation of packing says."""
    return "flash" in str(getattr(model.config, "_attn_implementation", ""))


class _Shared(SFTTrainer):  # type: ignore[misc]
    """One of several processes: they group rows by length as one process does, so that every update has the
    rows that it would have there. transformers groups by the rows of one process."""

    def _get_train_sampler(self, *arguments: Any, **named: Any) -> Any:
        sampler = super()._get_train_sampler(*arguments, **named)
        if isinstance(sampler, LengthGroupedSampler):
            sampler.batch_size *= self.args.world_size
        return sampler
