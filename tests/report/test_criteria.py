"""Criteria with what decided them, models side by side, and misses."""

import dataclasses
import re

import pytest

from seatrial.evals.metrics import METRICS
from seatrial.evals.report import render, view
from seatrial.evals.report.summary import summary
from seatrial.evals.task import Criterion, load_task
from seatrial.evals.verdict import PASS, verdict_for
from tests.conftest import REPOSITORY
from tests.page import Page
from tests.report_results import (
    CASES,
    miss,
    observation,
    refused,
    results,
    shares,
    superior,
    unevaluated,
    verdict,
    verdicts,
)


def test_a_criterion_shows_what_decided_it(ship: Page) -> None:
    text = ship.text("criteria")
    assert "95 % 75 to 97.8 %, n = 20, Wilson" in text
    assert "Required: accuracy >= 90 %" in text
    assert "To be sure at this rate: 140 cases." in text
    assert "Note: Rated by the automatic rubric" in text
    assert "difference +75 percentage points [+55 to +90 percentage points], p = 6.1e-05" in text
    assert "FAIL not required SC-3.general" in text


def test_criteria_are_grouped_in_the_order_of_the_task() -> None:
    groups = [group for group, _ in view.grouped(verdicts())]
    assert groups == ["SC-1", "SC-2", "SC-3", "SC-4", "SCHEMA", "LATENCY", "FIDELITY", "LOSS"]


def test_what_was_not_evaluated_says_why() -> None:
    text = Page(render(refused(10, unevaluated(reason="no Ollama server answers at 11434")))).text("criteria")
    assert "NOT EVALUATED SC-4.ollama" in text
    assert "Nothing was measured. no Ollama server answers at 11434" in text


def test_every_criterion_of_the_shipped_task_has_the_threshold_that_its_words_name() -> None:
    """Fails if the deciding number and the requirement's words part company, or a rule has no number."""
    for criterion in load_task(REPOSITORY / "golden" / "task_api").criteria:
        metric = METRICS[criterion.metric]
        made = verdict_for(criterion, PASS, metric.unit, metric.better)
        assert made.threshold is not None, criterion.id
        if criterion.rule != "superior":
            shown = 100 * abs(made.threshold) if metric.unit == "share" else abs(made.threshold)
            assert f" {shown:.4g}" in made.requirement, criterion.id


def test_the_bar_has_its_estimate_on_the_side_where_the_verdict_says() -> None:
    for each in verdicts():
        drawn = view.bar(each)
        if drawn is None:
            assert each["measured"] is None or each["measured"]["low"] is None
            continue
        inside = drawn["good"]["from"] <= drawn["value"] <= drawn["good"]["from"] + drawn["good"]["width"]
        assert inside is (each["status"] == "PASS"), each["criterion"]
        assert 0 <= drawn["low"] <= drawn["value"] <= drawn["high"] <= 100


@pytest.mark.parametrize("rule", ["non_inferior", "within"])
def test_a_lower_is_better_margin_lies_above_zero(rule: str) -> None:
    facts = {"rule": rule, "against": "base", "margin": 0.5, "why": "w", "title": "t", "metric": "m"}
    criterion = Criterion(id="X", **facts)
    assert verdict_for(criterion, PASS, "", "lower").threshold == 0.5
    assert verdict_for(criterion, PASS, "", "higher").threshold == -0.5


def test_a_verdict_leads_to_the_artifacts_that_it_rests_on() -> None:
    html = render(results())
    key = next(each["key"] for each in results()["artifacts"] if each["step"] == "quantized")
    anchor = re.search(rf'<a href="#(artifact-\d+)">quantized of a lamp <span class="mono">{key[:12]}', html)
    assert anchor
    assert re.search(rf'<tr id="{anchor[1]}"><th scope="row">quantized of a lamp', html)


def test_without_a_dataset_artifact_the_adapter_names_its_data() -> None:
    made = [each for each in results()["artifacts"] if each["step"] == "adapter"]
    text = Page(render(results(artifacts=[made[0] | {"inputs": {"dataset": "beef" * 16}}]))).text(
        "provenance"
    )
    assert "Digests of what the adapter was trained on. dataset " + "beef" * 16 in text


@pytest.mark.parametrize("asked", ["trl", "unsloth"])
def test_another_backend_than_the_recipe_asks_for_is_said_on_page_and_in_the_summary(asked: str) -> None:
    run = results()
    made = [each for each in run["artifacts"] if each["step"] == "adapter"]
    run["artifacts"] = [made[0] | {"facts": made[0]["facts"] | {"backend": "trl"}}]
    run["recipe"] |= {"backend": asked}
    told = f"asks for {asked}, which was not to be had"
    assert (told in Page(render(run)).text("verdict")) is (asked != "trl")
    assert (told in summary(run)) is (asked != "trl")


def test_models_stand_side_by_side_from_base_to_shipped(ship: Page) -> None:
    text = ship.text("compared")
    assert "Metric base prompted base shipped" in text
    assert "accuracy 20 % [0 to 35.6 %] 65 % [45 to 73 %] 95 % [75 to 97.8 %] 20 higher" in text
    assert "keyword recall 55 % [34 to 74 %] not measured 20 % [8 to 42 %]" in text
    assert "update 0 % 75 % 75 % 4" in text


def test_every_answer_of_every_model_is_on_the_page() -> None:
    told = {model: f"what {model} said" for model in ("base", "prompted_base", "shipped")}
    for_model = {m: dataclasses.replace(shares(m), answers={"domain-list-1": told[m]}) for m in told}
    compared = [
        verdict(
            "SC-3.x",
            "x",
            **superior("m", rival),
            measured=for_model["shipped"],
            against=for_model[rival],
        )
        for rival in ("base", "prompted_base")
    ]
    text = Page(render(results(verdicts=compared))).text("compared")
    assert all(words in text for words in told.values())


def test_misses_are_told_in_full() -> None:
    long = "word " * 300 + "END"
    missed = miss(actual=long, prompt="the whole question", expected="the whole expectation")
    text = Page(render(results(verdicts=[verdicts()[0] | {"misses": [dataclasses.asdict(missed)]}]))).text(
        "misses"
    )
    for part in (long, "the whole question", "the whole expectation", missed.reason, missed.where):
        assert part in text


def test_missed_observations_are_told_and_the_others_counted() -> None:
    seen = [
        observation(CASES[0]),
        observation(CASES[1], missed=True, hard=True, reason="wrong in its own way"),
    ]
    text = Page(render(results(observations=seen))).text("misses")
    assert "Missed observations: 1 of 2" in text
    assert f"{CASES[1]} hard" in text
    assert "wrong in its own way" in text
    assert CASES[0] not in text
