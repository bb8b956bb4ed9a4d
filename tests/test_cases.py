"""A case or training row that is wrong is told with its file and line, and nothing wrong is read as right.

python -m pytest tests/test_cases.py
"""

import json
import re
import shutil
from pathlib import Path

import pytest

from seatrial.evals.case_sets import load_case_sets
from seatrial.evals.cases import load_cases
from seatrial.evals.expectations import Expectations
from seatrial.evals.task import load_task
from seatrial.training.dataset import prepare, read_jsonl, read_sharegpt
from seatrial.training.errors import SeatrialError

MINIATURE = Path(__file__).resolve().parent / "miniature"
GOOD = {"id": "good-1", "prompt": "lamp on"}


@pytest.fixture
def file(tmp_path):
    return tmp_path / "cases.jsonl"


@pytest.fixture
def task(tmp_path):
    return load_task(shutil.copytree(MINIATURE, tmp_path / "lamp"))


def write(path, *rows):
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def load(path):
    return load_checked(path, "domain")


def load_checked(path, case_set):
    """The cases of a file, whose expectations the miniature task can judge."""
    expected = Expectations(load_task(MINIATURE))
    cases = load_cases(path, case_set, "operation")
    for case in cases:
        expected.check(case)
    return cases


def refused(path, read, where, *told):
    with pytest.raises(SeatrialError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{where}: ")
    for words in told:
        assert words in message


# --- rows that are no cases ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"prompt": "x"}, ["this case has no 'id'", 'such as "create-1"']),
        ({**GOOD, "id": ""}, ["'id' is ''"]),
        ({**GOOD, "id": "two words"}, ["'id' is 'two words'", "letters, digits"]),
        ({**GOOD, "id": "-x"}, ["'id' is '-x'"]),
        ({**GOOD, "id": "a/../b"}, ["'id' is 'a/../b'"]),
        ({**GOOD, "id": "x\n"}, ["'id' is 'x\\n'"]),
        ({**GOOD, "id": 7}, ["'id' is 7"]),
        ({**GOOD, "id": None}, ["'id' is None"]),
        ({**GOOD, "promt": "x"}, ["unknown field 'promt'", "prompt"]),
        ({**GOOD, "expect": {"operation": "onn"}}, ["'expect.operation' is 'onn'", "on, off, none"]),
        ({**GOOD, "expect": {"operation": ["on"]}}, ["'expect.operation' is ['on']"]),
        (
            {**GOOD, "expect": {"operatoin": "on"}},
            ["'expect.operatoin' is read by no metric", "did you mean 'operation'?", "arguments, operation"],
        ),
        ({**GOOD, "expect": {"contains_any": ["on"]}}, ["the metric 'keyword_recall' would read it"]),
        ({**GOOD, "expect": "onn"}, ["'expect.operation' is 'onn'", "did you mean 'on'?"]),
        ({**GOOD, "expect": ["on"]}, ["'expect' is ['on']", 'such as {"operation": "..."}']),
        ({"id": "x"}, ["either 'prompt' or 'messages'"]),
        ({**GOOD, "messages": [{"role": "user", "content": "x"}]}, ["either 'prompt' or 'messages'"]),
        ({**GOOD, "prompt": 7}, ["'prompt' must be text"]),
        ({**GOOD, "prompt": None}, ["'prompt' must be text"]),
        ({"id": "x", "messages": []}, ["'messages' a list of role and content"]),
        ({"id": "x", "messages": "hello"}, ["'messages' a list of role and content"]),
        ({"id": "x", "messages": [{"role": "human", "content": "x"}]}, ["'messages' a list"]),
        ({"id": "x", "messages": [{"role": "user", "content": 7}]}, ["'messages' a list"]),
        ({"id": "x", "messages": [{"role": "user", "content": "x", "nmae": "y"}]}, ["'messages' a list"]),
        ({"id": "x", "messages": [{"role": "system", "content": "x"}]}, ["the user or a tool"]),
        ({"id": "x", "messages": [{"role": "assistant", "content": "x"}]}, ["the user or a tool"]),
        (
            {"id": "x", "messages": [{"role": role, "content": "x"} for role in ("user", "system", "user")]},
            ["a system message must be the first"],
        ),
    ],
    ids=lambda value: None if isinstance(value, list) else json.dumps(value),
)
def test_a_row_that_is_no_case_is_told_with_file_and_line(file, row, told):
    write(file, {**GOOD, "id": "first"}, "", row)
    refused(file, load, f"{file}:3", *told)


