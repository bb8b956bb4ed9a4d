"""Training in several processes by an accelerate configuration: what is in the file, and what may be.

The same recipe, one file more: ``accelerate = "ddp"`` names ``training/accelerate/ddp.yaml``, or give a path.
What decides the adapter stays the recipe's: rows of an update are shared among the processes, never added to.
Nothing here imports torch: a step's key is derived where it never is.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatrial.training.errors import SeatrialError
from seatrial.training.hardware import cuda_devices
from seatrial.training.recipe import Recipe, Trainer

CONFIGURATIONS = Path(__file__).parent / "accelerate"
KINDS = {"MULTI_GPU": False, "FSDP": True}  # distributed_type -> whether the model is sharded
NO_MPI = (
    "accelerate starts one process for it without MPI: write distributed_type: MULTI_GPU and use_cpu: true, "
    "and torchrun starts them"
)


@dataclass(frozen=True)
class Launch:
    """An accelerate configuration: how many processes, whether each has the whole model, and on what.

    ``offloaded``: shards wait in the machine's memory, and a device holds one layer of them at a time.
    """

    file: Path
    processes: int
    sharded: bool
    cpu: bool
    offloaded: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        """What of it decides the adapter, for a step's key.

        The processes do: each draws its own dropout, sums are added in another order, and the last update of
        an epoch is filled up with rows of its beginning. So does sharding, which holds the adapter in the
        compute dtype. The rest of the file decides how fast it is, and where.
        """
        return {"processes": self.processes} | ({"sharded": True} if self.sharded else {})

    def require_devices(self) -> None:
        """Raise :class:`SeatrialError` unless there is a device for each process."""
        there = (os.cpu_count() or 1) if self.cpu else cuda_devices()
        if self.processes > there:
            what = "core" if self.cpu else "CUDA device"
            raise SeatrialError(
                f"num_processes: {self.processes}, and there {'is' if there == 1 else 'are'} {there} {what}"
                f"{'' if there == 1 else 's'} here",
                where=self.file,
                hint=f"num_processes: {there}" if there > 1 else "train without --accelerate, in one process",
            )


def launch_of(recipe: Recipe) -> Launch | None:
    """The accelerate configuration that a recipe names; None where it names none, or one for one process.

    Raises:
        SeatrialError: no such file, a mistake in it, or the recipe cannot be trained by it.
    """
    if recipe.accelerate is None:
        return None
    launch = _read(_find(recipe.accelerate, recipe.folder))
    if launch.processes == 1 and not launch.sharded:
        return None
    if launch.sharded and recipe.base.precision not in ("nf4", "nf4-double", "bf16", "fp16"):
        raise SeatrialError(
            f"FSDP shards no weights in [base] precision = {recipe.base.precision!r}",
            where=f"recipe {recipe.name!r}",
            hint='precision = "nf4"; or accelerate = "ddp", where the model fits one GPU',
        )
    divided(recipe.trainer, launch.processes)
    return launch


def with_accelerate(recipe: Recipe, given: str, start: Path) -> Recipe:
    """``recipe`` by another accelerate configuration: a shipped one's name, or a file from ``start``.

    Raises:
        SeatrialError: as :func:`launch_of`.
    """
    changed = recipe.model_copy(update={"accelerate": str(_find(given, start))})
    launch_of(changed)
    return changed


def divided(trainer: Trainer, processes: int) -> Trainer:
    """The settings of one of ``processes``, so that all of them together take the recipe's rows an update:
    accumulation is divided first, then the batch.

    Raises:
        SeatrialError: the rows of an update cannot be shared equally.
    """
    rows = trainer.batch_size * trainer.gradient_accumulation
    shared = math.gcd(trainer.gradient_accumulation, processes)
    batch, rest = divmod(trainer.batch_size, processes // shared)
    if rest:
        able = [count for count in range(2, rows + 1) if rows % count == 0]
        raise SeatrialError(
            f"{rows} rows an update (batch_size x gradient_accumulation) cannot be shared by {processes} "
            "processes, and another number of rows would be another training",
            where="recipe [trainer]",
            hint=f"num_processes: {' or '.join(map(str, able))}" if able else "train in one process",
        )
    update = {"batch_size": batch, "gradient_accumulation": trainer.gradient_accumulation // shared}
    return trainer.model_copy(update=update)


def _find(name: str, folder: Path) -> Path:
    shipped = CONFIGURATIONS / f"{name}.yaml"
    path = shipped if shipped.is_file() else folder / name
    if not path.is_file():
        known = ", ".join(sorted(each.stem for each in CONFIGURATIONS.glob("*.yaml")))
        raise SeatrialError(
            f"there is no accelerate configuration {name!r}",
            where="accelerate",
            hint=f"a file that 'accelerate config' wrote, or one of: {known}",
        )
    return path.resolve()


def _read(path: Path) -> Launch:
    try:
        import yaml
    except ImportError:
        raise SeatrialError("needs the package 'pyyaml'", where=path, hint="pip install pyyaml") from None
    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SeatrialError(f"cannot be read: {' '.join(str(error).split())[:200]}", where=path) from None
    if not isinstance(told, dict):
        raise SeatrialError("is no accelerate configuration", where=path, hint="accelerate config writes one")

    def wrong(key: str, hint: str) -> SeatrialError:
        return SeatrialError(f"{key}: {told.get(key)!r}", where=path, hint=hint)

    kind, processes = told.get("distributed_type"), told.get("num_processes")
    if told.get("compute_environment", "LOCAL_MACHINE") != "LOCAL_MACHINE":
        raise wrong("compute_environment", "only LOCAL_MACHINE: Seatrial starts the processes here")
    if told.get("num_machines", 1) != 1:
        raise wrong("num_machines", "1: Seatrial starts processes of this machine only")
    if kind == "MULTI_CPU":
        raise wrong("distributed_type", NO_MPI)
    if kind not in (*KINDS, "NO"):
        raise wrong("distributed_type", f"one of: NO, {', '.join(KINDS)}")
    if isinstance(processes, bool) or not isinstance(processes, int) or processes < 1:
        raise wrong("num_processes", "how many processes train, one for each GPU")
    if kind == "NO" and processes > 1:
        raise wrong("distributed_type", f"MULTI_GPU or FSDP, for {processes} processes")
    if told.get("mixed_precision") not in (None, "no", False):
        raise wrong("mixed_precision", '"no": the recipe\'s compute_dtype decides')
    if told.get("gradient_accumulation_steps") not in (None, 1):
        raise wrong("gradient_accumulation_steps", "leave it out: the recipe's decides")
    sharded, fsdp = KINDS.get(str(kind), False), told.get("fsdp_config") or {}
    offloaded = sharded and isinstance(fsdp, dict) and bool(fsdp.get("fsdp_offload_params", False))
    return Launch(path, processes, sharded, bool(told.get("use_cpu", False)), offloaded)
