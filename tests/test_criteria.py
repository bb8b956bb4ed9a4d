"""Rules of decision: each says PASS, FAIL and INCONCLUSIVE where it should, and the gate fails closed.

python -m pytest tests/test_criteria.py
"""

import itertools
import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from seatrial.evals.built import Built
from seatrial.evals.cases import Case
from seatrial.evals.criteria import check_criteria, judge
from seatrial.evals.evidence import Evidence
from seatrial.evals.gate import DO_NOT_SHIP, SHIP, decide
from seatrial.evals.hard import hard_cases, judge_hard
from seatrial.evals.metrics import METRICS, Score
from seatrial.evals.models import ERROR, LENGTH, Generation, Likelihood, Question, Timings
from seatrial.evals.preference import staged
from seatrial.evals.ratings import answer_digest
from seatrial.evals.task import Criterion, load_task
from seatrial.evals.verdict import (
    FAIL,
    INCONCLUSIVE,
    NOT_EVALUATED,
    PASS,
    Measured,
    Miss,
    NotEvaluated,
    Verdict,
    shorten,
    show,
)
from seatrial.training.errors import SeatrialError
from seatrial.training.recipe import load_recipe
from seatrial.training.store import Store

MINIATURE = Path(__file__).resolve().parent / "miniature"
GOLDEN = MINIATURE.parents[1] / "golden" / "task_api"
ON = json.dumps({"operation": "on", "arguments": {}, "reply": "The lamp is on. Anything else?"})
OFF = json.dumps({"operation": "off", "arguments": {}, "reply": "The lamp is off. Anything else?"})


def cases_of(n, case_set="domain", **more):
    """Cases that all want the lamp on."""
    return [
        Case(
            f"{case_set}-{number}",
            Question(f"{case_set}-{number}", ({"role": "user", "content": f"on, {number}"},), ON),
            case_set,
            f"cases/{case_set}.jsonl:{number}",
            {"operation": "on"},
            **more,
        )
        for number in range(1, n + 1)
    ]


class Fake:
    """A model in memory that answers the questions in order with what it is given."""

    def __init__(self, name, answers):
        self.name, self.answers, self.asked = name, answers, 0
        self.identity = {
            "answers": [answer if isinstance(answer, str) else repr(answer) for answer in answers]
        }

    def generate(self, questions, max_tokens, log):
        self.asked += 1
        answers = [
            answer if isinstance(answer, Generation) else Generation(answer) for answer in self.answers
        ]
        return answers[: len(questions)]


class Scoring(Fake):
    """A model with likelihoods (nll per row of 10 tokens) and seconds."""

    def __init__(self, name, values):
        super().__init__(name, [ON] * len(values))
        self.values, self.identity, self.memory = values, {"values": list(values)}, 10**9

    def score(self, questions, log):
        return [Likelihood(10 * math.log(value), 10) for value in self.values]

    def time(self, questions, max_tokens, log):
        return Timings([Generation(ON, seconds=value) for value in self.values], self.memory)


@pytest.fixture
def evidence_of(tmp_path):
    """Evidence about models by role, with as many cases as the first of them answers."""

    def make(*models, cases=None, export=None, ratings=None):
        cases = cases or {"domain": cases_of(len(models[0].answers))}
        by_name = {model.name: model for model in models}
        return Evidence(
            Store(tmp_path), load_task(MINIATURE), cases, by_name, export or Built(), ratings or {}
        )

    return make


def right(name, hits, n):
    """A model with ``hits`` right answers out of ``n``, the wrong ones first."""
    return Fake(name, [OFF] * (n - hits) + [ON] * hits)


def requiring(metric="accuracy", **more):
    usual = {"id": "X-1", "title": "The right operation", "why": "it matters", "cases": ("domain",)}
    return Criterion(**(usual | {"metric": metric} | more))


def compared(rule, metric="accuracy", **more):
    return requiring(metric, rule=rule, against="base", **more)


# --- rules point and confident -------------------------------------------------------------------------


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


