"""What a model can do and what it can be relied on for, where decoding draws: several answers to one case.

A case is asked ``n`` times at a temperature above 0, ``c`` of the answers are right, and both numbers speak
of ``k`` new attempts: ``pass@k`` that at least one is right (a person, or a test, picks the right one),
``pass^k`` that all are (nobody looks, as with an agent that acts). For ``k = 1`` both are ``c / n``; with
growing ``k`` the first rises and the second falls. Both are of one case: their mean over cases is the score.
"""

from __future__ import annotations

import math


def pass_at_k(n: int, c: int, k: int) -> float:
    """Chance that at least one of ``k`` attempts is right, estimated without bias from ``c`` of ``n``.

    ``1 - C(n-c, k) / C(n, k)``: the share of the subsets of ``k`` answers that hold a right one (Chen et al.
    2021, arXiv:2107.03374, section 2.1). Computed as ``1 - prod(1 - k/i)`` for ``i`` from ``n-c+1`` to ``n``,
    whose factors stay within 0 and 1 where binomial coefficients outgrow a float. The plug-in
    ``1 - (1 - c/n)^k`` would be too low.

    Args:
        n: answers drawn, at least 1.
        c: right ones among them, 0 to ``n``.
        k: attempts, 1 to ``n``.

    Returns:
        A probability, 0 to 1; 1 where fewer than ``k`` answers are wrong.

    Raises:
        TypeError: a number is not whole.
        ValueError: a number is out of its range.
    """
    _check(n, c, k)
    if n - c < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(n - c + 1, n + 1))


def pass_hat_k(n: int, c: int, k: int) -> float:
    """Chance that all of ``k`` attempts are right (pass^k), estimated without bias from ``c`` of ``n``.

    ``C(c, k) / C(n, k)``: the share of the subsets of ``k`` answers that hold right ones only (Yao et al.
    2024, tau-bench, arXiv:2406.12045). Computed as ``prod((c-i) / (n-i))`` for ``i`` from 0 to ``k-1``. The
    plug-in ``(c/n)^k`` would be too high.

    Args:
        n: answers drawn, at least 1.
        c: right ones among them, 0 to ``n``.
        k: attempts, 1 to ``n``.

    Returns:
        A probability, 0 to 1; 0 where fewer than ``k`` answers are right.

    Raises:
        TypeError: a number is not whole.
        ValueError: a number is out of its range.
    """
    _check(n, c, k)
    if c < k:
        return 0.0
    return math.prod((c - i) / (n - i) for i in range(k))


def _check(n: int, c: int, k: int) -> None:
    for name, value in (("n", n), ("c", c), ("k", k)):
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{name} counts answers, so it must be a whole number: {value!r}")
    if n < 1:
        raise ValueError(f"n = {n}: at least one answer must have been drawn")
    if not 0 <= c <= n:
        raise ValueError(f"c = {c}: of {n} answers, 0 to {n} can be right")
    if not 1 <= k <= n:
        raise ValueError(f"k = {k}: {n} answers speak of 1 to {n} attempts")
