"""A recipe: how a model is made. Base model, LoRA and trainer settings, backend, quantisations.

One TOML file per recipe, in ``training/recipes`` or in a task's own ``recipes`` folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from seatrial.training.configuration import Config, read_toml
from seatrial.training.errors import SeatrialError

RECIPES = Path(__file__).parent / "recipes"
QUANTIZATIONS = ("f16", "q8_0", "q5_k_m", "q4_k_m")
Quantization = Literal["f16", "q8_0", "q5_k_m", "q4_k_m"]


class Base(Config):
    """Where the untuned weights come from.

    ``package``: a GGUF file inside an installed Python package; ``gguf``: a GGUF file; ``folder``: a
    Hugging Face model folder. Relative paths start at the recipe's folder.
    """

    model: str
    license: str
    source: Literal["package", "gguf", "folder"]
    package: str | None = None
    path: Path
    tokenizer_repair: Literal["smollm2"] | None = None

    @model_validator(mode="after")
    def _package_named(self) -> Base:
        if (self.source == "package") != (self.package is not None):
            raise ValueError("'package' is needed for source = \"package\", and only there")
        return self


class Lora(Config):
    """LoRA settings as peft names them (Hu et al. 2021, arXiv:2106.09685)."""

    r: PositiveInt
    alpha: PositiveFloat
    dropout: float = Field(ge=0, lt=1)
    target_modules: tuple[str, ...] | Literal["all-linear"]


class Trainer(Config):
    """Optimisation settings.

    ``early_stopping_patience`` counts evaluations; ``neftune_alpha`` scales noise on the embeddings while
    training (Jain et al. 2023, arXiv:2310.05914). 0 turns either off.
    """

    seed: int
    epochs: PositiveFloat
    batch_size: PositiveInt
    gradient_accumulation: PositiveInt
    learning_rate: PositiveFloat
    scheduler: Literal["linear", "cosine", "constant_with_warmup"]
    warmup_ratio: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0)
    max_length: PositiveInt
    validation_rows: int = Field(ge=1)
    early_stopping_patience: int = Field(ge=0)
    neftune_alpha: float = Field(ge=0)
    compute_dtype: Literal["auto", "float32", "bfloat16"]


class Export(Config):
    """GGUF files to write, and the one that ships."""

    quantizations: tuple[Quantization, ...]
    ship: Quantization

    @field_validator("quantizations")
    @classmethod
    def _unique(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or len(set(value)) != len(value):
            raise ValueError("name at least one quantisation, each once")
        return value

    @model_validator(mode="after")
    def _shipped_is_built(self) -> Export:
        if self.ship not in self.quantizations:
            raise ValueError(f"ship = {self.ship!r} is not among quantizations = {list(self.quantizations)}")
        return self


class Recipe(Config):
    """One recipe file; ``folder`` is where it lies."""

    name: str
    why: str
    backend: Literal["trl"]
    base: Base
    lora: Lora
    trainer: Trainer
    export: Export
    folder: Path = Field(default=Path(), exclude=True)


def load_recipe(name: str | Path, task_folder: Path | None = None, where: str | Path = "--recipe") -> Recipe:
    """Find and read a recipe by name (looked up in the task's folder, then here) or by path.

    ``where`` the name was given: what an error points to.

    Raises:
        SeatrialError: no such recipe, or a mistake in its file.
    """
    folders = ([task_folder / "recipes"] if task_folder else []) + [RECIPES]
    given = Path(name)
    candidates = [given] if given.suffix == ".toml" else [folder / f"{name}.toml" for folder in folders]
    path = next((candidate for candidate in candidates if candidate.is_file()), None)
    if path is None:
        known = sorted(entry.stem for folder in folders for entry in folder.glob("*.toml"))
        raise SeatrialError(
            f"there is no recipe {str(name)!r}", where=where, hint=f"known recipes: {', '.join(known)}"
        )
    return read_toml(path, Recipe).model_copy(update={"folder": path.parent.resolve()})
