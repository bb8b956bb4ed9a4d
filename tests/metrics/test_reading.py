"""What an answer says is found in JSON and in words, whatever else the answer holds."""

import json
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seatrial.evals.answer import Reader, find_object, parse_strict
from tests.metrics.fakes import (
    GOLDEN,
    HOSTILE,
    OPERATIONS,
    READER,
    answer,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (answer("delete"), ("delete", "operation")),
        (answer(" Delete "), ("delete", "operation")),
        (f"```json\n{answer('delete')}\n```", ("delete", "operation")),
        (f"Sure, I created this: {answer('delete')} and updated it", ("delete", "operation")),
        ("{not json} " + answer("update"), ("update", "operation")),
        (answer("none"), ("none", "operation")),
        (answer("fly"), ("fly", "operation")),  # right for no case, not even one where nothing may be done
        (answer(["create"]), ("create", "words")),
        ('{"reply": "I deleted it."}', ("delete", "words")),
        ("I've removed the task and then added another.", ("delete", "words")),
        ("I have added the task.", ("create", "words")),
        ("Here are your tasks: milk, bread.", ("list", "words")),
        ("I marked the report as done.", ("complete", "words")),
        ("I RENAMED it.", ("update", "words")),
        ("The weather is nice.", ("none", "words")),
        ("An addiction is no addition.", ("none", "words")),
        ("", ("none", "words")),
    ],
)
def test_the_operation_is_read_from_json_and_else_from_the_words(text, expected):
    assert READER.label(text) == expected


def test_only_labels_of_the_task_are_found():
    few = Reader(READER.spec.model_copy(update={"labels": ("create", "none")}), GOLDEN)
    assert few.label("I deleted it.") == ("none", "words")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1}', {"a": 1}),
        ('text {"a": {"b": 2}} text {"c": 3}', {"a": {"b": 2}}),
        ('{"a": {broken {"b": 2}', {"b": 2}),
        ("{{}}", {}),
        ("[1, 2]", None),
        ("{", None),
        ("", None),
    ],
)
def test_the_first_object_in_a_text_is_found(text, expected):
    assert find_object(text) == expected


@pytest.mark.parametrize("value", [{"a": [1, None, True]}, [], "text", 1.5, None])
def test_a_json_value_alone_is_strict_json(value):
    assert parse_strict(json.dumps(value)) == (value, "")


@pytest.mark.parametrize("space", ["\u00a0", "\u2003", "\u3000", "\x0b", "\x1c", "\ufeff"], ids=ascii)
def test_only_json_s_own_white_space_may_stand_around_strict_json(space):
    # RFC 8259, section 2: space, tab, line feed, carriage return. A caller's parser refuses all others.
    assert parse_strict(f" \t\r\n{answer()}\n")[1] == ""
    assert parse_strict(f"{space}{answer()}")[1] != ""


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_answers_are_read_quickly_and_without_a_crash(name):
    text = HOSTILE[name]
    started = time.process_time()
    parse_strict(text)
    find_object(text)
    operation, source = READER.label(text)
    assert time.process_time() - started < 5
    assert operation not in OPERATIONS[:-1]
    assert source in ("operation", "words")


PIECES = st.sampled_from(
    ["{", "}", "[", "]", '"', ":", ",", "\\", "\n", "operation", "reply", "NaN", "-1e999", "é"]
)
ANY_TEXT = st.text() | st.lists(PIECES, max_size=40).map("".join)


@given(text=ANY_TEXT)
@example(text="{" * 20_000)
@settings(deadline=None)
def test_no_text_makes_reading_an_answer_raise(text):
    value, problem = parse_strict(text)
    assert problem == "" or value is None
    assert find_object(text) is None or isinstance(find_object(text), dict)
    operation, source = READER.label(text)
    assert source == "json" or operation in OPERATIONS
    assert source in ("operation", "words")


@given(
    value=st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=5), max_size=4)
)
@settings(deadline=None)
def test_an_object_is_found_whatever_it_holds_and_wherever_it_stands(value):
    text = json.dumps(value, ensure_ascii=False)
    assert parse_strict(text) == (value, "")
    assert find_object(f"before ```json\n{text}\n``` after") == value
