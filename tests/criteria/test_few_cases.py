"""What few or equal scores can prove: nothing is sure by one case, by a tie, or by an answer that did not come."""

import math

import pytest

from seatrial.evals.criteria import judge
from seatrial.evals.metrics import METRICS, Score
from seatrial.evals.models import ERROR, Generation
from seatrial.evals.preference import staged
from seatrial.evals.task import load_task
from seatrial.evals.verdict import FAIL, INCONCLUSIVE, NOT_EVALUATED, PASS
from seatrial.training.recipe import load_recipe
from tests.conftest import REPOSITORY
from tests.criteria.fakes import OFF, ON, Fake, Scoring, Timed, compared, requiring, right

TASK_API = REPOSITORY / "golden" / "task_api"


# metric, a bound that one perfect case must not prove
ONE_IS_NOT_ENOUGH = [
    ("accuracy", {"at_least": 0.5}),
    ("response_rating", {"at_least": 2.0}),
    ("rouge_l", {"at_least": 0.5}),
    ("perplexity", {"at_most": 9.0}),
    ("answer_seconds", {"at_most": 9.0}),
    ("first_token_seconds", {"at_most": 9.0}),
    ("tokens_per_second", {"at_least": 1.0}),
]


@pytest.mark.parametrize(("metric", "bound"), ONE_IS_NOT_ENOUGH)
def test_one_case_makes_nothing_sure(evidence_of, metric, bound):
    evidence = evidence_of(Timed("shipped", [1.0]))
    assert judge(requiring(metric, **bound), evidence).status == NOT_EVALUATED
    assert judge(requiring(metric, least_cases=1, **bound), evidence).status == PASS
    verdict = judge(requiring(metric, rule="confident", least_cases=1, **bound), evidence)
    assert verdict.status == INCONCLUSIVE


@pytest.mark.parametrize(("metric", "bound"), ONE_IS_NOT_ENOUGH)
def test_models_that_tie_everywhere_are_not_surely_alike(evidence_of, metric, bound):
    evidence = evidence_of(Timed("shipped", [1.0] * 8), Timed("base", [1.0] * 8))
    verdict = judge(compared("non_inferior", metric, margin=0.01, least_cases=1), evidence)
    if metric in ("answer_seconds", "first_token_seconds"):  # ordered values bound a median, ties included
        assert verdict.status == PASS
    else:
        assert verdict.status == INCONCLUSIVE
    assert judge(compared("superior", metric, least_cases=1), evidence).status == FAIL
    assert judge(compared("within", metric), evidence).status == PASS


QUICK = [1.0 + n / 100 for n in range(12)]
SLOW = [2.0 + n / 50 for n in range(12)]
UNSTEADY, UNEVEN = [0.5, 3.5] * 6, [1.5, 3.5] * 6


@pytest.mark.parametrize(
    ("metric", "seconds", "bound", "status"),
    [
        ("answer_seconds", QUICK, {"at_most": 1.5}, PASS),
        ("answer_seconds", QUICK, {"at_most": 1.06}, INCONCLUSIVE),
        ("answer_seconds", QUICK, {"at_most": 1.0}, FAIL),
        ("tokens_per_second", QUICK, {"at_least": 8.0}, PASS),
        ("tokens_per_second", QUICK, {"at_least": 10.5}, INCONCLUSIVE),
        ("tokens_per_second", QUICK, {"at_least": 11.0}, FAIL),
        ("perplexity", QUICK, {"at_most": 3.0}, PASS),
        ("perplexity", QUICK, {"at_most": 2.06}, INCONCLUSIVE),
        ("perplexity", QUICK, {"at_most": 2.0}, FAIL),
        ("response_rating", QUICK, {"at_least": 2.0}, PASS),  # 4 points each: nobody acknowledges here
        ("response_rating", QUICK, {"at_least": 3.9}, INCONCLUSIVE),
        ("response_rating", QUICK, {"at_least": 4.1}, FAIL),
        ("rouge_l", QUICK, {"at_least": 0.7}, PASS),
        ("rouge_l", QUICK, {"at_least": 0.9}, INCONCLUSIVE),
    ],
)
def test_a_confident_rule_says_pass_inconclusive_and_fail(evidence_of, metric, seconds, bound, status):
    criterion = requiring(metric, rule="confident", least_cases=1, **bound)
    if metric == "response_rating":
        criterion = criterion.model_copy(update={"settings": {"follow_up_words": ["anything"]}})
    assert judge(criterion, evidence_of(Timed("shipped", seconds))).status == status


