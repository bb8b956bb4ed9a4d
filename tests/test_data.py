"""Leakage: a case that training has seen, as it is or nearly so, is found and told with its place.

python -m pytest tests/test_data.py
"""

import json
import shutil

import pytest

from seatrial.evals.case_sets import load_case_sets
from seatrial.evals.data import LEAKAGE, leakage
from seatrial.evals.near_duplicates import NEAR, rouge_l
from seatrial.evals.task import load_task
from seatrial.evals.verdict import FAIL, NOT_EVALUATED, PASS
from tests.conftest import MINIATURE, command_line

TRAINED = "remind me to water the tall plants in the hall"  # ten words


@pytest.fixture
def judge_question(tmp_path):
    """The verdict on a task with one question, trained on another one."""

    def judge(asked, *trained, turns=()):
        folder = shutil.copytree(MINIATURE, tmp_path / "lamp")
        rows = [[("human", text), ("gpt", "done")] for text in trained] + list(turns)
        lines = [json.dumps({"conversations": [{"from": f, "value": v} for f, v in row]}) for row in rows]
        (folder / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")
        (folder / "cases" / "heldout.jsonl").write_text("", encoding="utf-8")
        cases = folder / "cases" / "domain.jsonl"
        cases.write_text("\n" + json.dumps({"id": "asked-1", "prompt": asked}) + "\n", encoding="utf-8")
        task = load_task(folder)
        return leakage(task.path(task.train), load_case_sets(task))

    return judge


@pytest.mark.parametrize(
    "asked",
    [
        TRAINED,
        "REMIND me to water: the tall plants, in the hall!",
        "  remind me to\twater the tall\nplants in the hall ",
        "remind me to water the small plants in the hall",  # one word of ten is another: F1 0.9
        "please remind me to water the tall plants in the hall",  # one more: F1 20/21
        "remind me to water the tall plants in hall",  # one less: F1 18/19
    ],
    ids=["exact", "casing-and-punctuation", "white-space", "word-changed", "word-added", "word-left-out"],
)
def test_a_question_that_training_has_seen_fails_with_its_file_and_line(judge_question, asked):
    verdict = judge_question(asked, "hello there you", TRAINED)
    assert verdict.status == FAIL
    (miss,) = verdict.misses
    assert miss.case == "asked-1"
    assert miss.where.endswith("lamp/cases/domain.jsonl:2")
    assert miss.prompt == asked
    assert repr(TRAINED) in miss.reason
    assert miss.where in verdict.explain()
    assert verdict.measured.value == 0


@pytest.mark.parametrize(
    "asked",
    [
        "what does the fox say",
        "remind us to water the small plants in the garden",  # three of ten are others: F1 0.7
        "remind me to paint the small plants in the hall",  # two of ten are others: F1 0.8
        "hall the in plants tall the water to me remind",  # the same words in another order
    ],
)
def test_a_question_that_training_has_not_seen_passes(judge_question, asked):
    verdict = judge_question(asked, TRAINED)
    assert (verdict.status, verdict.misses) == (PASS, [])
    assert (verdict.measured.value, verdict.measured.n) == (1, 1)


@pytest.mark.parametrize(
    ("asked", "status"),
    [("Lamp on!", FAIL), ("LAMP, on", FAIL), ("lamp", PASS), ("on lamp", PASS), ("lamp off", PASS)],
)
def test_short_questions_are_the_same_only_if_all_their_words_are(judge_question, asked, status):
    assert judge_question(asked, "lamp on", "lamp on now please").status == status


@pytest.mark.parametrize(
    ("asked", "trained"), [("Straße öffnen bitte", "STRASSE ÖFFNEN, BITTE"), ("打开 灯", "打开 灯。")]
)
def test_words_of_every_language_are_compared(judge_question, asked, trained):
    assert judge_question(asked, trained).status == FAIL


def test_every_question_of_a_conversation_counts_and_answers_do_not(judge_question):
    turns = [
        [("human", "hello there you"), ("gpt", "yes, how may I help"), ("human", TRAINED), ("gpt", "ok")]
    ]
    assert judge_question(TRAINED, turns=turns).status == FAIL


def test_what_was_only_answered_in_training_is_no_leak(judge_question):
    turns = [[("system", TRAINED), ("human", "hello there you"), ("gpt", TRAINED)]]
    assert judge_question(TRAINED, turns=turns).status == PASS


@pytest.mark.parametrize("asked", ["", "?!", "🚢"])
def test_where_no_question_has_words_nothing_was_checked(judge_question, asked):
    verdict = judge_question(asked, "?!", TRAINED)
    assert (verdict.status, verdict.measured) == (NOT_EVALUATED, None)


def test_the_miniature_has_not_seen_its_cases():
    task = load_task(MINIATURE)
    verdict = leakage(task.path(task.train), load_case_sets(task))
    assert (verdict.status, verdict.misses) == (PASS, [])
    assert verdict.measured.n == 13


def test_a_leak_planted_in_the_miniature_is_found_among_all_cases(tmp_path):
    folder = shutil.copytree(MINIATURE, tmp_path / "lamp")
    with (folder / "train.jsonl").open("a", encoding="utf-8") as rows:
        turns = [{"from": "human", "value": "Could you darken this room?"}, {"from": "gpt", "value": "ok"}]
        rows.write(json.dumps({"conversations": turns}) + "\n")
    task = load_task(folder)
    verdict = leakage(task.path(task.train), load_case_sets(task))
    assert verdict.status == FAIL
    assert [(miss.case, miss.where) for miss in verdict.misses] == [
        ("domain-off-3", f"{folder / 'cases' / 'domain.jsonl'}:7")
    ]
    assert verdict.measured.value == pytest.approx(12 / 13)


def test_general_rows_of_the_recipe_are_training_data_too(tmp_path):
    folder = shutil.copytree(MINIATURE, tmp_path / "lamp")
    recipe = next((folder / "recipes").glob("*.toml"))
    recipe.write_text(recipe.read_text(encoding="utf-8") + '\n[mix]\nfile = "general.jsonl"\nshare = 0.1\n')
    turns = [{"from": "human", "value": "Could you darken this room?"}, {"from": "gpt", "value": "ok"}]
    leaks = json.dumps({"conversations": turns}) + "\n"
    (folder / "recipes" / "general.jsonl").write_text(leaks, encoding="utf-8")
    words = ["-m", "data", f"--task={folder}", f"--store={tmp_path / 'store'}"]
    status, output = command_line([*words, f"--report-dir={tmp_path / 'reports'}"], tmp_path)
    assert status == 1, output
    assert "domain-off-3" in output
    assert "train.jsonl and general.jsonl" in output


def test_the_verdict_is_required_and_says_what_to_do():
    task = load_task(MINIATURE)
    verdict = leakage(task.path(task.train), load_case_sets(task))
    assert verdict.criterion == LEAKAGE
    assert verdict.required
    assert "never change the case" in verdict.advice


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("the cat sat", "the cat sat", 1.0),
        ("police killed the gunman", "police kill the gunman", 0.75),  # Lin 2004, section 3.1
        ("police killed the gunman", "the gunman kill police", 0.5),
        ("a b", "c d", 0.0),
        ("größe 灯", "größe 灯", 1.0),
    ],
)
def test_rouge_l_is_that_of_the_paper(first, second, expected):
    assert rouge_l(first.split(), second.split()) == pytest.approx(expected)
    assert rouge_l(second.split(), first.split()) == pytest.approx(expected)


def test_one_changed_word_in_seven_is_near_and_in_six_is_not():
    assert rouge_l(list("abcdefg"), list("abcdefx")) >= NEAR > 5 / 6


def test_training_data_that_nobody_names_were_not_searched():
    verdict = leakage(None, {})
    assert verdict.status == NOT_EVALUATED
    assert "--train=FILE" in verdict.reason


def test_training_rows_without_words_were_not_searched(judge_question):
    assert judge_question("turn it on, please", "?!").status == NOT_EVALUATED
