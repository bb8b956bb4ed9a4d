"""An adapter put onto a model of its base, by peft; the base is given rows for tokens that training added."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

from seatrial.training.checkpoint import Checkpoint
from seatrial.training.errors import SeatrialError

FILE = "adapter_model.safetensors"
ROW = ".token_adapter.trainable_tokens_delta"


def with_adapter(model: Any, adapter: Path, **how: Any) -> Any:
    """``model`` as a PeftModel with the adapter of a folder, not merged; ``how``: what peft is told besides.

    Raises:
        SeatrialError: training added tokens whose rows the adapter does not hold.
    """
    from peft import PeftModel

    if rows := added_rows(model, adapter):
        model.resize_token_embeddings(rows, mean_resizing=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*tie_word_embeddings.*")  # peft's, for who trains
        return PeftModel.from_pretrained(model, adapter, **how)


def added_rows(model: Any, adapter: Path) -> int:
    """How many tokens the embeddings had in training, if those of ``model`` have another number; else 0."""
    inputs = model.get_input_embeddings()
    if inputs is None:
        return 0
    there = int(inputs.weight.shape[0])
    ends = [f"{name}.weight" for name, module in model.named_modules() if module is inputs]
    held = [
        shape[0]
        for name, shape in Checkpoint(adapter, FILE).shapes.items()
        if any(name.removeprefix("base_model.model.") == end for end in ends)
    ]
    if held:
        return 0 if held[0] == there else held[0]
    last = max(_trained_rows(adapter), default=-1)
    if last < there:
        return 0
    if set(range(there, last + 1)) - set(_trained_rows(adapter)):
        raise SeatrialError(
            f"training added {last + 1 - there} tokens, and the adapter does not hold all of their rows",
            where=adapter,
            hint="save it again from the training: model.save_pretrained(DIR, save_embedding_layers=True)",
        )
    return last + 1


def _trained_rows(adapter: Path) -> list[int]:
    """The tokens whose rows were trained one by one (``trainable_token_indices``), in all embeddings."""
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    found = config.get("trainable_token_indices") or []
    lists = found.values() if isinstance(found, dict) else [found]
    return [int(row) for each in lists for row in each]