@pytest.mark.parametrize(
    "part",
    [
        {"tags": "critical"},  # read letter by letter, the case would not be hard
        {"tags": 5},
        {"tags": [1]},
        {"reference": {"operation": "on"}},
        {"expect": {"operation": "on", "arguments": "kitchen"}},
    ],
    ids=json.dumps,
)
def test_a_field_of_the_wrong_type_is_told_and_not_read_otherwise(file, part):
    (name,) = part
    write(file, {**GOOD, **part})
    refused(file, load, f"{file}:1", name)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"id": "a" "prompt": "x"}', "not valid JSON: Expecting ',' delimiter at column 12"),
        ("{'id': 'a'}", "not valid JSON: Expecting property name enclosed in double quotes at column 2"),
        ('{"id": "a", "prompt": "x"} {"id": "b"}', "not valid JSON: Extra data at column 28"),
        ('{"id": "a", "prompt": "x', "not valid JSON: Unterminated string starting at at column 23"),
        ("hello", "not valid JSON: Expecting value at column 1"),
        ("[1, 2]", "a list where a JSON object is expected"),
        ('"text"', "a str where a JSON object is expected"),
        ("null", "a NoneType where a JSON object is expected"),
    ],
)
def test_a_line_that_is_no_json_object_is_told_with_line_and_column(file, line, told):
    write(file, GOOD, line)
    refused(file, load, f"{file}:2", told)


@pytest.mark.parametrize("line", ["[" * 100_000, '{"id": 1' + "0" * 5000 + "}"], ids=["nested", "digits"])
def test_a_line_that_json_cannot_take_is_told_like_any_other(file, line):
    write(file, GOOD, line)
    refused(file, load, f"{file}:2", "not valid JSON")


def test_a_file_that_is_missing_is_told(file):
    refused(file, load, file, "this file does not exist")


def test_a_file_that_is_no_text_is_told(file):
    file.write_bytes(b'{"id": "\xff"}')
    refused(file, load, file, "cannot be read")


def test_a_key_that_stands_twice_in_a_row_is_told(file):
    write(file, '{"id": "c-1", "prompt": "lamp on", "tags": ["critical"], "tags": []}')
    with pytest.raises(SeatrialError, match=rf"{file}:1: not valid JSON: the key 'tags' stands twice"):
        load(file)


@pytest.mark.parametrize("tag", ["\uff43ritical", "\u0441r\u0456t\u0456\u0441\u0430l", "criti\u0441al"])
def test_a_tag_of_letters_that_look_like_others_makes_no_case_a_hard_one_in_silence(file, tag):
    write(file, {**GOOD, "tags": [tag]})
    with pytest.raises(SeatrialError, match="did you mean 'critical'?"):
        load(file)


