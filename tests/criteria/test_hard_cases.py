"""Hard cases: which they are, and that everything they say is right must be."""

from dataclasses import replace

import pytest

from seatrial.evals.hard import hard_cases, judge_hard
from seatrial.evals.models import LENGTH, Generation
from seatrial.evals.verdict import NotEvaluated
from tests.criteria.fakes import OFF, ON, Fake, cases_of


def test_regressions_and_critical_cases_are_hard_in_file_order():
    critical = cases_of(2, "domain", tags=("critical",))
    sets = {"domain": [*critical, *cases_of(3, "heldout")], "regressions": cases_of(1, "regressions")}
    assert [case.id for case in hard_cases(sets)] == ["domain-1", "domain-2", "regressions-1"]


@pytest.mark.parametrize(
    ("answer", "missed"),
    [
        (ON, set()),
        (OFF, {"'off'"}),
        (f"Sure! {ON}", {"not JSON"}),
        (Generation(ON, stop_reason=LENGTH, completion_tokens=32), {"stopped by 'length'"}),
        ("", {"operation 'none'", "the answer is empty"}),
    ],
    ids=["right", "wrong", "prose", "endless", "empty"],
)
def test_a_hard_case_is_judged_by_everything_that_it_says_is_right(evidence_of, answer, missed):
    (case,) = cases_of(1)
    scores = judge_hard(case, evidence_of(Fake("shipped", [answer]), cases={"domain": [case]}))
    reasons = [score.reason for score in scores if score.missed]
    assert all(any(words in reason for reason in reasons) for words in missed)
    assert bool(reasons) == bool(missed)


def test_a_hard_case_of_which_no_metric_judges_what_it_expects_is_not_evaluated(evidence_of):
    """A recall scores no case without a violation: it could not be missed."""
    (case,) = cases_of(1)
    case = replace(case, expect={"violation": False})
    with pytest.raises(NotEvaluated, match="no metric judges what domain-1 expects"):
        judge_hard(case, evidence_of(Fake("shipped", [ON]), cases={"domain": [case]}))


def test_the_contract_does_not_bind_hard_cases_of_a_set_without_it(evidence_of):
    (case,) = cases_of(1)
    evidence = evidence_of(Fake("shipped", ["The lamp is on."]), cases={"domain": [case]})
    assert any(score.missed for score in judge_hard(case, evidence))
    free = replace(case, contract=False)
    assert not any("JSON" in score.reason for score in judge_hard(free, evidence))
