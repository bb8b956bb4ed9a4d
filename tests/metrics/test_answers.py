"""One answer at a time: a metric gives a point where it is earned, and says why where it is not."""

import time

import pytest

from seatrial.evals.metrics import METRICS
from seatrial.evals.models import EOS, ERROR, LENGTH
from tests.metrics.fakes import CREATE, HOSTILE, MILK, REPLY, RUBRIC, answer, score

LONG = "".join(f"{number} bottles, " for number in range(80))  # 950 characters, nothing in them repeats
LIKE_REFERENCE = {"reference": answer()}
ARGUMENTS = {"settings": {"fields": ["operation", "arguments"], "ignore_words": ["the", "a", "an", "my"]}}

# metric, answer, what is expected, further arguments of score(), why it is missed ("" for a hit)
ANSWERS = [
    ("accuracy", answer(), CREATE, {}, ""),
    ("accuracy", "Sure, I've added it.", CREATE, {}, ""),
    (
        "accuracy",
        answer("delete"),
        CREATE,
        {},
        "operation 'delete' where 'create' is right",
    ),
    (
        "accuracy",
        "It was removed.",
        CREATE,
        {},
        "operation 'delete' (read from its words) where 'create' is right",
    ),
    ("accuracy", "", CREATE, {}, "operation 'none' (read from its words) where 'create' is right"),
    ("fields_right", answer(), MILK, ARGUMENTS, ""),
    ("fields_right", f"```json\n{answer()}\n```", MILK, ARGUMENTS, ""),
    (
        "fields_right",
        answer(arguments={"title": "buy silk"}),
        MILK,
        ARGUMENTS,
        "title: 'buy silk' where 'buy milk' is right",
    ),
    ("fields_right", answer(arguments={}), MILK, ARGUMENTS, "title: None where 'buy milk' is right"),
    (
        "fields_right",
        answer(arguments={"title": "buy milk", "due": "now"}),
        MILK,
        ARGUMENTS,
        "due: 'now' where None is right",
    ),
    ("fields_right", answer("delete"), MILK, ARGUMENTS, "operation: 'delete' where 'create' is right"),
    ("fields_right", answer(arguments="buy milk"), MILK, ARGUMENTS, "title: None where 'buy milk' is right"),
    ("fields_right", "I created it", MILK, ARGUMENTS, "operation: None where 'create' is right"),
    ("json_parse", answer(), None, {}, ""),
    ("json_parse", f"\n  {answer()}\n", None, {}, ""),
    ("json_parse", f"Sure! {answer()}", None, {}, "not JSON: "),
    ("json_parse", f"{answer()} Bye!", None, {}, "not JSON: Extra data"),
    ("json_parse", answer() * 2, None, {}, "not JSON: Extra data"),
    ("json_parse", f"```json\n{answer()}\n```", None, {}, "not JSON: "),
    ("json_parse", answer()[:-1], None, {}, "not JSON: "),
    ("json_parse", answer().replace('"', "'"), None, {}, "not JSON: "),
    ("json_parse", '{"a": NaN}', None, {}, "NaN is no JSON value"),
    ("json_parse", "-Infinity", None, {}, "-Infinity is no JSON value"),
    ("json_parse", "[" * 100_000, None, {}, "nested too deeply"),
    ("json_parse", "  ", None, {}, "the answer is empty"),
    ("schema_validity", answer(), None, {}, ""),
    (
        "schema_validity",
        answer(extra=1),
        None,
        {},
        "$: Additional properties are not allowed ('extra' was unexpected)",
    ),
    ("schema_validity", answer("fly"), None, {}, "'fly'"),
    ("schema_validity", answer(reply=7), None, {}, "$.reply: 7 is not of type 'string'"),
    ("schema_validity", '{"operation": "list"}', None, {}, "is a required property"),
    ("schema_validity", "[]", None, {}, "$: [] is not of type 'object'"),
    ("schema_validity", f"Sure! {answer()}", None, {}, "not JSON: "),
    ("stopped", answer(), None, {"stop_reason": EOS}, ""),
    (
        "stopped",
        answer(),
        None,
        {"stop_reason": LENGTH, "completion_tokens": 128},
        "stopped by 'length' after 128 tokens",
    ),
    ("stopped", "", None, {"stop_reason": ERROR, "error": "out of memory"}, "out of memory"),
    ("no_repetition", answer(), None, {}, ""),
    ("no_repetition", "The task is done. " * 3, None, {}, "repeats 'The task is done. '"),
    ("no_repetition", LONG * 3, None, {}, f"repeats {LONG!r}"),
    ("no_repetition", LONG * 2, None, {}, ""),
    ("no_repetition", "ha" * 10, None, {}, "repeats 'ha'"),
    ("no_repetition", "no " * 10, None, {}, "repeats 'no no no '"),
    ("no_repetition", "The task is done. " * 2, None, {}, ""),
    ("no_repetition", "ha" * 9, None, {}, ""),
    ("no_repetition", f"I added '{'ha' * 12}'.", None, {"prompt": f"add {'ha' * 12}!"}, ""),
    ("no_repetition", f"I added '{'ha' * 40}'.", None, {"prompt": f"add {'ha' * 12}!"}, "repeats 'hahahaha'"),
    ("keyword_recall", "The capital is PARIS.", {"contains_any": ["Paris"]}, {}, ""),
    ("keyword_recall", "It is Strasse", {"contains_any": ["x", "straße"]}, {}, ""),
    ("keyword_recall", "Lyon", {"contains_any": ["Paris"]}, {}, "none of the expected words"),
    ("rouge_l", answer(), None, LIKE_REFERENCE, ""),
    ("rouge_l", REPLY, None, LIKE_REFERENCE, ""),
    ("rouge_l", answer(reply="Nope"), None, LIKE_REFERENCE, "ROUGE-L 0.00"),
    ("response_rating", answer(), CREATE, {"settings": RUBRIC}, ""),
    (
        "response_rating",
        answer(reply="ok"),
        CREATE,
        {"settings": RUBRIC},
        "rubric 3: does not acknowledge the action, no follow-up question",
    ),
    ("response_rating", "", CREATE, {"settings": RUBRIC}, "rubric 1: no reply at all"),
]


