"""The settings of a run: the task, its cases, and what is judged; read by ``fixtures/settings.py``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from seatrial.evals.cases import Case, CaseFile
from seatrial.evals.core import Core
from seatrial.evals.task import Task
from seatrial.training.recipe import Recipe


@dataclass(frozen=True)
class Given:
    """A model that was made elsewhere: its file, and whatever its makers can show of how it came about.

    ``trained_on``: what ``--trained-on`` says of the base that ``adapter`` was trained beside.
    """

    gguf: Path
    base_gguf: Path | None
    adapter: Path | None
    hf_model: Path | None
    modelfile: Path | None
    trained_on: str | None = None


@dataclass(frozen=True)
class Settings:
    """What this run judges and where things are kept.

    ``made_by``: the recipe that the task or the command line names; a file or a program needs none.
    ``train``: the rows that the judged model was trained on; None where nobody says what they were.
    ``pairs``: those of a stage on pairs of answers; None where there is no such stage in this run.
    ``mix``: the general rows from which the recipe draws its share; None where it draws none in this run.
    ``store_remote``: URL of the store that other machines share, "" for none.
    """

    task: Task
    made_by: Recipe | None
    cases: dict[str, list[Case]]
    case_files: tuple[CaseFile, ...]
    core: Core
    train: Path | None
    store: Path
    reports: Path
    gate: bool
    program: str | None
    base_program: str | None
    given: Given | None
    pairs: Path | None = None
    mix: Path | None = None
    store_remote: str = ""

    def requires(self, criterion_id: str, required: bool) -> bool:
        """Whether a criterion is required: by itself, unless it is waived or asks of a program what only a
        file has; or by ``require`` of the task or ``--require``."""
        named = {name.casefold() for name in self.task.require}
        excused = criterion_id in self.core.optional or criterion_id in self.core.inapplicable
        return (required and not excused) or bool(names_of(criterion_id) & named)

    @property
    def recipe(self) -> Recipe:
        """The recipe by which a model is made here; raises :class:`SeatrialError` if none is named."""
        if self.made_by is None:
            raise self.task.lacks("recipe", 'recipe = "NAME" or --recipe=NAME')
        return self.made_by

    @property
    def leakage_required(self) -> bool:
        """Whether the cases must be sought in training data: a program has none unless somebody names it."""
        return (self.train is not None or not self.program) and not self.core.leakage_waived


def names_of(criterion_id: str) -> set[str]:
    """What a criterion may be called: its whole id, or what follows one of its dots."""
    parts = criterion_id.casefold().split(".")
    return {".".join(parts[start:]) for start in range(len(parts))}