# --- rules superior and non_inferior -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shipped", "base", "status"),
    [
        (10, 4, PASS),  # six discordant pairs, all won: p = 0.031
        (10, 5, INCONCLUSIVE),  # five: p = 0.063
        (10, 9, INCONCLUSIVE),
        (10, 10, FAIL),
        (5, 10, FAIL),
    ],
)
def test_a_superior_share_needs_a_significant_mcnemar_test(evidence_of, shipped, base, status):
    verdict = judge(compared("superior"), evidence_of(right("shipped", shipped, 10), right("base", base, 10)))
    assert verdict.status == status
    assert verdict.measured.model == "shipped"
    assert verdict.against.model == "base"
    assert verdict.against.value == base / 10
    assert verdict.comparison["difference"] == pytest.approx((shipped - base) / 10)


def test_the_level_of_significance_is_the_criterion_s_own(evidence_of):
    evidence = evidence_of(right("shipped", 10, 10), right("base", 5, 10))
    statuses = [judge(compared("superior", confidence=level), evidence).status for level in (0.90, 0.95)]
    assert statuses == [PASS, INCONCLUSIVE]


@pytest.mark.parametrize(
    ("factors", "status"),
    [
        ([0.5] * 12, PASS),
        ([1.0] * 12, FAIL),
        ([2.0] * 12, FAIL),
        ([0.5, 1.9] * 6, INCONCLUSIVE),
    ],
)
def test_a_superior_perplexity_is_lower_in_the_whole_interval(evidence_of, factors, status):
    base = [3.0, 30.0, 5.0, 50.0, 4.0, 40.0, 6.0, 60.0, 7.0, 70.0, 8.0, 80.0]
    shipped = [value * factor for value, factor in zip(base, factors, strict=True)]
    verdict = judge(
        compared("superior", "perplexity"), evidence_of(Scoring("shipped", shipped), Scoring("base", base))
    )
    assert verdict.status == status
    assert verdict.comparison["p_value"] is None


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ([5, 5, 4, 5, 5, 4] * 2, PASS),
        ([5, 5, 4, 5, 5, 4], INCONCLUSIVE),  # six win, but nothing is known about a seventh
        ([1, 5, 3, 1, 5, 4] * 2, INCONCLUSIVE),
        ([3] * 12, FAIL),
        ([2] * 12, FAIL),
    ],
)
def test_superior_ratings_lie_above_the_base_s_in_the_whole_interval(evidence_of, given, status):
    n = len(given)
    cases = cases_of(n)
    ratings = {answer_digest(case.id, ON): [float(r)] for case, r in zip(cases, given, strict=True)}
    ratings |= {answer_digest(case.id, OFF): [3.0] for case in cases}
    evidence = evidence_of(
        right("shipped", n, n), right("base", 0, n), cases={"domain": cases}, ratings=ratings
    )
    assert judge(compared("superior", "response_rating"), evidence).status == status


@pytest.mark.parametrize(
    ("shipped", "margin", "status"),
    [
        (20, 0.0, INCONCLUSIVE),  # twenty ties do not make the models equal: 16 points either way
        (20, 0.1, INCONCLUSIVE),
        (20, 0.17, PASS),
        (19, 0.3, PASS),  # 5 points worse, surely not more than 24
        (19, 0.2, INCONCLUSIVE),
        (19, 0.0, FAIL),
        (16, 0.1, FAIL),
    ],
)
def test_a_share_is_not_inferior_if_it_is_surely_within_the_margin(evidence_of, shipped, margin, status):
    evidence = evidence_of(right("shipped", shipped, 20), right("base", 20, 20))
    assert judge(compared("non_inferior", margin=margin), evidence).status == status


@pytest.mark.parametrize(
    ("shipped", "margin", "status"),
    [
        ([1.9, 2.1] * 6, 0.0, PASS),
        ([4.4, 4.6] * 6, 1.0, PASS),
        ([4.5] * 12, 0.4, FAIL),
        ([3.0, 6.0] * 6, 1.0, INCONCLUSIVE),
        ([4.0] * 12, 0.0, INCONCLUSIVE),  # rows that all agree do not tell how others would differ
        ([2.0] * 12, 0.0, INCONCLUSIVE),
    ],
)
def test_a_perplexity_is_not_inferior_if_it_is_surely_within_the_margin(evidence_of, shipped, margin, status):
    evidence = evidence_of(Scoring("shipped", shipped), Scoring("base", [4.0] * 12))
    assert judge(compared("non_inferior", "perplexity", margin=margin), evidence).status == status


