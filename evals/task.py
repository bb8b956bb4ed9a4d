"""A task: what the model is for, when it may ship, and where its cases lie. Read from ``task.toml``.

Its kind brings the criteria that are usual for it (``evals/kinds``); the task says what is special about it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field, InstanceOf, NonNegativeInt, PositiveInt, field_validator, model_validator

from seatrial.evals.answer import Answer, Reader
from seatrial.evals.case_names import FOLDER, REGRESSIONS, chosen, files_of, nearly_regressions, unasked
from seatrial.evals.criterion import SHIPPED, Criterion, Loss
from seatrial.evals.kinds import Origin, Preset, preset_for
from seatrial.evals.models.table import ModelTable, read_table
from seatrial.training.configuration import Config, Misplaced, read_toml
from seatrial.training.errors import SeatrialError, at
from seatrial.training.recipe import QUANTIZATIONS
from seatrial.training.source import Source, task_file

# Names of models that a run has by itself, and of the runtime that serves the shipped one.
TAKEN = ("shipped", "sft", "adapter", "merged", *QUANTIZATIONS, "ollama")


class CaseSet(Config):
    """A JSONL file of cases; a path alone says the same as ``file``."""

    file: Path
    """JSONL file of cases (docs/cases.md)."""
    contract: bool = True
    """Whether answers to these cases must fulfil the contract."""
    why: str = ""
    """What these cases are for."""


class Sampling(Config):
    """How answers are drawn, for metrics of several answers to one question; all others judge greedy ones."""

    temperature: float = Field(default=0.8, gt=0)
    """Tokens are drawn from softmax(logits / temperature)."""
    samples: PositiveInt = 5
    """Answers drawn for each question."""
    seed: NonNegativeInt = 0
    """The same seed draws the same answers; what that is worth is up to the runtime."""


class Task(Source):
    """A task folder's ``task.toml``; ``folder`` is where it lies.

    ``waivers``: by the name of a part of the standard core (``evals/core.py``) or the id of a criterion, why
    it is not required of this task. They stand beside every verdict.
    ``origins``: where each criterion is said, by its id.
    """

    kind: str | None = None
    """What sort of task it is: brings the criteria that are usual for it (docs/kinds.md)."""
    title: str = ""
    """The name as people say it."""
    intent: str = ""
    """What the model is for."""
    non_goals: tuple[str, ...] = ()
    """What it need not be able to do."""
    constraints: tuple[str, ...] = ()
    """Further limits, for the report."""
    ratings: Path = Path("ratings.csv")
    """CSV file of ratings by people, if there is one."""
    require: tuple[str, ...] = ()
    """Names of criteria that are required although they say `required = false`."""
    waivers: Mapping[str, str] = {}
    """Why a part of the standard core, or a criterion, is not required, by its name."""
    answer: Answer = Answer()
    """What every answer must look like."""
    sampling: Sampling = Sampling()
    """How answers are drawn."""
    case_sets: Mapping[str, CaseSet] = {}
    """By name, tables or paths; by default `cases/NAME.jsonl`. Each case of `regressions` is hard."""
    criteria: tuple[Criterion, ...] = ()
    """The requirements, one table each; one with the id of a criterion of the kind changes that one."""
    losses: tuple[Loss, ...] = ()
    """Comparisons of each stage from base to runtime with the one before, one table each."""
    models: Mapping[str, InstanceOf[ModelTable]] = {}
    """Models to compare with, by name; the `kind` of each says how it is asked (docs/models.md)."""
    origins: Mapping[str, Origin] = Field(default={}, exclude=True)

    @field_validator("case_sets", mode="before")
    @classmethod
    def _paths(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: {"file": item} if isinstance(item, str) else item for name, item in value.items()}

    @field_validator("models", mode="before")
    @classmethod
    def _tables(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        for name in value:
            if name in TAKEN or not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
                problem = f"a model cannot be called {name!r}"
                hint = f"lower-case letters, digits, '-' and '_', and none of {', '.join(TAKEN)}"
                raise Misplaced(f"{problem}: {hint}", name)
        return {name: read_table(name, table) for name, table in value.items()}

    @model_validator(mode="after")
    def _consistent(self) -> Task:
        seen: set[str] = set()
        tables: dict[str, Sequence[Criterion | Loss]] = {"criteria": self.criteria, "losses": self.losses}
        for table, entries in tables.items():
            for number, entry in enumerate(entries):
                for name in [c.id for c in entry.criteria()] if isinstance(entry, Loss) else [entry.id]:
                    if name in seen:
                        raise Misplaced(f"criterion id {name!r} is used twice", table, number, "id")
                    seen.add(name)
        for name in self.case_sets:
            if nearly_regressions(name):
                problem = f"the cases of a set called {name!r} are no hard requirements"
                hint = f"did you mean {REGRESSIONS!r}? A set of another meaning needs another name"
                raise Misplaced(f"{problem}; {hint}", "case_sets", name)
        for name, why in self.waivers.items():
            if not any(map(str.isalnum, why)):  # a dot, or what nobody sees, is none
                raise Misplaced(f"the waiver of {name!r} gives no reason", "waivers", name)
        return self

    @property
    def prompted_base(self) -> str | None:
        """The prompt for the untuned model; None where the task has none."""
        return None if self.prompts.prompted_base is None else _text(self.path(self.prompts.prompted_base))

    @cached_property
    def reader(self) -> Reader:
        """Reads answers as this task's ``[answer]`` describes them."""
        return Reader(self.answer, self.folder)


