"""The tensors of a model folder, one at a time: a model of any size is read in the memory of its largest one.

Weights that lie there packed by bitsandbytes (4 bits with their quantisation state, or 8 bits with their
scales) come back dequantised, by bitsandbytes' own functions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seatrial.training.errors import SeatrialError

if TYPE_CHECKING:
    import torch

SCALES = "SCB"  # of the rows of an 8-bit weight, beside it


class Checkpoint:
    """The safetensors files of ``folder``, whose names match ``pattern``.

    Nothing is kept open: a mapped file counts as memory as far as it was read.
    """

    def __init__(self, folder: Path, pattern: str = "model*.safetensors") -> None:
        self.folder, self._pattern = folder, pattern

    @cached_property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of every tensor in the files, as it lies there, by name."""
        return {name: shape for name, (_, shape) in self._entries.items()}

    @cached_property
    def names(self) -> frozenset[str]:
        """Every tensor that :meth:`read` gives, without the parts that packed ones are made of."""
        states = {name.partition(".quant_state.")[0] for name in self._entries if ".quant_state." in name}
        parts = {name for name in self._entries for state in states if name.startswith(f"{state}.")}
        parts |= {name for name in self._entries if name.endswith((f".{SCALES}", ".weight_format"))}
        return frozenset(self._entries) - parts

    def read(self, name: str) -> torch.Tensor:
        """The tensor ``name`` in the type that it is stored in or, if packed, was packed from."""
        start = f"{name}.quant_state."
        if any(entry.startswith(start) for entry in self._entries):
            return self._four_bits(name)
        scales = f"{name.removesuffix('.weight')}.{SCALES}"
        if name.endswith(".weight") and scales in self._entries:
            from bitsandbytes.functional import int8_vectorwise_dequant

            found: torch.Tensor = int8_vectorwise_dequant(self._raw(name), self._raw(scales))
            return found
        return self._raw(name)

    def _four_bits(self, name: str) -> torch.Tensor:
        from bitsandbytes.functional import QuantState, dequantize_4bit

        parts = [entry for entry in self._entries if entry.startswith(f"{name}.")]
        state = QuantState.from_dict({part: self._raw(part) for part in parts}, "cpu")
        found: torch.Tensor = dequantize_4bit(self._raw(name), state)
        return found

    def _raw(self, name: str) -> torch.Tensor:
        from safetensors import safe_open

        with safe_open(self._entries[name][0], framework="pt") as file:
            found: torch.Tensor = file.get_tensor(name).clone()
        return found

    @cached_property
    def _entries(self) -> Mapping[str, tuple[Path, tuple[int, ...]]]:
        found: dict[str, tuple[Path, tuple[int, ...]]] = {}
        for path in sorted(self.folder.glob(self._pattern)):
            for name, entry in _header(path).items():
                found[name] = path, tuple(entry["shape"])
        return found


def _header(path: Path) -> dict[str, Any]:
    """The names, types and shapes at the beginning of a safetensors file."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            raise SeatrialError(
                f"{path.name} is half there or damaged", where=path, hint="get this file again"
            )
        header: dict[str, Any] = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return header