def test_comparing_pairs_the_answers_to_the_same_case(evidence_of):
    # Both have five of ten right, but never the same: ten discordant pairs and no difference.
    shipped, base = Fake("shipped", [ON] * 5 + [OFF] * 5), Fake("base", [OFF] * 5 + [ON] * 5)
    verdict = judge(compared("non_inferior", margin=0.1), evidence_of(shipped, base))
    assert verdict.comparison["difference"] == 0
    assert verdict.comparison["low"] < -0.3
    assert verdict.status == INCONCLUSIVE


def test_two_counts_are_compared_by_the_difference_that_they_have(evidence_of):
    """What is measured once needs no interval under any rule, because nothing was sampled."""
    heavy, light = Scoring("shipped", [1.0]), Scoring("base", [2.0])
    heavy.memory, light.memory = 2 * 10**9, 10**9
    evidence = evidence_of(heavy, light)

    def status(rule, **more):
        return judge(compared(rule, "peak_memory", **more), evidence).status

    assert status("superior") == FAIL
    assert [status("non_inferior", margin=margin) for margin in (0.9, 1.0)] == [FAIL, PASS]
    assert [status("within", margin=margin) for margin in (0.9, 1.0)] == [FAIL, PASS]
    light.name, heavy.name = "shipped", "base"
    assert judge(compared("superior", "peak_memory"), evidence_of(light, heavy)).status == PASS


# --- what few or equal scores can prove ----------------------------------------------------------------


class Timed(Fake):
    """A model with likelihoods and times, whose answers may be given."""

    def __init__(self, name, seconds, answers=None, tokens=11):
        super().__init__(name, answers or [ON] * len(seconds))
        self.seconds, self.tokens = seconds, tokens
        self.identity = {**self.identity, "seconds": list(seconds), "tokens": tokens}

    def score(self, questions, log):
        return [Likelihood(10 * math.log(1 + value), 10) for value in self.seconds]

    def time(self, questions, max_tokens, log):
        generations = []
        for answer, seconds in zip(self.answers, self.seconds, strict=True):
            given = answer if isinstance(answer, Generation) else Generation(answer)
            if not given.error:
                given = Generation(
                    given.text, 0, self.tokens, given.stop_reason, seconds, seconds / 10, given.error
                )
            generations.append(given)
        return Timings(generations, 10**9)


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
    task = staged(load_task(GOLDEN), load_recipe("smollm2-135m-cpu"))  # its recipe has no stage on pairs
    sizes = {
        name: len((GOLDEN / case_set.file).read_text(encoding="utf-8").split("\n")) - 1
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


# --- mistakes in criteria ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "line", "words"),
    [
        ("accuracy", "at_least = 90", "a share, from 0 to 1.*was 0.9 meant, which is 90 %?"),
        ("accuracy", "at_least = 99.5", "was 0.995 meant"),
        ("accuracy", "at_least = -0.1", "from 0 to 1.*inside this range"),
        ("accuracy", "at_least = 9000", "from 0 to 1.*inside this range"),
        ("metadata_parity", "at_least = 100", "was 1 meant"),
        ("top1_agreement", "at_least = 97", "was 0.97 meant"),
        ("rouge_l", "at_least = 45", "from 0 to 1.*was 0.45 meant"),
        ("response_rating", "at_least = 80", "from 1 to 5.*inside this range"),
        ("response_rating", "at_least = 0.8", "from 1 to 5.*inside this range"),
        ("kl_divergence", "at_most = -1.0", "never below 0"),
        (
            "accuracy",
            "at_most = 0.9",
            "of accuracy higher is better.*type at_least = 0.9",
        ),
        ("perplexity", "at_least = 5.0", "of perplexity lower is better.*type at_most = 5"),
        ("accuracy", 'rule = "confident"\nat_least = 1.0', 'can never pass.*"point"'),
        ("accuracy", 'rule = "within"\nagainst = "base"\nmargin = 5.0', "was 0.05 meant"),
        ("accuracy", 'rule = "non_inferior"\nagainst = "base"\nmargin = 1.0', "any model would pass"),
        ("accuracy", "at_least = 0.0", "any model would pass.*required = false"),
        ("response_rating", "at_least = 1", "any model would pass"),
        ("false_positive_rate", "at_most = 1.0", "any model would pass"),
        ("metadata_parity", "at_least = 0.0", "any model would pass"),
        ("accuracy", 'rule = "within"\nagainst = "shipped"', "compares shipped with itself"),
        ("acuracy", "at_least = 0.9", "did you mean 'accuracy'?"),
        ("accuracy", 'model = "shiped"\nat_least = 0.9', "did you mean 'shipped'?"),
        (
            "accuracy",
            'rule = "superior"\nagainst = "prompted-base"',
            "did you mean 'prompted_base'?",
        ),
        ("answer_seconds", "at_most = 9.0\nsettings = {percentil = 95}", "did you mean 'percentile'?"),
        ("answer_seconds", "at_most = 9.0\nsettings = {percentile = 0}", "between 0 and 100"),
        ("answer_seconds", 'at_most = 9.0\nsettings = {percentile = "95"}', "between 0 and 100"),
        (
            "accuracy",
            "at_least = 0.9\nsettings = {percentile = 95}",
            "accuracy does not know",
        ),
    ],
)
def test_a_criterion_that_cannot_be_meant_is_a_mistake_with_its_line(tmp_path, metric, line, words):
    folder = shutil.copytree(MINIATURE, tmp_path / "lamp")
    path = folder / "task.toml"
    added = (
        f'\n[[criteria]]\nid = "NEW"\ntitle = "t"\nmetric = "{metric}"\ncases = "domain"\nwhy = "w"\n{line}\n'
    )
    text = path.read_text(encoding="utf-8")
    path.write_text(text + added, encoding="utf-8")
    with pytest.raises(SeatrialError, match="(?s)criterion 'NEW'.*" + words) as found:
        check_criteria(load_task(folder))
    number = int(re.search(r"task\.toml:(\d+)", str(found.value))[1])
    assert number > text.count("\n") + 1


