"""Models as data: a ``[models.NAME]`` table of a task, read by the file of this folder that its kind names.

A file is a kind of model where it defines ``Table``, a :class:`ModelTable` whose ``model`` builds it. The
names ``base`` and ``prompted_base`` stand for the untuned model, bare and with a good prompt; any other name
is what its criteria say it is.
"""

from __future__ import annotations

import difflib
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, NonNegativeInt, PositiveInt, ValidationError

from seatrial.evals.models import Model
from seatrial.evals.models.decoded import DecodedModel
from seatrial.training.configuration import Config, Misplaced

if TYPE_CHECKING:
    from seatrial.evals.task import Task

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Surroundings:
    """What a model may be built from: the task, the rows that the shipped model was trained on, if they are
    known, and the other models of the run, each by its name; asking for one that is absent raises
    :class:`~seatrial.evals.verdict.NotEvaluated`."""

    task: Task
    train: Path | None
    other: Callable[[str], Model]


class ModelTable(Config):
    """What every kind may say."""

    kind: str
    """Which file below `evals/models` reads the table."""
    system: str | None = None
    """Its system prompt; by default the task's, of `prompted_base` the task's good prompt."""
    max_tokens: PositiveInt | None = None
    """The most tokens of an answer; by default the task's."""
    temperature: float | None = Field(default=0.0, ge=0)
    """At 0 answers are greedy; above, each is drawn from softmax(logits / temperature)."""
    seed: NonNegativeInt | None = None
    """Of what is drawn; 0 by default."""
    why: str = ""
    """What it is compared for, for the report."""

    def decoded(self, name: str, around: Surroundings) -> Model:
        """The model by its name, decoding as its table says; raises NotEvaluated as :meth:`model`."""
        return self.decoding(self.model(name, around), self.temperature or 0.0)

    def decoding(self, model: Model, temperature: float) -> Model:
        """``model`` with the table's length, seed and ``temperature``, or as it is if the table says none."""
        if self.max_tokens is None and not temperature:
            return model
        return DecodedModel(model, self.max_tokens, temperature, self.seed or 0)

    @abstractmethod
    def model(self, name: str, around: Surroundings) -> Model:
        """The model by its name; raises NotEvaluated where what it needs is not there."""

    def check(self, task: Task) -> None:
        """Raise :class:`SeatrialError` for a mistake that shows before anything is built."""

    def prompt(self, name: str, task: Task) -> str:
        """The system prompt that this model gets."""
        if self.system is not None:
            return self.system
        good = task.prompted_base if name == "prompted_base" else None
        return task.prompts.system if good is None else good


@cache
def model_kinds() -> tuple[str, ...]:
    """The kinds that there are, read from the files without importing any."""
    files = sorted(FOLDER.glob("*.py"))
    return tuple(path.stem for path in files if "\nclass Table(" in path.read_text(encoding="utf-8"))


def read_table(name: str, value: Any) -> ModelTable:
    """The table ``[models.NAME]``; raises :class:`Misplaced` with the key at fault."""
    if not isinstance(value, Mapping):
        raise Misplaced(f"[models.{name}] is no table", name)
    kind = value.get("kind")
    if kind not in model_kinds():
        close = difflib.get_close_matches(str(kind), model_kinds(), n=1)
        guess = f"did you mean {close[0]!r}? " if close else ""
        said = f"has the kind {kind!r}" if "kind" in value else "has no kind"
        raise Misplaced(f"[models.{name}] {said}; {guess}kinds: {', '.join(model_kinds())}", name, "kind")
    table: type[ModelTable] = import_module(f"{__package__}.{kind}").Table
    try:
        return table.model_validate(dict(value))
    except ValidationError as error:
        # A key that does not exist is told before the one that is missing because of it.
        first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        key = ".".join(map(str, first["loc"]))
        known = [info.alias or field for field, info in table.model_fields.items()]
        close = difflib.get_close_matches(key, known, n=1)
        guess = f"; did you mean {close[0]!r}?" if close and first["type"] == "extra_forbidden" else ""
        allowed = f"; keys: {', '.join(known)}" if first["type"] in ("extra_forbidden", "missing") else ""
        message = first["msg"].removeprefix("Value error, ")
        raise Misplaced(f"[models.{name}] {key}: {message}{guess}{allowed}", name, *first["loc"]) from None
