"""Estimates, intervals and comparisons against values from the literature and from exact arithmetic.

python -m pytest tests/test_stats.py
"""

import math
from fractions import Fraction
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import beta, binomtest, skew, t

from seatrial.evals import stats
from seatrial.evals.stats import percentiles, resampling

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


def lower_bound(rate, n, confidence):
    if n < 10:
        return beta.ppf((1 - confidence) / 2, rate * n, n - rate * n + 1)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    root = math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return (rate + z * z / (2 * n) - z * root) / (1 + z * z / n)


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [
        # Below ten cases exactly: the tail's n-th root where all are right
        (1, 1, 0.025, 1.0),
        (0, 1, 0.0, 0.975),
        (5, 5, 0.025 ** (1 / 5), 1.0),
        (9, 9, 0.025 ** (1 / 9), 1.0),
    ],
)
def test_a_share_of_very_few_has_the_exact_interval(hits, n, low, high):
    found = stats.proportion(ones(hits, n), 0.95)
    assert found.method == "Clopper-Pearson"
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


@pytest.mark.parametrize("values", [[0.5, 0.5], [1.0, 0.3], [2.0, 0.0], [math.nan, 1.0]])
def test_partial_credit_is_no_share(values):
    with pytest.raises(ValueError, match="partial credit"):
        stats.proportion(values, 0.95)
    with pytest.raises(ValueError, match="partial credit"):
        stats.compare_shares(values, [0.0, 0.0], 0.95)


@given(n=st.integers(1, 60), data=st.data(), level=st.sampled_from([0.8, 0.95, 0.99]))
@settings(max_examples=60, deadline=None)
def test_a_share_lies_in_its_interval_which_rises_with_the_hits(n, data, level):
    hits = data.draw(st.integers(0, n))
    found = stats.proportion(ones(hits, n), level)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high
    if hits < n:
        more = stats.proportion(ones(hits + 1, n), level)
        assert found.low <= more.low and found.high <= more.high


def coverage_of_a_share(n, share, level=0.95):
    """The exact probability that the interval holds ``share``."""
    total = 0.0
    for hits in range(n + 1):
        found = stats.proportion(ones(hits, n), level)
        if found.low <= share <= found.high:
            total += math.comb(n, hits) * share**hits * (1 - share) ** (n - hits)
    return total


@pytest.mark.parametrize("n", [1, 2, 5, 9, 10, 20])
def test_the_interval_of_a_share_holds_it_as_often_as_it_says(n):
    found = [coverage_of_a_share(n, k / 40) for k in range(1, 40)]
    assert sum(found) / len(found) >= 0.95
    assert min(found) >= (0.95 if n < 10 else 0.83)  # Wilson's dips are narrow; Brown, Cai, DasGupta 2001


# --- means ---------------------------------------------------------------------------------------------

RATING = (1.0, 5.0)


def test_a_mean_on_a_scale_has_the_bounds_of_clopper_and_pearson_where_scores_are_0_or_1():
    # Learned-Miller and Thomas 2019, section 4: they are the same bounds.
    for hits, n in ((5, 6), (0, 4), (9, 9), (10, 20)):
        exact = binomtest(hits, n).proportion_ci(0.95, method="exact")
        found = stats.mean(ones(hits, n), 0.95, (0.0, 1.0))
        assert found.low == pytest.approx(exact.low, abs=0.015)
        assert found.high == pytest.approx(exact.high, abs=0.015)


def test_equal_ratings_do_not_make_a_mean_certain():
    # The weight of one more score is the tail's n-th root: 15 of 15 fives reach down to 1 + 4 × 0.782.
    found = stats.mean([5.0] * 15, 0.95, RATING)
    assert found.low == pytest.approx(1 + 4 * 0.025 ** (1 / 15), abs=0.03)
    assert found.high == 5
    middle = stats.mean([4.0] * 15, 0.95, RATING)
    assert middle.low < 3.5 and middle.high > 4.1


def test_one_rating_says_almost_nothing():
    found = stats.mean([5.0], 0.95, RATING)
    assert found.low == pytest.approx(1 + 4 * 0.025, abs=0.03)
    assert found.high == 5


