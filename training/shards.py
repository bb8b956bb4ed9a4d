"""Writes the weights of a model as safetensors files, each tensor as soon as it is made.

Such a file begins with a header that says where in it each tensor lies, so shapes are told first and the
numbers follow one tensor at a time: no more than that is held. The bytes are those of the safetensors package
(https://github.com/huggingface/safetensors#format), and the shards those that transformers would save.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

INDEX = "model.safetensors.index.json"
NUMBER = 4  # bytes of a float32
ALIGNED = 8  # bytes: a header is filled up with blanks to a multiple of this


class NotByTensor(Exception):
    """This model cannot be made one tensor at a time; the message says why."""


def write_shards(
    out: Path,
    shapes: Mapping[str, Sequence[int]],
    made: Callable[[str], torch.Tensor],
    send: Callable[..., None],
    size: int,
) -> int:
    """Write float32 tensors into the folder ``out``, and an index if they fill more than one file.

    Args:
        shapes: of every tensor, by name, in the order in which they are made.
        made: the tensor of a name, float32; asked for each once.
        send: told how many files are ``done`` and how many there are in ``total``.
        size: bytes of a file at most; a larger tensor has one of its own.

    Returns:
        How many numbers they hold.
    """
    import torch
    from huggingface_hub import split_torch_state_dict_into_shards

    empty = {name: torch.empty(tuple(shape), device="meta") for name, shape in shapes.items()}
    plan = split_torch_state_dict_into_shards(empty, max_shard_size=size)
    numbers = sum(math.prod(shape) for shape in shapes.values())
    for done, (file, names) in enumerate(plan.filename_to_tensors.items()):
        send(done=done, total=len(plan.filename_to_tensors))
        _write(out / file, {name: tuple(shapes[name]) for name in names}, made)
    if plan.is_sharded:
        index = {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename}
        (out / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return numbers


def _write(path: Path, shapes: Mapping[str, tuple[int, ...]], made: Callable[[str], torch.Tensor]) -> None:
    """One file; its tensors lie in the order of their names, in whichever order they are made."""
    import torch

    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    begins, end = {}, 0
    for name in sorted(shapes):
        begins[name], end = end, end + NUMBER * math.prod(shapes[name])
        header[name] = {"dtype": "F32", "shape": shapes[name], "data_offsets": [begins[name], end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % ALIGNED)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in shapes.items():
            tensor = made(name).contiguous()
            if tensor.dtype != torch.float32 or tensor.shape != shape:
                raise ValueError(f"{name}: {tensor.dtype} {tuple(tensor.shape)}, not float32 {shape}")
            file.seek(8 + len(text) + begins[name])
            file.write(tensor.detach().numpy().astype("<f4", copy=False).reshape(-1).data)
            del tensor  # before the next one is made
