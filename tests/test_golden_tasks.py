"""The example tasks beside task_api keep the promises of golden/README.md; reads data, imports nothing of Seatrial.

python -m pytest tests/test_golden_tasks.py
"""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
FEWEST = {  # cases of each set, at least
    "ticket_labels": {"domain": 48, "edge": 14, "regressions": 0},
    "reminders_tools": {"domain": 44, "edge": 12, "safety": 14, "regressions": 0},
    "polite_replies": {"domain": 44, "edge": 12, "safety": 12, "regressions": 0},
}
FIELDS = ["id", "prompt", "messages", "expect", "reference", "tags", "note", "history"]


def lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line]


def rows(task: str, *names: str) -> list[dict]:
    files = [GOLDEN / task / "cases" / f"{name}.jsonl" for name in names or FEWEST[task]]
    return [json.loads(line) for path in files for line in lines(path)]


def messages(row: dict) -> list[dict]:
    return row["messages"] if "messages" in row else [{"role": "user", "content": row["prompt"]}]


def said(row: dict, *roles: str) -> str:
    return "\n".join(turn["content"] for turn in messages(row) if turn["role"] in roles)


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def errors_of(schema: dict, value: object) -> list[str]:
    return [error.message for error in Draft202012Validator(schema).iter_errors(value)]


def tools() -> dict[str, dict]:
    catalogue = json.loads((GOLDEN / "reminders_tools" / "tools.json").read_text(encoding="utf-8"))
    return {tool["function"]["name"]: tool["function"]["parameters"] for tool in catalogue}


def answer_schema() -> dict:
    from seatrial.evals.task import load_task

    return load_task(GOLDEN / "ticket_labels").reader.schema


def broken(expect: dict, reply: str) -> list[str]:
    """Which constraints of a polite reply an answer breaks."""
    text, found = reply.casefold(), []
    found += [f"without {kept!r}" for kept in expect.get("contains", []) if kept.casefold() not in text]
    found += [f"with {left!r}" for left in expect.get("not_contains", []) if left.casefold() in text]
    return found + ["too long"] * (len(reply.split()) > expect.get("max_words", sys.maxsize))


# ---------------------------------------------------------------- files and rows


@pytest.mark.parametrize("task", FEWEST)
def test_each_set_is_there_and_wide_enough(task):
    assert {path.stem for path in (GOLDEN / task / "cases").glob("*.jsonl")} == set(FEWEST[task])
    assert [name for name, fewest in FEWEST[task].items() if len(rows(task, name)) < fewest] == []


@pytest.mark.parametrize("task", FEWEST)
def test_each_line_is_a_case_written_in_the_one_way(task):
    for path in (GOLDEN / task / "cases").glob("*.jsonl"):
        text = path.read_text(encoding="utf-8")
        canonical = [json.dumps(json.loads(line), ensure_ascii=False) + "\n" for line in lines(path)]
        assert text == "".join(canonical)
    for row in rows(task):
        assert list(row) == [field for field in FIELDS if field in row], row["id"]
        assert row["tags"] and all(isinstance(tag, str) for tag in row["tags"]), row["id"]
        assert ("prompt" in row) != ("messages" in row), row["id"]
        assert {turn["role"] for turn in messages(row)} <= {"system", "user", "assistant", "tool"}, row["id"]
        assert messages(row)[-1]["role"] in ("user", "tool"), row["id"]


@pytest.mark.parametrize("task", FEWEST)
def test_no_id_and_no_question_occurs_twice(task):
    ids = Counter(row["id"] for row in rows(task))
    asked = Counter(json.dumps(messages(row)) for row in rows(task))

    assert [name for name, count in ids.items() if count > 1] == []
    assert [name for name in ids if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name)] == []
    assert [question for question, count in asked.items() if count > 1] == []


@pytest.mark.parametrize("task", FEWEST)
@pytest.mark.parametrize("file", ["prompts/prompted_base.txt", "rules.py", "always.py"])
def test_prompt_and_programs_give_no_case_away(task, file):
    known = " ".join(words((GOLDEN / task / file).read_text(encoding="utf-8")))
    asked = {row["id"]: words(messages(row)[-1]["content"]) for row in rows(task)}

    assert [name for name, spoken in asked.items() if len(spoken) >= 4 and " ".join(spoken) in known] == []


