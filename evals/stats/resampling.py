"""Random weights of cases: the Bayesian bootstrap, in batches, so that 50,000 cases need no more memory.

Rubin (1981, Annals of Statistics 9:130-134): each case gets a weight from the exponential distribution
instead of a number of copies. The weights of one draw, divided by their sum, are Dirichlet-distributed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

SEED = 20240229
MOST, LEAST = 10_000, 200  # draws
BUDGET = 8_000_000  # weights drawn for one interval, which takes about a second
BATCH = 1_000_000  # weights held at a time: 8 MB


def draws_for(n: int) -> int:
    """How many times ``n`` cases are drawn: as often as the budget allows."""
    return max(LEAST, min(MOST, BUDGET // n))


def weighted_sums(columns: Sequence[Any], copies: Any = None) -> tuple[Any, Any]:
    """Sums of each column under random weights of its rows, and the weight of one further case a draw.

    ``columns``: k arrays of n numbers; ``copies``: how many equal cases each row stands for. The sums have
    the shape (draws, k), the further weights (draws,).
    """
    import numpy as np

    random = np.random.default_rng(SEED)
    table = np.column_stack(columns)
    draws, rows = draws_for(len(table)), max(1, BATCH // len(table))
    sums = []
    for start in range(0, draws, rows):
        size = (min(rows, draws - start), len(table))
        weights = random.standard_exponential(size) if copies is None else random.standard_gamma(copies, size)
        sums.append(weights @ table)
    return np.concatenate(sums), random.standard_exponential(draws)


def expanded(n: int, confidence: float) -> float:
    """The tail to cut off on either side so that an interval of n resampled cases is as wide as it must be.

    Intervals of few resampled cases are too narrow, for two reasons: the spread is that of n cases instead of
    n - 1, and its uncertainty is left out. Hesterberg (2015, The American Statistician 69:371-386, "expanded
    percentile interval") makes up for both by the quantiles of Student's t.
    """
    from scipy.stats import norm, t

    quantile = t.ppf(0.5 + confidence / 2, n - 1) * math.sqrt((n + 1) / (n - 1))
    return float(norm.cdf(-quantile))
