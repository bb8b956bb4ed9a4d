"""What a merge script of one's own gets wrong, or does in its own way.

Each takes the base's weights by name (changed in place), what LoRA adds to them, and the adapter's configuration.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

Weights = Mapping[str, Any]
Mistake = Callable[[Weights, Weights, Mapping[str, Any]], None]


def none(weights: Weights, updates: Weights, config: Mapping[str, Any]) -> None:
    for name, update in updates.items():
        weights[name].add_(update)


def scaled(factor: float) -> Mistake:
    def merge(weights: Weights, updates: Weights, config: Mapping[str, Any]) -> None:
        for name, update in updates.items():
            weights[name].add_(factor * update)

    return merge


def scaled_by_the_root_of_the_rank(weights: Weights, updates: Weights, config: Mapping[str, Any]) -> None:
    scaled(config["r"] ** 0.5)(weights, updates, config)


def without(pattern: str) -> Mistake:
    def merge(weights: Weights, updates: Weights, config: Mapping[str, Any]) -> None:
        none(weights, {name: update for name, update in updates.items() if pattern not in name}, config)

    return merge


def half_of_the_layers(weights: Weights, updates: Weights, config: Mapping[str, Any]) -> None:
    layers = sorted({_layer(name) for name in updates})
    kept = set(layers[: len(layers) // 2])
    none(weights, {name: update for name, update in updates.items() if _layer(name) in kept}, config)


def into_the_next_layer(weights: Weights, updates: Weights, config: Mapping[str, Any]) -> None:
    count = 1 + max(_layer(name) for name in updates)
    for name, update in updates.items():
        layer = _layer(name)
        weights[name.replace(f"layers.{layer}.", f"layers.{(layer + 1) % count}.")].add_(update)


def transposed_where_square(weights: Weights, updates: Weights, config: Mapping[str, Any]) -> None:
    for name, update in updates.items():
        weights[name].add_(update.T if update.shape[0] == update.shape[1] else update)


def overwritten(weights: Weights, updates: Weights, config: Mapping[str, Any]) -> None:
    """One layer's weights are replaced by the update instead of being added to."""
    none(weights, updates, config)
    for name, update in updates.items():
        if _layer(name) == 0:
            weights[name].copy_(update)


def in_half(dtype: str) -> Mistake:
    """The sum is made in 16 bits: no fault, only rounding."""

    def merge(weights: Weights, updates: Weights, config: Mapping[str, Any]) -> None:
        import torch

        kind = getattr(torch, dtype)
        for name, update in updates.items():
            weights[name].copy_((weights[name].to(kind) + update.to(kind)).float())

    return merge


def changed(change: Callable[[Any], Any], pattern: str = "") -> Mistake:
    """Something is done to the updates of modules with ``pattern`` in their names."""

    def merge(weights: Weights, updates: Weights, config: Mapping[str, Any]) -> None:
        none(
            weights,
            {name: change(each) if pattern in name else each for name, each in updates.items()},
            config,
        )

    return merge


def pruned(update: Any) -> Any:
    sizes = update.abs()
    return update * (sizes >= sizes.flatten().sort().values[int(0.8 * sizes.numel())])


def dropped(update: Any) -> Any:
    import torch

    kept = torch.rand(update.shape, generator=torch.Generator().manual_seed(0)) >= 0.9
    return update * kept * 10


def clipped(update: Any) -> Any:
    limit = float(update.std())
    return update.clamp(-limit, limit)


def cut(update: Any) -> Any:
    import torch

    left, sizes, right = torch.linalg.svd(update.float(), full_matrices=False)
    half = int((sizes > 1e-3 * sizes[0]).sum()) // 2
    return (left[:, :half] * sizes[:half]) @ right[:half]


def reordered(update: Any) -> Any:
    """As if all rows were one head's, both halves interleaved."""
    return update.reshape(2, len(update) // 2, -1).swapaxes(0, 1).reshape(update.shape)


def _layer(name: str) -> int:
    found = re.search(r"layers\.(\d+)\.", name)
    assert found
    return int(found[1])


MISTAKES: dict[str, Mistake] = {
    "none": none,
    "a-fifth-too-strong": scaled(1.2),
    "a-tenth-too-strong": scaled(1.1),
    "a-fifth-too-weak": scaled(0.8),
    "subtracted": scaled(-1.0),
    "scaled-by-the-root-of-the-rank": scaled_by_the_root_of_the_rank,
    "without-v": without("v_proj"),
    "without-mlp": without("mlp."),
    "half-of-the-layers": half_of_the_layers,
    "into-the-next-layer": into_the_next_layer,
    "transposed-where-square": transposed_where_square,
    "small-updates-pruned": changed(pruned),
    "updates-dropped-at-random": changed(dropped),
    "updates-clipped": changed(clipped),
    "half-of-the-rank": changed(cut),
    "averaged-with-the-base": scaled(0.5),
    "o-too-weak": changed(lambda update: update / 2, "o_proj"),
    "rows-in-another-order": changed(reordered, "q_proj"),
    "overwritten": overwritten,
    "float16": in_half("float16"),
    "bfloat16": in_half("bfloat16"),
}