def test_a_case_set_that_is_named_twice_would_count_twice(tmp_path):
    folder = shutil.copytree(MINIATURE, tmp_path / "lamp")
    path = folder / "task.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('["domain", "heldout"]', '["domain", "domain"]', 1), encoding="utf-8")
    with pytest.raises(SeatrialError, match="names the case set 'domain' twice"):
        check_criteria(load_task(folder))


def test_the_tasks_of_this_repository_have_no_mistake():
    for folder in (MINIATURE, GOLDEN):
        check_criteria(load_task(folder))


def test_a_loss_s_margin_in_percent_is_a_mistake_at_its_line(tmp_path):
    folder = shutil.copytree(MINIATURE, tmp_path / "lamp")
    path = folder / "task.toml"
    loss = (
        '[[losses]]\nid = "L"\ntitle = "t"\nmetric = "json_parse"\ncases = "domain"\nmargin = 5\nwhy = "w"\n'
    )
    path.write_text(path.read_text(encoding="utf-8") + loss, encoding="utf-8")
    line = path.read_text(encoding="utf-8").splitlines().index("margin = 5") + 1
    with pytest.raises(SeatrialError, match=f"(?s)task.toml:{line}: .*margin = 5.*was 0.05 meant"):
        check_criteria(load_task(folder))


