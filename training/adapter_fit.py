"""Whether an adapter can have been trained on a base: every layer that it changes is there, in its size.

Reads headers only. Two bases of the same shapes are not told apart here: the strength of the adapter in the
file that ships is what tells them apart (``evals/fidelity/strength.py``).
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from seatrial.training.errors import SeatrialError

LAYER = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])(?:\.\w+)?\.weight")
Shapes = dict[str, tuple[int, ...]]


def require_fit(adapter: Path, base: Path) -> None:
    """Raise :class:`SeatrialError` unless the LoRA layers of ``adapter`` fit the linear layers of ``base``.

    A base whose weights are quantised already, or are no safetensors, does not show the sizes of its layers;
    neither does an adapter that is none: nothing is said of those.
    """
    changed, there = _layers(_shapes(adapter)), _shapes(base)
    if not changed or not there or _is_quantised(base):
        return
    known = [module for module in changed if f"{module}.weight" in there]
    named = _base_name(adapter)
    hint = f"take the base that it was trained on; its adapter_config.json names {named!r}"
    alien = {module for module in changed if "experts" not in module and not _has_alike(there, module)}
    if alien == set(changed):
        module = min(changed)
        raise SeatrialError(
            f"the adapter was trained on another base: it changes {module}, which {base} does not have",
            where=adapter,
            hint=hint,
        )
    for module in known:
        shape, wanted = there[f"{module}.weight"], changed[module]
        if sorted(shape) != sorted(wanted):  # GPT-2's layers are stored the other way round
            raise SeatrialError(
                f"the adapter was trained on another base: its {module} is {_times(wanted)}, "
                f"that of {base} is {_times(shape)}",
                where=adapter,
                hint=hint,
            )


def _has_alike(there: Shapes, module: str) -> bool:
    """Whether a layer of that name is there, wherever in the model: transformers loads many a checkpoint
    under other names (a text model inside one that also sees, experts that are put together)."""
    end = ".".join(module.split(".")[-2:])
    return any(name.endswith(f"{end}.weight") for name in there)


def _layers(shapes: Shapes) -> Shapes:
    """The size (out, in) of each layer that has both halves of a LoRA update."""
    halves: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, shape in shapes.items():
        if (found := LAYER.fullmatch(name)) and len(shape) == 2:
            halves.setdefault(found["module"], {})[found["side"]] = shape
    return {
        module: (sides["B"][0], sides["A"][1]) for module, sides in halves.items() if {"A", "B"} <= set(sides)
    }


def _shapes(folder: Path) -> Shapes:
    """The shape of each tensor, from the headers of the folder's safetensors files."""
    found: Shapes = {}
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > path.stat().st_size:
                continue  # half a file: who loads it says so
            header = json.loads(file.read(length))
        found |= {name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}
    return found


def _is_quantised(base: Path) -> bool:
    path = base / "config.json"
    return path.is_file() and "quantization_config" in json.loads(path.read_text(encoding="utf-8"))


def _base_name(adapter: Path) -> str:
    path = adapter / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return str(config.get("base_model_name_or_path"))


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
