"""A regression's history: what a row may say, and how a check changes it. And its section of the report.

python -m pytest tests/test_history.py
"""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from seatrial.evals.cases import load_cases
from seatrial.evals.history import History, On, read_history
from seatrial.evals.report import SCHEMA, finite, lines, render
from seatrial.evals.report.regressions import regressions
from seatrial.training.errors import SeatrialError
from tests import page
from tests.report_results import results

HOSTILE = " ".join(page.HOSTILE) + "\u202e\x1b[2J"
FIRST, SECOND = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
MONDAY, TUESDAY = date(2026, 11, 23), date(2026, 11, 24)


def told(history: History) -> dict[str, Any]:
    return history.to_json()


def test_green_since_is_the_start_of_the_run_of_checks_that_held():
    history = History().after(True, FIRST, MONDAY)
    assert told(history) == {"green_since": {"when": "2026-11-23", "on": FIRST}}
    assert history.after(True, SECOND, TUESDAY) == history
    red = history.after(False, SECOND, TUESDAY)
    assert told(red) == {"last_red": {"when": "2026-11-24", "on": SECOND}}
    again = red.after(True, FIRST, TUESDAY)
    assert told(again) == told(red) | {"green_since": {"when": "2026-11-24", "on": FIRST}}


def test_the_same_model_missed_twice_and_what_was_not_evaluated_change_nothing():
    red = History().after(False, FIRST, MONDAY)
    assert red.after(False, FIRST, TUESDAY) == red
    assert red.after(False, SECOND, TUESDAY).last_red == On(when="2026-11-24", on=SECOND)
    assert red.after(None, SECOND, TUESDAY) == red


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], "'history' is []"),
        ({"gren_since": {}}, "unknown key 'history.gren_since'"),
        ({"seen": {"who": "x"}}, "unknown key 'history.seen.who'"),
        ({"seen": {"when": "monday"}}, "'history.seen.when' is 'monday'"),
        ({"incident": 7}, "'history.incident' is 7"),
        ({"red_on": "the old one"}, "'history.red_on' is 'the old one'"),
        ({"green_since": {"when": "2026-11-23"}}, "'history.green_since.on'"),
        ({"last_red": {"when": "2026-11-23", "on": "sha256:12"}}, "'history.last_red.on' is 'sha256:12'"),
    ],
)
def test_a_history_of_another_kind_is_refused_with_its_key(value, said):
    with pytest.raises(SeatrialError) as caught:
        read_history(value, "cases.jsonl:3")
    message = str(caught.value)
    assert message.startswith("cases.jsonl:3: ") and said in message and "green_since" in message


def row(**more: Any) -> dict[str, Any]:
    return {"id": "a", "prompt": "off", "expect": {"operation": "off"}, **more}


def test_a_history_is_read_with_its_row_and_makes_no_other_case(tmp_path: Path):
    path = tmp_path / "regressions.jsonl"
    found = []
    for more in ({}, {"history": {"incident": "INC-7", "red_on": FIRST}}):
        path.write_text(json.dumps(row(**more)), encoding="utf-8")
        found += load_cases(path, "regressions", ("on", "off"))
    plain, remembered = found
    assert remembered.history.incident == "INC-7"
    assert remembered == plain  # else another file with the same case would be asked beside it
    assert remembered.question == plain.question
    path.write_text(json.dumps(row(history={"incdent": "x"})), encoding="utf-8")
    with pytest.raises(SeatrialError, match=r"regressions.jsonl:1: unknown key 'history.incdent'"):
        load_cases(path, "regressions", ("on", "off"))


# --- the report -----------------------------------------------------------------------------------------
def section(document: dict[str, Any]) -> str:
    text = render(document)
    return text[text.index('<section id="regressions">') : text.index('<section id="plots">')]


def reported(tmp_path: Path, held: dict[str, bool | None]) -> dict[str, Any]:
    path = tmp_path / "regressions.jsonl"
    history = {
        "incident": HOSTILE,
        "seen": {"where": HOSTILE, "when": "2026-11-20"},
        "red_on": f"program:{HOSTILE}",
    }
    rows = [row() | {"id": name, "prompt": HOSTILE, "history": history} for name in held]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    told = regressions(load_cases(path, "regressions", ("on", "off")), held)
    document: dict[str, Any] = json.loads(lines(finite(results() | {"regressions": told})))
    return document


def test_the_section_says_of_each_row_whether_it_held_the_missed_ones_first(tmp_path):
    document = reported(tmp_path, {"held-1": True, "open-1": None, "missed-1": False})
    Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8"))).validate(document)
    text = section(document)
    order = [text.index(word) for word in ("missed-1", "MISSED", "open-1", "NOT EVALUATED", "held-1", "HELD")]
    assert order == sorted(order)
    assert "1 of 3 held" in text and "2026-11-20" in text


def test_a_row_that_was_green_and_is_missed_now_does_not_read_as_green(tmp_path):
    for held, words in (
        (False, "was green, before this run, since 2026-11-23"),
        (True, ">green since 2026-11-23"),
    ):
        document = reported(tmp_path, {"a": held})
        document["regressions"][0]["green_since"] = {"when": "2026-11-23", "on": FIRST}
        text = section(document).replace("<br>", ">")
        assert (words in text, "111111111111" in text) == (True, True)
        assert ("was green" in text) is (held is False)


def test_hostile_text_of_a_row_stays_text(tmp_path):
    text = section(reported(tmp_path, {"a": True}))
    assert "<script" not in text and "&lt;" in text
    assert "\u202e" not in text and "\x1b" not in text


def test_without_regressions_and_in_older_results_the_section_says_so():
    for document in (results() | {"regressions": []}, results()):
        assert "This task has no regressions yet" in section(document)


def test_an_unknown_key_of_a_regression_is_no_result(tmp_path):
    document = reported(tmp_path, {"a": True})
    document["regressions"][0]["secret"] = 1
    validator = Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    assert [error.validator for error in validator.iter_errors(document)] == ["additionalProperties"]
