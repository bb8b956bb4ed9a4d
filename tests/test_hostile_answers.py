"""An answer costs what reading it costs, whatever its characters; long ones are judged as short ones are.

python -m pytest tests/test_hostile_answers.py
"""

from __future__ import annotations

import random
import time
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seatrial.evals import repetition
from seatrial.evals.answer import MOST_BROKEN, find_object, parse_strict
from seatrial.evals.metrics.base import LONGEST_REASON, scored
from seatrial.evals.metrics.rating import rubric
from seatrial.evals.models import Generation
from seatrial.evals.repetition import LOOP
from seatrial.evals.report.wording import clip, visible
from seatrial.evals.task import load_task
from seatrial.evals.verdict import shorten
from tests.conftest import REPOSITORY

READER = load_task(REPOSITORY / "golden" / "task_api").reader

LENGTH = 300_000
WORDS = random.Random(1)
SHAPES = {
    "braces": "{",
    "brackets": "[",
    "opened-keys": '{"',
    "nested-objects": '{"a":',
    "nested-lists": '{"a":[',
    "growing-object": '{"a":1,',
    "empty-objects-in-prose": "{x}",
    "quotes": '"',
    "backslashes": '{"' + "\\" * LENGTH,
    "escaped-keys": '{"\\"',
    "one-letter": "a",
    "two-letters": "ab",
    "letters-and-spaces": "a ",
    "spaces": " ",
    "line-feeds": "\n",
    "escape-sequences": "\x1b[2J",
    "combining": "e\u0301",
    "right-to-left": "\u202e\u2066",
    "nearly-a-loop": "abcdefghijk" * 2 + "X",
    "questions": "?",
    "digits": "9",
    "never-the-same": "".join(map(chr, range(0x100, 0x100 + 50_000))),
    "numbers": "".join(f"{number:06d}" for number in range(LENGTH // 6)),
    "words": " ".join(WORDS.choices(["set", "mark", "you", "have", "the"], k=LENGTH // 4)),
    "noise": "".join(WORDS.choices("abcdefgh \n.", k=LENGTH)),
    "sentence-without-end": "an answer that goes on and on ",
}
RUBRIC = {
    "follow_up_words": ["anything"],
    "acknowledgements": {"on": ["lamp is on"]},
    "foreign_terms": ["bulb"],
}
READERS = {
    "find_object": find_object,
    "label": lambda text: READER.label(text),
    "parse_strict": parse_strict,
    "repetition": repetition.repetition,
    "rubric": lambda text: rubric(
        SimpleNamespace(label="on"),
        Generation(text),
        RUBRIC,
        SimpleNamespace(task=SimpleNamespace(reader=READER)),
    ),
    "page": lambda text: visible(clip(text)),
    "terminal": shorten,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_an_answer_of_300_000_characters_takes_seconds_at_most(shape):
    text = (SHAPES[shape] * (LENGTH // len(SHAPES[shape]) + 1))[:LENGTH]
    taken = {}
    for name, read in READERS.items():
        started = time.process_time()
        read(text)
        taken[name] = time.process_time() - started
    assert {name: seconds for name, seconds in taken.items() if seconds > 6} == {}


# --- the same answers as before ------------------------------------------------------------------------
@pytest.mark.parametrize("before", ["", "Sure! ", "{x} {} ", "{ {{ ", '{"a": [1,', '{"a" 1} ', "{'a': 1} "])
def test_the_object_is_found_behind_what_only_looks_like_one(before):
    found = find_object(before + '{ "operation": "on"} and more {"b": 2}')
    assert found == ({} if "{}" in before else {"operation": "on"})


@pytest.mark.parametrize(("broken", "found"), [(MOST_BROKEN - 1, {"b": 2}), (MOST_BROKEN, None)])
def test_an_answer_that_opens_objects_without_end_is_given_up(broken, found):
    assert find_object('{"a": ?} ' * broken + '{"b": 2}') == found


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(["a", "ab", " ", "\n", "abcdefgh", "abcdefgh" * 3, "xyz " * 4, "é"]), max_size=30
    )
)
def test_long_texts_repeat_where_the_expression_says_they_do(parts):
    text = "".join(parts)
    start = repetition._first_loop(text)
    found = LOOP.search(text)
    assert start == (found.start() if found else None)
    if start is not None:
        assert LOOP.match(text, start)[0] == found[0]


@pytest.mark.parametrize("length", [8, 9, 11, 500, 1000])
def test_a_loop_deep_in_a_long_answer_is_found(length):
    piece = "".join(WORDS.choices("abcdefghijklmnop", k=length))
    before = "".join(map(chr, range(0x4E00, 0x4E00 + 6000)))
    found = repetition.repetition(before + piece * 3 + "the end")
    assert found is not None
    assert len(found[1]) == length
    assert repetition.repetition(before + piece * 2 + "the end") is None


def test_a_stutter_deep_in_a_long_answer_is_found():
    before = "".join(map(chr, range(0x4E00, 0x4E00 + 6000)))
    assert repetition.repetition(f"{before}{'no' * 10}")[1] == "no"
    assert repetition.repetition(f"{before}{'no' * 9}") is None


@pytest.mark.parametrize(
    ("reply", "asks"),
    [
        ("The lamp is on. Anything else?", True),
        ("Anything else? No.", True),
        ("Anything else. Yes?", False),
        ("Anything else", False),
        ("Well! Anything?", True),
    ],
)
def test_a_follow_up_is_a_question_of_its_own(reply, asks):
    _, lacking = READERS["rubric"](reply)
    assert ("no follow-up question" not in lacking) == asks


def test_a_reason_does_not_repeat_a_whole_answer():
    case = SimpleNamespace(id="one", prompt="on?", where="", label="on")
    score = scored(case, Generation("x" * LENGTH), False, "y" * LENGTH, "on")
    assert len(score.reason) == LONGEST_REASON + 1
    assert len(score.actual) == LENGTH