# --- not evaluated -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (compared("superior"), "no model 'base' in this run; there are: shipped"),
        (requiring("perplexity", at_most=9), "the runtime of 'shipped' gives no likelihoods"),
        (requiring("answer_seconds", at_most=9), "the runtime of 'shipped' gives no timings"),
        (requiring("adapter_loads", at_least=1), "there is no adapter in this run"),
        (requiring("file_size", at_most=5), "a program was judged, not a file"),
        (requiring("keyword_recall", at_least=1), "no case of domain can be scored by keyword_recall"),
        (requiring(cases=("empty",), at_least=1), "the case set 'empty' is empty"),
    ],
    ids=lambda value: getattr(value, "metric", None),
)
def test_what_is_missing_makes_a_criterion_not_evaluated_with_the_reason(evidence_of, wanted, reason):
    shipped = right("shipped", 4, 4)
    verdict = judge(wanted, evidence_of(shipped, cases={"domain": cases_of(4), "empty": []}))
    assert verdict.status == NOT_EVALUATED
    assert reason in verdict.reason
    assert verdict.measured is None
    assert reason in verdict.explain()


def test_timings_of_no_cases_are_not_evaluated(evidence_of):
    evidence = evidence_of(Scoring("shipped", [1.0]), cases={"domain": []})
    verdict = judge(requiring("answer_seconds", at_most=9), evidence)
    assert verdict.status == NOT_EVALUATED
    assert "the case set 'domain' is empty" in verdict.reason


# --- evidence and what a verdict tells -----------------------------------------------------------------


def test_a_model_is_asked_once_for_all_criteria_and_runs(evidence_of):
    shipped = right("shipped", 3, 4)
    for _ in range(2):
        evidence = evidence_of(shipped)
        for metric in ("accuracy", "json_parse", "stopped"):
            judge(requiring(metric, at_least=0.5), evidence)
    assert shipped.asked == 1


def test_answers_are_kept_by_what_decides_them_and_not_by_the_model_s_name(evidence_of):
    first, same, other = right("shipped", 3, 4), right("base", 3, 4), right("base", 2, 4)
    evidence_of(first).generations("shipped", "domain")
    evidence_of(same).generations("base", "domain")
    evidence_of(other).generations("base", "domain")
    assert (first.asked, same.asked, other.asked) == (1, 0, 1)


def test_a_verdict_names_the_artifacts_that_it_rests_on(evidence_of):
    evidence = evidence_of(right("shipped", 7, 8), right("base", 1, 8))
    verdict = judge(compared("superior"), evidence)
    assert [artifact["step"] for artifact in verdict.artifacts] == ["generations", "generations"]
    assert [artifact["built_now"] for artifact in verdict.artifacts] == [True, True]
    again = judge(requiring(at_least=0.5), evidence)
    assert [artifact["key"] for artifact in again.artifacts] == [verdict.artifacts[0]["key"]]


def test_the_artifact_of_answers_says_what_each_model_was_asked_in_sums(evidence_of):
    """Fails if the sums are lost when answers are read from the store, or when two models share them."""
    evidence = evidence_of(right("shipped", 7, 8), right("base", 7, 8))
    for _ in range(2):
        verdict = judge(compared("superior"), evidence)
    (artifact,) = {artifact["key"]: artifact for artifact in verdict.artifacts}.values()
    assert [(each["model"], each["case_set"]) for each in artifact["answered"]] == [
        ("shipped", "domain"),
        ("base", "domain"),
    ]
    assert {(each["answers"], each["errors"], each["seconds"]) for each in artifact["answered"]} == {
        (8, 0, None)
    }


def test_groups_break_a_share_down_by_operation(evidence_of):
    cases = cases_of(4)
    off = [Case(c.id, c.question, "domain", c.where, {"operation": "off"}) for c in cases[2:]]
    evidence = evidence_of(Fake("shipped", [ON, OFF, OFF, OFF]), cases={"domain": [*cases[:2], *off]})
    verdict = judge(requiring(at_least=0.5, least_cases=4), evidence)
    assert verdict.measured.groups == {"on": {"value": 0.5, "n": 2}, "off": {"value": 1.0, "n": 2}}
    assert {verdict.measured.group_of[case] for case in verdict.measured.scores} == {"on", "off"}
    assert verdict.measured.scores["domain-2"] == 0.0
    assert verdict.measured.answers["domain-2"] == OFF


