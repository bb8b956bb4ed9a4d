"""What a calculation gives: a value or a paired difference, with its interval. And what needs no interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A value with the bounds of its confidence interval.

    A bound is None for one of two reasons. ``sampled`` is false: all there is was counted, so the value is
    the truth and decides by itself. ``sampled`` is true: the cases are too few or too alike to support a
    bound, so nothing is sure.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    method: str
    sampled: bool = True


@dataclass(frozen=True)
class Comparison:
    """A paired difference (first minus second) over ``n`` pairs, and an exact p-value for binary scores.

    ``low``, ``high`` and ``sampled`` mean what they mean in :class:`Estimate`.
    """

    difference: float
    low: float | None
    high: float | None
    p_value: float | None
    method: str
    n: int
    sampled: bool = True


def counted(values: Sequence[float]) -> Estimate:
    """Share of ones where all there is was counted: nothing was sampled, so there is no interval."""
    return Estimate(math.fsum(values) / len(values), None, None, len(values), "all counted", sampled=False)


def single(value: float) -> Estimate:
    """One measured value: nothing was sampled, so there is no interval."""
    return Estimate(value, None, None, 1, "measured once", sampled=False)


def compare_counted(first: Estimate, second: Estimate) -> Comparison:
    """Difference of two values of which neither was sampled: the difference is the truth, too."""
    return Comparison(
        first.value - second.value,
        None,
        None,
        None,
        first.method,
        min(first.n, second.n),
        sampled=False,
    )


def within(value: float, low: float | None, high: float | None) -> tuple[float | None, float | None]:
    """Bounds that enclose ``value``, which the last digit of a simulated bound may miss."""
    return None if low is None else min(low, value), None if high is None else max(high, value)


def clipped(
    bounds: tuple[float | None, float | None], scale: tuple[float | None, float | None]
) -> tuple[float | None, float | None]:
    """Bounds inside what the quantity can be at all, such as a divergence of at least 0."""
    (low, high), (bottom, top) = bounds, scale
    if low is not None and bottom is not None:
        low = max(low, bottom)
    if high is not None and top is not None:
        high = min(high, top)
    return low, high