@pytest.mark.parametrize(
    "name", ["regression.jsonl", "Regressions.jsonl", "regressions.json", "regressions.JSONL"]
)
@pytest.mark.parametrize("said", [True, False], ids=["sets that are named", "the files of the folder"])
def test_regressions_by_another_name_are_not_left_out_in_silence(tmp_path, name, said):
    folder = shutil.copytree(MINIATURE, tmp_path / "lamp")
    (folder / "cases" / "regressions.jsonl").rename(folder / "cases" / name)
    path = folder / "task.toml"
    sets = r"\[case_sets\.regressions\]\n.*\n.*\n" if said else r"\[case_sets\.\w+\]\n.*\n.*\n"
    path.write_text(re.sub(sets, "", path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(SeatrialError, match=rf"cases/{name}: .*\n  call it cases/regressions.jsonl"):
        load_task(folder)


def test_regressions_that_no_set_names_are_not_left_out_in_silence(tmp_path):
    folder = shutil.copytree(MINIATURE, tmp_path / "lamp")
    write(folder / "cases" / "regressions.jsonl", {**GOOD, "expect": {"operation": "on"}})
    path = folder / "task.toml"
    text = re.sub(r"\[case_sets\.regressions\]\n.*\n.*\n", "", path.read_text(encoding="utf-8"))
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SeatrialError, match=r'\[case_sets\] regressions = "cases/regressions.jsonl"'):
        load_task(folder)


@pytest.mark.parametrize("expect", [{"pattern": "^"}, {"pattern": ".*"}, {"min_words": 0}])
def test_a_hard_case_that_no_answer_could_miss_is_told(task, file, expect):
    write(file, {**GOOD, "expect": expect})
    (case,) = load_cases(file, "regressions")
    with pytest.raises(SeatrialError, match="expects nothing that an answer could miss"):
        Expectations(task).check(case)


def test_an_id_used_twice_in_a_file_is_told_with_both_lines(file):
    write(file, GOOD, {"id": "b", "prompt": "x"}, GOOD)
    refused(file, load, f"{file}:3", "the id 'good-1' was used in line 1 already", "an id of its own")


def test_an_id_used_in_two_files_is_told_with_both_places(task):
    heldout = task.folder / "cases" / "heldout.jsonl"
    text = heldout.read_text(encoding="utf-8").replace("heldout-off-1", "domain-on-3")
    heldout.write_text(text, encoding="utf-8")
    other = f"{task.folder / 'cases' / 'domain.jsonl'}:3"
    refused(task, load_case_sets, f"{heldout}:2", f"the id 'domain-on-3' is also used in {other}")


# --- rows that are --------------------------------------------------------------------------------------


def test_a_case_keeps_its_row_and_knows_its_file_and_line(file):
    row = {
        "id": "Case_1.a-b",
        "prompt": 'Größe \u2028 "quoted"\n🚢',
        "expect": {"operation": "on", "arguments": {"lamp": "kitchen"}},
        "reference": "ok",
        "tags": ["on", "edge"],
        "note": "why it is here",
    }
    (found,) = load(write(file, "", json.dumps(row)))
    assert found.id == "Case_1.a-b"
    assert found.where == f"{file}:2"
    assert found.prompt == row["prompt"]
    assert found.label == "on"
    assert found.expect["arguments"] == {"lamp": "kitchen"}
    assert found.question.reference == "ok"
    assert found.tags == ("on", "edge")
    assert found.case_set == "domain"


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\u0085"], ids=ascii)
def test_only_a_line_feed_ends_a_row(file, character):
    # RFC 8259 allows these characters in strings as they are, and json.dumps(ensure_ascii=False) writes them so.
    row = {"id": "a", "prompt": f"one{character}two"}
    found = load(write(file, row, {"id": "b", "prompt": "x"}))
    assert [(case.prompt, case.where) for case in found] == [(row["prompt"], f"{file}:1"), ("x", f"{file}:2")]


def test_messages_are_kept_and_the_prompt_is_what_was_said_last(file):
    messages = [{"role": role, "content": role[0]} for role in ("user", "assistant", "user")]
    (found,) = load(
        write(file, {"id": "a", "messages": [*messages[:2], {"role": "user", "content": "last"}]})
    )
    assert [message["role"] for message in found.question.messages] == ["user", "assistant", "user"]
    assert found.prompt == "last"


@pytest.mark.parametrize("text", ["", "\n", "  \n\n"])
def test_an_empty_file_gives_no_cases(file, text):
    file.write_text(text, encoding="utf-8")
    assert load(file) == []


def test_an_empty_prompt_is_a_case(file):
    assert load(write(file, {"id": "a", "prompt": ""}))[0].prompt == ""


@pytest.mark.parametrize(
    ("case_set", "tags", "hard"),
    [
        ("domain", [], False),
        ("domain", ["critical"], True),
        ("regressions", [], True),
        ("domain", ["on"], False),
    ],
)
def test_critical_cases_and_regressions_are_hard(file, case_set, tags, hard):
    row = {**GOOD, "expect": {"operation": "on"}, "tags": tags}
    (found,) = load_checked(write(file, row), case_set)
    assert found.hard == hard


@pytest.mark.parametrize("tag", ["Critical", "CRITICAL", "criticl", "ciritcal", "criticals", "critical!"])
def test_a_tag_that_looks_like_critical_is_a_mistake(file, tag):
    refused(
        write(file, GOOD, {**GOOD, "id": "b", "tags": [tag]}), load, f"{file}:2", "did you mean 'critical'?"
    )


@pytest.mark.parametrize("tag", ["critique", "non-critical", "crit-path", "typical"])
def test_a_tag_of_another_meaning_is_no_mistake(file, tag):
    assert not load(write(file, {**GOOD, "tags": [tag]}))[0].hard


@pytest.mark.parametrize("expect", [None, {}, {"contains_any": []}])
@pytest.mark.parametrize(("case_set", "tags"), [("regressions", []), ("domain", ["critical"])])
def test_a_hard_case_that_no_answer_could_miss_is_a_mistake(file, case_set, tags, expect):
    row = {**GOOD, "tags": tags} | ({} if expect is None else {"expect": expect})
    with pytest.raises(SeatrialError, match=rf"{file}:1: a .*expects nothing that an answer could miss"):
        load_checked(write(file, row), case_set)


def test_arguments_without_their_operation_are_a_mistake(file):
    row = {**GOOD, "expect": {"arguments": {"lamp": "hall"}}}
    refused(write(file, row), load, f"{file}:1", "'expect.arguments' stands without 'expect.operation'")


@pytest.mark.parametrize("name", ["regression", "Regressions", "regresions"])
def test_a_case_set_that_looks_like_regressions_is_a_mistake(task, name):
    path = task.folder / "task.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("[case_sets.regressions]", f"[case_sets.{name}]"), encoding="utf-8")
    with pytest.raises(SeatrialError, match=rf"task.toml:\d+: .*{name}.*did you mean 'regressions'"):
        load_task(task.folder)


def test_all_case_sets_of_a_task_are_read_in_its_order(task):
    sets = load_case_sets(task)
    assert {name: len(cases) for name, cases in sets.items()} == {
        "domain": 10,
        "heldout": 3,
        "regressions": 0,
    }
    assert list(sets) == list(task.case_sets)
    assert all(case.case_set == name for name, cases in sets.items() for case in cases)


def test_another_file_may_stand_for_a_case_set(task, file):
    write(file, {"id": "locked-1", "prompt": "lamp on", "expect": {"operation": "on"}})
    sets = load_case_sets(task, {"domain": file})
    assert [case.id for case in sets["domain"]] == ["locked-1"]
    assert sets["domain"][0].where == f"{file}:1"
    assert len(sets["heldout"]) == 3


def test_another_file_for_an_unknown_case_set_is_told_with_those_that_there_are(task, file):
    told = re.escape("--cases: this task has no case set 'domian'\n  case sets: domain, heldout, regressions")
    with pytest.raises(SeatrialError, match=told):
        load_case_sets(task, {"domian": file})


# --- ShareGPT training rows ----------------------------------------------------------------------------


def turn(role, value):
    return {"from": role, "value": value}


def talk(*turns):
    return {"conversations": list(turns)}


HUMAN, GPT, SYSTEM = turn("human", "on"), turn("gpt", "done"), turn("system", "be kind")


def test_sharegpt_roles_become_those_of_chat_templates(file):
    (messages,) = read_sharegpt(write(file, talk(SYSTEM, HUMAN, GPT)))
    assert messages == [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "on"},
        {"role": "assistant", "content": "done"},
    ]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({}, ["'conversations' must be a list of at least two turns"]),
        ({"messages": [HUMAN, GPT]}, ["'conversations' must be a list"]),
        ({"conversations": "on"}, ["'conversations' must be a list"]),
        (talk(HUMAN), ["at least two turns"]),
        (talk(turn("user", "on"), GPT), ["a turn is {'from': 'user', 'value': 'on'}", '"human" or "gpt"']),
        (talk(HUMAN, {"from": "gpt"}), ["a turn is {'from': 'gpt'}"]),
        (talk(HUMAN, turn("gpt", 7)), ["a turn is {'from': 'gpt', 'value': 7}"]),
        (talk(HUMAN, "done"), ["a turn is 'done'"]),
        (talk(HUMAN, turn(["gpt"], "done")), ["a turn is {'from': ['gpt'], 'value': 'done'}"]),
        (talk(HUMAN, GPT, HUMAN), ["the last turn must be from 'gpt'"]),
    ],
    ids=lambda value: None if isinstance(value, list) else json.dumps(value),
)
def test_a_row_that_is_no_conversation_is_told_with_file_and_line(file, row, told):
    write(file, talk(HUMAN, GPT), row)
    refused(file, read_sharegpt, f"{file}:2", *told)


