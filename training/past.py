"""How fast earlier trainings of the same base were, by their manifests: all that a training time rests on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatrial.training.base_model import DEFAULT
from seatrial.training.lengths import Lengths
from seatrial.training.recipe import Recipe
from seatrial.training.store import read_manifest


@dataclass(frozen=True)
class Pace:
    """A finished training: ``tokens`` (without padding) in ``seconds`` of training, validation included."""

    tokens: int
    seconds: float
    key: str
    built_at: str

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds


def kept_manifests(root: Path, step: str = "adapter") -> list[Mapping[str, Any]]:
    """Manifests of what the store at ``root`` holds of a step."""
    found = (read_manifest(path.parent) for path in sorted(root.glob(f"{step}/*/manifest.json")))
    return [manifest for manifest in found if manifest]


def pace(manifests: Iterable[Mapping[str, Any]], recipe: Recipe, backend: str, dtype: str) -> Pace | None:
    """The newest training whose base model, precision, backend, number type and rows of a batch are the
    recipe's; None if there is none. It holds for the machine that it ran on, which manifests do not name."""
    found = [made for manifest in manifests if (made := _pace(manifest, recipe, backend, dtype))]
    return max(found, key=lambda each: each.built_at, default=None)


def trained_tokens(lengths: Lengths, recipe: Recipe) -> float:
    """Tokens of all epochs over the rows that are left after those of the validation."""
    count, settings = len(lengths.rows), recipe.trainer
    return sum(lengths.rows) * (count - settings.validation_rows) / count * settings.epochs


def seconds_for(pace: Pace, lengths: Lengths, recipe: Recipe) -> float:
    """Seconds that a training takes at an earlier one's pace."""
    return trained_tokens(lengths, recipe) / pace.tokens_per_second


def _pace(manifest: Mapping[str, Any], recipe: Recipe, backend: str, dtype: str) -> Pace | None:
    try:
        params, facts = manifest["params"], manifest["facts"]
        wanted = (recipe.base.model, recipe.base.precision, backend, dtype, recipe.trainer.batch_size)
        there = (
            params["base_model"],
            params.get("precision", DEFAULT),
            params["backend"],
            params["trainer"]["compute_dtype"],
            params["trainer"]["batch_size"],
        )
        seconds = next(
            float(each["train_runtime"]) for each in reversed(facts["history"]) if "train_runtime" in each
        )
        tokens = int(facts["tokens"])
        if there != wanted or seconds <= 0 or tokens <= 0 or "memory_ladder" in facts:
            return None
        return Pace(tokens, seconds, str(manifest["key"]), str(manifest.get("built_at", "")))
    except (KeyError, TypeError, ValueError, StopIteration):
        return None
