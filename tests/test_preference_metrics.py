"""Metrics and criteria of preferences: what passes, what fails, what is told; and which a task has when.

python -m pytest tests/test_preference_metrics.py
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from seatrial.evals.cases import Case, load_cases
from seatrial.evals.criterion import Criterion
from seatrial.evals.data import leakage
from seatrial.evals.metrics import METRICS
from seatrial.evals.models import Likelihood, Question
from seatrial.evals.preference import OF_STAGE, compared, staged
from seatrial.evals.report.attribution import attributions
from seatrial.evals.task import load_task
from seatrial.evals.verdict import PASS, NotEvaluated
from seatrial.training.pairs import read_pairs
from seatrial.training.recipe import load_recipe
from seatrial.training.store import Artifact
from tests.conftest import MINIATURE, REPOSITORY
from tests.report_results import operations

EXAMPLE = REPOSITORY / "golden" / "task_api"
PLAIN, STAGED = "smollm2-135m-cpu", "smollm2-135m-cpu-dpo"


# --- of the stage's record ------------------------------------------------------------------------------


def stage(*pairs: tuple[float, float]) -> SimpleNamespace:
    """Evidence of a stage in which chosen and rejected answers of ten tokens gained so much."""
    told = [
        {"chosen": [-20.0, -20.0 + chosen], "rejected": [-30.0, -30.0 + rejected], "tokens": [10, 12]}
        for chosen, rejected in pairs
    ]
    manifest = {"key": "k", "step": "preference", "files": {}, "facts": {"held_out": told}}
    built = SimpleNamespace(adapter=Artifact(Path(), manifest), sft=None)
    return SimpleNamespace(built=built, use=lambda artifact: artifact)


def criterion(metric: str, **more) -> Criterion:
    bound = {"at_most" if METRICS[metric].better == "lower" else "at_least": 0.0}
    return Criterion(id="X", title="x", metric=metric, why="x", **{**bound, "least_cases": 2, **more})


def value(metric: str, evidence: SimpleNamespace) -> float:
    asked = criterion(metric)
    scores = METRICS[metric].measure(evidence, asked, "shipped")
    return METRICS[metric].estimate(scores, asked).value


def test_figures_of_the_stage_are_those_of_its_held_out_pairs():
    evidence = stage((1.0, -3.0), (-2.0, -3.0), (-1.0, 1.0), (0.0, -2.0))
    assert value("preference_margin", evidence) == pytest.approx((4 + 1 - 2 + 2) / 4)
    assert value("preference_won", evidence) == 0.75
    assert value("preference_nll_change", evidence) == pytest.approx(0.05)  # of ten tokens each
    missed = METRICS["preference_won"].measure(evidence, criterion("preference_won"), "shipped")[2]
    assert missed.missed and missed.stage == "preference"
    assert missed.reason == "the rejected answer gained 2 nats on the chosen one"


def test_chosen_answers_that_collapse_with_the_rejected_ones_fail_though_the_margin_grew():
    evidence = stage((-5.0, -25.0), (-7.0, -30.0))
    assert value("preference_margin", evidence) > 0 and value("preference_won", evidence) == 1.0
    limit = next(c for c in load_task(EXAMPLE).criteria if c.metric == "preference_nll_change").at_most
    assert value("preference_nll_change", evidence) > limit


@pytest.mark.parametrize("metric", OF_STAGE)
def test_without_the_stage_its_metrics_are_not_evaluated(metric):
    manifest = {"key": "k", "step": "adapter", "files": {}, "facts": {}}
    for adapter in (None, Artifact(Path(), manifest)):
        evidence = SimpleNamespace(built=SimpleNamespace(adapter=adapter, sft=None), use=lambda made: made)
        with pytest.raises(NotEvaluated, match=r"its recipe has no \[preference\]"):
            METRICS[metric].measure(evidence, criterion(metric), "shipped")


# --- of cases -------------------------------------------------------------------------------------------


def case(name: str, reference: str | None = "yes", **expect) -> Case:
    question = Question(name, ({"role": "user", "content": name},), reference)
    return Case(name, question, "set", f"set.jsonl:{name}", expect)


def asked(**found: tuple[Likelihood, Likelihood]) -> SimpleNamespace:
    cases = {"set": [*(case(name, rejected="no") for name in found), case("other")]}
    return SimpleNamespace(cases=cases, preferences=lambda model, case_set: found)


def test_the_likelier_answer_is_preferred_and_a_tie_is_no_preference():
    evidence = asked(
        a=(Likelihood(1.0, 5), Likelihood(2.0, 5)),
        b=(Likelihood(2.0, 5), Likelihood(1.5, 1)),
        c=(Likelihood(2.0, 5), Likelihood(2.0, 5)),
    )
    summed = criterion("preference_accuracy", cases="set")
    scores = METRICS["preference_accuracy"].measure(evidence, summed, "shipped")
    assert [score.missed for score in scores] == [False, True, True]
    assert scores[1].reason == "the rejected answer is likelier, by 0.5 nats"
    assert (scores[1].expected, scores[1].actual) == ("yes", "no")
    each = criterion("preference_accuracy", cases="set", settings={"per_token": True})
    scores = METRICS["preference_accuracy"].measure(evidence, each, "shipped")
    assert [score.missed for score in scores] == [False, False, True]  # 0.4 against 1.5 nats a token


def test_cases_without_both_answers_are_left_out_and_none_at_all_is_told():
    assert compared(case("a", rejected="no"))[1].reference == "no"
    assert compared(case("a")) == compared(case("a", reference=None, rejected="no")) == ()
    with pytest.raises(NotEvaluated, match="no case of set has both a 'reference' and, in 'expect', 'rej"):
        METRICS["preference_accuracy"].measure(
            asked(), criterion("preference_accuracy", cases="set"), "shipped"
        )


# --- of a task ------------------------------------------------------------------------------------------


def test_a_task_is_asked_about_the_stage_where_its_recipe_has_one():
    task = load_task(EXAMPLE)
    plain, with_stage = (staged(task, load_recipe(name)) for name in (PLAIN, STAGED))
    assert not [c.id for c in plain.criteria if c.metric in OF_STAGE or "sft" in (c.model, c.against)]
    ids = [c.id for c in with_stage.criteria]
    assert len(ids) == len(set(ids)) and set(ids) == set(with_stage.origins)
    steps = {c.id: (c.model, c.against, c.stage) for c in with_stage.criteria if c.id.startswith("LOSS.op")}
    assert steps["LOSS.operations.training"] == ("sft", "base", "training")
    assert steps["LOSS.operations.preference"] == ("adapter", "sft", "preference")
    assert steps["LOSS.operations.merge"] == ("merged", "adapter", "merge")
    assert {c.metric for c in with_stage.criteria} >= set(OF_STAGE)
    assert not any(c.required for c in with_stage.criteria if c.metric in OF_STAGE)


def test_a_criterion_on_the_stage_that_is_asked_for_by_name_stays_and_is_not_evaluated():
    task = load_task(EXAMPLE)
    kept = {c.id for c in staged(task, None, ["preference-margin"]).criteria if c.metric in OF_STAGE}
    assert kept == {"TRAINING.preference-margin"}


def test_the_sentence_names_the_stage_that_won_or_lost():
    found = operations()
    training = next(each for each in found if each["criterion"].endswith(".training"))
    measured, against = training["measured"], training["against"]
    halfway = {**against, "model": "sft", "scores": measured["scores"] | {"domain-list-1": 0}}
    changed = {"difference": 0.05, "low": 0.0, "high": 0.15, "p_value": 1.0}
    after = {
        **training,
        "criterion": training["criterion"].replace(".training", ".preference"),
        "against": {**halfway, "value": 0.95},
        "comparison": {**training["comparison"], **changed},
    }
    before = {**training, "measured": {**halfway, "value": 0.95}}
    (made,) = attributions([before, after, *(each for each in found if each is not training)])
    assert [each.model for each in made.stages][:4] == ["base", "sft", "adapter", "merged"]
    assert "preference optimisation won 5 points (1 of 20 cases, perhaps chance)" in made.sentence
    (plain,) = attributions(found)
    assert [each.model for each in plain.stages][:3] == ["base", "adapter", "merged"]


# --- the example's pairs --------------------------------------------------------------------------------


def test_no_pair_of_the_example_asks_what_its_cases_ask_and_no_case_of_preferences_what_is_trained_on():
    task = load_task(EXAMPLE)
    sets = {path.stem: load_cases(path, path.stem) for path in sorted((EXAMPLE / "cases").glob("*.jsonl"))}
    sets["preferences"] = load_cases(EXAMPLE / "preferences.jsonl", "preferences")
    found = leakage(task.train_file, sets, pairs=task.preference_file)
    assert found.status == PASS, found.misses
    assert "train.jsonl and pairs.jsonl" in found.notes[0]


def test_every_answer_of_the_example_s_pairs_fulfils_its_contract():
    from jsonschema import Draft202012Validator

    contract = Draft202012Validator(json.loads((EXAMPLE / "contract.schema.json").read_text()))
    pairs = read_pairs(load_task(EXAMPLE).preference_file)
    answers = [pair[key][0]["content"] for pair in pairs for key in ("chosen", "rejected")]
    cases = load_cases(EXAMPLE / "preferences.jsonl", "preferences")
    answers += [question.reference for each in cases for question in compared(each)]
    assert len(pairs) == 48 and len(answers) == 2 * (48 + 20)
    for text in answers:
        assert not list(contract.iter_errors(json.loads(text))), text


def test_a_case_among_the_pairs_is_a_leak(tmp_path):
    from tests.test_preference import pair, write

    cases = {"domain": load_cases(MINIATURE / "cases" / "domain.jsonl", "domain")}
    leaked = cases["domain"][0].prompt
    source = write(tmp_path / "pairs.jsonl", [pair(leaked, "yes", "no"), pair("another", "yes", "no")])
    found = leakage(MINIATURE / "train.jsonl", cases, pairs=source)
    assert [miss.case for miss in found.misses] == [cases["domain"][0].id]
    assert leakage(MINIATURE / "train.jsonl", cases).status == PASS
