"""Failures by cause: each rule, their order, and that no answer can break them.

python -m pytest tests/test_failures.py
"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from seatrial.evals.failures import CAUSES, REPAIRS, Missed, cause_of, cluster, failures
from seatrial.evals.verdict import Miss
from tests.report_results import check, fidelity, miss, observation, results, shares, verdict

CONTRACT = {
    "type": "object",
    "required": ["label"],
    "additionalProperties": False,
    "properties": {
        "label": {"enum": ["bug", "billing"]},
        "due": {"type": "string", "maxLength": 10},
        "more": {"type": "object", "properties": {"priority": {"enum": ["high", "low"]}}},
    },
}


def missed(expected: str, actual: str, reason: str = "", metric: str = "", tags=(), prompt="Why?", case="a"):
    return Missed(Miss(case, prompt, expected, actual, reason), "C-1", metric, tags)


def cause(*texts: str, **more) -> str:
    return cause_of(missed(*texts, **more))


def schema_error(answer: object, schema: dict = CONTRACT) -> str:
    """The reason that schema_validity gives, from the validator itself."""
    error = next(iter(Draft202012Validator(schema).iter_errors(answer)))
    return f"{error.json_path}: {error.message}"


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("must_contain", "lost facts"),
        ("keeps_names", "lost facts"),
        ("keeps_numbers", "lost facts"),
        ("must_not_contain", "forbidden words"),
    ],
)
def test_a_metric_of_constraints_says_what_is_wrong_with_a_text(metric, expected):
    assert cause("42", "We are sorry, Ann.", "'42' is not there", metric) == expected
    assert (
        cause("42", "We are sorry, Ann.", "'42' is not there") == "wrong label"
    )  # without it, one word is one
    assert cause("42", "", "'42' is not there", metric) == "empty answer"


# --- form ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("actual", ["", "  \n"])
def test_an_answer_without_text_is_empty_whatever_was_asked_of_it(actual):
    assert cause('{"label": "bug"}', actual, "the answer is empty") == "empty answer"
    assert cause("bug", actual, tags=["injection"]) == "empty answer"


@pytest.mark.parametrize("reason", ["stopped by 'length' after 128 tokens", "repeats 'and so on '"])
def test_an_answer_that_runs_on_did_not_stop(reason):
    assert cause("an end-of-turn token", "word " * 128, reason) == "did not stop"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({}, "missing field"),
        ({"label": "bug", "mood": "angry"}, "invented field"),
        ({"label": "other"}, "wrong label"),
        ({"label": "bug", "more": {"priority": "urgent"}}, "wrong argument"),
        ({"label": "bug", "due": "the day after tomorrow"}, "too long"),
        ({"label": "bug", "due": 3}, "wrong schema"),
        ([], "wrong schema"),
    ],
)
def test_the_validator_s_error_says_what_is_wrong_with_an_answer(answer, expected):
    reason = schema_error(answer)
    found = cause("an object that fulfils the contract", json.dumps(answer), reason, metric="schema_validity")
    assert found == expected, reason


@pytest.mark.parametrize(
    ("schema", "answer", "expected"),
    [
        ({"const": "bug"}, "bill", "wrong label"),
        ({"dependentRequired": {"a": ["b"]}}, {"a": 1}, "missing field"),
        ({"unevaluatedProperties": False}, {"a": 1}, "invented field"),
        ({"maxItems": 1}, [1, 2], "too long"),
        ({"anyOf": [{"type": "object"}, {"type": "number"}]}, "x", "wrong schema"),
    ],
)
def test_other_kinds_of_validators_are_told_apart(schema, answer, expected):
    reason = schema_error(answer, schema)
    assert cause("an object that fulfils the contract", json.dumps(answer), reason) == expected, reason


def test_what_an_answer_says_is_not_taken_for_the_validator_s_words():
    answer = {"label": "bug", "due": ["'x' is a required property", "is too long"]}
    reason = schema_error(answer)
    assert "is a required property" in reason
    assert cause("an object that fulfils the contract", json.dumps(answer), reason) == "wrong schema"


def test_what_is_not_json_breaks_the_schema_unless_it_was_cut_by_the_limit():
    broken = missed("one JSON value", '{"label": "bu', "not JSON: Unterminated string")
    stopped = missed("an end-of-turn token", '{"label": "bu', "stopped by 'length' after 5 tokens")
    assert [each.cause for each in cluster([broken])] == ["wrong schema"]
    assert [(each.cause, each.count) for each in cluster([broken, stopped])] == [("did not stop", 1)]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("calls 'shutdown', which is no tool of the catalogue", "wrong tool"),
        ("the arguments of 'search' are no JSON object", "wrong argument"),
        ("search: $: 'query' is a required property", "missing field"),
        ("'spam' is none of the labels", "wrong label"),
    ],
)
def test_a_broken_contract_of_labels_or_calls_says_which_part(reason, expected):
    assert cause("an answer that fulfils the contract", "x", reason) == expected


def test_a_reply_of_three_times_the_words_is_too_long_where_wording_is_compared():
    reference = "Done. What is next?"
    assert cause(reference, "word " * 30, "ROUGE-L 0.01", metric="reply_similarity") == "too long"
    assert cause(reference, "some other words", "ROUGE-L 0.01", metric="reply_similarity") == "other"
    assert cause("a rating of 4 or 5", "word " * 30, "rubric 3: no follow-up question") == "other"


# --- input ---------------------------------------------------------------------------------------------
def test_a_tag_tells_the_input_from_the_content_but_not_from_a_broken_form():
    assert cause("bug", "billing", tags=["Injection"]) == "hostile input"
    assert cause("bug", "billing", tags=["long"]) == "long input"
    assert cause("bug", "billing", tags=["polite"]) == "wrong label"
    assert cause("an object", "{}", schema_error({}), tags=["injection"]) == "missing field"


def test_a_question_is_long_beside_the_usual_ones():
    long = missed("one of Paris", "London it is", prompt="x" * 5000)
    assert cause_of(long, usual=100) == "long input"
    assert cause_of(long, usual=5000) == "other"


# --- content -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("expected", "actual", "found"),
    [
        ("one of Paris", "I can't help with that.", "refused wrongly"),
        ("billing", '{"label": "none"}', "refused wrongly"),
        ("none", '{"label": "billing"}', "answered wrongly"),
        ("says that it does not know", "It was built in 1887.", "answered wrongly"),
        ('{"label": "unknown"}', '{"label": "bug"}', "answered wrongly"),
        ("unknown", "I do not know.", "wrong label"),  # declines, in other words
    ],
)
def test_what_declines_is_held_against_what_should(expected, actual, found):
    assert cause(expected, actual) == found


@pytest.mark.parametrize(
    ("expected", "actual", "found"),
    [
        (
            {"tool": "search", "arguments": {"q": "a"}},
            {"tool": "delete", "arguments": {"q": "a"}},
            "wrong tool",
        ),
        (
            {"tool": "search", "arguments": {"q": "a"}},
            {"tool": "search", "arguments": {"q": "b"}},
            "wrong argument",
        ),
        (
            {"tool": "search", "arguments": {"q": "a", "n": 3}},
            {"tool": "search", "arguments": {"q": "a"}},
            "missing field",
        ),
        (
            {"tool": "search", "arguments": {"q": "a"}},
            {"tool": "search", "arguments": {"q": "a", "n": 3}},
            "invented field",
        ),
        ([{"name": "f", "arguments": {}}], [], "wrong tool"),
        ([{"name": "f", "arguments": {"a": 1}}], [{"name": "g", "arguments": {"a": 1}}], "wrong tool"),
        ({"label": "bug"}, {"label": "billing"}, "wrong label"),
        ({"label": "bug", "due": "Friday"}, {"label": "bug", "due": "Monday"}, "wrong argument"),
        ({"label": "bug", "due": "Friday"}, {"label": "bug"}, "missing field"),
        ({"label": "bug"}, {"label": "bug", "due": "Monday"}, "invented field"),
    ],
)
def test_the_difference_of_two_answers_is_the_cause(expected, actual, found):
    assert cause(json.dumps(expected), json.dumps(actual)) == found


def test_what_is_right_may_be_written_down_flat():
    """argument_accuracy names label and arguments side by side, and does not read the reply."""

    def given(label: str, **arguments: str) -> str:
        return json.dumps({"operation": label, "arguments": arguments, "reply": "Done."})

    flat = '{"operation": "create", "title": "call", "due": "Friday"}'
    assert cause(flat, given("list", title="call", due="Friday")) == "wrong label"
    assert cause(flat, given("create", title="call", due="Monday")) == "wrong argument"
    assert cause(flat, given("create", title="call")) == "missing field"
    assert cause(flat, given("create", title="call", due="Friday", priority="high")) == "invented field"


def test_an_object_is_expected_and_words_came():
    assert cause('{"label": "bug", "due": "Friday"}', "It is a bug.") == "wrong schema"


def test_one_word_is_a_label_and_a_metric_s_name_may_say_what_it_is():
    assert cause("update", "Sure, I created it.", metric="accuracy") == "wrong label"
    assert cause("search", "delete", metric="tool_choice") == "wrong tool"
    assert cause("Friday", "Monday", metric="argument_accuracy") == "wrong argument"
    assert cause("one of Paris, France", "London it is") == "other"


# --- clusters ------------------------------------------------------------------------------------------
def test_a_case_that_several_criteria_missed_counts_once_for_a_cause():
    label = {"expected": "update", "reason": "operation 'create' where 'update' is right"}
    found = failures(
        [
            verdict("A", "a", measured=shares("shipped"), misses=[miss(**label)]),
            verdict(
                "B", "b", measured=shares("shipped"), misses=[miss(**label), miss("domain-list-1", **label)]
            ),
            verdict("C", "c", measured=shares("shipped"), misses=[miss(actual="", **label)]),
        ]
    )
    assert [(each.cause, each.count, each.cases, each.criteria) for each in found] == [
        ("wrong label", 2, ("domain-update-3", "domain-list-1"), ("A", "B")),
        ("empty answer", 1, ("domain-update-3",), ("C",)),
    ]
    assert [each.share for each in found] == [pytest.approx(2 / 3), pytest.approx(1 / 3)]
    assert found[0].repair == REPAIRS["wrong label"]


def test_other_models_and_checks_of_the_file_are_no_failures_of_the_shipped_model():
    others = [verdict("A", "a", measured=shares("base"), misses=[miss()]), *fidelity(check())]
    assert failures(others) == []
    assert [each.cases for each in failures(others, model="base")] == [("domain-update-3",)]


def test_a_missed_hard_case_counts_without_a_criterion_and_other_observations_do_not():
    seen = [
        observation("reg-1", missed=True, hard=True),
        observation("x", missed=True),
        observation("y", hard=True),
    ]
    assert [(each.cases, each.criteria) for each in failures([], seen)] == [(("reg-1",), ())]


def test_tags_reach_the_rules_by_the_case_s_id():
    misses = [miss(expected="update", actual="create", reason="")]
    verdicts = [verdict("A", "a", measured=shares("shipped"), misses=misses)]
    assert [each.cause for each in failures(verdicts, tags={"domain-update-3": ["jailbreak"]})] == [
        "hostile input"
    ]


def test_verdicts_of_a_record_and_of_the_code_give_the_same():
    from seatrial.evals.verdict import Verdict

    made = Verdict(
        "A",
        "a",
        "FAIL",
        True,
        "m",
        "share",
        "higher",
        "point",
        "r",
        "w",
        measured=shares("shipped"),
        misses=[miss()],
    )
    assert failures([made]) == failures([json.loads(json.dumps(made.to_json()))]) != []


def test_every_cause_has_a_repair_of_one_sentence():
    assert len(CAUSES) == 16
    assert all(repair.endswith(".") and repair.count(".") == 1 for repair in REPAIRS.values())


# --- whatever comes ------------------------------------------------------------------------------------
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ANSWERS = st.text(max_size=60) | JSON.map(json.dumps)
REASONS = st.text(max_size=60) | st.sampled_from(
    ["$.a: 'b' is a required property", "not JSON: x", "repeats 'a'"]
)
MISSES = st.builds(
    missed,
    ANSWERS,
    ANSWERS,
    REASONS,
    tags=st.lists(st.sampled_from(["long", "injection", "x"]), max_size=2),
    case=st.sampled_from("abcd"),
    prompt=st.text(max_size=20),
)


@given(st.lists(MISSES, max_size=12))
def test_every_miss_is_in_one_cluster_and_shares_sum_to_one(misses):
    found = cluster(misses)
    assert all(each.count == len(set(each.cases)) for each in found)
    assert len({each.cause for each in found}) == len(found)
    assert {each.miss.case for each in misses} == {case for each in found for case in each.cases}
    assert [each.count for each in found] == sorted((len(each.cases) for each in found), reverse=True)
    assert not misses or sum(each.share for each in found) == pytest.approx(1)
    assert all(each.cause in CAUSES for each in found)


@given(JSON)
def test_an_answer_that_is_right_has_no_difference(value):
    text = json.dumps({"a": value, "b": 1})
    assert cause(text, text) == "other"


@pytest.mark.parametrize("answer", ["[" * 50_000, '{"a":' * 900 + "1" + "}" * 900, "{" * 100_000, "\ud800"])
def test_a_hostile_answer_costs_and_breaks_nothing(answer):
    assert cause('{"a": 1}', answer) in CAUSES


def test_the_made_up_run_has_its_failures():
    run = results()
    found = failures(run["verdicts"], run["observations"])
    assert [each.cause for each in found] == ["wrong label", "empty answer"]
    assert found[0].cases == ("domain-update-3",)
