"""What building each step of a plan will take: seconds, memory and disk, and what each figure rests on.

Seconds come from the newest artifact of the same step in the store, in proportion to the bytes that it made;
those of training from an earlier training of the same base. What was never built here is not known. Bytes
follow from the number of the base's parameters. Memory is what the step needs at least: where that is more
than there is, the step cannot end well, so a plan with such a step is refused.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatrial.training.checkpoint import Checkpoint
from seatrial.training.choices import choose_backend
from seatrial.training.distributed import divided, launch_of
from seatrial.training.errors import SeatrialError
from seatrial.training.exchange import Exchange
from seatrial.training.footprint import Shape, adapter_parameters, known_shape, shape_in, training_bytes
from seatrial.training.hardware import resolve_dtype
from seatrial.training.lengths import Lengths
from seatrial.training.memory import device_memory, main_memory
from seatrial.training.past import kept_manifests, pace, seconds_for
from seatrial.training.plan import Planned, planned
from seatrial.training.recipe import Recipe
from seatrial.training.source import Source
from seatrial.training.store import Artifact, manifest_size

WHOLE = 4  # bytes of a parameter in float32, which merged models are kept in
HALF = 2  # in 16 bits
GB = 1e9


@dataclass(frozen=True)
class Forecast:
    """Of one step: ``seconds``, bytes of ``memory`` that it needs at least and of ``disk`` that it fills, and
    bytes that it takes at its ``peak``; None where nothing tells. ``basis``: what they rest on;
    ``on_device``: whether the memory is that of each device that trains, not the machine's."""

    step: Planned
    seconds: float | None = None
    memory: float | None = None
    disk: float | None = None
    peak: float | None = None
    basis: str = ""
    on_device: bool = False


def forecasts(
    plan: Sequence[Planned], recipe: Recipe, root: Path, lengths: Lengths | None = None
) -> list[Forecast]:
    """A forecast for each step of ``plan``; nothing is said of what is there.

    Args:
        root: the store whose artifacts tell how long the same steps took.
        lengths: tokens of the training rows, if they are known.
    """
    base = next((each.artifact for each in plan if each.name == "base"), None)
    sizes = _Sizes(recipe, base)
    found = []
    for each in plan:
        if each.artifact is not None:
            found.append(Forecast(each, basis=each.where))
        elif each.name == "adapter":
            found.append(_training(each, recipe, root, sizes, lengths))
        else:
            found.append(_like_the_last(each, root, sizes))
    return found


def refusals(found: Iterable[Forecast], recipe: Recipe, root: Path) -> list[SeatrialError]:
    """One error for each thing that surely does not fit: memory of a step, disk of all of them together."""
    told, found = [], list(found)
    device, name = device_memory()
    machine = main_memory()
    for each in found:
        there, what = (device, name) if each.on_device else (machine, "this machine")
        if each.memory and there and each.memory > there:
            hint = (
                'a smaller base, precision = "nf4", or another device: seatrial preflight compares them'
                if each.step.name == "adapter"
                else "a machine with more memory; what it builds is judged here with --store-remote"
            )
            told.append(
                SeatrialError(
                    f"{each.step.title} cannot be built: it takes at least {each.memory / GB:.1f} GB of "
                    f"memory, and {what} has {there / GB:.1f} GB",
                    where=f"recipe {recipe.name!r}",
                    hint=hint,
                )
            )
    needed = sum(each.disk or 0 for each in found)
    free = shutil.disk_usage(_existing(root)).free
    if needed > free:
        told.append(
            SeatrialError(
                f"the disk is too small: what is to be built fills {needed / GB:.1f} GB, and "
                f"{free / GB:.1f} GB are free",
                where=root,
                hint="seatrial store prune --unreported, or --store=DIR on a larger disk",
            )
        )
    return told


def require_room(task: Source, recipe: Recipe, root: Path, exchange: Exchange | None = None) -> None:
    """Raise :class:`SeatrialError` if what is to be built surely does not fit memory or disk.

    What is wrong with weights or rows is not told here: the step that takes them tells it.
    """
    try:
        plan = planned(task, recipe, root, exchange)
        told = refusals(forecasts(plan, recipe, root), recipe, root)
    except SeatrialError:
        return
    for error in told:
        raise error


class _Sizes:
    """Bytes that each step makes, by the parameters of the base; None where those are not known."""

    def __init__(self, recipe: Recipe, base: Artifact | None) -> None:
        self.recipe, self.base = recipe, base
        self.shape: Shape | None = (shape_in(base.path) if base else None) or known_shape(recipe.base.model)
        self.parameters = _parameters(base) or (self.shape.parameters if self.shape else None)

    def made(self, step: Planned) -> float | None:
        """Bytes of what ``step`` builds."""
        if step.name in ("dataset", "pairs", "converter"):
            return 0.0  # next to nothing
        if step.name in ("adapter", "preference"):
            trained = adapter_parameters(self.shape, self.recipe.lora) if self.shape else None
            return WHOLE * trained if trained else None
        if self.parameters is None:
            return None
        if step.name == "base":
            return self.parameters * {"hub": HALF, "folder": 0}.get(self.recipe.base.source, WHOLE)
        if step.name == "quantized":
            if step.kind == "f16":
                return 0.0  # a link
            bits = bits_of(step.kind)
            return self.parameters * bits / 8 if bits else None
        return self.parameters * {"merged": WHOLE, "gguf": HALF}[step.name]

    def needed(self, step: Planned) -> float | None:
        """Bytes of memory that building ``step`` takes at least, where they depend on the model."""
        dequantised = step.name == "base" and self.recipe.base.source in ("package", "gguf")
        if self.shape and (dequantised or step.name == "merged"):
            return float(self.shape.vocabulary * self.shape.hidden * WHOLE)  # its largest tensor
        return None