@given(values=st.lists(st.sampled_from([1.0, 2.0, 3.5, 4.0, 5.0]), min_size=1, max_size=40))
@settings(max_examples=30, deadline=None)
def test_a_rating_lies_in_its_interval_and_that_on_the_scale(values):
    found = stats.mean(values, 0.95, RATING)
    assert 1 <= found.low <= found.value <= found.high <= 5
    assert found.low < found.high
    wide = stats.mean(values, 0.99, RATING)
    assert wide.low <= found.low and found.high <= wide.high


@pytest.mark.parametrize("values", [[5.0, 6.0], [0.0, 5.0], [5.0, math.nan], [math.nan], [math.inf, 2.0]])
def test_a_score_beside_the_scale_is_refused(values):
    ones, fours = [1.0] * len(values), [4.0] * len(values)
    with pytest.raises(ValueError, match="on a scale of 1.0 to 5.0"):
        stats.mean(values, 0.95, RATING)
    with pytest.raises(ValueError, match="on a scale of 1.0 to 5.0"):
        stats.weighted_mean(values, ones, 0.95, RATING)
    with pytest.raises(ValueError, match="on a scale of 1.0 to 5.0"):
        stats.compare_weighted_means((fours, ones), (values, ones), 0.95, RATING)


@pytest.mark.parametrize(
    "values",
    [
        [math.nan] * 12,
        [math.inf] * 12,
        [1.0] * 11 + [math.inf],
        [1.0] * 11 + [math.nan],
        [0.0] * 12,
        [-1e300] * 12,
    ],
)
def test_what_is_no_number_or_always_the_same_bounds_no_mean(values):
    other = [1.0 + 0.1 * place for place in range(12)]
    for found in (
        stats.mean(values, 0.95),
        stats.weighted_mean(values, other, 0.95),
        stats.compare_means(values, values, 0.95),
        stats.compare_weighted_means((values, other), (values, other), 0.95),
    ):
        assert (found.low, found.high, found.sampled) == (None, None, True)


@given(
    values=st.lists(st.floats(-1e150, 1e150), min_size=1, max_size=30),
    factor=st.sampled_from([1e-150, 1e-9, 1.0, 1e9, 1e150]),
)
@settings(max_examples=100, deadline=None)
def test_a_mean_without_a_scale_lies_in_an_interval_with_a_width_whatever_the_unit(values, factor):
    found = stats.mean([value * factor for value in values], 0.95)
    for bound in (found.low, found.high):
        assert bound is None or math.isfinite(bound)
    assert found.low is None or found.low < found.value
    assert found.high is None or found.value < found.high


def test_of_many_values_that_are_not_skewed_a_mean_without_a_scale_has_student_s_interval():
    # 1000 times each of 1 to 5: the standard error is sqrt(2 / 4999), Student's quantile 1.960.
    found = stats.mean([1, 2, 3, 4, 5] * 1000, 0.95)
    assert (found.value, found.method) == (3, "Student t, Hall's transformation")
    assert found.low == pytest.approx(3 - 1.960 * math.sqrt(2 / 4999), abs=1e-3)
    assert found.high == pytest.approx(3 + 1.960 * math.sqrt(2 / 4999), abs=1e-3)


def hall(values, confidence=0.95):
    """Upper bound: the mean that Hall's transformation, as he wrote it, puts at Student's lower quantile."""
    n, middle, spread = len(values), np.mean(values), np.std(values, ddof=1)
    doubt = math.sqrt(6 * n * (n - 1) / ((n - 2) * (n + 1) * (n + 3)))
    gamma = skew(values, bias=False) + doubt

    def transformed(mean):
        statistic = math.sqrt(n) * (middle - mean) / spread
        a = 2 * gamma / (3 * math.sqrt(n))
        return (math.exp(a * statistic) - 1) / a + gamma / (6 * math.sqrt(n))

    quantile = t.ppf((1 - confidence) / 2, n - 1)
    return brentq(lambda mean: transformed(mean) - quantile, middle, middle + 100 * spread)


