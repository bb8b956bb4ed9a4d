"""What training does when memory runs out: less at a time, told, and always the same rows an update.

Each rung is tried once, in a fresh process, because what an allocator has lost it does not give back:
half the batch and twice the accumulation down to one row at a time, then gradient checkpointing (Chen et
al. 2016, arXiv:1604.06174), then half the length, which cuts rows and says how many. The manifest holds the
settings that were asked for, those that were used, and what happened on the way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from seatrial.training.errors import OutOfMemory
from seatrial.training.progress import Progress
from seatrial.training.recipe import Recipe, Trainer
from seatrial.training.run_job import run_job

SHORTEST = 64  # tokens: below it a row is no conversation any more


def train_within_memory(
    recipe: Recipe, request: Mapping[str, Any], out: Path, progress: Progress
) -> dict[str, Any]:
    """Run the job ``train``, one rung lower each time that memory runs out.

    Returns:
        The backend's facts; where a rung was taken, also ``memory_ladder``: ``asked``, ``used`` (the settings
        that differ) and ``steps`` (what was changed after which error).

    Raises:
        OutOfMemory: the last rung needs too much, too.
    """
    settings = recipe.trainer
    told: list[dict[str, str]] = []
    rungs: Iterator[tuple[str, Trainer]] | None = None
    while True:
        tried = recipe.model_copy(update={"trainer": settings})
        with TemporaryDirectory(prefix=f"{out.name}-", dir=out.parent) as checkpoints:
            whole = {**request, "recipe": tried.model_dump(mode="json"), "checkpoints": checkpoints}
            try:
                facts = dict(run_job("train", whole, out, progress))
                break
            except OutOfMemory as error:
                failed = error
        rungs = rungs or ladder(recipe.trainer, failed.longest)
        change, settings = next(rungs, ("", settings))
        if not change:
            raise OutOfMemory(
                f"memory ran out, after {len(told)} steps to need less of it: {failed.problem}",
                where=f"recipe {recipe.name!r}",
                hint="take a smaller base model, a lower [base] precision of it, or a larger machine",
            ) from failed
        told.append({"change": change, "after": failed.problem})
        progress.say(f"memory ran out ({failed.problem}): training starts again with {change}")
    if told:
        asked, used = (each.model_dump(mode="json") for each in (recipe.trainer, settings))
        differ = [key for key in asked if asked[key] != used[key]]
        facts["memory_ladder"] = {
            "asked": {key: asked[key] for key in differ},
            "used": {key: used[key] for key in differ},
            "steps": told,
        }
    return facts


def ladder(asked: Trainer, longest: int | None = None) -> Iterator[tuple[str, Trainer]]:
    """The rungs below ``asked``, each with what it changes; ``longest``: tokens of the longest row."""
    settings, rows = asked, asked.batch_size * asked.gradient_accumulation
    while settings.batch_size > 1:
        batch = next(size for size in range(settings.batch_size // 2, 0, -1) if rows % size == 0)
        settings = settings.model_copy(update={"batch_size": batch, "gradient_accumulation": rows // batch})
        yield (
            f"batch_size = {batch} and gradient_accumulation = {rows // batch} (still {rows} rows an update)",
            settings,
        )
    if not settings.gradient_checkpointing:
        settings = settings.model_copy(update={"gradient_checkpointing": True})
        yield "gradient_checkpointing = true (the same result, slower)", settings
    whole = (
        settings.max_length if settings.packing else min(settings.max_length, longest or settings.max_length)
    )
    if whole // 2 >= SHORTEST:
        settings = settings.model_copy(update={"max_length": whole // 2})
        yield f"max_length = {whole // 2} (longer rows are cut: their last tokens are not learnt)", settings
