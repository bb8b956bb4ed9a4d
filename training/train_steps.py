"""The steps that train: an adapter on rows, and the same one on pairs of answers after that.

With a remote store another machine may have trained. What is missing here, such as a GPU's packages, is then
told only where it is to be trained here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seatrial.training import pairs as preference_pairs
from seatrial.training.base_model import DEFAULT
from seatrial.training.chat_formats import dated
from seatrial.training.choices import choose_backend, require_tracker
from seatrial.training.distributed import launch_of
from seatrial.training.errors import SeatrialError
from seatrial.training.hardware import DTYPES, resolve_dtype
from seatrial.training.memory_ladder import train_within_memory
from seatrial.training.progress import Progress
from seatrial.training.recipe import Recipe
from seatrial.training.store import Artifact, Step, Store, file_digest


def train_adapter(
    recipe: Recipe,
    base: Artifact,
    dataset: Artifact,
    say: Callable[[str], None] = lambda message: None,
    elsewhere: bool = False,
) -> Step:
    """The QLoRA adapter; its manifest keeps the loss history. ``say`` hears of a backend not asked for.

    ``elsewhere``: another machine may have trained it. Then what is missing here is told only when it is to
    be trained here, and an adapter of the recipe's own backend, or of another number type where the recipe
    leaves it to the machine, stands for this machine's.

    Raises:
        SeatrialError: the backend's packages, or those of the tracker, are not installed.
    """
    here = _here(recipe, elsewhere)
    launch = launch_of(recipe)
    if launch and here.backend != "trl":
        raise SeatrialError(
            f"backend = {here.backend!r} trains in one process",
            where=f"recipe {recipe.name!r}",
            hint='with accelerate it needs backend = "trl"',
        )
    if here.warning and not elsewhere:
        say(here.warning)  # with an adapter that lies in the store too

    def build(out: Path, progress: Progress) -> Mapping[str, Any]:
        here.require()
        request: dict[str, Any] = {
            "backend": here.backend,
            "base": str(base.path),
            "rows": str(dataset.path / "rows.jsonl"),
            "out": str(out),
            "logs": str(out.parent.parent / "logs" / f"train-{out.name}"),
            "compute_dtype": here.dtype,
        }
        if launch:
            launch.require_devices()
            request["launch"] = {**vars(launch), "file": str(launch.file)}
        facts = train_within_memory(recipe, request, out, progress)
        return {**facts, "backend": here.backend, "precision": recipe.base.precision}

    inputs = {"base": base.digest, "dataset": dataset.digest}
    more = {**(launch.settings if launch else {}), **dated(base.path)}
    step = Step("adapter", 1, _settings(recipe, here.backend, here.dtype) | more, inputs, build)
    # the recipe's own backend before the one that it falls back to
    backends = [recipe.backend, *([recipe.fallback] if recipe.fallback else [])]
    made = [_settings(recipe, name, dtype) | more for name in backends for dtype in _dtypes(recipe)]
    return _or_of_other_machines(step, made) if elsewhere else step


def adapter_of(store: Store, recipe: Recipe, base: Artifact, dataset: Artifact) -> Artifact:
    """The adapter, trained here or, where the store has a remote one, on another machine; tells which.

    Raises:
        SeatrialError: it is to be trained here and cannot be.
    """
    say = store.progress.say
    step = train_adapter(recipe, base, dataset, say, elsewhere=store.exchange is not None)
    adapter = store.build(step)
    if store.exchange:
        how = _say_whose(store, step, adapter)
        if adapter.facts.get("backend") != recipe.backend:
            say(f"the recipe {recipe.name!r} asks for {recipe.backend}, and the adapter was trained {how}")
    return adapter


def preferred_of(store: Store, recipe: Recipe, base: Artifact, sft: Artifact, pairs: Artifact) -> Artifact:
    """The adapter after the stage on pairs, as :func:`adapter_of` has the one before it."""
    step = prefer(recipe, base, sft, pairs, elsewhere=store.exchange is not None)
    adapter = store.build(step)
    _say_whose(store, step, adapter)
    return adapter


def _say_whose(store: Store, step: Step, adapter: Artifact) -> str:
    """Tell of an adapter of another machine; how it was trained."""
    how = f"by {adapter.facts.get('backend')} in {adapter.facts.get('compute_dtype')}"
    if adapter.key != step.key:
        store.progress.say(f"{step.title or 'the adapter'} is another machine's, trained {how}")
    return how


@dataclass(frozen=True)
class _Here:
    """What this machine trains a recipe with, and what it ``lacks`` for it."""

    dtype: str
    backend: str
    warning: str = ""
    lacks: SeatrialError | None = None

    def require(self) -> None:
        if self.lacks:
            raise self.lacks


def _here(recipe: Recipe, elsewhere: bool) -> _Here:
    """What this machine lacks is raised, unless another one may have trained: then it is kept for later."""
    wanted: str = recipe.trainer.compute_dtype
    try:
        dtype = resolve_dtype(wanted)  # "auto" would be another model on another machine
        backend, warning = choose_backend(recipe)
        require_tracker(recipe.trainer.report_to)
    except SeatrialError as error:
        if not elsewhere:
            raise
        return _Here(wanted, recipe.backend, lacks=error)
    return _Here(dtype, backend, warning)


def _dtypes(recipe: Recipe) -> Sequence[str]:
    """The number types that a machine may train the recipe in, those of GPUs first."""
    wanted: str = recipe.trainer.compute_dtype
    return DTYPES if wanted == "auto" else (wanted,)


def _or_of_other_machines(step: Step, settings: Sequence[Mapping[str, Any]]) -> Step:
    """``step``, for which what other machines make by other ``settings`` stands as well."""
    found = [replace(step, params=each) for each in settings]
    return replace(step, others=[other for other in found if other.key != step.key])


def prepare_pairs(source: Path, system: str, recipe: Recipe) -> Step:
    """Pairs of answers with the system prompt, shuffled and split; for a recipe with ``[preference]``."""
    assert recipe.preference
    split = {"validation_pairs": recipe.preference.validation_pairs, "seed": recipe.trainer.seed}

    def build(out: Path, progress: Progress) -> Mapping[str, Any]:
        return preference_pairs.prepare(source, out, system, **split)

    preference_pairs.read_pairs(source)  # mistakes in the file are told before anything is built
    inputs = {"pairs": file_digest(source)}
    return Step("pairs", 1, {"system": system, **split}, inputs, build, heavy=False, title="preference pairs")


def prefer(recipe: Recipe, base: Artifact, sft: Artifact, pairs: Artifact, elsewhere: bool = False) -> Step:
    """The adapter ``sft`` trained on by pairs: one adapter of the same shape, in the place of the first.

    ``elsewhere``: see :func:`train_adapter`.
    """
    settings, trainer = recipe.preference, recipe.trainer
    assert settings
    here = _here(recipe, elsewhere)
    at_once = trainer.model_copy(  # what the memory ladder knows how to need less of
        update={
            **settings.model_dump(include={"batch_size", "gradient_accumulation", "max_length"}),
            "packing": False,
            "gradient_checkpointing": bool(trainer.gradient_checkpointing),
        }
    )

    def build(out: Path, progress: Progress) -> Mapping[str, Any]:
        here.require()
        request = {
            "backend": settings.method,
            "base": str(base.path),
            "adapter": str(sft.path),
            "rows": str(pairs.path / "rows.jsonl"),
            "validation_rows": pairs.facts["validation_rows"],
            "out": str(out),
            "logs": str(out.parent.parent / "logs" / f"prefer-{out.name}"),
            "compute_dtype": here.dtype,
        }
        within = recipe.model_copy(update={"trainer": at_once})
        facts = train_within_memory(within, request, out, progress)
        return {**facts, "backend": "trl", "precision": recipe.base.precision}

    said = recipe.model_dump(mode="json", include={"preference"}, exclude_defaults=True)
    said |= {"seed": trainer.seed, "optimizer": trainer.optimizer}
    said |= {"precision": recipe.base.precision, "base_model": recipe.base.model, **dated(base.path)}
    inputs = {"base": base.digest, "adapter": sft.digest, "pairs": pairs.digest}
    title = "the adapter after preference optimisation"
    step = Step("preference", 1, said | {"compute_dtype": here.dtype}, inputs, build, title=title)
    made = [said | {"compute_dtype": dtype} for dtype in _dtypes(recipe)]
    return _or_of_other_machines(step, made) if elsewhere else step


def _settings(recipe: Recipe, backend: str, dtype: str) -> dict[str, Any]:
    """What of a recipe decides the adapter. Settings at their default are left out: that a recipe could say
    more one day makes no other adapter of those that were trained before."""
    said = recipe.model_dump(mode="json", include={"lora", "trainer"}, exclude_defaults=True)
    said["trainer"]["compute_dtype"] = dtype
    said["trainer"].pop("report_to", None)
    if recipe.base.precision != DEFAULT:
        said["precision"] = recipe.base.precision
    return {**said, "backend": backend, "base_model": recipe.base.model}