def test_a_mean_of_skewed_values_reaches_as_far_as_hall_s_transformation_says():
    values = [1.0, 2.0, 2.0, 3.0, 3.0, 3.0, 4.0, 5.0, 6.0, 9.0]
    found = stats.mean(values, 0.95)
    assert found.high == pytest.approx(hall(values))
    mirrored = stats.mean([-value for value in values], 0.95)
    assert (-mirrored.high, -mirrored.low) == (pytest.approx(found.low), pytest.approx(found.high))
    # On the side of the short tail it is Student's.
    half = t.ppf(0.975, 9) * np.std(values, ddof=1) / math.sqrt(10)
    assert found.low == pytest.approx(found.value - half)


def test_of_few_values_that_are_skewed_the_bound_on_their_side_is_not_known():
    found = stats.mean([1.0] * 9 + [1.1, 40.0], 0.95)
    assert (found.high, found.sampled) == (None, True)
    assert found.low < found.value
    turned = stats.mean([-1.0] * 9 + [-1.1, -40.0], 0.95)
    assert (turned.low, turned.high) == (None, pytest.approx(-found.low))


@pytest.mark.parametrize(("level", "fewest"), [(0.8, 3), (0.95, 5), (0.99, 6)])
def test_the_fewest_values_with_an_interval_are_told(level, fewest):
    assert stats.fewest_bounded(level) == fewest
    even = [-1.0, 1.0] * (fewest // 2) + [0.0] * (fewest % 2)
    found = stats.mean(even, level)
    assert None not in (found.low, found.high)
    fewer = stats.mean(even[:-1] if fewest % 2 else even[1:], level)
    assert None in (fewer.low, fewer.high)


def test_a_mean_without_a_scale_stays_above_what_can_be():
    found = stats.mean([0.0, 0.0, 4.0, 0.0, 0.1, 3.0], 0.95, (0.0, None))
    assert found.low == 0  # a speed below nothing there is not


@pytest.mark.parametrize("values", [[2.5], [2.5] * 2, [0.1] * 50, [0.0] * 9])
def test_of_equal_values_without_a_scale_no_bound_is_known(values):
    found = stats.mean(values, 0.95)
    assert (found.low, found.high, found.sampled) == (None, None, True)
    assert found.value == pytest.approx(values[0])
    assert "no interval" in found.method


def simulated(estimate, draw, truth, times=200):
    """How often the interval of a drawn sample holds the truth; an unknown bound holds anything."""
    random = np.random.default_rng(7)
    held = 0
    for _ in range(times):
        found = estimate(draw(random))
        low = -math.inf if found.low is None else found.low
        held += low <= truth <= (math.inf if found.high is None else found.high)
    return held / times


@pytest.fixture
def few_draws(monkeypatch):
    monkeypatch.setattr(resampling, "MOST", 1000)


@pytest.mark.parametrize("n", [2, 5, 20])
@pytest.mark.parametrize("chances", [(0.05, 0, 0, 0, 0.95), (0, 0, 0.1, 0.8, 0.1), (0.5, 0, 0, 0, 0.5)])
def test_the_interval_of_a_mean_rating_holds_it_as_often_as_it_says(few_draws, n, chances):
    truth = sum(points * chance for points, chance in zip(range(1, 6), chances, strict=True))

    def draw(random):
        return random.choice([1.0, 2.0, 3.0, 4.0, 5.0], size=n, p=chances).tolist()

    assert simulated(lambda values: stats.mean(values, 0.95, RATING), draw, truth) >= 0.93


SKEWED = {
    "a speed": (lambda random, n: random.gamma(9.0, 1 / 9, n), 1.0),
    "exponential": (lambda random, n: random.exponential(1.0, n), 1.0),
    "its mirror": (lambda random, n: -random.exponential(1.0, n), -1.0),
    "log-normal": (lambda random, n: random.lognormal(0, 1, n), math.exp(0.5)),
}


@pytest.mark.parametrize("n", [3, 5, 8, 10, 20, 50])
@pytest.mark.parametrize("name", SKEWED)
def test_the_interval_of_a_mean_of_skewed_values_holds_it_as_often_as_it_says(name, n):
    draw, truth = SKEWED[name]
    values = lambda random: draw(random, n).tolist()  # noqa: E731
    assert simulated(lambda found: stats.mean(found, 0.95), values, truth, 2000) >= 0.94


@pytest.mark.parametrize("n", [20, 50])
def test_normal_values_do_not_pay_much_for_the_skewness_of_others(n):
    random, wider = np.random.default_rng(7), []
    for _ in range(300):
        values = random.normal(size=n)
        found = stats.mean(values.tolist(), 0.95)
        student = 2 * t.ppf(0.975, n - 1) * values.std(ddof=1) / math.sqrt(n)
        wider.append((math.inf if None in (found.low, found.high) else found.high - found.low) / student)
    assert np.median(wider) < 1.15


# --- percentiles ---------------------------------------------------------------------------------------


def test_a_percentile_interpolates_and_lies_in_its_interval():
    values = list(range(1, 101))
    assert stats.percentile(values, 50, 0.95).value == 50.5
    found = stats.percentile(values, 95, 0.95)
    assert found.value == pytest.approx(95.05)
    # The binomial quantiles of 100 times 0.95: 90 and 99, and one more for the upper bound.
    assert (found.low, found.high) == (90, 100)


def test_a_95th_percentile_has_an_upper_bound_from_72_cases():
    assert stats.percentile(list(range(71)), 95, 0.95).high is None
    assert stats.percentile(list(range(72)), 95, 0.95).high == 71
    assert stats.percentile(list(range(71)), 95, 0.95).low is not None


def test_a_median_has_bounds_from_six_cases():
    five, six = (stats.percentile(list(range(n)), 50, 0.95) for n in (5, 6))
    assert (five.low, five.high, five.sampled) == (None, None, True)
    assert (six.low, six.high) == (0, 5)


def test_an_infinite_value_weighs_on_a_percentile_and_not_on_the_median():
    values = [1.0] * 19 + [math.inf]
    assert stats.percentile(values, 50, 0.95).value == 1.0
    assert stats.percentile(values, 95, 0.95).value == math.inf
    assert stats.percentile([math.inf] * 3, 50, 0.95).value == math.inf


@given(
    values=st.lists(st.floats(0, 100) | st.just(math.inf), min_size=1, max_size=80),
    rank=st.floats(1, 99),
)
@settings(deadline=None)
def test_a_percentile_lies_between_its_bounds(values, rank):
    found = stats.percentile(values, rank, 0.95)
    assert not math.isnan(found.value)
    assert found.low is None or found.low <= found.value
    assert found.high is None or found.value <= found.high
    slower = stats.percentile([value + 1 for value in values], rank, 0.95)
    assert slower.value >= found.value


@given(values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50), rank=st.floats(0, 100))
@settings(deadline=None)
def test_a_percentile_is_that_of_numpy(values, rank):
    expected = float(np.percentile(values, rank))
    assert stats.percentile_of(values, rank) == pytest.approx(expected, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize(("n", "rank"), [(6, 50), (20, 50), (20, 95), (100, 95)])
@pytest.mark.parametrize("digits", [6, 1])
def test_the_interval_of_a_percentile_holds_it_as_often_as_it_says(n, rank, digits):
    truth = round(-math.log(1 - rank / 100), digits)

    def draw(random):  # times that are measured coarsely tie
        return np.round(random.exponential(size=n), digits).tolist()

    assert simulated(lambda values: stats.percentile(values, rank, 0.95), draw, truth, 400) >= 0.94


# --- figures per token ---------------------------------------------------------------------------------


def test_perplexity_of_a_uniform_guess_is_the_number_of_choices():
    tokens = [3, 10, 7]
    found = stats.perplexity([n * math.log(50) for n in tokens], tokens, 0.95)
    assert found.value == pytest.approx(50)
    assert found.n == 3


def test_perplexity_weighs_tokens_and_not_rows():
    # 1 token at perplexity 100, 99 tokens at perplexity 1: the row mean would say 10.
    found = stats.perplexity([math.log(100), 0.0], [1, 99], 0.95)
    assert found.value == pytest.approx(100 ** (1 / 100))


@pytest.mark.parametrize("rows", [1, 9, 10, 50])
def test_rows_that_are_few_or_all_alike_bound_no_perplexity(rows):
    for found in (
        stats.perplexity([2.5] * rows, [1.0] * rows, 0.95),
        stats.weighted_mean([2.5] * rows, [1.0] * rows, 0.95),
        stats.compare_perplexity(([2.0] * rows, [1.0] * rows), ([2.5] * rows, [1.0] * rows), 0.95),
    ):
        assert (found.low, found.high, found.sampled) == (None, None, True)


def test_agreement_everywhere_does_not_make_agreement_certain():
    found = stats.weighted_mean([1.0] * 30, [9.0] * 30, 0.95, (0.0, 1.0))
    assert found.value == found.high == 1
    assert found.low == pytest.approx(0.025 ** (1 / 30), abs=0.02)


@given(
    rows=st.lists(
        st.tuples(st.floats(0, 1), st.integers(1, 40)),
        min_size=1,
        max_size=30,
    )
)
@settings(max_examples=30, deadline=None)
def test_a_weighted_share_lies_in_its_interval(rows):
    found = stats.weighted_mean([r[0] for r in rows], [float(r[1]) for r in rows], 0.95, (0.0, 1.0))
    assert 0 <= found.low <= found.value <= found.high <= 1 + 1e-9


def tokens_of(random, n):
    return random.integers(5, 31, n).astype(float)


@pytest.mark.parametrize("n", [5, 10, 30])
@pytest.mark.parametrize("name", ["a speed", "exponential"])
def test_the_interval_of_a_figure_per_token_holds_it_as_often_as_it_says(name, n):
    draw, truth = SKEWED[name]

    def rows(random):
        return draw(random, n).tolist(), tokens_of(random, n).tolist()

    assert simulated(lambda found: stats.weighted_mean(*found, 0.95), rows, truth, 2000) >= 0.94


@pytest.mark.parametrize("n", [5, 10, 30])
@pytest.mark.parametrize("name", ["a speed", "exponential"])
def test_the_interval_of_a_perplexity_holds_it_as_often_as_it_says(name, n):
    draw, _ = SKEWED[name]

    def rows(random):
        tokens = tokens_of(random, n)
        return (tokens * draw(random, n)).tolist(), tokens.tolist()

    # Rows have a mean of one nat per token, whatever their length.
    assert simulated(lambda found: stats.perplexity(*found, 0.95), rows, math.e, 2000) >= 0.94


def test_rows_of_one_length_are_cases():
    per_token, mean = stats.weighted_mean(UNEVEN, [7.0] * len(UNEVEN), 0.95), stats.mean(UNEVEN, 0.95)
    assert (per_token.low, per_token.high) == (pytest.approx(mean.low), pytest.approx(mean.high))


def test_one_long_row_among_short_ones_leaves_too_little_to_say():
    found = stats.weighted_mean([1.0, 2.0, 1.5] * 10, [10_000.0] + [1.0] * 29, 0.95)
    assert (found.low, found.high, found.sampled) == (None, None, True)
    alone = stats.weighted_mean([1.0, 2.0], [10.0, 0.0], 0.95)
    assert (alone.value, alone.low, alone.high) == (1.0, None, None)


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
    found = stats.compare_shares(*paired(wins, losses), 0.95)
    assert mcnemar(wins, losses) == p_value
    assert found.p_value == pytest.approx(p_value)
    assert found.difference == pytest.approx((wins - losses) / (wins + losses + 10))
    assert found.n == wins + losses + 10
    assert "McNemar" in found.method


@given(wins=st.integers(0, 40), losses=st.integers(0, 40))
@settings(max_examples=30, deadline=None)
def test_mcnemar_is_exact_for_any_number_of_discordant_pairs(wins, losses):
    assert stats.compare_shares(*paired(wins, losses), 0.95).p_value == pytest.approx(mcnemar(wins, losses))


def test_six_discordant_pairs_are_significant_and_five_are_not():
    five, six = (stats.compare_shares(*paired(wins, 0), 0.95).p_value for wins in (5, 6))
    assert six < 0.05 < five


@pytest.mark.parametrize(("level", "fewest"), [(0.9, 5), (0.95, 6), (0.99, 8)])
def test_the_fewest_wins_that_are_significant_are_told(level, fewest):
    assert stats.fewest_all_won(level) == fewest
    assert mcnemar(fewest, 0) < 1 - level <= mcnemar(fewest - 1, 0)


def test_pairs_that_agree_do_not_change_the_p_value():
    few, many = (stats.compare_shares(*paired(8, 1, agreeing, agreeing), 0.95) for agreeing in (0, 200))
    assert few.p_value == pytest.approx(many.p_value)
    assert few.difference > many.difference > 0


@pytest.mark.parametrize(
    ("wins", "losses", "n", "low", "high"),
    [
        # Fagerland, Lydersen and Laake 2014, table IX: airway hyper-responsiveness before and after, Tango
        (1, 7, 21, -0.517, -0.026),
        # No discordant pair: z² / (n + z²), by the formula of Tango 1998 with both off-diagonal counts 0
        (0, 0, 20, -0.1611, 0.1611),
        (0, 0, 1, -0.7935, 0.7935),
    ],
)
def test_paired_shares_have_the_score_interval_of_the_literature(wins, losses, n, low, high):
    found = stats.compare_shares(*paired(wins, losses, n - wins - losses, 0), 0.95)
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-4), pytest.approx(high, abs=5e-4))


