"""The overview and the failures: what the record says of each model, in results.json and on the page.

python -m pytest tests/test_overview.py
"""

import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from seatrial.evals.overview import HEADLINES, overview
from seatrial.evals.record import read_record
from seatrial.evals.report import SCHEMA, finite, render, write_report
from seatrial.evals.verdict import Measured
from tests.page import HOSTILE, Page
from tests.report_results import (
    CASES,
    results,
    shares,
    superior,
    unevaluated,
    verdict,
)
from tests.verb import document, write

PRICES = {
    "shipped": {"input": None, "output": None, "per_hour": 1.8, "why": "a machine"},
    "base": {"input": 3.0, "output": 15.0, "per_hour": None, "why": "a list"},
}


def sums(model: str, **changes) -> dict:
    usual = {
        "case_set": "domain",
        "drawn": False,
        "answers": 21,
        "errors": 1,
        "prompt_tokens": 2000,
        "completion_tokens": 1000,
    }
    return {"model": model, **usual, "seconds": 40.0, **changes}


def whole(**changes) -> dict:
    """A record with everything that a run of today writes."""
    made = finite(results(**changes)) | {"answered": [sums("base"), sums("rules")], "prices": PRICES}
    failures = [
        {
            "cause": "wrong label",
            "count": 1,
            "share": 1.0,
            "cases": ["domain-update-3"],
            "criteria": ["SC-1"],
            "repair": "Do this.",
        }
    ]
    return made | {"overview": overview(made), "failures": failures}


def by_model(run: dict) -> dict[str, dict]:
    return {row["model"]: row for row in overview(run)}


# --- models and scores ---------------------------------------------------------------------------------
def test_models_stand_from_the_base_to_the_one_that_ships_and_the_others_behind() -> None:
    run = results() | {"answered": [sums("rules"), sums("larger")]}
    names = [row["model"] for row in overview(run)]
    assert names[:5] == ["base", "prompted_base", "larger", "rules", "shipped"]
    assert {"adapter", "merged", "f16", "q8_0", "q5_k_m"} == set(names[5:])


def test_the_headline_scores_are_the_first_by_which_models_were_compared() -> None:
    rows = by_model(results())
    base = {(each["criterion"], each["metric"]): each["value"] for each in rows["base"]["scores"]}
    assert base[("SC-1", "accuracy")] == 0.2
    assert base[("SC-3.perplexity", "perplexity")] == 11.8
    assert len(base) == HEADLINES
    shipped = rows["shipped"]["scores"][0]
    assert (shipped["value"], shipped["low"], shipped["n"], shipped["unit"]) == (0.95, 0.75, 20, "share")
    assert [each["metric"] for each in rows["prompted_base"]["scores"]] == [
        "accuracy",
        "perplexity",
    ]


def test_scores_over_other_cases_are_no_headline_of_the_same_name() -> None:
    fewer = Measured("base", 1.0, 0.5, 1.0, 5, "Wilson", scores=dict.fromkeys(CASES[:5], 1.0))
    run = results(
        verdicts=[
            verdict("A", "a", measured=shares("shipped")),
            verdict("B", "b", **superior("accuracy", "base"), measured=shares("shipped"), against=fewer),
            verdict(
                "C",
                "c",
                **superior("accuracy", "f16"),
                measured=shares("shipped"),
                against=shares("f16"),
            ),
        ]
    )
    rows = by_model(run)
    assert rows["base"]["scores"] == []
    assert [each["criterion"] for each in rows["f16"]["scores"]] == ["A"]


def test_a_model_that_nothing_was_compared_with_has_its_first_score() -> None:
    (row,) = overview(results(verdicts=[verdict("A", "a", measured=shares("shipped"))]))
    assert [each["criterion"] for each in row["scores"]] == ["A"]


def test_nothing_measured_is_no_model() -> None:
    assert overview(results(verdicts=[unevaluated()], timings=[])) == []


# --- figures -------------------------------------------------------------------------------------------
def test_what_is_not_on_record_is_none() -> None:
    row = by_model(results())["base"]
    told = {name for name, value in row.items() if value not in (None, "")}
    assert told == {"model", "scores"}


