"""Near duplicates are found by the definition, whatever words repeat, and without comparing every pair.

python -m pytest tests/test_near_duplicates.py
"""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seatrial.evals.near_duplicates import NEAR, SHORT, Index, required, rouge_l, words_of

# Few words, so that texts share many, repeat them, and lie close to the limit.
TEXTS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=14).map(" ".join)


def first_near(texts: list[str], asked: str) -> str | None:
    """What the definition says, by comparing with every text."""
    words = words_of(asked)
    same = [text for text in texts if words_of(text) == words]
    if same:
        return same[-1]
    if len(words) < SHORT:
        return None
    return next((text for text in texts if rouge_l(words, words_of(text)) >= NEAR - 1e-12), None)


@settings(max_examples=400, deadline=None)
@given(known=st.lists(TEXTS, max_size=25, unique=True), asked=TEXTS)
def test_the_index_finds_what_comparing_with_every_text_finds(known, asked):
    assert Index(known).twin(asked) == first_near(known, asked)


@settings(max_examples=200, deadline=None)
@given(known=TEXTS, change=st.lists(st.tuples(st.integers(0, 13), st.sampled_from("abx")), max_size=3))
def test_a_text_with_a_few_changed_words_is_judged_by_the_definition(known, change):
    words = known.split()
    for place, word in change:
        words[place % len(words)] = word
    asked = " ".join(words)
    assert Index([known]).twin(asked) == first_near([known], asked)


@settings(max_examples=100, deadline=None)
@given(first=TEXTS, second=TEXTS)
def test_rouge_l_is_that_of_rouge_score(first, second):
    from rouge_score.rouge_scorer import RougeScorer

    class Words:
        def tokenize(self, text: str) -> list[str]:
            return text.split()

    expected = RougeScorer(["rougeL"], tokenizer=Words()).score(first, second)["rougeL"].fmeasure
    assert rouge_l(first.split(), second.split()) == pytest.approx(expected)


def test_a_text_of_one_word_many_times_is_a_twin_of_a_little_more_of_it():
    assert Index(["x " * 20 + "one two three"]).twin("x " * 20) == "x " * 20 + "one two three"  # F1 40/43


def test_the_least_words_in_common_are_those_of_the_definition():
    for first in range(1, 60):
        for second in range(1, 60):
            least = required(first, second)
            assert 2 * least / (first + second) >= NEAR - 1e-12 > 2 * (least - 1) / (first + second)


def test_ten_thousand_questions_are_compared_with_few_of_ten_thousand(monkeypatch):
    import rapidfuzz.distance

    compared = 0
    similarity = rapidfuzz.distance.LCSseq.similarity

    def counting(*args, **more):
        nonlocal compared
        compared += 1
        return similarity(*args, **more)

    monkeypatch.setattr(rapidfuzz.distance.LCSseq, "similarity", counting)
    draw = random.Random(1)
    words = [f"word{number}" for number in range(400)]
    texts = [" ".join(draw.choices(words, k=draw.randint(6, 14))) for _ in range(4000)]
    index = Index(texts[:2000])
    assert [index.twin(text) for text in texts[2000:]] == [None] * 2000
    assert compared < 0.02 * 2000 * 2000
