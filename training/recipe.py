"""A recipe: how a model is made. Base model, LoRA and trainer settings, backend, quantisations.

One TOML file per recipe, in ``training/recipes`` or in a task's own ``recipes`` folder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from seatrial.training.configuration import Config, Misplaced, read_toml
from seatrial.training.errors import SeatrialError

RECIPES = Path(__file__).parent / "recipes"
QUANTIZATIONS = ("f16", "q8_0", "q5_k_m", "q4_k_m")
# what each source of base weights needs to be told
NEEDED: Mapping[str, tuple[str, ...]] = {
    "package": ("package", "path"),
    "gguf": ("path",),
    "folder": ("path",),
    "hub": ("repository", "revision"),
}
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
REVISION = re.compile(r"(?!.*\.\.)(?!/)[^\s\\:?*\[~^\x00-\x1f]+(?<!/)")
Quantization = Literal["f16", "q8_0", "q5_k_m", "q4_k_m"]
Precision = Literal["nf4", "nf4-double", "int8", "bf16", "fp16", "fp32"]


class Base(Config):
    """Where the untuned weights come from.

    ``package``: a GGUF file inside an installed Python package; ``gguf``: a GGUF file; ``folder``: a
    Hugging Face model folder; ``hub``: a ``repository`` of the Hugging Face hub at a ``revision``, best a
    commit. Relative paths start at the recipe's folder. docs/sources.md says more.
    """

    model: str
    license: str
    source: Literal["package", "gguf", "folder", "hub"]
    package: str | None = None
    path: Path | None = None
    repository: str | None = None
    revision: str | None = None
    tokenizer_repair: Literal["smollm2"] | None = None
    precision: Precision = "nf4"
    """How training holds the frozen weights; docs/recipes.md says what each costs."""

    @field_validator("repository")
    @classmethod
    def _is_repository(cls, value: str | None) -> str | None:
        if value is not None and not REPOSITORY.fullmatch(value):
            raise ValueError("should be ORGANISATION/NAME, as on the model's page, without an address")
        return value

    @field_validator("revision")
    @classmethod
    def _is_revision(cls, value: str | None) -> str | None:
        if value is not None and not REVISION.fullmatch(value):
            raise ValueError('should be a commit (40 digits), a tag or a branch, such as "main"')
        return value

    @model_validator(mode="after")
    def _source_complete(self) -> Base:
        for key in ("package", "path", "repository", "revision"):
            given, needed = getattr(self, key) is not None, key in NEEDED[self.source]
            if given != needed:
                users = " or ".join(f'"{each}"' for each in NEEDED if key in NEEDED[each])
                raise ValueError(f"'{key}' is needed for source = {users}, and only there")
        return self


class Lora(Config):
    """LoRA settings as peft names them (Hu et al. 2021, arXiv:2106.09685).

    ``rslora`` scales by alpha / sqrt(r) instead of alpha / r (Kalajdzievski 2023, arXiv:2312.03732); ``dora``
    learns the length of each weight's columns apart from their direction (Liu et al. 2024, arXiv:2402.09353);
    ``modules_to_save`` are trained whole and stored with the adapter, such as ``embed_tokens``.
    """

    r: PositiveInt
    alpha: PositiveFloat
    dropout: float = Field(ge=0, lt=1)
    target_modules: tuple[str, ...] | Literal["all-linear"]
    rslora: bool = False
    dora: bool = False
    modules_to_save: tuple[str, ...] = ()


class Trainer(Config):
    """Optimisation settings.

    ``early_stopping_patience`` counts evaluations; ``neftune_alpha`` scales noise on the embeddings while
    training (Jain et al. 2023, arXiv:2310.05914). 0 turns either off.

    What follows ``compute_dtype`` may be left out. ``optimizer`` is a name that transformers knows;
    ``packing`` puts several rows into one sequence; ``order`` sorts the training rows by their length or by
    the number ``difficulty`` of each row, least first, and keeps that order in every epoch (Bengio et al.
    2009); ``report_to`` tells a tracker of the run, which changes nothing about what is made.
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
    compute_dtype: Literal["auto", "float32", "bfloat16", "float16"]
    gradient_checkpointing: bool | Literal["unsloth"] = False
    packing: bool = False
    optimizer: str = Field(default="adamw_torch_fused", pattern=r"^[a-z0-9_]+$")
    order: Literal["shuffled", "length", "difficulty"] = "shuffled"
    report_to: Literal["none", "trackio", "mlflow", "tensorboard", "wandb"] = "none"

    @model_validator(mode="after")
    def _order_kept(self) -> Trainer:
        if self.packing and self.order != "shuffled":
            raise ValueError(
                f"packing puts rows together by their length: it does not keep order = {self.order!r}"
            )
        return self


class Mix(Config):
    """General instruction rows among the task's own, against forgetting what the base could do.

    ``share`` of the training rows, above 0 and below 1, are drawn by the trainer's seed from ``file``. It
    holds rows in ShareGPT form that keep their own system prompt; validation rows are the task's alone. A
    relative path starts at the recipe's folder.
    """

    file: Path
    share: float = Field(gt=0, lt=1)


class Preference(Config):
    """A stage after supervised fine-tuning, on pairs of answers (docs/preference.md).

    ``method``: ``dpo``, direct preference optimisation (Rafailov et al. 2023, arXiv:2305.18290): the adapter
    is trained on, against itself as it was. ``beta`` says how dear it is to leave that: more is nearer.
    ``sft_weight`` adds the negative log-likelihood of the chosen answers, so that they do not become
    unlikely while the rejected ones become more so (Pang et al. 2024, arXiv:2404.19733). ``max_length``:
    tokens of prompt and answer. ``validation_pairs`` are held out and judged before and after. The rest is as
    in ``[trainer]``, whose seed, optimizer, compute_dtype and gradient_checkpointing count here, too.
    """

    method: Literal["dpo"]
    beta: PositiveFloat
    learning_rate: PositiveFloat
    epochs: PositiveFloat
    batch_size: PositiveInt
    gradient_accumulation: PositiveInt
    max_length: PositiveInt
    validation_pairs: PositiveInt
    scheduler: Literal["linear", "cosine", "constant_with_warmup"] = "linear"
    warmup_ratio: float = Field(default=0.0, ge=0, lt=1)
    sft_weight: float = Field(default=0.0, ge=0)


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
    """One recipe file; ``folder`` is where it lies.

    ``accelerate``: an accelerate configuration by which several processes train: a name of
    ``training/accelerate``, or a file from the recipe's folder.
    ``fallback``: the backend that trains where the packages of ``backend`` are not installed, and that is
    said; without it they are needed.
    """

    name: str
    why: str
    backend: Literal["trl", "unsloth"]
    fallback: Literal["trl"] | None = None
    base: Base
    lora: Lora
    trainer: Trainer
    export: Export
    mix: Mix | None = None
    preference: Preference | None = None
    accelerate: str | None = None
    folder: Path = Field(default=Path(), exclude=True)

    @model_validator(mode="after")
    def _backend_can(self) -> Recipe:
        if self.trainer.gradient_checkpointing == "unsloth" and self.backend != "unsloth":
            raise Misplaced(
                'gradient_checkpointing = "unsloth" needs backend = "unsloth"; true is what trl has',
                "trainer",
                "gradient_checkpointing",
            )
        return self


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
