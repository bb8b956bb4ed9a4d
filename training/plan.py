"""What it would take to make a task's model: each step, whether the store holds it, what building it needs.

Reads the store and builds nothing. A step's key is made of the digests of its inputs, so what comes after a
step that is not there yet cannot be looked up: it is to be built, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from pathlib import Path

from seatrial.training import extras, steps
from seatrial.training.errors import SeatrialError
from seatrial.training.extras import FIDELITY, TRAIN
from seatrial.training.recipe import Recipe
from seatrial.training.store import Artifact, Step, kept
from seatrial.training.task import Task


@dataclass(frozen=True)
class Planned:
    """A step: what it builds, the ``extra`` that building takes ("" for none), and what the store holds."""

    name: str
    title: str
    extra: str
    artifact: Artifact | None

    @property
    def size(self) -> int | None:
        """Bytes of what is there; None for what is to be built."""
        return self.artifact.size if self.artifact else None


def planned(task: Task, recipe: Recipe, root: Path) -> list[Planned]:
    """The steps from base weights to GGUF files, in their order, as they stand in the store at ``root``.

    Raises:
        SeatrialError: the base weights or the training rows are not there, or there is a mistake in them.
    """
    made: list[Planned] = []

    def look(name: str, title: str, extra: str, step: Step | None) -> Artifact | None:
        artifact = kept(root, step) if step else None
        made.append(Planned(name, title, extra, artifact))
        return artifact

    rows = steps.prepare_dataset(task.path(task.train), task.prompts.system, recipe)
    base = look("base", "base weights", FIDELITY, steps.import_base(recipe))
    dataset = look("dataset", "training rows", "", rows)
    training = steps.train_adapter(recipe, base, dataset) if base and dataset else None
    adapter = look("adapter", "the trained adapter", TRAIN, training)
    merge = steps.merge(base, adapter) if base and adapter else None
    merged = look("merged", "base and adapter as one model", FIDELITY, merge)
    converter = look("converter", "llama.cpp's converter", "", _converter())
    convert = steps.convert(merged, converter, task.name) if merged and converter else None
    f16 = look("gguf", "GGUF file, 16 bits", FIDELITY, convert)
    for kind in recipe.export.quantizations:
        settings = (task.name, task.prompts.system, task.decoding.model_dump())
        look("quantized", f"GGUF file, {kind}", "", steps.quantize(f16, kind, *settings) if f16 else None)
    return made


def require_extras(plan: Sequence[Planned]) -> None:
    """Raise :class:`SeatrialError` if a step is to be built and the extra that it needs is not whole."""
    wanted = {step.extra for step in plan if step.artifact is None and step.extra}
    for extra in (TRAIN, FIDELITY):  # the one that includes the other is told first
        if extra in wanted and (told := extras.problem(extra)):
            first = next(step for step in plan if step.artifact is None and step.extra)
            raise SeatrialError(
                f"a model is trained here, and {first.title} must be built: {told}",
                hint="what is there already is judged without it: a file by --gguf=FILE, a program by "
                "--program=COMMAND",
            )


def _converter() -> Step | None:
    try:
        return steps.fetch_converter()
    except PackageNotFoundError:  # llama-cpp-python is not installed: nothing of it can be there
        return None
