"""What training takes of a task: its name, rows and recipe, and what the model is told and ships with.

The rest of a ``task.toml``, cases and criteria above all, belongs to the judge (``evals/task.py``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveInt

from seatrial.training.configuration import Config, read_toml
from seatrial.training.errors import SeatrialError


class Decoding(Config):
    """How answers are generated; greedy at temperature 0, the only one that repeats exactly."""

    temperature: Literal[0] = 0
    """Always 0: greedy decoding, the only one that repeats exactly."""
    max_tokens: PositiveInt = 256
    """Most tokens of an answer."""
    context: PositiveInt = 4096
    """Tokens that question and answer may have together."""


class Prompts(Config):
    """The system prompt that ships, and the file with a good prompt for the untuned base."""

    system: str = ""
    """The system prompt that the model ships with."""
    prompted_base: Path | None = None
    """Text file with the best prompt for the untuned model, its fair rival."""


class Source(Config):
    """The part of a task's ``task.toml`` from which a model is made; ``folder`` is where it lies."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    """Lower-case letters, digits, `-` and `_`; reports lie in a folder of this name."""
    recipe: str | None = None
    """How a model is made: the name of a recipe; needed only where one is made."""
    train: Path | None = None
    """Training rows in ShareGPT form; needed only where a model is made."""
    preference: Path | None = None
    """Pairs of a chosen and a rejected answer; needed only by a recipe with `[preference]`."""
    decoding: Decoding = Decoding()
    """How answers are generated."""
    prompts: Prompts = Prompts()
    """The prompts."""
    folder: Path = Field(default=Path(), exclude=True)

    @property
    def train_file(self) -> Path:
        """The training rows; raises :class:`SeatrialError` if the task names none."""
        if self.train is None:
            raise self.lacks("train", 'train = "train.jsonl", rows in ShareGPT form')
        return self.path(self.train)

    @property
    def preference_file(self) -> Path:
        """The pairs; raises :class:`SeatrialError` if the task names none."""
        if self.preference is None:
            raise SeatrialError(
                "this task has no 'preference', and its recipe has a stage [preference]",
                where=self.folder / "task.toml",
                hint='name the pairs: preference = "pairs.jsonl" (docs/preference.md); or take a recipe '
                "without that stage: --recipe=NAME",
            )
        return self.path(self.preference)

    @property
    def recipe_name(self) -> str:
        """The recipe's name; raises :class:`SeatrialError` if the task names none."""
        if self.recipe is None:
            raise self.lacks("recipe", 'recipe = "NAME" or --recipe=NAME')
        return self.recipe

    def lacks(self, key: str, example: str) -> SeatrialError:
        """What is said where a model would have to be made and the task does not say how."""
        return SeatrialError(
            f"this task has no {key!r}, so no model can be made from it",
            where=self.folder / "task.toml",
            hint="judge one that is there: --gguf=FILE or --program=COMMAND. To make one, the task needs "
            f"{example}",
        )

    def path(self, relative: Path) -> Path:
        """A path of this task's file, made absolute."""
        return (self.folder / relative).resolve()


def task_file(folder: Path) -> Path:
    """The ``task.toml`` that a user means by a folder or by its own path.

    Raises:
        SeatrialError: there is none.
    """
    path = folder if folder.suffix == ".toml" else folder / "task.toml"
    if not path.is_file():
        near = sorted(str(each.parent) for each in Path().glob("golden/*/task.toml"))[:3]
        named = " or ".join(f"--task={each}" for each in near) or "--task=golden/NAME"
        raise SeatrialError("no task here", where=path, hint=f"give a folder that holds a task.toml: {named}")
    return path


def load_source(folder: Path) -> Source:
    """Read what training needs from a task's folder or its ``task.toml``.

    Raises:
        SeatrialError: no such task, or a mistake in that part of its file.
    """
    path = task_file(folder)
    known = set(Source.model_fields) - {"folder"}
    source = read_toml(path, Source, lambda data: {key: data[key] for key in data if key in known})
    return source.model_copy(update={"folder": path.parent.resolve()})