def load_task(folder: Path) -> Task:
    """Read a task from its folder or from its ``task.toml``, with the criteria of its kind.

    Raises:
        SeatrialError: no such task, or a mistake in its file.
    """
    path = task_file(folder)
    presets: list[Preset] = []

    def completed(data: dict[str, Any]) -> dict[str, Any]:
        preset = preset_for(data, path)
        presets.append(preset)
        return preset.merged(data, path)

    task = read_toml(path, Task, completed)
    (preset,) = presets
    task = task.model_copy(update={"folder": path.parent.resolve()})
    sets = task.case_sets or _found(task.folder)
    for found, hint in unasked({name: each.file for name, each in sets.items()}, task.folder):
        raise SeatrialError("its cases are no hard requirements of this task", where=found, hint=hint)
    criteria = list(preset.with_own(task.criteria, task.losses, path))
    criteria += _of_models(criteria, task, path)
    origins = {criterion.id: origin for criterion, origin in criteria}
    resolved = tuple(_resolved(criterion, origin, sets) for criterion, origin in criteria)
    if not any(criterion.required for criterion in resolved):
        raise SeatrialError(
            "no criterion is required, so anything would ship",
            where=path,
            hint='name a kind, such as kind = "classification", or add a [[criteria]] table',
        )
    update = {"case_sets": sets, "criteria": resolved, "origins": origins, "title": task.title or task.name}
    return task.model_copy(update=update)


def _of_models(
    criteria: Sequence[tuple[Criterion, Origin]], task: Task, path: Path
) -> list[tuple[Criterion, Origin]]:
    """For every model that the task names beside the base, its score by the first criterion on answers: what
    the report compares, and nothing depends on."""
    named = {name for criterion, _ in criteria for name in (criterion.model, criterion.against)}
    first = next((c for c, _ in criteria if c.model == SHIPPED and not c.against and c.at_least), None)
    if first is None:
        return []
    made = []
    for name, table in task.models.items():
        if name not in named:
            update = {"id": f"MODELS.{name}", "title": f"{first.title}, by {name}", "model": name}
            why = table.why or f"What {name} scores by {first.id}, to compare with."
            copy = first.model_copy(update={**update, "required": False, "why": why, "advice": ""})
            made.append((copy, Origin(path, "models", 0, name, own=True)))
    return made


def _found(folder: Path) -> dict[str, CaseSet]:
    """The files of the folder ``cases``, by their names; the set ``regressions`` last."""
    files = files_of({}, folder)
    if not files:
        raise SeatrialError(
            "this task has no cases",
            where=folder / "task.toml",
            hint=f'put them into {FOLDER}/NAME.jsonl beside it, or name files: [case_sets] domain = "FILE"',
        )
    return {name: CaseSet(file=file) for name, file in files.items()}


def _resolved(criterion: Criterion, origin: Origin, sets: Mapping[str, CaseSet]) -> Criterion:
    """A criterion whose ``cases`` are names of case sets. One that the task's own file names must exist; one
    that its kind names may be missing, and then the criterion says so instead of a value."""
    if not criterion.cases:
        return criterion
    names, missing = chosen(criterion.cases, list(sets))
    if missing and origin.own:
        close = difflib.get_close_matches(missing[0], sets, n=1)
        guess = f"did you mean {close[0]!r}? " if close else ""
        raise SeatrialError(
            f"{origin.what} {origin.id!r} names the case set {missing[0]!r}",
            where=at(origin.path, origin.line("cases")),
            hint=f"{guess}there are: {', '.join(sets)}",
        )
    absent = "" if names else f"there is no case set {', '.join(map(repr, missing or criterion.cases))}"
    if absent:
        file = f"cases/{missing[0] if missing else 'domain'}.jsonl"
        absent = f'{absent}: {file} would be it; or waive it: [waivers] {criterion.id!r} = "why"'
    return criterion.model_copy(update={"cases": names, "absent": absent})


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SeatrialError(f"cannot be read: {error.strerror}", where=path) from None
