"""Reads a GGUF file, lets a fault change metadata and tensors, and writes it again; all else stays equal.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Tensors stay memory-mapped until they are
written, so a file is never written onto itself. Keys, tensors and their order are kept. Empty arrays and
arrays of arrays, which the gguf package cannot write, are not supported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter

from seatrial.training.gguf_file import open_gguf

ARCHITECTURE, ALIGNMENT = "general.architecture", "general.alignment"


@dataclass(frozen=True)
class Value:
    """A metadata value with its GGUF type; ``item`` is the type of an array's items."""

    value: Any
    kind: GGUFValueType
    item: GGUFValueType | None = None


@dataclass(frozen=True)
class Tensor:
    """A tensor, outermost dimension first; quantised ones as rows of bytes."""

    data: np.ndarray
    kind: GGMLQuantizationType


@dataclass
class Gguf:
    """The content of a GGUF file, free to be changed."""

    metadata: dict[str, Value]
    tensors: dict[str, Tensor]

    def __getitem__(self, key: str) -> Any:
        return self.metadata[key].value

    def __setitem__(self, key: str, value: Any) -> None:
        """Change the value of a key that is there; its type stays."""
        self.metadata[key] = replace(self.metadata[key], value=value)

    def say(self, key: str, value: Any, kind: str | None = None) -> None:
        """Add a key, or say another value; what kind of GGUF value a new one is follows from Python's, or is
        ``kind``, such as ``UINT64``, which for a list is that of its items."""
        if kind and isinstance(value, list):
            self.metadata[key] = Value(value, GGUFValueType.ARRAY, GGUFValueType[kind])
        elif kind:
            self.metadata[key] = Value(value, GGUFValueType[kind])
        elif key in self.metadata:
            self[key] = value
        elif isinstance(value, list):
            self.metadata[key] = Value(value, GGUFValueType.ARRAY, _kind(value[0]))
        else:
            self.metadata[key] = Value(value, _kind(value))

    def swap(self, key: str, first: int, second: int) -> None:
        """Exchange two items of an array."""
        items = list(self[key])
        items[first], items[second] = items[second], items[first]
        self[key] = items

    def change(self, tensor: str, how: Callable[[np.ndarray], np.ndarray]) -> None:
        """Replace the numbers of an F16 or F32 tensor; their type stays."""
        old = self.tensors[tensor]
        if old.kind not in (GGMLQuantizationType.F16, GGMLQuantizationType.F32):
            raise ValueError(f"{tensor} is {old.kind.name}: change the F16 file and quantise it")
        data = np.ascontiguousarray(how(np.array(old.data)), dtype=old.data.dtype)
        if data.shape != old.data.shape:
            raise ValueError(f"{tensor} has the shape {old.data.shape}, not {data.shape}")
        self.tensors[tensor] = Tensor(data, old.kind)


def _kind(value: Any) -> GGUFValueType:
    """The kind that llama.cpp's converter writes such a value as: whole numbers have 32 bits."""
    return GGUFValueType.UINT32 if type(value) is int else GGUFValueType.get_type(value)


def read(path: Path) -> Gguf:
    """The content of ``path``."""
    reader = open_gguf(path)
    metadata = {
        name: Value(field.contents(), field.types[0], field.types[-1] if len(field.types) > 1 else None)
        for name, field in reader.fields.items()
        if not name.startswith("GGUF.")  # the header's counts, which the reader lists, too
    }
    return Gguf(metadata, {tensor.name: Tensor(tensor.data, tensor.tensor_type) for tensor in reader.tensors})


def write(content: Gguf, path: Path) -> Path:
    """Write ``content`` to the new file ``path``.

    Raises:
        FileExistsError: the file is there; it may be the one that the tensors are read from.
    """
    if path.exists():
        raise FileExistsError(path)
    writer = GGUFWriter(path, content[ARCHITECTURE])  # writes that key itself, first
    if ALIGNMENT in content.metadata:
        writer.data_alignment = content[ALIGNMENT]
    for key, entry in content.metadata.items():
        if key != ARCHITECTURE:
            writer.add_key_value(key, entry.value, entry.kind, entry.item)
    for name, tensor in content.tensors.items():
        writer.add_tensor(name, tensor.data, raw_dtype=tensor.kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def place_of(path: Path, tensor: str) -> range:
    """The bytes of the file ``path`` that hold ``tensor``."""
    found = next(entry for entry in GGUFReader(path).tensors if entry.name == tensor)
    return range(found.data_offset, found.data_offset + found.n_bytes)
