"""Training rows before a question: which ones, in which order, and what the answers are kept by.

python -m pytest tests/test_retrieval.py
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seatrial.evals import provenance
from seatrial.evals.models import Generation, Question
from seatrial.evals.models.retrieval import RetrievalModel
from seatrial.training import extras
from seatrial.training.errors import SeatrialError
from seatrial.training.extras import MissingExtra

ROWS = [
    ("turn on the lamp in the kitchen", "on"),
    ("make the hall dark", "off"),
    ("what is the weather like", "none"),
    ("turn on the radio", "none"),
    ("is the lamp broken", "none"),
]


class Inner:
    """Answers each question with its number and remembers what it was asked."""

    name = "inner"

    def __init__(self, **identity):
        self.identity = {"runtime": "test", **identity}
        self.asked = []

    def generate(self, questions, max_tokens, log):
        self.asked, self.max_tokens, self.log = list(questions), max_tokens, log
        return [Generation(str(number)) for number, _ in enumerate(questions)]


def question(*texts):
    """A conversation of these turns, which ends with the person's."""
    roles = ["user", "assistant"] * len(texts)
    return Question(
        "q", tuple({"role": r, "content": t} for r, t in zip(roles, texts, strict=False)), "a reference"
    )


def test_the_nearest_rows_are_put_before_the_question_the_nearest_last(tmp_path):
    inner = Inner()
    model = RetrievalModel("base", inner, ROWS, examples=2)
    (answer,) = model.generate([question("turn on the lamp in the attic")], 16, tmp_path / "log")
    assert answer.text == "0"
    assert [(turn["role"], turn["content"]) for turn in inner.asked[0].messages] == [
        ("user", "turn on the radio"),
        ("assistant", "none"),
        ("user", "turn on the lamp in the kitchen"),
        ("assistant", "on"),
        ("user", "turn on the lamp in the attic"),
    ]
    assert (inner.asked[0].id, inner.asked[0].reference) == ("q", "a reference")
    assert (inner.max_tokens, inner.log) == (16, tmp_path / "log")


def test_what_counts_is_what_the_person_said_last_and_nothing_said_before_is_lost():
    inner = Inner()
    asked = question("make the hall dark, please", "done", "how is the weather")
    RetrievalModel("base", inner, ROWS, examples=1).generate([asked], 8, None)
    assert inner.asked[0].messages[0]["content"] == "what is the weather like"
    assert inner.asked[0].messages[2:] == asked.messages


@pytest.mark.parametrize("text", ["turn on the radio", "Turn on the RADIO!", "  turn on, the radio\n"])
def test_a_row_that_is_the_question_word_for_word_is_left_out(text):
    found = RetrievalModel("base", Inner(), ROWS, examples=5).nearest(text)
    assert ("turn on the radio", "none") not in found
    assert len(found) == 4


def test_a_question_of_signs_alone_leaves_out_its_equal_and_no_other():
    found = RetrievalModel("base", Inner(), [("?!", "a"), ("...", "b")], examples=2).nearest("?! ")
    assert found == [("...", "b")]


@pytest.mark.parametrize("text", ["zebra", "", "\ud800", "?"])
def test_where_no_row_is_near_the_first_ones_are_shown(text):
    assert RetrievalModel("base", Inner(), ROWS, examples=2).nearest(text) == ROWS[:2]


def test_of_equally_near_rows_the_earlier_is_nearer():
    rows = [("a zebra", str(number)) for number in range(50)]
    assert RetrievalModel("base", Inner(), rows, examples=3).nearest("my zebra") == rows[:3]


def test_a_row_that_is_there_twice_counts_once():
    assert len(RetrievalModel("base", Inner(), [ROWS[0]] * 3 + [ROWS[1]], examples=3).nearest("lamp")) == 2


@settings(deadline=None)  # the first example pays for the import
@given(
    st.lists(st.tuples(st.text(max_size=12), st.text(max_size=4)), min_size=1, max_size=8),
    st.text(max_size=12),
)
def test_whatever_is_asked_the_rows_are_some_of_those_given_and_the_same_each_time(rows, text):
    found = RetrievalModel("base", Inner(), rows, examples=3).nearest(text)
    assert set(found) <= set(rows)
    assert len(found) == len(set(found)) <= 3
    assert found == RetrievalModel("other", Inner(), rows, examples=3).nearest(text)
    assert all(asked.strip() != text.strip() for asked, _ in found)


def test_a_rare_word_counts_for_more_than_a_common_one():
    rows = [("the the the lamp", "1"), ("the zebra", "2"), ("the hall", "3"), ("the sea", "4")]
    assert RetrievalModel("base", Inner(), rows, examples=1).nearest("the zebra, the one") == [rows[1]]


# --- identity ------------------------------------------------------------------------------------------
def identity(name="base", inner=None, rows=ROWS, examples=3):
    return dict(RetrievalModel(name, inner or Inner(), rows, examples).identity)


def test_the_identity_is_all_that_decides_the_answers():
    told = identity()
    assert told["runtime"] == "retrieval"
    assert told["inner"] == {"runtime": "test"}
    assert told["code"] == provenance.code("seatrial.evals.models.retrieval")
    assert told["packages"] == {name: importlib.metadata.version(name) for name in ("bm25s", "numpy")}
    assert identity(inner=Inner(model="other")) != told
    assert identity(rows=ROWS[:4]) != told
    assert identity(rows=[*ROWS[:4], (ROWS[4][0], "on")]) != told
    assert identity(examples=2) != told


def test_the_identity_never_holds_the_role():
    assert identity("a-role-nobody-has") == identity()


def test_rows_in_another_order_are_another_model_because_ties_go_by_it():
    assert identity(rows=ROWS[::-1]) != identity()


# --- what is refused -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("rows", "examples", "problem"), [([], 3, "no training rows"), (ROWS, 0, "0 examples")]
)
def test_what_cannot_be_retrieved_is_refused(rows, examples, problem):
    with pytest.raises(SeatrialError, match=problem):
        RetrievalModel("base", Inner(), rows, examples)


def test_without_its_extra_the_line_to_type_is_told_and_the_identity_can_still_be_read(monkeypatch):
    known = extras.packages
    gone = [replace(each, version=None, problem=extras.ABSENT) for each in known(extras.RETRIEVAL)]
    monkeypatch.setattr(extras, "packages", lambda name: gone if name == extras.RETRIEVAL else known(name))
    model = RetrievalModel("base", Inner(), ROWS)
    assert model.identity["examples"] == 3
    with pytest.raises(MissingExtra, match=r"python -m pip install 'seatrial\[retrieval\]'"):
        model.generate([question("lamp")], 8, None)
