"""What a verdict rests on and what it tells; without evidence it is NOT EVALUATED and says why."""

import json

import pytest

from seatrial.evals.cases import Case
from seatrial.evals.criteria import judge
from seatrial.evals.ratings import answer_digest
from seatrial.evals.verdict import (
    FAIL,
    INCONCLUSIVE,
    NOT_EVALUATED,
    PASS,
    Measured,
    Miss,
    Verdict,
    shorten,
    show,
)
from tests.criteria.fakes import OFF, ON, Fake, Scoring, cases_of, compared, requiring, right

# --- not evaluated --------------------------------------------------------------------------------------


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


# --- evidence and what a verdict tells ------------------------------------------------------------------


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
