"""What it would take to make a task's model: each step, whether the store holds it, what building it needs.

Reads the store and builds nothing. A step's key is made of the digests of its inputs, so what comes after a
step that is not there yet cannot be looked up: it is to be built, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from pathlib import Path

from seatrial.training import extras, steps, train_steps
from seatrial.training.errors import SeatrialError
from seatrial.training.exchange import Exchange
from seatrial.training.extras import EXAMPLE, FIDELITY, TRAIN
from seatrial.training.recipe import Recipe
from seatrial.training.source import Source
from seatrial.training.store import Artifact, Step, kept

STORE = "the store"  # where what is here lies; else it is a URL
TITLES = {
    "base": "base weights",
    "dataset": "training rows",
    "adapter": "the trained adapter",
    "pairs": "preference pairs",
    "preference": "the adapter after preference optimisation",
    "merged": "base and adapter as one model",
    "converter": "llama.cpp's converter",
    "gguf": "GGUF file, 16 bits",
    "quantized": "GGUF file",
}


@dataclass(frozen=True)
class Planned:
    """A step: what it builds, the ``extra`` that building takes ("" for none), and what the store holds.

    ``where``: where that lies, "" for what is to be built. ``kind``: the type of a quantised file.
    """

    name: str
    title: str
    extra: str
    artifact: Artifact | None
    where: str = ""
    kind: str = ""

    @property
    def size(self) -> int | None:
        """Bytes of what is there; None for what is to be built."""
        return self.artifact.size if self.artifact else None


def planned(task: Source, recipe: Recipe, root: Path, exchange: Exchange | None = None) -> list[Planned]:
    """The steps from base weights to GGUF files, in their order, as they stand in the store at ``root``, or
    in the remote store that ``exchange`` asks.

    Raises:
        SeatrialError: the base weights or the training rows are not there, or there is a mistake in them.
    """
    made: list[Planned] = []

    def look(name: str, extra: str, step: Step | None, kind: str = "") -> Artifact | None:
        artifact, where = _found(root, exchange, step) if step else (None, "")
        title = f"{TITLES[name]}, {kind}" if kind else TITLES[name]
        made.append(Planned(name, title, extra, artifact, where, kind))
        return artifact

    stage = recipe.preference
    pairing = train_steps.prepare_pairs(task.preference_file, task.prompts.system, recipe) if stage else None
    rows = steps.prepare_dataset(task.train_file, task.prompts.system, recipe)
    base = look("base", FIDELITY, steps.import_base(recipe, root))
    dataset = look("dataset", "", rows)
    training = None
    if base and dataset:
        training = train_steps.train_adapter(recipe, base, dataset, elsewhere=exchange is not None)
    adapter = look("adapter", TRAIN, training)
    if pairing:
        pairs = look("pairs", "", pairing)
        prefer = None
        if base and adapter and pairs:
            prefer = train_steps.prefer(recipe, base, adapter, pairs, elsewhere=exchange is not None)
        adapter = look("preference", TRAIN, prefer)
    merge = steps.merge(base, adapter) if base and adapter else None
    merged = look("merged", FIDELITY, merge)
    converter = look("converter", "", _converter())
    convert = steps.convert(merged, converter, task.name) if merged and converter else None
    f16 = look("gguf", FIDELITY, convert)
    for kind in recipe.export.quantizations:
        settings = (task.name, task.prompts.system, task.decoding.model_dump())
        quantize = steps.quantize(f16, kind, *settings) if f16 else None
        look("quantized", "", quantize, kind)
    return made


def extra_for(recipe: Recipe) -> str:
    """The extra that training by ``recipe`` takes."""
    return EXAMPLE if str(recipe.base.package) in extras.EXTRAS[EXAMPLE] else TRAIN


def _found(root: Path, exchange: Exchange | None, step: Step) -> tuple[Artifact | None, str]:
    """What is there of ``step``, and where; what only the remote store holds has a manifest and no files
    yet."""
    wanted = (step, *step.others) if exchange else (step,)
    for each in wanted:
        if artifact := kept(root, each):
            return artifact, STORE
    for each in wanted:
        if exchange and (manifest := exchange.find(each)):
            return Artifact(root / each.name / each.key, manifest), exchange.remote.url
    return None, ""


def require_training(task: Source, recipe: Recipe, root: Path, exchange: Exchange | None = None) -> None:
    """Raise :class:`SeatrialError` if something is to be built and the extra that it takes is not whole.

    What is in the store at ``root`` already, or in the remote one, needs none.
    """
    told = extras.problem(extra_for(recipe))
    if not told:
        return
    try:
        missing = planned(task, recipe, root, exchange)
        wanted = {step.extra for step in missing if not step.artifact and step.extra}
    except SeatrialError:  # without its weights or rows nothing can be built
        wanted = {TRAIN}
    if not any(map(extras.problem, wanted)) and TRAIN not in wanted:
        return
    raise SeatrialError(
        f"a model is trained here, which {told}",
        where=f"recipe {recipe.name!r}",
        hint="a model that is there already is judged without it: --gguf=FILE, or --program=COMMAND",
    )


def _converter() -> Step | None:
    try:
        return steps.fetch_converter()
    except PackageNotFoundError:  # llama-cpp-python is not installed: nothing of it can be there
        return None
