"""The ``trl`` backend: QLoRA with transformers, peft, bitsandbytes NF4 and TRL's SFTTrainer.

Runs on a CPU or one GPU. The loss covers the answer only. Two traps of this stack are handled here,
each where it bites: TRL's bf16 adapters, and a saved adapter's base path.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from peft.helpers import disable_input_dtype_casting
from transformers import (
    AutoTokenizer,
    EarlyStoppingCallback,
    TrainerCallback,
    set_seed,
)
from transformers.trainer_pt_utils import LengthGroupedSampler
from trl import SFTTrainer

from seatrial.training import out_of_memory
from seatrial.training.backends.arguments import arguments, require_usable, tracked
from seatrial.training.base_model import load_base
from seatrial.training.errors import SeatrialError
from seatrial.training.recipe import Recipe


def train(request: dict[str, Any], send: Callable[..., None]) -> dict[str, Any]:
    """See :class:`seatrial.training.backends.Backend`."""
    recipe = Recipe.model_validate(request["recipe"])
    settings = recipe.trainer
    out = Path(request["out"])
    set_seed(settings.seed)  # before the model: LoRA weights are drawn when it is wrapped
    dtype = getattr(torch, request["compute_dtype"])
    tracked(settings.report_to, Path(request["logs"]))
    tokenizer = AutoTokenizer.from_pretrained(request["base"])
    lines = Path(request["rows"]).read_text(encoding="utf-8").split("\n")
    rows = [json.loads(line) for line in lines if line]
    training, validation = rows[: -settings.validation_rows], rows[-settings.validation_rows :]
    require_usable(settings.optimizer)
    launch = request.get("launch") or {}
    sharded = bool(launch.get("sharded"))
    trainer = (_Shared if launch else SFTTrainer)(
        model=load_base(
            Path(request["base"]), dtype, recipe.base.precision, storage=dtype if sharded else None
        ),
        args=arguments(recipe, Path(request["checkpoints"]), dtype, shared=bool(launch)),
        train_dataset=Dataset.from_list(training),
        eval_dataset=Dataset.from_list(validation),
        processing_class=tokenizer,
        peft_config=LoraConfig(
            r=recipe.lora.r,
            lora_alpha=recipe.lora.alpha,
            lora_dropout=recipe.lora.dropout,
            target_modules=recipe.lora.target_modules
            if isinstance(recipe.lora.target_modules, str)
            else list(recipe.lora.target_modules),
            use_rslora=recipe.lora.rslora,
            use_dora=recipe.lora.dora,
            modules_to_save=list(recipe.lora.modules_to_save) or None,
            task_type="CAUSAL_LM",
        ),
        callbacks=[_Tell(send)],
    )
    for parameter in trainer.model.parameters():
        # TRL makes QLoRA adapters bf16, too coarse for small updates; but FSDP wants one type of all weights.
        if parameter.requires_grad and not sharded:
            parameter.data = parameter.data.float()
    if settings.early_stopping_patience:
        trainer.add_callback(EarlyStoppingCallback(settings.early_stopping_patience))
    # peft would cast every input to the adapter's float32, only for autocast to cast it back.
    longest = None if settings.packing else max(len(ids) for ids in trainer.train_dataset["input_ids"])
    halves = recipe.base.precision in ("bf16", "fp16") and dtype is torch.float32  # nothing casts back there
    casting = nullcontext() if halves else disable_input_dtype_casting(trainer.model)
    with casting, out_of_memory.told(longest):
        result = trainer.train()
    history = trainer.state.log_history
    _require_gradients(history)
    if sharded:  # every process has a part of it; the first one writes the whole
        trainer.save_model(str(out))
        (out / "training_args.bin").unlink(missing_ok=True)
    elif trainer.is_world_process_zero():
        trainer.model.save_pretrained(out)
    if trainer.is_world_process_zero():
        tokenizer.save_pretrained(out)
        _name_base(out, recipe.base.model)
    return {
        "history": history,
        "train_rows": len(training),
        "validation_rows": len(validation),
        "tokens": int(trainer.state.num_input_tokens_seen),
        "train_loss": result.training_loss,
        "eval_loss": next((e["eval_loss"] for e in reversed(history) if "eval_loss" in e), None),
        "compute_dtype": str(dtype).removeprefix("torch."),
        "adapter_parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
    }


class _Shared(SFTTrainer):  # type: ignore[misc]
    """One of several processes: they group rows by length as one process does, so that every update has the
    rows that it would have there. transformers groups by the rows of one process."""

    def _get_train_sampler(self, *arguments: Any, **named: Any) -> Any:
        sampler = super()._get_train_sampler(*arguments, **named)
        if isinstance(sampler, LengthGroupedSampler):
            sampler.batch_size *= self.args.world_size
        return sampler


class _Tell(TrainerCallback):  # type: ignore[misc]
    """Sends the trainer's log lines to the parent as progress."""

    def __init__(self, send: Callable[..., None]) -> None:
        self._send = send

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        last: dict[str, Any] = next((e for e in reversed(state.log_history) if "loss" in e), {})
        figures = {"loss": float(last["loss"])} if last else {}
        self._send(done=state.global_step, total=state.max_steps, **figures)


def _require_gradients(history: list[dict[str, Any]]) -> None:
    norms = [entry["grad_norm"] for entry in history if "grad_norm" in entry]
    stalled = [norm for norm in norms if not norm > 1e-6]  # NaN counts as stalled
    if norms and len(stalled) > len(norms) / 2:
        raise SeatrialError(
            f"training stalled: {len(stalled)} of {len(norms)} logged gradient norms are zero or NaN",
            where="recipe [trainer]",
            hint='try compute_dtype = "float32" or a smaller learning_rate',
        )


def _name_base(adapter: Path, model: str) -> None:
    """A saved adapter holds the base's absolute path on this machine: write the model's name instead."""
    path = adapter / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = model
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + os.linesep, encoding="utf-8")
    (adapter / "README.md").unlink(missing_ok=True)  # peft's model card template, not about this adapter