@pytest.mark.parametrize(
    ("people", "note"),
    [
        (0, "rated by the automatic rubric; no person has rated these answers"),
        (1, "1 of 3 answers rated by people, the rest by the automatic rubric"),
        (3, "3 of 3 answers rated by people, the rest by the automatic rubric"),
    ],
)
def test_a_verdict_on_ratings_says_who_rated(evidence_of, people, note):
    ratings = {answer_digest(case.id, ON): [5.0] for case in cases_of(3)[:people]}
    verdict = judge(
        requiring("response_rating", at_least=1, least_cases=3),
        evidence_of(right("shipped", 3, 3), ratings=ratings),
    )
    assert list(verdict.notes) == [note]
    assert note in verdict.explain()


def test_a_failing_criterion_prints_what_was_required_why_what_was_measured_the_misses_and_what_to_do(
    evidence_of,
):
    criterion = requiring(at_least=0.9, advice="add training rows")
    lines = judge(criterion, evidence_of(right("shipped", 17, 20))).explain().splitlines()
    assert lines[:4] == [
        "X-1 FAIL: The right operation",
        "  required: accuracy >= 90 %",
        "  because:  it matters",
        "  measured: shipped 85 % [63.96 % to 94.76 %], n = 20, Wilson",
    ]
    assert lines[4:8] == [
        "  missed domain-1 (cases/domain.jsonl:1): operation 'off' where 'on' is right",
        "    asked:    on, 1",
        "    expected: on",
        f"    answered: {OFF}",
    ]
    assert lines[-1] == "  next:     add training rows"
    assert len([line for line in lines if line.startswith("  missed ")]) == 3


def test_a_failing_comparison_prints_both_models_and_the_difference(evidence_of):
    text = judge(compared("superior"), evidence_of(right("shipped", 5, 10), right("base", 8, 10))).explain()
    assert "required: accuracy of shipped better than of base, surely (95% confidence)" in text
    assert "measured: shipped 50 % [" in text
    assert "measured: base 80 % [" in text
    assert "compared: difference -30 % [" in text
    assert "], p = 0.25, n = 10, Tango score interval, exact McNemar test" in text


def test_only_the_first_misses_are_printed_and_the_rest_is_counted(evidence_of):
    text = judge(requiring(at_least=0.9), evidence_of(right("shipped", 0, 30))).explain()
    assert text.count("  missed ") == 12
    assert "and 18 more; the report lists them all" in text


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (requiring(at_least=0.995), "accuracy >= 99.5 %"),
        (requiring("file_size", at_most=5.0), "file_size <= 5 GB"),
        (requiring(at_least=0.9, rule="confident"), "accuracy >= 90 %, surely (95% confidence)"),
        (
            compared("non_inferior", margin=0.1),
            "accuracy of shipped at most 10 % worse than base (95% confidence)",
        ),
    ],
    ids=lambda value: getattr(value, "metric", None),
)
def test_a_requirement_is_told_in_words_even_if_it_was_not_evaluated(evidence_of, wanted, words):
    assert judge(wanted, evidence_of(right("other", 1, 1))).requirement == words


def test_a_verdict_survives_json(evidence_of):
    verdict = judge(compared("superior"), evidence_of(right("shipped", 5, 10), right("base", 8, 10)))
    data = json.loads(json.dumps(verdict.to_json()))
    measured = {name: Measured(**data[name]) for name in ("measured", "against")}
    again = Verdict(**(data | measured | {"misses": [Miss(**miss) for miss in data["misses"]]}))
    assert again == verdict


@pytest.mark.parametrize(
    ("status", "required", "acceptable"),
    [(PASS, True, True), (PASS, False, True)]
    + [
        (status, required, not required)
        for status in (FAIL, INCONCLUSIVE, NOT_EVALUATED)
        for required in (True, False)
    ],
)
def test_only_a_pass_of_what_is_required_is_acceptable(status, required, acceptable):
    fields = dict.fromkeys(
        ("criterion", "title", "metric", "unit", "better", "rule", "requirement", "why"), ""
    )
    assert Verdict(**fields, status=status, required=required).acceptable == acceptable


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [(0.9, "share", "90 %"), (0.99512, "share", "99.51 %"), (1.23456, "s", "1.235 s"), (4.0, "", "4")],
)
def test_values_are_shown_with_their_unit(value, unit, shown):
    assert show(value, unit) == shown


