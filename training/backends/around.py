"""What every training here needs around its trainer: progress, a check that it learns, a portable adapter."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from seatrial.training.errors import SeatrialError


class Tell(TrainerCallback):  # type: ignore[misc]
    """Sends the trainer's log lines to the parent as progress."""

    def __init__(self, send: Callable[..., None]) -> None:
        self._send = send

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        last: dict[str, Any] = next((e for e in reversed(state.log_history) if "loss" in e), {})
        figures = {"loss": float(last["loss"])} if last else {}
        self._send(done=state.global_step, total=state.max_steps, **figures)


def require_gradients(history: list[dict[str, Any]], table: str = "trainer") -> None:
    """Raise :class:`SeatrialError` if most logged gradients are none; ``table``: the recipe's settings."""
    norms = [entry["grad_norm"] for entry in history if "grad_norm" in entry]
    stalled = [norm for norm in norms if not norm > 1e-6]  # NaN counts as stalled
    if norms and len(stalled) > len(norms) / 2:
        raise SeatrialError(
            f"training stalled: {len(stalled)} of {len(norms)} logged gradient norms are zero or NaN",
            where=f"recipe [{table}]",
            hint='try compute_dtype = "float32" or a smaller learning_rate',
        )


def name_base(adapter: Path, model: str) -> None:
    """A saved adapter holds the base's absolute path on this machine: write the model's name instead."""
    path = adapter / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = model
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + os.linesep, encoding="utf-8")
    (adapter / "README.md").unlink(missing_ok=True)  # peft's model card template, not about this adapter
