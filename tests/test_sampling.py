"""pass@k and pass^k against every subset of the answers, and what they refuse.

python -m pytest tests/test_sampling.py
"""

from fractions import Fraction
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.evals.stats import pass_at_k, pass_hat_k


@st.composite
def drawn(draw, most=9):
    """n answers, c of them right, k attempts."""
    n = draw(st.integers(1, most))
    return n, draw(st.integers(0, n)), draw(st.integers(1, n))


def share_of_subsets(n, c, k, wanted):
    """By the definition: of all ways to take k of the answers, the share whose answers are ``wanted``."""
    answers = [True] * c + [False] * (n - c)
    subsets = list(combinations(answers, k))
    return float(Fraction(sum(map(wanted, subsets)), len(subsets)))


@given(drawn())
def test_pass_at_k_is_the_share_of_subsets_with_a_right_answer(counts):
    assert pass_at_k(*counts) == pytest.approx(share_of_subsets(*counts, any), abs=1e-12)


@given(drawn())
def test_pass_hat_k_is_the_share_of_subsets_of_right_answers(counts):
    assert pass_hat_k(*counts) == pytest.approx(share_of_subsets(*counts, all), abs=1e-12)


@given(drawn(most=10_000))
def test_one_attempt_has_the_share_of_right_answers(counts):
    n, c, _ = counts
    assert pass_at_k(n, c, 1) == pytest.approx(c / n)
    assert pass_hat_k(n, c, 1) == pytest.approx(c / n)


@given(drawn(most=10_000))
def test_both_are_probabilities_and_each_is_the_others_complement(counts):
    """That all attempts are wrong is pass^k of the wrong answers."""
    n, c, k = counts
    assert 0 <= pass_hat_k(n, c, k) <= 1
    assert 0 <= pass_at_k(n, c, k) <= 1
    assert pass_hat_k(n, c, k) <= pass_at_k(n, c, k) + 1e-12
    assert pass_at_k(n, c, k) == pytest.approx(1 - pass_hat_k(n, n - c, k), abs=1e-9)


@given(drawn(most=200).filter(lambda counts: counts[2] < counts[0]))
def test_more_attempts_help_who_picks_and_hurt_who_relies(counts):
    n, c, k = counts
    assert pass_at_k(n, c, k) <= pass_at_k(n, c, k + 1) + 1e-12
    assert pass_hat_k(n, c, k) >= pass_hat_k(n, c, k + 1) - 1e-12


def test_the_estimator_has_no_bias():
    """Its mean over all that n draws can give is the chance that it estimates: exact, at p = 3/10."""
    n, k, p = 6, 3, Fraction(3, 10)
    ways = [1, 6, 15, 20, 15, 6, 1]
    chance = [ways[c] * p**c * (1 - p) ** (n - c) for c in range(n + 1)]
    at = sum(float(share) * pass_at_k(n, c, k) for c, share in enumerate(chance))
    hat = sum(float(share) * pass_hat_k(n, c, k) for c, share in enumerate(chance))
    assert at == pytest.approx(float(1 - (1 - p) ** k))
    assert hat == pytest.approx(float(p**k))


@pytest.mark.parametrize("estimator", [pass_at_k, pass_hat_k])
@pytest.mark.parametrize(
    ("counts", "problem"),
    [
        ((0, 0, 1), "n = 0: at least one answer"),
        ((5, -1, 1), "c = -1: of 5 answers, 0 to 5"),
        ((5, 6, 1), "c = 6: of 5 answers, 0 to 5"),
        ((5, 2, 0), "k = 0: 5 answers speak of 1 to 5"),
        ((5, 2, 6), "k = 6: 5 answers speak of 1 to 5"),
    ],
)
def test_counts_that_cannot_be_are_refused(estimator, counts, problem):
    with pytest.raises(ValueError, match=problem):
        estimator(*counts)


@pytest.mark.parametrize("estimator", [pass_at_k, pass_hat_k])
@pytest.mark.parametrize("counts", [(5.0, 2, 1), (5, 2.5, 1), (5, 2, "1"), (5, True, 1)])
def test_counts_that_are_not_whole_are_refused(estimator, counts):
    with pytest.raises(TypeError, match="whole number"):
        estimator(*counts)
