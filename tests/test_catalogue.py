"""Metrics: every one is right about a right answer and a wrong one, and is what its page says it is.

python -m pytest tests/test_catalogue.py
"""

import ast
import inspect
import re
import textwrap
import time
from pathlib import Path

import pytest

from seatrial.evals.catalogue import page
from seatrial.evals.metrics import METRICS
from seatrial.training import extras
from seatrial.training.extras import MissingExtra
from tests.metric_examples import EXAMPLES, WRONG_ENDS, Example, answer, calls

PAGE = Path(__file__).resolve().parents[1] / "docs" / "metrics.md"
JUDGING = {name: metric for name, metric in METRICS.items() if metric.judge and metric.source is None}
by_metric = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.metric)


# --- right and wrong -----------------------------------------------------------------------------------


def test_every_metric_of_single_answers_has_an_example():
    assert sorted(example.metric for example in EXAMPLES) == sorted(JUDGING)


@by_metric
def test_a_right_answer_and_a_wrong_one_are_told_apart(example):
    right = example.score(example.right)
    wrong = example.score(example.wrong, **WRONG_ENDS.get(example.metric, {}))
    assert right.value == pytest.approx(example.good, abs=0.01)
    assert wrong.value == pytest.approx(example.bad, abs=0.01)
    assert (right.missed, wrong.missed) == (False, True)
    assert right.reason == ""
    assert wrong.reason and example.because in wrong.reason
    assert wrong.expected and wrong.case == "c-1" and wrong.where == "cases.jsonl:1"


@by_metric
def test_more_is_better_where_a_metric_says_so(example):
    metric = METRICS[example.metric]
    if metric.estimator.scale == (0.0, 1.0) and metric.unit == "share" and metric.name not in PER_LABEL:
        assert (example.good, example.bad) == ((1.0, 0.0) if metric.better == "higher" else (0.0, 1.0))


PER_LABEL = {"false_positive_rate", "false_negative_rate"}  # their scores are read by label, not added up


@by_metric
def test_a_case_that_does_not_say_what_is_right_is_not_scored(example):
    metric = METRICS[example.metric]
    if metric.expects:
        silent = Example(example.metric, "", "", prompt=example.prompt, answers=example.answers)
        assert silent.score(example.right) is None


# --- what docstrings claim -----------------------------------------------------------------------------


def claimed(about, of):
    """What a docstring says of such answers, such as ``wrong``."""
    for match in re.finditer(
        r"((?:empty|broken|refused)(?:, (?:empty|broken|refused))*): (.+?)\.(?=\s|$)", about, re.I | re.S
    ):
        if of in match[1].lower():
            return " ".join(match[2].split())
    return ""


@pytest.mark.parametrize("name", sorted(JUDGING))
def test_a_metric_says_what_it_is_and_what_no_answer_scores(name):
    about = JUDGING[name].about
    assert about.partition("\n\n")[0].rstrip().endswith((".", "nothing is evaluated."))
    for of in ("empty", "broken", "refused"):
        assert claimed(about, of), of
    for setting in JUDGING[name].settings:
        assert f"``{setting}``" in about, setting
    assert not re.search(r"Source: *$", about)


@by_metric
@pytest.mark.parametrize("empty", ["", " \n"], ids=["empty", "blank"])
def test_an_empty_answer_scores_what_the_metric_says(example, empty):
    claim, found = claimed(METRICS[example.metric].about, "empty"), example.score(empty)
    said = claim.split()[0].rstrip(",;")
    if said == "not":
        assert found is None
    elif re.fullmatch(r"\d+", said):
        assert found.value == float(said)
    elif said in ("right", "wrong", "a"):
        right = said == "right" and not ("where" in claim and example.expect.get("calls"))
        assert found.missed is not right
    else:
        assert said in ("by", "no", "sure"), f"{claim!r} is not tested: add it here"