def test_a_training_file_without_rows_is_told(file):
    refused(write(file, ""), read_sharegpt, file, "holds no rows")


def test_rows_are_prepared_with_the_system_prompt_unless_they_have_their_own(file, tmp_path):
    write(file, talk(HUMAN, GPT), talk(SYSTEM, HUMAN, GPT), talk(turn("human", "off"), GPT))
    out = tmp_path / "out"
    out.mkdir()
    facts = prepare(file, out, "the task's", validation_rows=1, seed=3)
    rows = [row for _, row in read_jsonl(out / "rows.jsonl")]
    assert facts["rows"] == len(rows) == 3
    assert facts["validation_rows"] == 1
    assert sorted(row["prompt"][0]["content"] for row in rows) == ["be kind", "the task's", "the task's"]
    assert [[message["role"] for message in row["prompt"]] for row in rows] == [["system", "user"]] * 3
    assert all(row["completion"] == [{"role": "assistant", "content": "done"}] for row in rows)


def test_the_same_seed_shuffles_alike_and_another_one_differently(tmp_path):
    texts = {}
    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        (tmp_path / name).mkdir()
        prepare(MINIATURE / "train.jsonl", tmp_path / name, "", validation_rows=2, seed=seed)
        texts[name] = (tmp_path / name / "rows.jsonl").read_text(encoding="utf-8")
    assert texts["first"] == texts["again"] != texts["other"]
    assert sorted(texts["first"].splitlines()) == sorted(texts["other"].splitlines())


def test_validation_may_not_take_every_row(tmp_path):
    rows = len(read_sharegpt(MINIATURE / "train.jsonl"))
    with pytest.raises(SeatrialError, match=f"validation_rows = {rows}, but .* has only {rows} rows"):
        prepare(MINIATURE / "train.jsonl", tmp_path, "", validation_rows=rows, seed=1)