def test_long_and_broken_texts_are_shown_on_one_line():
    assert shorten("a\r\nb") == "a\\r\\nb"
    assert len(shorten("x" * 300)) == 200
    assert shorten("x" * 200) == "x" * 200


# --- hard cases ----------------------------------------------------------------------------------------


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


# --- the gate ------------------------------------------------------------------------------------------


def gate(
    statuses=None,
    required=("A", "B"),
    hard=None,
    other=None,
    reasons=None,
    pytest_status=0,
    nothing_judged="",
):
    statuses = {"A": PASS, "B": PASS} | (statuses or {})
    return decide(statuses, required, hard or {}, other or {}, reasons or {}, pytest_status, nothing_judged)


def test_all_green_ships_without_a_reason_against():
    decision = gate(hard={"h": True}, statuses={"C": FAIL, "D": NOT_EVALUATED})
    assert (decision.decision, decision.exit_status, decision.reasons) == (SHIP, 0, ())


@pytest.mark.parametrize(
    ("state", "exit_status", "reason"),
    [
        ({"statuses": {"A": FAIL}}, 1, "A FAIL"),
        ({"statuses": {"A": INCONCLUSIVE}}, 11, "A INCONCLUSIVE"),
        (
            {"statuses": {"A": NOT_EVALUATED}},
            10,
            "A NOT EVALUATED: its test did not run (deselected or not collected)",
        ),
        (
            {"required": ("A", "B", "C")},
            10,
            "C NOT EVALUATED: its test did not run (deselected or not collected)",
        ),
        (
            {"required": ("A", "C"), "reasons": {"C": "skipped: no GPU"}},
            10,
            "C NOT EVALUATED: skipped: no GPU",
        ),
        ({"required": ()}, 10, "no criterion is required, so nothing was proved"),
        ({"hard": {"h": False, "i": True}}, 1, "hard case h missed"),
        (
            {"hard": {"h": None}},
            10,
            "hard case h NOT EVALUATED: its test did not run (deselected or not collected)",
        ),
        ({"nothing_judged": "no file was judged"}, 10, "no file was judged"),
        (
            {"hard": {"h": None}, "reasons": {"h": "error: boom"}},
            10,
            "hard case h NOT EVALUATED: error: boom",
        ),
        (
            {"other": {"evals/test_x.py::test_y": "boom"}, "pytest_status": 1},
            1,
            "test failed: evals/test_x.py::test_y (boom)",
        ),
    ],
)
def test_one_thing_against_shipping_is_enough_and_is_told(state, exit_status, reason):
    decision = gate(**state)
    assert (decision.decision, decision.exit_status) == (DO_NOT_SHIP, exit_status)
    assert tuple(map(str, decision.reasons)) == (reason,)


@pytest.mark.parametrize("first", [PASS, FAIL, INCONCLUSIVE, NOT_EVALUATED])
@pytest.mark.parametrize("second", [PASS, FAIL, INCONCLUSIVE, NOT_EVALUATED])
@pytest.mark.parametrize("right", [True, False, None])
def test_the_exit_status_is_that_of_the_gravest_thing_against_shipping(first, second, right):
    decision = gate({"A": first, "B": second}, hard={"h": right})
    seen = {first, second, {True: PASS, False: FAIL, None: NOT_EVALUATED}[right]}
    gravest = next(status for status in (FAIL, NOT_EVALUATED, INCONCLUSIVE, PASS) if status in seen)
    assert decision.exit_status == {FAIL: 1, NOT_EVALUATED: 10, INCONCLUSIVE: 11, PASS: 0}[gravest]
    assert decision.decision == (SHIP if gravest == PASS else DO_NOT_SHIP)
    assert len(decision.reasons) == [first, second, right].count(FAIL) + len(
        [one for one in (first, second) if one in (INCONCLUSIVE, NOT_EVALUATED)]
    ) + (right is not True)


