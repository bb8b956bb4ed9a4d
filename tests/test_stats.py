"""Estimates, intervals and comparisons against values from the literature and from exact arithmetic.

python -m pytest tests/test_stats.py
"""

import math
from fractions import Fraction
from statistics import NormalDist

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from evals import stats

ROUNDED = 5e-5
UNEVEN = [math.sqrt(n) for n in range(2, 40)]  # no two resamples of these have the same mean
TOKENS = [float(n % 7 + 1) for n in range(2, 40)]


def ones(hits, n):
    return [1.0] * hits + [0.0] * (n - hits)


# --- proportions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17:857-872, table I, method 3 (Wilson score interval, 95 %)
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        # By the formula in Wilson 1927; SC-1's 18 of 20, and all right
        (18, 20, 0.6990, 0.9721),
        (20, 20, 0.8389, 1.0000),
    ],
)
def test_a_share_has_the_wilson_interval_of_the_literature(hits, n, low, high):
    found = stats.proportion(ones(hits, n), 0.95)
    assert found.value == hits / n
    assert found.n == n
    assert found.method == "Wilson"
    assert found.low == pytest.approx(low, abs=ROUNDED)
    assert found.high == pytest.approx(high, abs=ROUNDED)


def test_more_confidence_needs_a_wider_interval():
    narrow, wide = (stats.proportion(ones(18, 20), level) for level in (0.9, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


def wilson_low(rate, n, confidence):
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    root = math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return (rate + z * z / (2 * n) - z * root) / (1 + z * z / n)


# --- means, percentiles, perplexity --------------------------------------------------------------------


def test_a_mean_lies_in_its_interval_which_shrinks_with_more_cases():
    few = stats.mean([1, 2, 3, 4, 5], 0.95)
    many = stats.mean([1, 2, 3, 4, 5] * 20, 0.95)
    assert few.value == many.value == 3
    assert 1 <= few.low < many.low < 3 < many.high < few.high <= 5
    # Of five values 1 to 5 the standard error is sqrt(2 / 5); the normal interval is 3 ± 1.24.
    assert few.low == pytest.approx(3 - 1.24, abs=0.25)


def test_a_percentile_interpolates_and_lies_in_its_interval():
    values = list(range(1, 101))
    assert stats.percentile(values, 50, 0.95).value == 50.5
    found = stats.percentile(values, 95, 0.95)
    assert found.value == pytest.approx(95.05)
    assert found.low < 95.05 < found.high <= 100


def test_perplexity_of_a_uniform_guess_is_the_number_of_choices():
    tokens = [3, 10, 7]
    found = stats.perplexity([n * math.log(50) for n in tokens], tokens, 0.95)
    assert found.value == pytest.approx(50)
    assert found.low == pytest.approx(50)
    assert found.high == pytest.approx(50)
    assert found.n == 3


def test_perplexity_weighs_tokens_and_not_rows():
    # 1 token at perplexity 100, 99 tokens at perplexity 1: the row mean would say 10.
    found = stats.perplexity([math.log(100), 0.0], [1, 99], 0.95)
    assert found.value == pytest.approx(100 ** (1 / 100))


@pytest.mark.parametrize(
    "estimate",
    [
        lambda: stats.mean([2.5], 0.95),
        lambda: stats.percentile([2.5], 95, 0.95),
        lambda: stats.perplexity([math.log(2.5)], [1], 0.95),
    ],
    ids=["mean", "percentile", "perplexity"],
)
def test_one_case_has_its_value_for_an_interval(estimate):
    found = estimate()
    assert found.value == pytest.approx(2.5)
    assert found.low == pytest.approx(2.5)
    assert found.high == pytest.approx(2.5)
    assert found.n == 1


def test_a_single_measurement_has_no_interval():
    assert stats.single(4.7) == stats.Estimate(4.7, None, None, 1, "measured once")


# --- comparisons ---------------------------------------------------------------------------------------


def paired(wins, losses, both_right=5, both_wrong=5):
    first = [1.0] * wins + [0.0] * losses + [1.0] * both_right + [0.0] * both_wrong
    second = [0.0] * wins + [1.0] * losses + [1.0] * both_right + [0.0] * both_wrong
    return first, second


def mcnemar(wins, losses):
    """Two-sided exact binomial test with p = 1/2: twice the smaller tail, at most 1."""
    n = wins + losses
    tail = sum(math.comb(n, k) for k in range(min(wins, losses) + 1))
    return float(min(Fraction(1), Fraction(2 * tail, 2**n)))


@pytest.mark.parametrize(
    ("wins", "losses", "p_value"),
    [
        (6, 0, 1 / 32),
        (0, 6, 1 / 32),
        (5, 0, 1 / 16),
        (10, 2, 158 / 4096),
        (9, 1, 22 / 1024),
        (3, 3, 1),
        (0, 0, 1),
    ],
)
def test_binary_pairs_get_the_exact_mcnemar_p_value(wins, losses, p_value):
    found = stats.compare(*paired(wins, losses), 0.95)
    assert mcnemar(wins, losses) == p_value
    assert found.p_value == pytest.approx(p_value)
    assert found.difference == pytest.approx((wins - losses) / (wins + losses + 10))
    assert "McNemar" in found.method


@given(wins=st.integers(0, 40), losses=st.integers(0, 40))
@settings(max_examples=30, deadline=None)
def test_mcnemar_is_exact_for_any_number_of_discordant_pairs(wins, losses):
    assert stats.compare(*paired(wins, losses), 0.95).p_value == pytest.approx(mcnemar(wins, losses))


def test_six_discordant_pairs_are_significant_and_five_are_not():
    assert stats.compare(*paired(6, 0), 0.95).p_value < 0.05 < stats.compare(*paired(5, 0), 0.95).p_value


def test_pairs_that_agree_do_not_change_the_p_value():
    few, many = (stats.compare(*paired(8, 1, agreeing, agreeing), 0.95) for agreeing in (0, 200))
    assert few.p_value == pytest.approx(many.p_value)
    assert few.difference > many.difference > 0


def test_scores_that_are_not_binary_get_an_interval_and_no_p_value():
    found = stats.compare([4.0, 5.0, 3.0, 4.0], [2.0, 3.0, 1.0, 2.5], 0.95)
    assert found.p_value is None
    assert found.difference == pytest.approx(1.875)
    assert 1.5 <= found.low <= 1.875 <= found.high <= 2.0


def test_comparisons_are_paired_and_not_of_two_separate_samples():
    # The second is the first plus 0.01: unpaired, the spread of 100 would drown it.
    first = [float(n) for n in range(0, 100, 5)]
    found = stats.compare([value + 0.01 for value in first], first, 0.95)
    assert found.low == pytest.approx(0.01)
    assert found.high == pytest.approx(0.01)


def test_lists_of_different_length_are_no_pairs():
    with pytest.raises(ValueError, match="shorter"):
        stats.compare([1.0, 0.0], [1.0], 0.95)


def test_perplexities_are_compared_row_by_row():
    tokens = [10.0] * 8
    base = [10 * math.log(n) for n in (3, 30, 5, 50, 4, 40, 6, 60)]
    tuned = [nll + 10 * math.log(0.5) for nll in base]
    found = stats.compare_perplexity((tuned, tokens), (base, tokens), 0.95)
    whole = stats.perplexity(base, tokens, 0.95).value
    assert found.difference == pytest.approx(-whole / 2)
    assert found.low < -whole / 2 < found.high < 0
    assert found.p_value is None


def test_a_perplexity_compared_with_itself_differs_by_nothing():
    rows = ([12.0, 3.0, 44.0], [4.0, 2.0, 9.0])
    found = stats.compare_perplexity(rows, rows, 0.95)
    assert (found.difference, found.low, found.high) == (0, 0, 0)


@pytest.mark.parametrize(
    "calculate",
    [
        lambda: stats.mean(UNEVEN, 0.95),
        lambda: stats.percentile(UNEVEN, 95, 0.9),
        lambda: stats.perplexity(UNEVEN, TOKENS, 0.95),
        lambda: stats.compare(UNEVEN, TOKENS, 0.95),
        lambda: stats.compare_perplexity((UNEVEN, TOKENS), (UNEVEN[::-1], TOKENS), 0.95),
    ],
    ids=["mean", "percentile", "perplexity", "compare", "compare_perplexity"],
)
def test_the_same_data_give_the_same_interval_every_time(calculate):
    assert calculate() == calculate()


# --- how many cases would do ---------------------------------------------------------------------------


@given(
    rate=st.floats(0.5, 1.0),
    threshold=st.floats(0.3, 0.999),
    confidence=st.sampled_from([0.8, 0.9, 0.95, 0.99]),
)
@settings(deadline=None)
def test_cases_needed_is_the_least_number_whose_bound_meets_the_threshold(rate, threshold, confidence):
    assume(rate - threshold > 0.01)
    needed = stats.cases_needed(rate, threshold, confidence)
    assert wilson_low(rate, needed, confidence) >= threshold - 1e-12
    assert needed == 1 or wilson_low(rate, needed - 1, confidence) < threshold + 1e-12


@pytest.mark.parametrize(
    ("rate", "threshold", "needed"),
    [
        (1.0, 0.9, 35),  # the bound of n of n is n / (n + 1.96²): 34.57 cases
        (1.0, 0.995, 765),  # 764.5
        (0.95, 0.9, 139),  # (0.95 - 0.9)² = 1.96² × 0.9 × 0.1 / n, solved for n: 138.3
    ],
)
def test_cases_needed_for_usual_thresholds(rate, threshold, needed):
    assert stats.cases_needed(rate, threshold, 0.95) == needed


@pytest.mark.parametrize(("rate", "threshold"), [(0.9, 0.9), (0.5, 0.9), (1.0, 1.0)])
def test_no_number_of_cases_helps_a_rate_that_is_not_above_the_threshold(rate, threshold):
    assert stats.cases_needed(rate, threshold, 0.95) is None


def test_no_number_is_given_where_more_than_the_most_would_be_needed():
    assert stats.cases_needed(0.9001, 0.9, 0.95) is None
    assert stats.cases_needed(0.95, 0.9, 0.95, most=138) is None
    assert stats.cases_needed(0.95, 0.9, 0.95, most=139) == 139