@pytest.mark.parametrize("name", sorted(JUDGING))
def test_a_setting_that_is_read_is_declared(name):
    tree = ast.parse(textwrap.dedent(inspect.getsource(JUDGING[name].judge)))
    read = {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and ast.unparse(node.func) in ("criterion.settings.get", "settings.get")
        and isinstance(node.args[0], ast.Constant)
    }
    assert read <= set(JUDGING[name].settings)


# --- the page ------------------------------------------------------------------------------------------


def test_the_catalogue_is_what_its_command_writes():
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m seatrial.evals.catalogue > docs/metrics.md"


def test_the_catalogue_has_every_metric_and_every_expectation():
    text = page()
    for name, metric in METRICS.items():
        if metric.source is None:
            assert f"### {name}\n" in text
            assert all(f"`{key}`" in text for key in metric.expects if not key.startswith("{"))


# --- extras --------------------------------------------------------------------------------------------


@by_metric
def test_a_metric_says_which_extra_it_lacks(example, monkeypatch):
    from seatrial.evals.metrics import base

    extra = METRICS[example.metric].extra
    if not extra:
        return
    monkeypatch.setitem(extras.EXTRAS, extra, {"no_such_module": "no-such-package"})
    base._have.cache_clear()
    with pytest.raises(MissingExtra, match=r"needs no-such-package: .*seatrial\[text\]"):
        example.score(example.right)
    base._have.cache_clear()


# --- hostile answers -----------------------------------------------------------------------------------

LONG = 300_000
HOSTILE = {
    "one word": "a" * LONG,
    "words": "cat sat " * (LONG // 8),
    "sentences": "The Cat sat. " * (LONG // 13),
    "lines": "a\n" * (LONG // 2),
    "spaces": "a" + " " * LONG,
    "braces": '{"' * (LONG // 2),
    "brackets": "[" * LONG,
    "fence": "```" + " " * LONG,
    "fences": "```json " * (LONG // 8),
    "tags": "<tool_call>" * (LONG // 11),
    "quotes": "\"'" * (LONG // 2),
    "digits": "1" * LONG,
    "numbers": "1,000.5-" * (LONG // 8),
    "marks": "e" + "\u0301\u0323" * (LONG // 2),
    "apostrophes": "a'" * (LONG // 2),
    "capitals": "Ab " * (LONG // 3),
    "surrogate": answer(reply="\ud800" * 1000),
    "arabic": "\ufdfa " * (LONG // 2),
    "nul": "\x00" * LONG,
    "deep field": answer(customer={"name": "x"})[:-1] + ', "tags": ' + "[" * 800 + "]" * 800 + "}",
    "wide field": answer(tags=["x"] * (LONG // 6), issues=["x"] * 1000, steps=["open the lid"] * 20_000),
    "long text": answer(reply="cat sat " * (LONG // 8)),
    "many calls": calls(*[("book", {"room": "Blue", "people": 4})] * 5000),
    "deep call": '[{"name": "book", "arguments": {"room": ' + "[" * 800 + "]" * 800 + "}}]",
    "odd values": '{"label": null, "reply": 7, "tags": {}, "steps": [1, null], "issues": [{}], "confidence": 1e999}',
}


@pytest.mark.parametrize("name", HOSTILE)
@by_metric
def test_a_hostile_answer_is_scored_within_a_second(example, name):
    example.score(example.right)  # imports are not what is timed
    started = time.process_time()
    found = example.score(HOSTILE[name])
    assert time.process_time() - started < 1
    low, high = METRICS[example.metric].estimator.scale
    if found:
        assert low is None or found.value >= low
        assert high is None or found.value <= high
        assert len(found.reason) < 5_000


def test_a_pattern_that_would_search_for_ever_is_a_miss():
    example = next(example for example in EXAMPLES if example.metric == "pattern")
    endless = Example("pattern", "", "", {"pattern": r"(a|aa)+$"}, answers=example.answers)
    found = endless.score("a" * 60 + "!")
    assert found.missed and "longer than 0.5 s" in found.reason
