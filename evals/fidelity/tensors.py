"""Tensors of GGUF files as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seatrial.training.gguf_file import open_gguf
from seatrial.training.store import Artifact


def tensors(path: Path) -> dict[str, Any]:
    """The tensors of a GGUF file by name."""
    return {tensor.name: tensor for tensor in open_gguf(path).tensors}


def values(tensor: Any) -> Any:
    """A GGUF tensor's numbers as float32, shape (rows, columns).

    Raises:
        NotImplementedError: the gguf package does not know how its type is packed.
    """
    import numpy as np
    from gguf.quants import dequantize

    found = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
    return found.reshape(1, -1) if found.ndim == 1 else found.reshape(-1, found.shape[-1])


def shape(tensor: Any) -> Sequence[int]:
    return [int(size) for size in tensor.shape]


def gguf_of(artifact: Artifact) -> Path:
    """The GGUF file of an artifact."""
    return next(artifact.path.glob("*.gguf"))
