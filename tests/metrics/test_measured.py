"""Likelihood, time and memory, as the runtime measured them."""

import math
from dataclasses import replace

import pytest

from seatrial.evals.evidence import NotEvaluated, TimedAnswers
from seatrial.evals.metrics import METRICS
from seatrial.evals.models import ERROR, Generation, Likelihood
from tests.metrics.fakes import CREATE, Answers, Shelf, answer, case_of, criterion_for, evidence_with, score


class Scoring:
    """Evidence that is known without asking a model."""

    def __init__(self, likelihoods=None, timings=None):
        self.cases = {"domain": [case_of(CREATE)]}
        self.first_case_set = "domain"
        self._likelihoods, self._timings = likelihoods or {}, timings

    def likelihoods(self, model, case_set):
        return self._likelihoods

    def timings(self, model, case_set):
        return self._timings


def test_perplexity_takes_likelihoods_with_their_tokens():
    metric, criterion = METRICS["perplexity"], criterion_for("perplexity")
    scores = metric.measure(Scoring({"c-1": Likelihood(nll=6.0, tokens=3)}), criterion, "shipped")
    assert [(found.case, found.value, found.weight, found.group) for found in scores] == [
        ("c-1", 6.0, 3, "create")
    ]
    assert metric.estimate(scores, criterion).value == pytest.approx(7.389056)  # e²
    assert metric.better == "lower"


def test_perplexity_without_references_is_not_evaluated():
    with pytest.raises(NotEvaluated, match="no case of domain has a 'reference' answer"):
        METRICS["perplexity"].measure(Scoring(), criterion_for("perplexity"), "shipped")


@pytest.mark.parametrize(
    ("metric", "expected", "better"),
    [
        ("first_token_seconds", 0.5, "lower"),
        ("answer_seconds", 2.5, "lower"),
        ("tokens_per_second", 10.0, "higher"),  # 20 tokens in the 2 s after the first token
    ],
)
def test_times_are_read_from_answers_asked_one_at_a_time(metric, expected, better):
    timed = Generation("x", completion_tokens=21, seconds=2.5, first_token_seconds=0.5)
    scores = METRICS[metric].measure(
        Scoring(timings=TimedAnswers({"c-1": timed}, 0)), criterion_for(metric), "shipped"
    )
    assert [(found.case, found.value) for found in scores] == [("c-1", expected)]
    assert METRICS[metric].better == better


def timed(*generations):
    """Evidence of one case for each answer."""
    answers = {f"c-{n}": generation for n, generation in enumerate(generations, start=1)}
    evidence = Scoring(timings=TimedAnswers(answers, 0))
    evidence.cases = {"domain": [replace(case_of(CREATE), id=name) for name in answers]}
    return evidence


def test_the_percentile_of_a_time_is_the_one_that_the_criterion_names():
    evidence = timed(*(Generation("x", seconds=float(n)) for n in range(1, 101)))
    found = {}
    for rank in (50, 95):
        criterion = criterion_for("answer_seconds", settings={"percentile": rank})
        metric = METRICS["answer_seconds"]
        found[rank] = metric.estimate(metric.measure(evidence, criterion, "shipped"), criterion).value
    assert found == {50: 50.5, 95: pytest.approx(95.05)}


TIMES = ["first_token_seconds", "answer_seconds", "tokens_per_second"]
GOOD = Generation("x", completion_tokens=21, seconds=2.5, first_token_seconds=0.5)


@pytest.mark.parametrize("metric", TIMES)
@pytest.mark.parametrize(
    "bad",
    [
        Generation("", stop_reason=ERROR, error="out of memory"),
        Generation("half an ans", 0, 5, ERROR, 0.1, 0.1),
        Generation("", completion_tokens=1, seconds=0.1, first_token_seconds=0.1),
        Generation(" \n", completion_tokens=1, seconds=0.1, first_token_seconds=0.1),
    ],
    ids=["error", "broken off", "empty", "blank"],
)
def test_an_answer_that_did_not_come_makes_no_time_better(metric, bad):
    criterion = criterion_for(metric)
    good, worst = METRICS[metric].measure(timed(GOOD, bad), criterion, "shipped")
    assert worst.missed and "no answer came" in worst.reason and worst.where
    assert worst.value == (0.0 if metric == "tokens_per_second" else math.inf)
    alone, both = (METRICS[metric].estimator.value(scores, criterion) for scores in ([good], [good, worst]))
    assert both < alone if METRICS[metric].better == "higher" else both > alone


@pytest.mark.parametrize("metric", TIMES)
@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan])
def test_an_answer_without_a_time_is_not_evaluated(metric, seconds):
    evidence = timed(GOOD, Generation("x", completion_tokens=5, seconds=seconds, first_token_seconds=0.0))
    with pytest.raises(NotEvaluated, match="gives no time for the case 'c-2'"):
        METRICS[metric].measure(evidence, criterion_for(metric), "shipped")


def test_a_runtime_that_does_not_tell_its_first_token_is_not_taken_for_a_fast_one():
    evidence = timed(Generation("x", completion_tokens=5, seconds=1.0))
    with pytest.raises(NotEvaluated, match="first token"):
        METRICS["first_token_seconds"].measure(evidence, criterion_for("first_token_seconds"), "shipped")


@pytest.mark.parametrize(
    "short",
    [
        Generation("x", completion_tokens=1, seconds=0.5, first_token_seconds=0.1),
        Generation("x", completion_tokens=0, seconds=0.5, first_token_seconds=0.1),
        Generation("x", completion_tokens=9, seconds=0.5, first_token_seconds=0.5),
    ],
    ids=["one token", "tokens untold", "no time after the first"],
)
def test_an_answer_too_short_to_have_a_speed_is_not_scored_for_it(short):
    scores = METRICS["tokens_per_second"].measure(
        timed(GOOD, short), criterion_for("tokens_per_second"), "shipped"
    )
    assert [(found.case, found.value) for found in scores] == [("c-1", 10.0)]


def test_every_case_set_of_a_criterion_is_timed():
    evidence = timed(GOOD)
    evidence.cases["other"] = [case_of(CREATE)]
    criterion = criterion_for("answer_seconds", cases=("domain", "other"))
    assert len(METRICS["answer_seconds"].measure(evidence, criterion, "shipped")) == 2


def test_memory_that_nobody_measured_is_not_evaluated():
    with pytest.raises(NotEvaluated, match="does not tell its memory"):
        METRICS["peak_memory"].measure(timed(GOOD), criterion_for("peak_memory"), "shipped")


@pytest.mark.parametrize("untold", ["", "unknown", "stop"])
def test_that_an_answer_just_ended_does_not_prove_that_it_stopped(tmp_path, untold):
    assert score("stopped", answer(), stop_reason=untold) is None
    models = {"shipped": Answers("shipped", Generation(answer(), stop_reason=untold))}
    evidence = evidence_with(models, cases=[case_of()], store=Shelf(tmp_path))
    with pytest.raises(NotEvaluated, match="why 1 of its 1 answers ended: let it write 'stop_reason'"):
        METRICS["stopped"].measure(evidence, criterion_for("stopped"), "shipped")


@pytest.mark.parametrize("cases", [(), ("domain",)])
def test_memory_is_told_in_gigabytes_and_needs_no_case_set(cases):
    evidence = Scoring(timings=TimedAnswers({}, 1_500_000_000))
    (found,) = METRICS["peak_memory"].measure(evidence, criterion_for("peak_memory", cases), "shipped")
    assert found.value == 1.5