def test_times_are_those_of_answers_asked_alone() -> None:
    run = results(
        timings=[{"case": f"c{n}", "seconds": n, "first_token_seconds": n / 10} for n in range(1, 22)]
    )
    row = by_model(run)["shipped"]
    assert (row["answer_seconds"], row["answer_seconds_p95"], row["first_token_seconds"]) == (11, 20, 1.1)
    assert row["never_came"] == 0


def test_an_answer_that_never_came_makes_a_percentile_infinite_and_is_counted() -> None:
    scores = dict.fromkeys(CASES, 1.0) | {CASES[0]: None}
    timed = verdict(
        "LATENCY",
        "l",
        metric="answer_seconds",
        unit="s",
        measured=Measured("base", 1.0, None, None, 20, "x", {}, scores),
    )
    row = by_model(results(verdicts=[timed]))["base"]
    assert (row["answer_seconds"], row["answer_seconds_p95"], row["never_came"]) == (1.0, None, 1)


def test_speed_says_how_it_was_measured() -> None:
    run = results() | {"answered": [sums("base")]}
    rows = by_model(run)
    assert (rows["base"]["tokens_per_second"], rows["base"]["speed_basis"]) == (25.0, "asked several at once")
    timings = run["timings"]
    alone = sum(each["completion_tokens"] for each in timings) / sum(each["seconds"] for each in timings)
    assert rows["shipped"]["tokens_per_second"] == pytest.approx(alone)
    assert rows["shipped"]["speed_basis"] == "asked one at a time"
    measured = verdict(
        "SPEED",
        "s",
        metric="tokens_per_second",
        unit="tokens/s",
        measured=Measured("shipped", 44.0, None, None, 20, "x"),
    )
    assert by_model(results(verdicts=[measured]))["shipped"]["tokens_per_second"] == 44.0


def test_costs_are_by_tokens_or_by_the_hour_as_the_price_says() -> None:
    timings = [{"case": "a", "seconds": 2.0, "first_token_seconds": None}]
    run = results(timings=timings) | {"answered": [sums("base"), sums("rules")], "prices": PRICES}
    rows = by_model(run)
    assert rows["base"]["cost_per_1000"] == pytest.approx(1.05)  # of the 20 that came
    assert rows["base"]["cost_basis"] == "by tokens"
    assert rows["shipped"]["cost_per_1000"] == pytest.approx(1.0)  # 2000 s at $1.8 an hour
    assert rows["shipped"]["cost_basis"] == "by the hour"
    assert (rows["rules"]["cost_per_1000"], rows["rules"]["cost_basis"]) == (None, "")  # no price


def test_answers_that_were_asked_at_once_are_not_charged_by_the_hour() -> None:
    prices = {"base": {"input": None, "output": None, "per_hour": 1.0, "why": "x"}}
    run = results() | {"answered": [sums("base")], "prices": prices}
    assert by_model(run)["base"]["cost_per_1000"] is None


def test_sums_run_over_all_case_sets_and_one_unknown_makes_them_unknown() -> None:
    more = sums("base", case_set="edge", prompt_tokens=None)
    row = by_model(results() | {"answered": [sums("base"), more]})["base"]
    assert (row["answers"], row["errors"]) == (42, 2)
    assert (row["prompt_tokens"], row["completion_tokens"]) == (None, 50)


def test_broken_answers_are_those_of_the_most_cases() -> None:
    few = Measured("shipped", 1.0, None, None, 20, "x")
    made = verdict("SC-3.contract", "c", metric="schema_validity", measured=few)
    row = by_model(results(verdicts=[made, *results()["verdicts"]]))["shipped"]
    assert (row["schema_error_rate"], row["schema_cases"]) == (pytest.approx(2 / 370), 370)


def test_what_is_not_a_number_is_not_measured() -> None:
    """A run's results are asked before they are written, with NaN where the record will have null."""
    nan = Measured(
        "shipped", float("nan"), None, None, 20, "not a number", {}, dict.fromkeys(CASES, float("nan"))
    )
    metrics = ("schema_validity", "tokens_per_second", "answer_seconds")
    row = by_model(results(timings=[], verdicts=[verdict(m, m, metric=m, measured=nan) for m in metrics]))[
        "shipped"
    ]
    assert [row[name] for name in ("schema_error_rate", "tokens_per_second", "answer_seconds")] == [None] * 3


