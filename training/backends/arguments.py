"""A recipe's trainer settings in transformers' and TRL's own words."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from transformers.training_args import OptimizerNames
from trl import DPOConfig, SFTConfig

from seatrial.training.errors import SeatrialError
from seatrial.training.recipe import Recipe, Trainer

# where a tracker writes, unless the user's environment says so
FOLDERS = {
    "tensorboard": "TENSORBOARD_LOGGING_DIR",
    "mlflow": "MLFLOW_TRACKING_URI",
    "trackio": "TRACKIO_DIR",
    "wandb": "WANDB_DIR",
}


def arguments(recipe: Recipe, checkpoints: Path, dtype: torch.dtype, shared: bool = False) -> SFTConfig:
    """A recipe's settings as TRL names them; ``shared``: those of one of several processes."""
    settings = recipe.trainer
    stop_early = settings.early_stopping_patience > 0
    # Every adapter is in every forward pass.
    among: dict[str, Any] = {"ddp_find_unused_parameters": False} if shared else {}
    if shared and settings.gradient_checkpointing:
        among["gradient_checkpointing_kwargs"] = {"use_reentrant": False}  # the other kind loses DDP's hooks
    return SFTConfig(
        **among,
        output_dir=str(checkpoints),
        seed=settings.seed,
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.scheduler,
        warmup_steps=settings.warmup_ratio,  # below 1 it is a share of all steps
        weight_decay=settings.weight_decay,
        max_length=settings.max_length,
        neftune_noise_alpha=settings.neftune_alpha or None,
        bf16=dtype is torch.bfloat16,
        fp16=dtype is torch.float16,
        optim=settings.optimizer,
        packing=settings.packing,
        eval_packing=False,  # a validation loss per row, whatever training packs
        use_cpu=not torch.cuda.is_available(),
        gradient_checkpointing=bool(settings.gradient_checkpointing),
        train_sampling_strategy=_sampling(settings),
        include_num_input_tokens_seen="non_padding",
        logging_steps=5,
        eval_strategy="epoch",
        save_strategy="epoch" if stop_early else "no",
        save_total_limit=1,
        load_best_model_at_end=stop_early,
        report_to=settings.report_to,
        disable_tqdm=True,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
    )


def preference_arguments(recipe: Recipe, checkpoints: Path, dtype: torch.dtype) -> DPOConfig:
    """The settings of a recipe's ``[preference]`` as TRL names them.

    What the memory ladder changes is read from ``[trainer]``, where the step has put it.
    """
    settings, shared = recipe.preference, recipe.trainer
    assert settings
    return DPOConfig(
        output_dir=str(checkpoints),
        seed=shared.seed,
        loss_type=["sigmoid", "sft"] if settings.sft_weight else ["sigmoid"],
        loss_weights=[1.0, settings.sft_weight] if settings.sft_weight else None,
        beta=settings.beta,
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=shared.batch_size,
        per_device_eval_batch_size=shared.batch_size,
        gradient_accumulation_steps=shared.gradient_accumulation,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.scheduler,
        warmup_steps=settings.warmup_ratio,  # below 1 it is a share of all steps
        max_length=shared.max_length,
        bf16=dtype is torch.bfloat16,
        fp16=dtype is torch.float16,
        optim=shared.optimizer,
        use_cpu=not torch.cuda.is_available(),
        gradient_checkpointing=bool(shared.gradient_checkpointing),
        logging_steps=1,  # a stage of few steps
        eval_strategy="epoch",
        save_strategy="no",
        report_to=shared.report_to,
        disable_tqdm=True,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
    )


def require_usable(optimizer: str) -> None:
    """Raise :class:`SeatrialError` for an optimizer that is unknown or that this device cannot run."""
    known = [each.value for each in OptimizerNames]
    if optimizer not in known:
        close = difflib.get_close_matches(optimizer, known, n=3)
        raise SeatrialError(
            f"optimizer = {optimizer!r} is none that transformers knows",
            where="recipe [trainer]",
            hint=f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(sorted(known))}",
        )
    if optimizer.startswith("paged_") and not torch.cuda.is_available():
        raise SeatrialError(
            f"optimizer = {optimizer!r} uses the memory of a GPU, and there is no CUDA device",
            where="recipe [trainer]",
            hint='a CPU has optimizer = "adamw_torch_fused"',
        )


def tracked(report_to: str, logs: Path) -> None:
    """Let a tracker that writes files write them to ``logs``, unless the user's environment says where."""
    if report_to in FOLDERS and FOLDERS[report_to] not in os.environ:
        logs.mkdir(parents=True, exist_ok=True)
        # MLflow 3 writes to no plain folder any more, only to a database.
        database = f"sqlite:///{(logs / 'mlflow.db').as_posix()}"
        os.environ[FOLDERS[report_to]] = database if report_to == "mlflow" else str(logs)


@contextmanager
def kept_by(report_to: str) -> Iterator[None]:
    """Around a training: its tracker has written all of it when this ends.

    W&B writes in a process of its own, and a job ends as soon as its answer is read.
    """
    try:
        yield
    except BaseException:
        if report_to == "wandb":
            import_module("wandb").finish(exit_code=1)
        raise
    if report_to == "wandb":
        import_module("wandb").finish()


def _sampling(settings: Trainer) -> str:
    if settings.order != "shuffled":
        return "sequential"
    return "random" if settings.packing else "group_by_length"