@given(
    wins=st.integers(0, 30), losses=st.integers(0, 30), tied=st.integers(0, 30), level=st.floats(0.6, 0.99)
)
@settings(max_examples=100, deadline=None)
def test_a_difference_of_shares_lies_in_an_interval_with_a_width_that_turns_over_with_the_models(
    wins, losses, tied, level
):
    assume(wins + losses + tied)
    found = stats.compare_shares(*paired(wins, losses, tied, 0), level)
    assert -1 <= found.low <= found.difference <= found.high <= 1
    assert found.low < found.high
    turned = stats.compare_shares(*paired(losses, wins, tied, 0), level)
    assert (turned.low, turned.high) == (pytest.approx(-found.high), pytest.approx(-found.low))


@pytest.mark.parametrize("n", [5, 10, 20])
@pytest.mark.parametrize("chances", [(0.0, 0.05), (0.1, 0.1), (0.4, 0.1)])
def test_the_interval_of_a_difference_of_shares_holds_it_as_often_as_it_says(n, chances):
    win, lose = chances

    def draw(random):
        return random.multinomial(n, [win, lose, 1 - win - lose])

    def estimate(table):
        return stats.compare_shares(*paired(int(table[0]), int(table[1]), int(table[2]), 0), 0.95)

    assert simulated(estimate, draw, win - lose, 400) >= 0.93