def bits_of(kind: str) -> float | None:
    """Bits of a weight in llama.cpp's type ``kind``, scales counted (``gguf.GGML_QUANT_SIZES``); of a mixture
    such as q4_k_m those of its longest known beginning, Q4_K. None for what gguf does not know."""
    try:
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
    except ImportError:  # an extra brings it
        return None

    words = kind.upper().split("_")
    for end in range(len(words), 0, -1):
        found = getattr(GGMLQuantizationType, "_".join(words[:end]), None)
        if found is not None:
            weights, bytes_ = GGML_QUANT_SIZES[found]
            return float(8.0 * bytes_ / weights)
    return None


def _training(step: Planned, recipe: Recipe, root: Path, sizes: _Sizes, lengths: Lengths | None) -> Forecast:
    dtype, backend = resolve_dtype(recipe.trainer.compute_dtype), choose_backend(recipe)[0]
    least = peak = None
    alone, part, on_device = _share(recipe)
    if sizes.shape and (parts := training_bytes(sizes.shape, alone, dtype, 0)):
        least = (parts["weights"] + parts["adapter"]) * part
        longest = min(recipe.trainer.max_length, max(lengths.rows)) if lengths else recipe.trainer.max_length
        most = training_bytes(sizes.shape, alone, dtype, longest) or parts
        peak = least + most["activations"] + most["logits"]
    past = pace(kept_manifests(root), recipe, backend, dtype)
    seconds = seconds_for(past, lengths, recipe) if past and lengths else None
    how = f"{past.tokens_per_second:,.0f} tokens/s, as before" if past and lengths else "never trained here"
    basis = how + ("; memory by formula" if peak else "; the size of this base is not known here")
    return Forecast(step, seconds, least, sizes.made(step), peak, basis, on_device)


def _share(recipe: Recipe) -> tuple[Recipe, float, bool]:
    """What one process trains by ``recipe``, what part of the weights and the adapter lies in one memory, and
    whether that is a device's: shards that are offloaded lie in the machine's memory, all of them, and so do
    the whole models of several processes on its cores."""
    launch = launch_of(recipe)
    if launch is None:
        return recipe, 1.0, True
    alone = recipe.model_copy(update={"trainer": divided(recipe.trainer, launch.processes)})
    if launch.offloaded or launch.cpu:
        return alone, 1.0 if launch.sharded else float(launch.processes), False
    return alone, 1 / launch.processes if launch.sharded else 1.0, True


def _like_the_last(step: Planned, root: Path, sizes: _Sizes) -> Forecast:
    made = sizes.made(step)
    last = _last(root, step)
    if made == 0 and step.name == "base":
        return Forecast(step, None, None, made, None, "links to the folder")
    if made == 0 and last:  # a link, or next to nothing, however large the model is
        return Forecast(step, float(last["seconds"]), None, made, None, _when(last))
    if last is None:
        return Forecast(step, None, sizes.needed(step), made, None, "never built here")
    there = manifest_size(last)
    source = _source(root, last) if step.name == "quantized" else None
    if source and sizes.parameters:
        # a type mixes several numbers of bits: what it came to is the better guide
        share = HALF * sizes.parameters / manifest_size(source)
        made = there * share if made else made
    else:
        share = made / there if made and there else 1.0
    same = math.isclose(share, 1.0, rel_tol=0.1)
    basis = _when(last) + ("" if same else f", {share:.2g} times the size")
    peak = last["facts"].get("peak_memory") if same else None
    return Forecast(step, float(last["seconds"]) * share, sizes.needed(step), made, peak, basis)


def _when(manifest: Mapping[str, Any]) -> str:
    return f"the last time, {manifest['built_at'][:10]}"


def _source(root: Path, quantised: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The manifest of the 16-bit file that a quantised one was made from, if the store holds it."""
    wanted = quantised["inputs"].get("f16")
    held = (each for each in kept_manifests(root, "gguf") if Artifact(root, each).digest == wanted)
    return next(held, None)


def _last(root: Path, step: Planned) -> Mapping[str, Any] | None:
    """The newest manifest of the same step, of the same kind of file."""
    found = [
        manifest
        for manifest in kept_manifests(root, step.name)
        if not step.kind or manifest["params"].get("type") == step.kind
    ]
    return max(found, key=lambda manifest: str(manifest["built_at"]), default=None)


def _parameters(base: Artifact | None) -> int | None:
    """How many numbers a base has that lies there; None where none does, or packed in bits."""
    if base is None or not base.path.is_dir():
        return None
    checkpoint = Checkpoint(base.path)
    if checkpoint.names != frozenset(checkpoint.shapes):
        return None
    return sum(math.prod(shape) for shape in checkpoint.shapes.values()) or None


def _existing(folder: Path) -> Path:
    return next(each for each in (folder, *folder.absolute().parents) if each.exists())
