"""The rubric and people who rate: whose points count, and what the score says of them."""

import pytest

from seatrial.evals.metrics import METRICS
from seatrial.evals.metrics.rating import rubric
from seatrial.evals.models import Generation
from seatrial.evals.ratings import answer_digest
from tests.metrics.fakes import CREATE, REPLY, RUBRIC, answer, case_of, criterion_for, evidence_with


@pytest.mark.parametrize(
    ("text", "points", "lacking"),
    [
        (answer(), 5, []),
        (f"{answer()} Bye!", 4, ["breaks the contract"]),
        (REPLY, 4, ["breaks the contract"]),
        (answer(reply="It is there. Anything else?"), 4, ["does not acknowledge the action"]),
        (answer(reply="I created it."), 4, ["no follow-up question"]),
        (answer(reply="I created it. Really?"), 4, ["no follow-up question"]),
        (answer(reply="Anything goes. I created it."), 4, ["no follow-up question"]),
        (answer(reply="I created the to-do. Anything else?"), 4, ["uses other terms than the task's"]),
        (answer(reply="I added two tickets. Anything else?"), 4, ["uses other terms than the task's"]),
        (answer(reply="I recreated it. Anything else?"), 4, ["does not acknowledge the action"]),
        (
            answer(reply="ticket"),
            2,
            ["does not acknowledge the action", "no follow-up question", "uses other terms than the task's"],
        ),
        (answer(reply="   "), 1, ["no reply at all"]),
        ('{"operation": "create"}', 1, ["no reply at all"]),
        ("", 1, ["no reply at all"]),
    ],
)
def test_the_rubric_gives_its_points_one_by_one(text, points, lacking):
    assert rubric(case_of(CREATE), Generation(text), RUBRIC, evidence_with()) == (points, lacking)


def rated(ratings, text="anything"):
    evidence = evidence_with(ratings=ratings)
    criterion = criterion_for("response_rating", settings=RUBRIC)
    return METRICS["response_rating"].judge(case_of(CREATE), Generation(text), criterion, evidence)


def test_people_s_ratings_decide_where_there_are_any_and_the_score_says_so():
    found = rated({answer_digest("c-1", "anything"): [3.0, 5.0, 5.0]})
    assert found.value == pytest.approx(13 / 3)
    assert found.note == "human"
    assert not found.missed


def test_a_low_rating_by_people_is_a_miss_even_of_an_answer_that_the_rubric_likes():
    found = rated({answer_digest("c-1", answer()): [2.0]}, answer())
    assert (found.value, found.note, found.missed) == (2.0, "human", True)
    assert found.reason == "rated 2 by 1 of the people asked"


def test_without_a_person_s_rating_of_exactly_this_answer_the_rubric_decides_and_the_score_says_so():
    others = {answer_digest("c-1", "another answer"): [1.0], answer_digest("c-2", answer()): [1.0]}
    found = rated(others, answer())
    assert (found.value, found.note, found.missed) == (5.0, "rubric", False)