def test_ratings_are_compared_by_bounds_that_hold_for_few_pairs_and_for_ties():
    found = stats.compare_means([4.0, 5.0, 3.0, 4.0], [2.0, 3.0, 1.0, 2.5], 0.95, RATING)
    assert found.p_value is None
    assert found.difference == pytest.approx(1.875)
    assert -4 <= found.low < 0 < found.difference < found.high <= 4  # four pairs prove nothing
    tied = stats.compare_means([4.0] * 12, [4.0] * 12, 0.95, RATING)
    assert tied.low == pytest.approx(-4 * (1 - 0.025 ** (1 / 12)), abs=0.1)
    assert tied.high == pytest.approx(-tied.low, abs=0.1)
    clear = stats.compare_means([5.0] * 12, [3.0] * 12, 0.95, RATING)
    assert clear.low > 0


def test_comparisons_are_paired_and_not_of_two_separate_samples():
    # The second is the first plus about 0.01: unpaired, the spread of 100 would drown it.
    first = [float(n) for n in range(0, 100, 5)]
    second = [value + 0.01 + 0.001 * (n % 3) for n, value in enumerate(first)]
    found = stats.compare_means(second, first, 0.95)
    assert 0.01 < found.low < found.difference < found.high < 0.012


def test_a_constant_difference_of_unbounded_values_bounds_nothing():
    first = [float(n) for n in range(0, 100, 5)]
    for shift in (0.0, 0.01):
        found = stats.compare_means([value + shift for value in first], first, 0.95)
        assert (found.low, found.high, found.sampled) == (None, None, True)