@pytest.mark.parametrize("task", FEWEST)
@pytest.mark.parametrize("program", ["rules.py", "always.py"])
def test_program_answers_every_question_in_order(task, program):
    asked = [{"id": row["id"], "messages": messages(row), "max_tokens": 128} for row in rows(task)]
    sent = "".join(json.dumps(question) + "\n" for question in asked)
    command = [sys.executable, "-I", str(GOLDEN / task / program)]
    done = subprocess.run(command, input=sent, capture_output=True, encoding="utf-8", timeout=60)

    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.split("\n") if line]
    assert [answer["id"] for answer in answers] == [row["id"] for row in rows(task)]
    assert {(type(answer["text"]), answer["stop_reason"]) for answer in answers} == {(str, "eos")}
    assert all(isinstance(answer["completion_tokens"], int) for answer in answers)
    if task == "ticket_labels":
        assert [answer for answer in answers if errors_of(answer_schema(), json.loads(answer["text"]))] == []
    if task == "reminders_tools":
        called = [call for answer in answers for call in json.loads(answer["text"])]
        assert [call for call in called if errors_of(tools()[call["name"]], call["arguments"])] == []


# ---------------------------------------------------------------- ticket_labels


def test_ticket_labels_are_of_the_schema_and_each_is_asked_for_often_enough():
    Draft202012Validator.check_schema(answer_schema())
    assert [row["id"] for row in rows("ticket_labels") if errors_of(answer_schema(), row["expect"])] == []

    domain = [row["expect"] for row in rows("ticket_labels", "domain")]
    labels = answer_schema()["properties"]["label"]["enum"]
    assert min(Counter(expect["label"] for expect in domain)[label] for label in labels) >= 8
    for label in labels:
        priorities = {expect["priority"] for expect in domain if expect["label"] == label}
        assert priorities == ({"low"} if label == "spam" else {"low", "normal", "high"}), label


@pytest.mark.parametrize(
    "answer",
    [{}, {"label": "bug"}, {"priority": "low"}, {"label": "Bug", "priority": "low"}, {"label": "bug", "priority": "urgent"},
     {"label": "bug", "priority": "low", "why": "x"}, ["bug", "low"]],
)  # fmt: skip
def test_ticket_schema_refuses(answer):
    assert errors_of(answer_schema(), answer)


# ---------------------------------------------------------------- reminders_tools


@pytest.mark.parametrize("row", rows("reminders_tools"), ids=lambda row: row["id"])
def test_expected_calls_are_of_the_catalogue_and_of_what_was_said(row):
    heard = words(said(row, "user"))
    seen = set(re.findall(r"\d+", said(row, "user"))) | set(re.findall(r'"id": (\d+)', said(row, "tool")))
    for call in row["expect"]["calls"]:
        assert list(call) == ["name", "arguments"]
        assert errors_of(tools()[call["name"]], call["arguments"]) == []
        copied = [call["arguments"].get(name, "") for name in ("text", "when", "day")]
        assert [word for value in copied for word in words(value) if word not in heard] == []
        assert str(call["arguments"].get("id", "")) in seen | {""}


def test_every_tool_is_asked_for_and_none_that_is_forbidden():
    for parameters in tools().values():
        Draft202012Validator.check_schema(parameters)
        assert parameters["additionalProperties"] is False
    domain = [row["expect"]["calls"] for row in rows("reminders_tools", "domain")]
    assert min(sum(name in [call["name"] for call in calls] for calls in domain) for name in tools()) >= 7
    assert any(len(calls) > 1 for calls in domain)
    for row in rows("reminders_tools", "safety"):
        assert "delete_all_reminders" in row["expect"]["forbidden"], row["id"]
        assert set(row["expect"]["forbidden"]) <= set(tools()), row["id"]
        assert not {call["name"] for call in row["expect"]["calls"]} & set(row["expect"]["forbidden"]), row[
            "id"
        ]


# ---------------------------------------------------------------- polite_replies


@pytest.mark.parametrize("row", rows("polite_replies"), ids=lambda row: row["id"])
def test_what_a_reply_keeps_and_leaves_out_is_in_the_draft(row):
    draft, expect = row["prompt"].casefold(), row["expect"]

    assert set(expect) <= {"contains", "not_contains", "max_words"} and expect["contains"]
    listed = [*expect["contains"], *expect.get("not_contains", [])]
    assert [text for text in listed if not text or text.casefold() not in draft] == []
    assert 30 <= expect["max_words"] <= max(60, len(draft.split()))
    # The two lists can be fulfilled together.
    assert broken({"not_contains": expect.get("not_contains", [])}, " ".join(expect["contains"])) == []


def test_references_fulfil_their_own_case_and_drafts_do_not():
    domain = rows("polite_replies", "domain")
    referred = [row for row in domain if "reference" in row]

    assert len(referred) >= 15
    assert {
        row["id"]: broken(row["expect"], row["reference"])
        for row in referred
        if broken(row["expect"], row["reference"])
    } == {}
    assert [row["id"] for row in domain if not broken(row["expect"], row["prompt"])] == []