@pytest.mark.parametrize(("metric", "text", "expect", "more", "reason"), ANSWERS)
def test_an_answer_is_scored_and_a_miss_says_why(metric, text, expect, more, reason):
    found = score(metric, text, expect, **more)
    assert found.missed == bool(reason)
    assert reason in found.reason
    assert bool(found.reason) == found.missed
    assert found.actual == text or found.actual == more.get("error")
    assert found.case == "c-1"
    assert found.where == "cases/domain.jsonl:4"
    if METRICS[metric].unit == "share":
        assert found.value == (0.0 if reason else 1.0)


@pytest.mark.parametrize("metric", ["accuracy", "fields_right", "keyword_recall", "rouge_l"])
def test_a_case_that_does_not_say_what_is_right_is_not_scored(metric):
    assert score(metric, answer()) is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("Buy Milk", "buy milk"),
        ("the report", "report"),
        ("report", "my report"),
        ("An email", "a email"),
        ('"call" Ann’s mum.', "call Anns mum"),
        ("#4", "4"),
        ("  buy   milk ", "buy milk"),
    ],
)
def test_case_articles_quotes_and_spaces_do_not_make_an_argument_wrong(given, expected):
    expect = {"operation": "create", "arguments": {"title": expected}}
    assert not score("fields_right", answer(arguments={"title": given}), expect, **ARGUMENTS).missed


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("buy milk", "milk"),
        ("milk the cow", "milk cow"),
        ("theatre", "atre"),
        ("5", 5),
        (True, "true"),
        (["a"], "a"),
    ],
)
def test_other_words_and_other_types_do_make_an_argument_wrong(given, expected):
    expect = {"operation": "create", "arguments": {"title": expected}}
    assert score("fields_right", answer(arguments={"title": given}), expect, **ARGUMENTS).missed


@pytest.mark.parametrize("metric", sorted({row[0] for row in ANSWERS}))
@pytest.mark.parametrize("name", HOSTILE)
def test_no_metric_crashes_on_a_hostile_answer(metric, name):
    expect = MILK | {"contains_any": ["milk"]}
    started = time.process_time()
    found = score(metric, HOSTILE[name][:2_000], expect, reference=answer(), settings=RUBRIC)
    assert time.process_time() - started < 5
    assert 0 <= found.value <= 5