@pytest.mark.parametrize(
    "compare",
    [stats.compare_shares, stats.compare_means],
)
def test_lists_of_different_length_are_no_pairs(compare):
    with pytest.raises(ValueError, match="length|shorter"):
        compare([1.0, 0.0], [1.0], 0.95)


def test_perplexities_are_compared_row_by_row():
    tokens = [10.0] * 10
    base = [10 * math.log(n) for n in (3, 30, 5, 50, 4, 40, 6, 60, 7, 70)]
    tuned = [nll + 10 * math.log(0.5) for nll in base]
    found = stats.compare_perplexity((tuned, tokens), (base, tokens), 0.95)
    whole = stats.perplexity(base, tokens, 0.95).value
    assert found.difference == pytest.approx(-whole / 2)
    assert found.low < -whole / 2 < found.high < 0
    assert found.p_value is None


def test_a_perplexity_compared_with_itself_differs_by_nothing_and_proves_nothing():
    rows = ([12.0, 3.0, 44.0] * 4, [4.0, 2.0, 9.0] * 4)
    found = stats.compare_perplexity(rows, rows, 0.95)
    assert (found.difference, found.low, found.high) == (0, None, None)


def test_figures_per_token_are_compared_by_tokens_and_not_by_rows():
    # The long row loses a little, seven short ones win much: by rows a win, by tokens a loss.
    first, second = [0.9, *[1.0] * 7], [1.0, *[0.5] * 7]
    tokens = [700.0, *[10.0] * 7]
    found = stats.compare_weighted_means((first, tokens), (second, tokens), 0.95, (0.0, 1.0))
    assert found.difference == pytest.approx((-0.1 * 700 + 0.5 * 70) / 770)
    assert -1 <= found.low < found.difference < found.high <= 1


