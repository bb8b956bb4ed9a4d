"""How the tensors of a model lie in its files, where transformers loads them under other names or in parts.

The experts of a layer are one tensor in the model and lie in the files one by one, so they are put together
as they are read, and apart again as they are written; by the conversions that transformers loads and saves
with.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from seatrial.training.checkpoint import Checkpoint
from seatrial.training.shards import NotByTensor

if TYPE_CHECKING:
    import torch


class Layout:
    """Reads the tensors of ``model``, which has no weights, out of ``checkpoint``.

    Raises:
        NotByTensor: the model is a part of the one that is stored.
    """

    def __init__(self, model: Any, checkpoint: Checkpoint) -> None:
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import PrefixChange, WeightConverter, rename_source_key

        self._model, self._checkpoint = model, checkpoint
        self._mapping = get_model_conversion_mapping(model, add_legacy=False)
        if any(isinstance(each, PrefixChange) for each in self._mapping):
            raise NotByTensor("it lies in the files as a part of a larger model")
        model._weight_conversions = self._mapping  # what revert_weight_conversion goes by
        converters = [each for each in self._mapping if isinstance(each, WeightConverter)]
        renamings = [each for each in self._mapping if each not in converters]
        self._converters = {pattern: each for each in converters for pattern in each.source_patterns}
        self._sources: dict[str, list[tuple[str, str | None]]] = {}
        for stored in sorted(checkpoint.names, key=_natural):
            name, pattern = rename_source_key(stored, renamings, converters)
            self._sources.setdefault(name, []).append((stored, pattern))

    def __contains__(self, name: str) -> bool:
        return name in self._sources

    @property
    def is_converted(self) -> bool:
        """Whether any tensor is made of others."""
        return any(pattern for sources in self._sources.values() for _, pattern in sources)

    def read(self, name: str) -> torch.Tensor:
        """The tensor that the model calls ``name``, in the type that it is stored in."""
        first, pattern = self._sources[name][0]
        if pattern is None:
            return self._checkpoint.read(first)
        converter = deepcopy(self._converters[pattern])
        for stored, each in self._sources[name]:
            converter.add_tensor(name, stored, each, self._checkpoint.read(stored))
        return _one(converter.convert(name, model=self._model, config=self._model.config)[name])

    def written(self, name: str, tensor: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """What is saved of the tensor ``name``: by other names, or in several parts."""
        from transformers.core_model_loading import revert_weight_conversion

        if not self._mapping:
            return {name: tensor}
        found = revert_weight_conversion(self._model, {name: tensor})
        return {key: _one(value) for key, value in found.items()}


def _one(value: Any) -> torch.Tensor:
    found: torch.Tensor = value[0] if isinstance(value, list) else value
    return found


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """Expert 2 comes before expert 10."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in name.split(".")]
