"""The rules ``point`` and ``confident`` say PASS, FAIL and INCONCLUSIVE where they should."""

import math

import pytest

from seatrial.evals.criteria import judge
from seatrial.evals.verdict import FAIL, INCONCLUSIVE, PASS
from tests.criteria.fakes import Scoring, requiring, right


@pytest.mark.parametrize(
    ("rule", "hits", "n", "at_least", "status"),
    [
        ("point", 18, 20, 0.9, PASS),
        ("point", 17, 20, 0.9, FAIL),
        ("point", 20, 20, 1.0, PASS),
        ("point", 19, 20, 1.0, FAIL),
        ("point", 0, 20, 0.0, PASS),
        # Wilson's lower bounds: 0.839 for 20 of 20, 0.699 for 18, 0.640 for 17 (95 %)
        ("confident", 20, 20, 0.83, PASS),
        ("confident", 20, 20, 0.85, INCONCLUSIVE),
        ("confident", 18, 20, 0.69, PASS),
        ("confident", 18, 20, 0.9, INCONCLUSIVE),
        ("confident", 17, 20, 0.9, FAIL),
    ],
)
def test_a_share_meets_its_lower_bound(evidence_of, rule, hits, n, at_least, status):
    criterion = requiring(rule=rule, at_least=at_least, least_cases=20)
    verdict = judge(criterion, evidence_of(right("shipped", hits, n)))
    assert verdict.status == status
    assert verdict.measured.value == hits / n
    assert verdict.measured.n == n
    assert len(verdict.misses) == n - hits


@pytest.mark.parametrize(
    ("rule", "at_most", "status"),
    [
        ("point", 4.5, PASS),
        ("point", 4.4, FAIL),
        # The median of eight values lies between the least and the largest with 99 %, closer in with 93 %.
        ("confident", 8.0, PASS),
        ("confident", 7.9, INCONCLUSIVE),
        ("confident", 4.4, FAIL),
    ],
)
def test_a_time_meets_its_upper_bound(evidence_of, rule, at_most, status):
    seconds = Scoring("shipped", [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
    criterion = requiring("answer_seconds", rule=rule, at_most=at_most)
    verdict = judge(criterion, evidence_of(seconds))
    assert verdict.measured.value == 4.5
    assert verdict.status == status


@pytest.mark.parametrize(("at_most", "status"), [(1.0, PASS), (0.9, FAIL)])
@pytest.mark.parametrize("rule", ["point", "confident"])
def test_what_is_measured_once_has_no_interval_and_its_value_decides(evidence_of, rule, at_most, status):
    verdict = judge(
        requiring("peak_memory", rule=rule, at_most=at_most), evidence_of(Scoring("shipped", [1.0]))
    )
    assert verdict.status == status
    assert (verdict.measured.low, verdict.measured.high) == (None, None)


@pytest.mark.parametrize("rule", ["point", "confident", "superior", "non_inferior", "within"])
def test_what_is_not_a_number_passes_under_no_rule(evidence_of, rule):
    """Such as the divergence of a file whose logits are not numbers."""
    wanted = {"at_most": 1e9} if rule in ("point", "confident") else {"against": "base", "margin": 1e9}
    broken, good = Scoring("shipped", [1.0, math.nan, 2.0, 3.0]), Scoring("base", [1.0, 2.0, 3.0, 4.0])
    verdict = judge(requiring("answer_seconds", rule=rule, **wanted), evidence_of(broken, good))
    assert not verdict.acceptable


def test_more_confidence_may_turn_pass_into_inconclusive(evidence_of):
    evidence = evidence_of(right("shipped", 18, 20))
    statuses = [
        judge(requiring(rule="confident", at_least=0.69, confidence=level), evidence).status
        for level in (0.95, 0.99)
    ]
    assert statuses == [PASS, INCONCLUSIVE]


@pytest.mark.parametrize(
    ("hits", "n", "at_least", "needed"),
    [(20, 20, 0.9, 35), (19, 20, 0.9, 139), (18, 20, 0.9, None), (17, 20, 0.9, None), (20, 20, 0.8, None)],
)
def test_the_number_of_cases_that_would_do_is_told_where_there_are_too_few(
    evidence_of, hits, n, at_least, needed
):
    verdict = judge(requiring(at_least=at_least), evidence_of(right("shipped", hits, n)))
    assert verdict.cases_needed == needed
    assert (f"to be sure at this rate: {needed} cases" in verdict.explain()) == (needed is not None)