def test_percentiles_are_compared_as_percentiles():
    # Faster in the mean, slower at the 95th percentile.
    first = [1.0] * 90 + [20.0] * 10
    second = [5.0] * 100
    found = stats.compare_percentiles(first, second, 95, 0.95)
    assert found.difference == pytest.approx(15.0)
    assert stats.compare_percentiles(first, second, 50, 0.95).difference == pytest.approx(-4.0)
    assert found.n == 100


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([float(n) for n in range(20)], [float(n) for n in range(20)]),  # no upper bound from 20 cases
        ([*map(float, range(99)), math.inf], [float(n) for n in range(100)]),
    ],
    ids=["few", "infinite"],
)
def test_percentiles_that_have_no_bounds_cannot_be_compared_surely(first, second):
    found = stats.compare_percentiles(first, second, 95, 0.95)
    assert (found.low, found.high, found.sampled) == (None, None, True)


@pytest.mark.parametrize("n", [10, 40])
def test_the_interval_of_a_difference_of_medians_holds_it_as_often_as_it_says(few_draws, n):
    def draw(random):
        question = random.normal(10, 2, size=n)
        return [(question + random.normal(shift, 1, size=n)).tolist() for shift in (1, 0)]

    def estimate(pair):
        return stats.compare_percentiles(*pair, 50, 0.95)

    assert simulated(estimate, draw, 1.0) >= 0.92


@pytest.mark.parametrize("n", [6, 30])
@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize("name", ["a speed", "exponential"])
def test_the_interval_of_a_difference_of_perplexities_holds_it_as_often_as_it_says(name, factor, n):
    draw, _ = SKEWED[name]

    def rows(random):
        tokens, one = tokens_of(random, n), draw(random, n)
        other = one + random.normal(math.log(factor), 0.2, n)
        return [((tokens * nll).tolist(), tokens.tolist()) for nll in (other, one)]

    def estimate(found):
        return stats.compare_perplexity(*found, 0.95)

    assert simulated(estimate, rows, (factor - 1) * math.e, 1000) >= 0.94