@pytest.mark.parametrize(
    ("status", "state"), list(itertools.product([2, 3, 4], [{}, {"statuses": {"A": FAIL}}]))
)
def test_a_run_that_was_stopped_keeps_pytest_s_exit_status_and_never_ships(status, state):
    decision = gate(pytest_status=status, **state)
    assert (decision.decision, decision.exit_status) == (DO_NOT_SHIP, status)
    assert str(decision.reasons[0]) == f"the run was stopped (pytest exit status {status})"
    assert len(decision.reasons) == 1 + len(state)


@pytest.mark.parametrize("status", [1, 5, 6])
def test_a_run_that_pytest_calls_bad_never_ships_even_if_nothing_explains_why(status):
    # For instance a fixture that fails in teardown, after its criterion has passed.
    decision = gate(pytest_status=status)
    assert decision.decision == DO_NOT_SHIP
    assert decision.exit_status != 0
    assert decision.reasons


# --- rule within and loss attribution ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hits", "margin", "status"),
    [(20, 0.0, PASS), (19, 0.05, PASS), (19, 0.04, FAIL), (18, 0.05, FAIL), (18, 0.1, PASS)],
)
def test_a_stage_may_cost_as_much_as_its_margin(evidence_of, hits, margin, status):
    evidence = evidence_of(right("merged", hits, 20), right("adapter", 20, 20))
    criterion = requiring(rule="within", model="merged", against="adapter", margin=margin, stage="merge")
    verdict = judge(criterion, evidence)
    assert verdict.status == status
    assert verdict.threshold == -margin
    assert verdict.stages == (["merge"] if status == FAIL else [])
    assert ("merge once" in verdict.advice) == (status == FAIL)


def test_a_perplexity_may_rise_as_much_as_its_margin(evidence_of):
    cases = {"domain": cases_of(5)}
    evidence = evidence_of(Scoring("merged", [1.2] * 5), Scoring("adapter", [1.1] * 5), cases=cases)

    def status(margin):
        criterion = requiring(
            "perplexity", rule="within", model="merged", against="adapter", margin=margin, stage="merge"
        )
        return judge(criterion, evidence).status

    assert (status(0.11), status(0.09)) == (PASS, FAIL)


def test_a_loss_is_a_criterion_for_every_step_that_its_metric_can_be_measured_at():
    task = load_task(GOLDEN)
    ids = [criterion.id for criterion in task.criteria if criterion.id.startswith("LOSS.operations.")]
    steps = ["training", "merge", "conversion", "quantisation", "q8_0", "q5_k_m", "ollama"]
    assert ids == [f"LOSS.operations.{step}" for step in steps]
    assert "LOSS.perplexity.ollama" not in {criterion.id for criterion in task.criteria}
    required = {c.id.rpartition(".")[2] for c in task.criteria if c.id in ids and c.required}
    assert required == {"training", "merge", "conversion", "quantisation"}
    assert all(c.why and c.rule == "within" for c in task.criteria if c.id in ids)


def test_a_mistake_in_a_loss_is_told_with_its_line(tmp_path):
    folder = shutil.copytree(MINIATURE, tmp_path / "lamp")
    path = folder / "task.toml"
    loss = '[[losses]]\nid = "L"\ntitle = "t"\nmetric = "speed"\ncases = "domain"\nmargin = 0.1\nwhy = "w"\n'
    path.write_text(path.read_text(encoding="utf-8") + loss, encoding="utf-8")
    line = path.read_text(encoding="utf-8").splitlines().index('metric = "speed"') + 1
    with pytest.raises(
        SeatrialError, match=f"task.toml:{line}: criterion 'L.training' names the metric 'speed'"
    ):
        check_criteria(load_task(folder))


def test_two_losses_may_not_share_an_id(tmp_path):
    folder = shutil.copytree(MINIATURE, tmp_path / "lamp")
    path = folder / "task.toml"
    loss = '[[losses]]\nid = "L"\ntitle = "t"\nmetric = "json_parse"\ncases = "domain"\nmargin = 0.1\nwhy = "w"\n'
    path.write_text(path.read_text(encoding="utf-8") + loss + loss, encoding="utf-8")
    with pytest.raises(SeatrialError, match="criterion id 'L.training' is used twice"):
        load_task(folder)
