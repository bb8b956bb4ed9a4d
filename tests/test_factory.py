"""The training set is what its seeds give and fits the contract; mistakes are explained."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from seatrial.training.factory.__main__ import build, main
from seatrial.training.factory.answer import ARGUMENTS, plain
from seatrial.training.factory.checks import SeedError
from seatrial.training.factory.compose import Row
from seatrial.training.factory.seeds import load

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "training" / "data" / "task_api"
CONTRACT = ROOT / "golden" / "task_api" / "contract.schema.json"


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return build(FOLDER)[0]


@pytest.fixture(scope="module")
def committed() -> list[dict[str, Any]]:
    text = (FOLDER / "train.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The task's data in a place where a test may spoil it."""
    return shutil.copytree(FOLDER, tmp_path / "task_api")


def request_of(row: dict[str, Any]) -> str:
    request: str = row["conversations"][0]["value"]
    return request


def answer_of(row: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(row["conversations"][1]["value"])
    return answer


def run_factory(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


# The committed files


@pytest.mark.parametrize("name", ["train.jsonl", "DATA_CARD.md"])
def test_regenerates_byte_for_byte(name: str) -> None:
    _, files = build(FOLDER)
    assert (FOLDER / name).read_bytes() == files[name].encode(), (
        f"{name} is not what the seeds give; run: python -m seatrial.training.factory training/data/task_api"
    )


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_hash_order_does_not_matter(hash_seed: str) -> None:
    done = run_factory("-m", "seatrial.training.factory", str(FOLDER), "--check", PYTHONHASHSEED=hash_seed)
    assert (done.returncode, done.stderr) == (0, "")


def test_500_rows_of_one_request_and_one_answer(committed: list[dict[str, Any]]) -> None:
    assert len(committed) == 500
    assert len({row["id"] for row in committed}) == 500
    for row in committed:
        assert list(row) == ["id", "conversations", "tags"]
        assert [turn["from"] for turn in row["conversations"]] == ["human", "gpt"]
        assert row["tags"][0] == answer_of(row)["operation"]


def test_operations_are_covered_as_planned(committed: list[dict[str, Any]]) -> None:
    seen: dict[str, int] = defaultdict(int)
    for row in committed:
        seen[answer_of(row)["operation"]] += 1
    assert seen == load(FOLDER / "seeds").rows
    assert set(seen) == set(ARGUMENTS)
    assert min(seen[operation] for operation in ARGUMENTS if operation != "none") >= 75  # 15 % of the rows


def test_requests_are_unique_whatever_their_case(committed: list[dict[str, Any]]) -> None:
    requests = [request_of(row).casefold() for row in committed]
    assert sorted(requests) == sorted(set(requests))


def test_every_operation_has_75_phrasings(rows: list[Row]) -> None:
    texts = defaultdict(set)
    for row in rows:
        texts[row.line.operation].add(row.line.text)
    assert {o: len(t) for o, t in texts.items() if o != "none" and len(t) < 75} == {}


def test_60_near_misses_spread_over_the_operations(rows: list[Row]) -> None:
    near = [row.line.operation for row in rows if row.line.kind == "near_miss"]
    assert len(near) >= 60
    assert {operation for operation in ARGUMENTS if near.count(operation) < 10} == {"none"}


# The answers


def test_every_answer_fits_the_contract(committed: list[dict[str, Any]]) -> None:
    schema = json.loads(CONTRACT.read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    wrong = {
        row["id"]: [error.message for error in validator.iter_errors(answer_of(row))]
        for row in committed
        if not validator.is_valid(answer_of(row))
    }
    assert wrong == {}


def test_answers_are_compact_json_with_keys_in_the_contracts_order(
    committed: list[dict[str, Any]],
) -> None:
    for row in committed:
        answer = answer_of(row)
        allowed = ARGUMENTS[answer["operation"]]
        assert list(answer) == ["operation", "arguments", "reply"]
        assert list(answer["arguments"]) == [key for key in allowed if key in answer["arguments"]]
        compact = json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
        assert row["conversations"][1]["value"] == compact


def test_names_titles_and_dates_are_copied_from_the_request(
    committed: list[dict[str, Any]],
) -> None:
    wrong = [
        (row["id"], key, value)
        for row in committed
        for key, value in answer_of(row)["arguments"].items()
        if key in ("task", "title", "due") and not value.isdigit()
        if value not in plain(request_of(row))
    ]
    assert wrong == []


def test_replies_speak_with_one_voice(committed: list[dict[str, Any]]) -> None:
    openings = {
        "create": "I created the task ",
        "list": "Here are your ",
        "update": "I updated task ",
        "complete": "I marked task ",
        "delete": "I deleted ",
        "none": "",
    }
    for row in committed:
        answer = answer_of(row)
        reply = answer["reply"]
        assert reply.startswith(openings[answer["operation"]]), row["id"]
        assert reply.endswith("?"), row["id"]
        assert not set(reply) & set('"\\\n'), row["id"]
        own_words = reply.lower()
        for value in answer["arguments"].values():
            own_words = own_words.replace(value.lower(), "")
        assert [w for w in ("to-do", "todo", "item", "ticket") if w in own_words] == [], row["id"]


def test_a_reply_repeats_every_argument(committed: list[dict[str, Any]]) -> None:
    for row in committed:
        answer = answer_of(row)
        for value in answer["arguments"].values():
            assert value in answer["reply"], row["id"]


def test_the_arguments_decide_the_follow_up(rows: list[Row]) -> None:
    asked = defaultdict(set)
    for row in rows:
        reply = json.loads(row.answer)["reply"]
        question = reply[max(reply.rfind(". ") + 1, 0) :].strip()
        filters = [key for key in ("due", "priority") if key in row.arguments]
        given = " ".join(filters) if row.line.operation == "create" else ""
        asked[f"{row.line.operation} {given}".strip()].add(question)
    assert len({row.answer for row in rows if row.line.operation == "none"}) == 3
    del asked["none"]
    assert asked == {
        "create": {"Should I add a due date?"},
        "create priority": {"Should I add a due date?"},
        "create due": {"Should I set a priority?"},
        "create due priority": {"Anything else to add?"},
        "list": {"Would you like to change one?"},
        "update": {"Anything else to change?"},
        "complete": {"What is next?"},
        "delete": {"Anything else to delete?"},
    }


def test_creates_carry_dates_and_priorities(rows: list[Row]) -> None:
    given = [row.arguments.keys() for row in rows if row.line.operation == "create"]
    assert sum("due" in keys or "priority" in keys for keys in given) >= 55
    assert sum("priority" in keys for keys in given) >= 20
    assert sum({"due", "priority"} <= keys for keys in given) >= 15


def test_every_operation_is_asked_for_with_typos_and_in_other_languages(rows: list[Row]) -> None:
    for kind, least in (("typo", 5), ("language", 4)):
        seen = [row.line.operation for row in rows if row.line.kind == kind]
        assert {o for o in ARGUMENTS if seen.count(o) < least} == {"none"}, kind


def test_a_topic_does_not_give_the_operation_away(rows: list[Row]) -> None:
    operations = defaultdict(list)
    for row in rows:
        name = row.arguments.get("title") or row.arguments.get("task", "0")
        if not name.isdigit() and not row.line.fixed.keys() & {"title", "task"}:
            operations[name.lower()].append(row.line.operation)
    twice = {name: seen for name, seen in operations.items() if len(seen) > 1}
    assert len(twice) > 50
    assert {name: seen for name, seen in twice.items() if len(set(seen)) == 1} == {}


def test_rows_stay_short_enough_for_two_cores(committed: list[dict[str, Any]]) -> None:
    characters = sum(len(turn["value"]) for row in committed for turn in row["conversations"])
    assert characters / len(committed) < 190


# The command


def test_check_is_silent_on_what_the_seeds_give(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(FOLDER), "--check"]) == 0
    assert capsys.readouterr() == ("", "")


def test_check_names_file_line_and_command(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = copy / "train.jsonl"
    lines = path.read_bytes().split(b"\n")
    lines[6] = lines[6].replace(b"human", b"Human")
    path.write_bytes(b"\n".join(lines))
    (copy / "DATA_CARD.md").unlink()
    assert main([str(copy), "--check"]) == 1
    said = capsys.readouterr().err
    assert f"{path}:7: not what the seeds give" in said
    assert f"{copy / 'DATA_CARD.md'}: missing" in said
    assert f"Run: python -m seatrial.training.factory {copy}" in said


def test_writing_restores_the_files_and_prints_the_counts(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("train.jsonl", "DATA_CARD.md"):
        (copy / name).unlink()
    assert main([str(copy)]) == 0
    assert "| all | 500 | 500 |" in capsys.readouterr().out
    for name in ("train.jsonl", "DATA_CARD.md"):
        assert (copy / name).read_bytes() == (FOLDER / name).read_bytes()


def test_needs_neither_pytest_nor_torch() -> None:
    heavy = "{'pytest', 'torch', 'transformers', 'pydantic'}"
    done = run_factory(
        "-c", f"import sys, seatrial.training.factory.__main__; print({heavy} & set(sys.modules))"
    )
    assert done.stdout.strip() == "set()", done.stderr


# Mistakes in seeds

MISTAKES = {
    "unknown slot": (
        "update.toml",
        "Postpone {ref} until {due}.",
        "Put {ref} on {dya} instead.",
        ["phrasings.bare[", "'dya'", "allowed: do,", "day"],
    ),
    "argument of another operation": (
        "complete.toml",
        "Tick {ref}.",
        "Tick {ref} {due}.",
        ["argument of complete", "'due'", "allowed: task"],
    ),
    "no title": (
        "create.toml",
        "Create a task to {do}.",
        "Create a task.",
        ["'Create a task.'", "no 'title'", "' => '"],
    ),
    "update of nothing": (
        "update.toml",
        "Postpone {ref} until {due}.",
        "Postpone {ref}.",
        ["changes nothing", "title, due, priority, status"],
    ),
    "argument given twice": (
        "update.toml",
        "Update {ref}: due {due}.",
        "Update {ref}: due {due}, {day}.",
        ["gives 'due' twice", "once"],
    ),
    "invented argument": (
        "complete.toml",
        "task=essay",
        "task=report",
        ["task='report'", "not in the sentence", "I finished the essay"],
    ),
    "unknown priority": (
        "list.toml",
        "What's burning? => priority=high",
        "What's burning? => priority=urgent",
        ["'urgent'", "allowed: low, medium, high"],
    ),
    "update to done": (
        "update.toml",
        "Reopen {ref}. => status=open",
        "Reopen {ref}. => status=done",
        ["status", "'done'", "allowed: open"],
    ),
    "argument without value": (
        "list.toml",
        "What's left? => status=open",
        "What's left? => open",
        ["'open' has no value", "key=value"],
    ),
    "line twice": (
        "delete.toml",
        '"Bin {ref}."',
        '"Forget {ref}."',
        ["'Forget {ref}.'", "twice", "keep one"],
    ),
    "topic twice": (
        "topics.toml",
        '"call grandma"',
        '"buy milk"',
        ["do: 'buy milk'", "twice"],
    ),
    "more lines than rows": (
        "plan.toml",
        "create = 96",
        "create = 9",
        ["rows.create = 9", "create.toml has 96 lines"],
    ),
    "unknown operation": (
        "plan.toml",
        "create = 96",
        "make = 100",
        ["rows: 'make'", "allowed: create, list"],
    ),
    "follow-up that tests no argument": (
        "create.toml",
        'unless = "due"',
        'unless = "date"',
        ["followups[0].unless", "'date'", "allowed: title, due, priority"],
    ),
    "no follow-up for every row": (
        "create.toml",
        '{ say = "Anything else to add?" }',
        '{ say = "Anything else to add?", unless = "title" }',
        ["followups", "the last one", "'unless'"],
    ),
    "follow-up that is never asked": (
        "list.toml",
        "followups = [",
        'followups = [\n  { say = "Shall I?" },',
        ["followups", "the last one", "'unless'"],
    ),
    "kind without a reply": (
        "none.toml",
        "\nscope = [\n",
        "\nworld = [\n",
        ["phrasings: 'world'", "allowed: small_talk, help, scope"],
    ),
    "not TOML": ("noise.toml", "[rates]", "[rates", ["not TOML", "line"]),
    "missing table": ("noise.toml", "[typos]", "[slips]", ["'slips'", "allowed: rates"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_names_file_place_value_and_remedy(mistake: str, copy: Path) -> None:
    name, right, wrong, said = MISTAKES[mistake]
    path = copy / "seeds" / name
    text = path.read_text(encoding="utf-8")
    assert right in text, f"{name} has changed: give this test another line to spoil"
    path.write_text(text.replace(right, wrong, 1), encoding="utf-8")
    with pytest.raises(SeedError) as caught:
        load(copy / "seeds")
    message = str(caught.value)
    assert [part for part in [str(path), *said] if part not in message] == [], message


def test_a_missing_seed_file_is_named(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / "seeds" / "topics.toml").unlink()
    assert main([str(copy)]) == 2
    assert "topics.toml: no such file" in capsys.readouterr().err


def test_two_equal_requests_are_refused(copy: Path) -> None:
    path = copy / "seeds" / "list.toml"
    path.write_text(path.read_text("utf-8").replace('"status?"', '"LS"'), encoding="utf-8")
    with pytest.raises(SeedError, match=r"'(LS|ls)' gives no new request"):
        build(copy)