# --- the record ----------------------------------------------------------------------------------------
def test_the_record_with_overview_and_failures_fulfils_its_schema(tmp_path: Path) -> None:
    validator = Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    made = json.loads(json.dumps(whole()))
    assert [error.message for error in validator.iter_errors(made)] == []
    assert read_record(write(tmp_path / "run", made)).document["overview"] == made["overview"]
    for key, field in (("overview", "cost_per_1000"), ("failures", "repair"), ("answered", "errors")):
        broken = json.loads(json.dumps(made))
        del broken[key][0][field]
        assert not validator.is_valid(broken), key


def test_an_older_record_is_read_and_its_page_shows_what_it_gives(tmp_path: Path) -> None:
    older = document()
    assert not {"overview", "failures", "answered", "prices"} & older.keys()
    text = Page(render(read_record(write(tmp_path / "run", older)).document)).text("overview")
    assert "base accuracy 20 %" in text
    assert "Wrong label 1" in text


def test_a_run_writes_them_and_they_are_those_of_its_verdicts(tmp_path: Path) -> None:
    write_report(whole(), tmp_path)
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["failures"][0]["cause"] == "wrong label"
    assert [row["model"] for row in written["overview"]][:2] == ["base", "prompted_base"]


# --- the page ------------------------------------------------------------------------------------------
def test_the_page_tells_every_model_and_says_what_was_not_measured() -> None:
    text = Page(render(whole())).text("overview")
    assert "Model Accuracy SC-1 Perplexity SC-3.perplexity" in text
    assert "$1.05 by tokens" in text
    assert "25 asked several at once" in text
    assert "95th percentile" in text
    assert "not measured" in text
    assert "0.54 % of 370" in text
    assert "prices.toml" not in text
    assert "prices.toml" in Page(render(results())).text("overview")


def test_a_time_that_an_answer_missed_is_never_and_not_unmeasured() -> None:
    scores = dict.fromkeys(CASES)
    timed = verdict(
        "LATENCY",
        "l",
        metric="answer_seconds",
        unit="s",
        measured=Measured("base", 1.0, None, None, 20, "x", {}, scores),
    )
    text = Page(render(finite(results(verdicts=[timed], timings=[])))).text("overview")
    assert "never 95th percentile never" in text


def test_failures_stand_with_their_repair_and_their_cases() -> None:
    made = whole()
    made["failures"][0] |= {"cases": [f"case-{n}" for n in range(25)], "count": 25, "criteria": []}
    text = Page(render(made)).text("overview")
    assert "Wrong label 25 (100 %) seen by hard cases Do this." in text
    assert "case-19 and 5 more" in text
    assert "case-20" not in text


def test_long_tables_are_folded_and_no_row_is_lost() -> None:
    made = whole()
    made["overview"] = [made["overview"][0] | {"model": f"m{n}"} for n in range(9)]
    made["failures"] = [made["failures"][0] | {"cause": f"cause {n}"} for n in range(8)]
    html = render(made)
    section = html[html.index('<section id="overview">') : html.index('<section id="criteria">')]
    shown, _, folded = section.partition("and 3 more models</summary>")
    assert [n for n in range(9) if f">m{n}<" in shown] == list(range(6))
    assert [n for n in range(9) if f">m{n}<" in folded] == [6, 7, 8]
    shown, _, folded = section.partition("and 2 more causes</summary>")
    assert "Cause 5" in shown
    assert "Cause 7" in folded
    assert Page(html).unbalanced == []


def test_nothing_missed_and_nothing_measured_is_said() -> None:
    text = Page(render(bare())).text("overview")
    assert "No model was measured." in text
    assert "No answer of the model to be shipped was missed." in text


def bare() -> dict:
    return results(verdicts=[unevaluated()], observations=[], timings=[])


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_in_overview_and_failures_stays_text(text: str) -> None:
    made = whole()
    plain = Page(render(made))
    made["overview"][0] |= {"model": text, "speed_basis": text, "cost_basis": text, "tokens_per_second": 1.0}
    made["overview"][0]["scores"][0] |= {"metric": text, "criterion": text}
    made["failures"][0] |= {"cause": text, "cases": [text], "criteria": [text], "repair": text}
    page = Page(render(made))
    assert sorted(set(page.tags)) == sorted(set(plain.tags))
    assert page.unbalanced == []
    assert " ".join(text.split()) in page.text("overview")


def test_the_sections_are_reached_from_the_top() -> None:
    assert re.search(r'<a href="#overview">Overview</a>', render(results()))
