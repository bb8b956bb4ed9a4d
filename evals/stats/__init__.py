"""Estimates with intervals, paired comparisons, and how many cases would be enough.

Every number that Seatrial shows goes through here, so that it has an interval, or says that nothing was
sampled, or that too little was. An interval must hold where a verdict needs it most: with few cases, and
where all of them agree. A plain bootstrap does not: of equal values it makes an interval of no width. So each
kind of score has its own method, and a bound that nothing supports is None. numpy and scipy do the work.
"""

from seatrial.evals.stats.means import compare_means, mean
from seatrial.evals.stats.percentiles import compare_percentiles, percentile, percentile_of
from seatrial.evals.stats.results import Comparison, Estimate, compare_counted, counted, single
from seatrial.evals.stats.rows import (
    FEWEST_ROWS,
    compare_perplexity,
    compare_weighted_means,
    perplexity,
    perplexity_of,
    weighted_mean,
    weighted_mean_of,
)
from seatrial.evals.stats.sampling import pass_at_k, pass_hat_k
from seatrial.evals.stats.shares import (
    cases_needed,
    compare_shares,
    fewest_all_right,
    fewest_all_won,
    proportion,
)
from seatrial.evals.stats.skewed import fewest_bounded

__all__ = [
    "FEWEST_ROWS",
    "Comparison",
    "Estimate",
    "cases_needed",
    "compare_counted",
    "compare_means",
    "compare_percentiles",
    "compare_perplexity",
    "compare_shares",
    "compare_weighted_means",
    "counted",
    "fewest_all_right",
    "fewest_all_won",
    "fewest_bounded",
    "mean",
    "pass_at_k",
    "pass_hat_k",
    "percentile",
    "percentile_of",
    "perplexity",
    "perplexity_of",
    "proportion",
    "single",
    "weighted_mean",
    "weighted_mean_of",
]