@pytest.mark.parametrize(
    ("metric", "rule", "shipped", "base", "margin", "status"),
    [
        (metric, *row)
        for metric, unsure in (
            ("answer_seconds", UNSTEADY),
            ("tokens_per_second", UNEVEN),
            ("perplexity", UNSTEADY),
        )
        for row in (
            ("superior", QUICK, SLOW, 0.0, PASS),
            ("superior", unsure, SLOW, 0.0, INCONCLUSIVE),
            ("superior", SLOW, QUICK, 0.0, FAIL),
            ("non_inferior", SLOW, QUICK, 9.0, PASS),
            ("non_inferior", unsure, SLOW, 0.0, INCONCLUSIVE),
            ("non_inferior", SLOW, QUICK, 0.1, FAIL),
        )
    ],
)
def test_a_sure_comparison_says_pass_inconclusive_and_fail(
    evidence_of, metric, rule, shipped, base, margin, status
):
    evidence = evidence_of(Timed("shipped", shipped), Timed("base", base))
    verdict = judge(compared(rule, metric, margin=margin), evidence)
    assert verdict.status == status
    assert verdict.comparison["n"] == 12


def test_an_unknown_bound_is_not_taken_for_one_that_nothing_was_sampled_for(evidence_of):
    evidence = evidence_of(Timed("shipped", [1.0] * 8))
    alike = judge(requiring("tokens_per_second", rule="confident", at_least=1.0), evidence)
    assert (alike.status, alike.measured.low, alike.measured.high) == (INCONCLUSIVE, None, None)
    assert "no interval: too few, too skewed or all alike" in alike.explain()
    once = judge(requiring("peak_memory", rule="confident", at_most=1.0), evidence)
    assert (once.status, once.measured.low) == (PASS, None)


@pytest.mark.parametrize(
    ("rule", "more", "n", "needed"),
    [
        ("point", {"at_least": 0.9}, 1, 5),
        ("point", {"at_least": 0.9}, 4, 5),
        ("point", {"at_least": 0.9}, 5, None),
        ("within", {"against": "base"}, 4, 5),
        ("superior", {"against": "base"}, 5, 6),
        ("superior", {"against": "base"}, 6, None),
        ("superior", {"against": "base", "confidence": 0.99}, 7, 8),
        ("confident", {"at_least": 0.9}, 34, 35),
        ("confident", {"at_least": 0.9}, 35, None),
    ],
)
def test_too_few_cases_are_not_evaluated_and_the_reason_says_how_many_would_do(
    evidence_of, rule, more, n, needed
):
    evidence = evidence_of(right("shipped", n, n), right("base", 0, n))
    verdict = judge(requiring(rule=rule, **more), evidence)
    if needed is None:
        assert verdict.status == PASS
        return
    assert verdict.status == NOT_EVALUATED
    cases = "1 case" if n == 1 else f"{n} cases"
    assert verdict.reason.startswith(f"{cases} can be scored and {needed} are needed, because ")
    assert f"set least_cases = {n} in criterion X-1" in verdict.reason


def test_a_criterion_may_ask_for_more_cases_or_for_fewer(evidence_of):
    evidence = evidence_of(right("shipped", 5, 5))
    assert judge(requiring(at_least=0.9, least_cases=5), evidence).status == PASS
    more = judge(requiring(at_least=0.9, least_cases=6), evidence)
    assert (more.status, "6 are needed, as its least_cases says" in more.reason) == (NOT_EVALUATED, True)


def test_a_95th_percentile_needs_twenty_cases_and_to_be_sure_72(evidence_of):
    def status(n, rule="point"):
        criterion = requiring("answer_seconds", rule=rule, at_most=9.0, settings={"percentile": 95})
        return judge(criterion, evidence_of(Timed("shipped", [1.0 + k / n for k in range(n)]))).status

    assert [status(n) for n in (19, 20)] == [NOT_EVALUATED, PASS]
    assert [status(n, "confident") for n in (71, 72)] == [NOT_EVALUATED, PASS]