def test_a_model_better_by_one_factor_is_better_by_more_on_hard_rows_and_surely_better():
    tokens = [10.0] * 10
    base = [10 * math.log(n) for n in (3, 300, 5, 500, 4, 400, 6, 60, 7, 70)]
    for shift in (0.5, 0.9):
        tuned = [nll + 10 * math.log(shift + 0.01 * (row % 3)) for row, nll in enumerate(base)]
        found = stats.compare_perplexity((tuned, tokens), (base, tokens), 0.95)
        assert found.high < 0
        turned = stats.compare_perplexity((base, tokens), (tuned, tokens), 0.95)
        assert (turned.low, turned.high) == (pytest.approx(-found.high), pytest.approx(-found.low))


# --- what is not sampled -------------------------------------------------------------------------------


def test_what_was_counted_whole_or_measured_once_says_that_nothing_was_sampled():
    for found in (stats.single(4.7), stats.counted([1.0, 0.0])):
        assert (found.low, found.high, found.sampled) == (None, None, False)
    assert stats.single(4.7).value == 4.7
    assert stats.counted([1.0, 0.0, 1.0, 1.0]).value == 0.75


def test_the_difference_of_two_counts_is_the_truth():
    found = stats.compare_counted(stats.counted([1.0, 1.0]), stats.counted([1.0, 0.0, 1.0, 0.0]))
    assert (found.difference, found.low, found.high, found.sampled) == (0.5, None, None, False)


# --- every method --------------------------------------------------------------------------------------

ROWS = (UNEVEN, TOKENS)
METHODS = {
    "mean": lambda: stats.mean(UNEVEN, 0.95),
    "mean on a scale": lambda: stats.mean(UNEVEN, 0.95, (0.0, 10.0)),
    "percentile": lambda: stats.percentile(UNEVEN, 95, 0.9),
    "perplexity": lambda: stats.perplexity(*ROWS, 0.95),
    "per token": lambda: stats.weighted_mean(*ROWS, 0.95),
    "per token on a scale": lambda: stats.weighted_mean(*ROWS, 0.95, (0.0, 10.0)),
    "compared means": lambda: stats.compare_means(UNEVEN, TOKENS, 0.95, (0.0, 10.0)),
    "compared percentiles": lambda: stats.compare_percentiles(UNEVEN, TOKENS, 50, 0.95),
    "compared perplexities": lambda: stats.compare_perplexity(ROWS, (UNEVEN[::-1], TOKENS), 0.95),
    "compared per token": lambda: stats.compare_weighted_means(ROWS, (TOKENS, TOKENS), 0.95, (0.0, 10.0)),
}


@pytest.mark.parametrize("name", METHODS)
def test_the_same_data_give_the_same_interval_every_time(name):
    assert METHODS[name]() == METHODS[name]()


@pytest.mark.parametrize("name", ["mean on a scale", "per token on a scale", "compared percentiles"])
def test_resampling_holds_few_weights_at_a_time(monkeypatch, name):
    """50,000 cases need no more memory than 40, and a bounded number of draws."""
    whole = METHODS[name]()
    monkeypatch.setattr(resampling, "BATCH", 2000)
    monkeypatch.setattr(percentiles, "BATCH", 2000)
    found = METHODS[name]()
    low, high = ((e.low, e.high) for e in (whole, found))
    assert low == pytest.approx(high, rel=0.05, abs=0.05)
    assert resampling.draws_for(50_000) * 50_000 <= 10_000_000


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
    assert lower_bound(rate, needed, confidence) >= threshold - 1e-12
    assert needed == 1 or lower_bound(rate, needed - 1, confidence) < threshold + 1e-12


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


@given(threshold=st.floats(0.01, 0.98), confidence=st.sampled_from([0.8, 0.95, 0.99]))
@settings(deadline=None)
def test_the_fewest_cases_that_could_pass_are_told(threshold, confidence):
    fewest = stats.fewest_all_right(threshold, confidence)
    assert stats.proportion(ones(fewest, fewest), confidence).low >= threshold - 1e-12
    assert fewest == 1 or stats.proportion(ones(fewest - 1, fewest - 1), confidence).low < threshold + 1e-12