def test_every_criterion_of_the_shipped_task_has_as_many_cases_as_it_needs():
    task = staged(load_task(TASK_API), load_recipe("smollm2-135m-cpu"))  # its recipe has no stage on pairs
    sizes = {
        name: len((TASK_API / case_set.file).read_text(encoding="utf-8").split("\n")) - 1
        for name, case_set in task.case_sets.items()
    }
    for criterion in task.criteria:
        metric = METRICS[criterion.metric]
        if metric.estimator.least is not None and criterion.least_cases is None:
            least = metric.estimator.least(criterion, metric.better)
            assert least.cases <= sum(sizes[name] for name in criterion.cases), criterion.id


def test_percentiles_are_compared_as_percentiles_and_not_as_means(evidence_of):
    # Faster on the average, but twice as slow for one answer in ten.
    shipped, base = Timed("shipped", [1.0] * 18 + [10.0] * 2), Timed("base", [5.0] * 20)
    evidence = evidence_of(shipped, base)

    def status(rank):
        criterion = compared("within", "answer_seconds", settings={"percentile": rank})
        return judge(criterion, evidence).status

    assert (status(50), status(95)) == (PASS, FAIL)


def test_figures_per_token_are_compared_by_tokens():
    """Of the long row the file loses a little, of seven short ones it wins much."""
    criterion = compared("within", "top1_agreement", model="merged")
    metric = METRICS["top1_agreement"]
    one, other = (
        [Score(str(n), value, weight=700.0 if n == 0 else 10.0) for n, value in enumerate(values)]
        for values in ([0.9, *[1.0] * 7], [1.0, *[0.5] * 7])
    )
    assert metric.compare(one, other, criterion).difference == pytest.approx((35 - 70) / 770)


def test_an_answer_that_did_not_come_is_slower_than_any_limit(evidence_of):
    failed = Generation("", stop_reason=ERROR, error="out of memory")
    good = [ON] * 19
    slow = Timed("shipped", [1.0 + n / 100 for n in range(20)], [*good, failed])
    evidence = evidence_of(slow)

    def verdict(rank):
        criterion = requiring("answer_seconds", at_most=2.0, settings={"percentile": rank})
        return judge(criterion, evidence)

    assert verdict(50).status == PASS
    late = verdict(95)
    assert (late.status, late.measured.value) == (FAIL, math.inf)
    assert "no answer came (out of memory): it counts as slower than any limit" in late.explain()
    assert "shipped never" in late.explain()


def test_a_rival_that_did_not_answer_lets_nothing_win(evidence_of):
    failed = Generation("", stop_reason=ERROR, error="out of memory")
    evidence = evidence_of(Timed("shipped", [1.0] * 8), Timed("base", [1.0] * 8, [failed] * 8))
    for rule in ("superior", "non_inferior", "within"):
        verdict = judge(compared(rule, "answer_seconds"), evidence)
        assert (verdict.status, "of base did not come" in verdict.reason) == (NOT_EVALUATED, True)


def test_questions_that_the_rival_did_not_answer_are_not_won(evidence_of):
    failed = Generation("", stop_reason=ERROR, error="429 too many requests")
    for came, status in ((0, NOT_EVALUATED), (2, NOT_EVALUATED), (8, PASS)):
        evidence = evidence_of(
            Fake("shipped", [ON] * 20), Fake("base", [OFF] * came + [failed] * (20 - came))
        )
        verdict = judge(compared("superior"), evidence)
        assert verdict.status == status, came
        assert verdict.comparison is None or verdict.comparison["n"] == came


def test_without_a_case_of_another_label_there_is_no_rate_of_false_alarms(evidence_of):
    verdict = judge(requiring("false_positive_rate", at_most=0.1), evidence_of(Fake("shipped", [ON] * 8)))
    assert verdict.status == NOT_EVALUATED
    assert verdict.reason == "no interval: no case could have been otherwise"


def test_scores_that_are_no_numbers_fail_and_say_so(evidence_of):
    broken = Scoring("shipped", [1.0, math.nan, 2.0, 3.0, 1.0])
    verdict = judge(requiring("perplexity", at_most=9.0), evidence_of(broken))
    assert verdict.status == FAIL
    assert verdict.reason == "1 of 5 scores are not a number, such as domain-2"
