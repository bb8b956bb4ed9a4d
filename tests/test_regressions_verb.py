"""``seatrial regressions``: a failure in production becomes a row that is proven, clean and new.

python -m pytest tests/test_regressions_verb.py
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from filelock import FileLock, Timeout
from jsonschema import Draft202012Validator

from seatrial.cli import seatrial as command_line
from seatrial.evals.cases import load_cases
from seatrial.evals.report import SCHEMA
from seatrial.training.errors import SeatrialError
from seatrial.training.process import python, python_path
from seatrial.verbs import regressions as verb

MINIATURE = Path(__file__).parent / "miniature"
BAD = '{"operation": "on", "arguments": {}, "reply": "The lamp is on."}'
GOOD = '{"operation": "off", "arguments": {}, "reply": "The lamp is off."}'
RECORD = {"prompt": "dim the lamp", "answer": BAD, "expect": {"operation": "off"}, "incident": "INC-7"}
PROGRAM = f"{shlex.quote(sys.executable)} mini/program.py"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's repository with the miniature task, where the command is typed."""
    folder = tmp_path / "user"
    shutil.copytree(MINIATURE, folder / "mini")
    (folder / "pyproject.toml").write_text(
        '[tool.pytest.ini_options]\nseatrial_task = "mini"\n', encoding="utf-8"
    )
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SEATRIAL_STORE", str(tmp_path / "store"))
    return folder


@pytest.fixture
def file(here: Path) -> Path:
    return here / "mini" / "cases" / "regressions.jsonl"


def run(*words: str, given: Any = None) -> Result:
    """The command as it is typed; ``given`` is what comes from standard input."""
    text = given if isinstance(given, str | bytes | None) else json.dumps(given)
    return CliRunner().invoke(command_line, ["regressions", *words], input=text)


def add(*words: str, given: Any = RECORD) -> Result:
    return run("add", "-", *words, given=given)


def done(result: Result) -> str:
    assert result.exit_code == 0, result.exception or result.output
    return result.output


def refused(result: Result, *said: str) -> str:
    """The message of a record that was refused."""
    assert isinstance(result.exception, SeatrialError), (result.exception, result.output)
    message = str(result.exception)
    for words in said:
        assert words in message
    return message


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


# --- what is written ------------------------------------------------------------------------------------
def test_a_record_becomes_a_row_in_the_house_format(here, file):
    record = RECORD | {"where": "chat-eu", "when": "2026-11-20T09:30:00Z", "note": "reported twice"}
    printed = done(add("--program", "rules v1", given=record))
    (row,) = rows(file)
    assert file.read_text(encoding="utf-8") == json.dumps(row, ensure_ascii=False) + "\n"
    assert list(row) == ["id", "prompt", "expect", "tags", "note", "history"]
    assert row["id"] == "inc-7"
    assert row["tags"] == ["production"]
    added = row["history"].pop("added")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", added)
    assert row["history"] == {
        "seen": {"where": "chat-eu", "when": "2026-11-20T09:30:00Z"},
        "incident": "INC-7",
        "answer": BAD,
        "red_on": "program:rules v1",
    }
    assert "operation 'on' where 'off' is right" in printed
    assert f"added: {file}:1" in printed
    assert "\n  seatrial/evals/suite/test_regressions.py::test_hard_case[inc-7]\n" in printed


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        (b"", b""),
        (b'{"id":  "x-1", "prompt":"hm", "expect":{"operation":"none"}}\n\n', None),
        (b'{"id": "x-1", "prompt": "hm", "expect": {"operation": "none"}}', b"\n"),
        (b'{"id": "x-1", "prompt": "h\\u00e4", "expect": {"operation": "none"}}\r\n', None),
    ],
    ids=["empty", "odd spaces and a blank line", "no line end", "CRLF"],
)
def test_every_byte_that_stood_there_stays(here, file, before, kept):
    file.write_bytes(before)
    file.chmod(0o640)
    done(add())
    after = file.read_bytes()
    assert after.startswith(before + (kept or b""))
    added = after[len(before + (kept or b"")) :]
    assert json.loads(added)["id"] == "inc-7"
    assert added.endswith(b"\r\n") == before.endswith(b"\r\n") and added.count(b"\n") == 1
    assert file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in file.parent.iterdir() if path.name.startswith(".")] == []


def test_several_records_are_added_together_or_not_at_all(here, file):
    second = RECORD | {"prompt": "off with it"}
    bad = RECORD | {"prompt": "off, please", "answer": GOOD}
    lines = [json.dumps(record) for record in (RECORD, second, bad)]
    refused(add(given="\n".join(lines)), "standard input:3: this row would be green")
    assert file.read_bytes() == b""
    printed = done(add(given="\n".join(lines[:2])))
    assert [row["id"] for row in rows(file)] == ["inc-7", "inc-7-2"]
    assert "test_hard_case[inc-7-2]" in printed


def test_a_list_and_a_spread_out_object_are_read_too(here, file):
    Path("list.json").write_text(json.dumps([RECORD], indent=2), encoding="utf-8-sig")
    done(run("add", "list.json"))
    other = RECORD | {"prompt": "off with it"}
    Path("one.json").write_text(json.dumps(other, indent=2), encoding="utf-8")
    done(run("add", "one.json"))
    assert [row["prompt"] for row in rows(file)] == ["dim the lamp", "off with it"]


def test_options_say_a_whole_record_and_fill_in_what_one_lacks(here, file):
    words = ("--prompt", "dim the lamp", "--answer", BAD, "--expect", '{"operation": "off"}')
    done(run("add", *words, "--id", "Lamp 1", "--tag", "dim"))
    lacking = {"prompt": "off with it", "answer": BAD, "when": 1_764_150_000}
    done(add("--expect", '{"operation": "off"}', "--incident", "OPS 9", given=lacking))
    first, second = rows(file)
    assert (first["id"], first["tags"]) == ("lamp-1", ["dim"])
    assert second["id"] == "ops-9"
    assert second["history"]["seen"] == {"when": "2025-11-26T09:40:00+00:00"}


def test_a_chat_log_is_read_by_its_own_names(here, file):
    record = {
        "request": {
            "messages": [
                {"role": "system", "content": "Answer with one JSON object."},
                {"role": "user", "content": "lamp on"},
                {"role": "assistant", "content": "ok"},
                {"role": "user", "content": [{"type": "text", "text": "and now off"}]},
            ]
        },
        "choices": [{"message": {"content": BAD}, "finish_reason": "length"}],
        "expect": {"operation": "on"},
        "user_id": 7,
    }
    printed = done(
        add(
            *("--field", "messages=request.messages", "--field", "answer=choices.0.message.content"),
            *("--field", "stop_reason=choices.0.finish_reason"),
            given=record,
        )
    )
    (row,) = rows(file)
    assert [turn["role"] for turn in row["messages"]] == ["user", "assistant", "user"]
    assert row["history"]["stop_reason"] == "length"  # this alone is what is wrong with the answer
    assert row["id"] == "regression-1"
    assert "left out of the rows: user_id" in printed
    assert load_cases(file, "regressions", ("on", "off", "none"))[0].prompt == "and now off"


def test_an_empty_answer_is_a_bad_answer(here, file):
    done(add(given=RECORD | {"answer": ""}))
    assert rows(file)[0]["history"]["answer"] == ""


def test_a_dry_run_proves_and_writes_nothing(here, file):
    assert '"prompt": "dim the lamp"' in done(add("--dry-run"))
    assert file.read_bytes() == b""


def test_a_task_without_the_file_gets_it_and_without_the_set_is_told_the_lines(here, file):
    file.unlink()
    done(add())
    assert len(rows(file)) == 1
    task = here / "mini" / "task.toml"
    text = task.read_text(encoding="utf-8")
    start = text.index("[case_sets.regressions]")
    task.write_text(text[:start] + text[text.index("[[criteria]]") :], encoding="utf-8")
    refused(add(), "regressions.jsonl: its cases are no hard requirements of this task")
    file.unlink()
    message = refused(add(), "task.toml: this task has no case set for regressions")
    lines = [line.strip() for line in message.splitlines() if re.match(r"\s+(\[case_sets|file|why)", line)]
    with task.open("a", encoding="utf-8") as out:
        out.write("\n" + "\n".join(lines) + "\n")
    done(add())


# --- what is refused ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prompt": None}, "this record has no prompt"),
        ({"prompt": "  "}, "'prompt' is '  '"),
        ({"answer": None}, "this record has no answer"),
        ({"answer": {"operation": "on"}}, "'answer' is {'operation': 'on'}"),
        ({"expect": None}, "expects nothing that an answer could miss"),
        ({"expect": {"arguments": {}}}, "expects nothing that an answer could miss"),
        ({"expect": {"operation": "dim"}}, "the task's values of 'operation': on, off, none"),
        (
            {"expect": {"operatoin": "off"}},
            "'expect.operatoin' is read by no metric of this task's criteria\n  did you mean 'operation'?",
        ),
        ({"expect": "off"}, "'expect' is 'off'"),
        ({"answer": GOOD}, "this row would be green on the answer that was seen"),
        ({"reference": BAD}, "no answer could please this row: its own 'reference' misses it"),
        ({"prompt": "Light, please!"}, "train.jsonl:2 asks 'light please'"),
        ({"prompt": "please put the lamp on"}, "by the case 'domain-on-1' of 'domain'"),
        ({"id": "domain-on-1"}, "the id 'domain-on-1' is taken"),
        ({"incident": "a\x1b[2Jb"}, r"'incident' is 'a\x1b[2Jb': it holds line ends or control"),
        ({"when": "yesterday"}, "'when' is 'yesterday'"),
        ({"stop_reason": "tired"}, "'stop_reason' is 'tired'"),
        ({"tags": "dim"}, "'tags' is 'dim'"),
        ({"answer": "\ud800"}, "'answer' holds half of a surrogate pair"),
        ({"prompt": "a" * 10_000_000}, "bytes long; a row may have 100,000"),
        ({"messages": [{"role": "user", "content": "x"}]}, "has both 'prompt' and 'messages'"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_record_that_is_no_regression_is_refused_with_its_place(here, file, change, said):
    message = refused(add(given=RECORD | change), said)
    assert message.startswith("standard input:1: ")
    assert file.read_bytes() == b""


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([], "'messages' is []"),
        ([{"role": "tool", "content": "x"}], "message 1 has the role 'tool'"),
        ([{"role": "user"}], "message 1 is {'role': 'user'}"),
        ([{"role": "assistant", "content": "x"}], "'messages' ends in an answer, and 'answer' is another"),
        ([{"role": "system", "content": "Be kind."}], "the system prompt in it is not the task's"),
        ([{"role": "user", "content": "x"}, {"role": "system", "content": "y"}], "message 2 has the role"),
        ([{"role": "system", "content": "Answer with one JSON object."}], "no turn of the user"),
    ],
)
def test_messages_that_the_gate_could_not_ask_are_refused(here, messages, said):
    record = {name: value for name, value in RECORD.items() if name != "prompt"}
    refused(add(given=record | {"messages": messages}), said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "standard input: there is no record in it"),
        (" \n", "standard input: there is no record in it"),
        ("[]", "the list holds no record"),
        ("[1]", "standard input: record 1: a int where a JSON object is expected"),
        ('{"prompt": "x",\n "answer": }', "standard input:2: not valid JSON: Expecting value at column 12"),
        ('{"prompt": "x"}\nnope\n', "standard input:2: not valid JSON: Expecting value at column 1"),
        ('{"prompt": NaN}', "NaN is no JSON value"),
        ("[" * 100_000, "not valid JSON"),
        (b'{"prompt": "\xff"}', "standard input: not UTF-8: invalid start byte at byte 12"),
    ],
    ids=range(9),
)
def test_what_is_no_json_is_told_with_its_line(here, text, said):
    refused(add(given=text), said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("absent.json",), "absent.json: cannot be read: No such file"),
        ((), "name a JSON or JSONL file, or - for standard input"),
        (("-", "--expect", "off"), "--expect: not valid JSON"),
        (("-", "--field", "answer"), "--field: 'answer' is not NAME=PATH"),
        (("-", "--field", "answer=a.0.b"), "there is no 'a.0.b' in it"),
        (("-", "--digest", "12"), "--digest: '12' is no SHA-256"),
        (("-", "--file", "absent.gguf"), "--file=absent.gguf: no such file"),
        (("-", "--program", "x", "--digest", "0" * 64), "name the model once"),
        (("-", "--train", "absent.jsonl"), "absent.jsonl: this file does not exist"),
        (("-", "--allow", "names"), "there is no kind 'names'"),
        (("-", "--task", "cases"), "--task=cases: no task.toml in"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
)
def test_an_option_that_cannot_be_used_says_what_to_type(here, words, said):
    refused(run("add", *words, given=RECORD), said)


def test_the_same_failure_is_added_once_and_one_of_another_set_on_demand(here, file):
    done(add())
    refused(add(), "by the regression 'inc-7'", f"{file}:1")
    other = RECORD | {"prompt": "please put the lamp on", "answer": GOOD, "expect": {"operation": "on"}}
    refused(add(given=other), "--repeat")
    done(add("--repeat", given=other))
    assert len(rows(file)) == 2


def test_other_training_rows_are_searched_where_they_are_named(here, file):
    row = {"conversations": [{"from": "human", "value": "dim the lamp!"}, {"from": "gpt", "value": "x"}]}
    Path("other.jsonl").write_text("\n" + json.dumps(row) + "\n", encoding="utf-8")
    refused(add("--train", "other.jsonl"), "other.jsonl:2 asks 'dim the lamp!'")
    (here / "mini" / "train.jsonl").unlink()
    assert "not compared with training data" in done(add())


def test_a_row_in_a_form_that_logs_spoil_is_pointed_at(here):
    spoiled = RECORD | {
        "answer": "I turned the lamp off. Anything else?",
        "expect": {"contains_any": ["off"]},
    }
    assert "only its form is wrong" in done(add(given=spoiled))


def test_a_file_that_cannot_be_written_stays_as_it_was(here, file, monkeypatch):
    done(add())
    before = file.read_bytes()

    def full(self: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", full)
    other = RECORD | {"prompt": "off with it"}
    refused(add(given=other), f"{file}: cannot be written: Permission denied", "nothing was changed")
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir() if path.name.startswith(".")] == []


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_write_permission_is_told(here, file):
    file.parent.chmod(0o500)
    refused(add(), "cannot be written")


def test_rows_are_read_and_written_under_one_lock(here, file, monkeypatch):
    held = []

    def watched(name: str) -> None:
        original = getattr(verb, name)

        def call(*words: Any) -> Any:
            (lock,) = (Path(os.environ["SEATRIAL_STORE"]) / "locks").glob("cases-*.lock")
            with pytest.raises(Timeout):
                FileLock(lock).acquire(timeout=0)
            held.append(name)
            return original(*words)

        monkeypatch.setattr(verb, name, call)

    watched("prove")
    watched("append")
    done(add())
    assert held == ["prove", "append"]


def test_two_at_once_lose_no_row(here, file):
    records = [RECORD | {"prompt": f"off number {number}", "incident": f"R-{number}"} for number in range(4)]
    words = [*python("seatrial", "regressions", "add", "-")]
    environment = {**os.environ, "PYTHONPATH": python_path()}
    running = [
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True)
        for _ in records
    ]
    for process, record in zip(running, records, strict=True):
        process.stdin.write(json.dumps(record))
        process.stdin.close()
    assert [process.wait() for process in running] == [0] * 4
    assert sorted(row["id"] for row in rows(file)) == [f"r-{number}" for number in range(4)]


# --- private data ---------------------------------------------------------------------------------------
def test_private_data_is_refused_by_field_and_kind_and_never_printed(here, file):
    record = RECORD | {"prompt": "mail bob@corp.com, lamp off", "note": "key AKIAIOSFODNN7EXAMPLE"}
    result = add(given=record)
    message = refused(
        result,
        "standard input:1: prompt: e-mail address",
        "standard input:1: note: AWS Access Key",
        "--redact",
    )
    assert "bob" not in message + result.output and "AKIA" not in message + result.output
    assert file.read_bytes() == b""


def test_redacted_data_leaves_the_row_whole_and_red(here, file):
    told = '{"operation": "on", "arguments": {"to": "bob@corp.com"}, "reply": "Sent to bob@corp.com."}'
    record = RECORD | {
        "prompt": "mail Bob@corp.com and ann@corp.com, lamp off",
        "answer": told,
        "expect": {"operation": "off", "arguments": {"to": "bob@corp.com"}},
    }
    printed = done(add("--redact", given=record))
    (row,) = rows(file)
    assert row["prompt"] == "mail person1@example.com and person2@example.com, lamp off"
    assert row["expect"]["arguments"] == {"to": "person1@example.com"}
    assert "corp.com" not in file.read_text(encoding="utf-8") + printed
    assert (
        "redacted: standard input:1: expect.arguments.to: e-mail address, now person1@example.com" in printed
    )


def test_a_row_whose_proof_lay_in_what_is_redacted_is_refused(here, file):
    record = RECORD | {"answer": GOOD.replace("The lamp", "The password is hunter2. It")}
    record["expect"] = {"contains_any": ["secret"]}
    assert "red on the answer" in done(add("--dry-run", "--allow", "password", given=record))
    refused(add("--redact", given=record), "would be green")


def test_a_kind_that_is_allowed_is_kept(here, file):
    done(add("--allow", "E-Mail address", given=RECORD | {"prompt": "mail bob@corp.com, lamp off"}))
    assert rows(file)[0]["prompt"] == "mail bob@corp.com, lamp off"


def test_an_incident_that_is_an_address_gives_no_name_away(here, file):
    done(add("--redact", given=RECORD | {"incident": "bob.smith@corp.com"}))
    assert "smith" not in file.read_text(encoding="utf-8")


# --- replaying ------------------------------------------------------------------------------------------
def check(*words: str, fault: str = "none") -> tuple[int, str]:
    options = ("-p", "no:cacheprovider", "-p", "no:anyio", f"--program={PROGRAM} {fault}")
    ended = subprocess.run(
        [*python("seatrial", "regressions", "check", *words), "--", *options],
        env={**os.environ, "PYTHONPATH": python_path()},
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr


def test_a_replay_keeps_when_a_row_turned_green_and_red_again(here, file):
    file.write_text('{"id":  "own-1", "prompt": "off!", "expect": {"operation": "off"}}\n', encoding="utf-8")
    done(add(given=RECORD | {"prompt": "darken the hall"}))
    domain = here / "mini" / "cases" / "domain.jsonl"  # hard as well, missed by everybody, and no regression
    with domain.open("a", encoding="utf-8") as out:
        out.write('{"id": "hard-1", "prompt": "hm", "expect": {"operation": "on"}, "tags": ["critical"]}\n')

    status, printed = check()
    assert (status, "2 of 2 regressions held; history kept" in printed) == (0, True), printed
    today = rows(file)[1]["history"]["added"]
    name = f"program:{Path(sys.executable).name} mini/program.py"
    for row in rows(file):
        assert row["history"]["green_since"] == {"when": today, "on": f"{name} none"}
        assert "last_red" not in row["history"]

    before = file.read_bytes()
    assert check()[0] == 0
    assert file.read_bytes() == before

    status, printed = check("--no-write", fault="wrong-operation")
    assert (status, "missed: own-1, inc-7" in printed) == (1, True), printed
    assert file.read_bytes() == before

    assert check(fault="wrong-operation")[0] == 1
    for row in rows(file):
        assert "green_since" not in row["history"]
        assert row["history"]["last_red"] == {"when": today, "on": f"{name} wrong-operation"}


def test_a_replay_without_an_answer_changes_nothing_and_is_no_success(here, file):
    done(add())
    before = file.read_bytes()
    status, printed = check(fault="crash")
    assert status == 3
    assert "error: 1 of 1 regressions were not evaluated" in printed
    assert file.read_bytes() == before


def test_a_row_that_lost_its_proof_is_told(here, file):
    done(add(given=RECORD | {"prompt": "darken the hall"}))
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace(json.dumps(BAD), json.dumps(GOOD)), encoding="utf-8")
    status, printed = check()
    assert (status, "no longer red on the answer that was seen" in printed) == (1, True), printed


def test_options_that_pytest_does_not_know_and_no_regressions(here, file):
    assert "no regressions yet" in done(run("check"))
    done(add())
    words = [*python("seatrial", "regressions", "check"), "--", "--bogus"]
    environment = {**os.environ, "PYTHONPATH": python_path()}
    ended = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 3
    assert "error: pytest ended with status 4 before the regressions were asked" in ended.stderr


# --- the gate and its report ----------------------------------------------------------------------------
def test_the_gate_reports_each_regression_and_a_changed_history_asks_nothing_anew(here, file):
    done(add(given=RECORD | {"prompt": "darken the hall"}))
    done(add(given=RECORD | {"prompt": "dim the lamp", "incident": "INC-8", "when": "2026-11-20"}))

    def gate() -> tuple[int, dict[str, Any], str]:
        words = python("pytest", "-q", "-p", "no:anyio", "-m", "release", f"--program={PROGRAM} none")
        words.append(f"--base-program={PROGRAM} wrong-operation")
        ended = subprocess.run(words, env={**os.environ, "PYTHONPATH": python_path()}, check=False)
        folder = here / "reports" / "lamp" / "latest"
        results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        return ended.returncode, results, (folder / "report.html").read_text(encoding="utf-8")

    status, results, page = gate()
    assert status == 1
    Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8"))).validate(results)
    told = [
        (each["case"], each["incident"], each["seen_when"], each["held"]) for each in results["regressions"]
    ]
    assert told == [("inc-7", "INC-7", None, True), ("inc-8", "INC-8", "2026-11-20", False)]
    section = page[page.index('<section id="regressions">') : page.index('<section id="plots">')]
    assert section.index("INC-8") < section.index("MISSED") < section.index("INC-7") < section.index("HELD")

    store = Path(os.environ["SEATRIAL_STORE"])
    asked = {path.name for path in (store / "generations").iterdir()}
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("INC-8", "INC-80"), "utf-8")
    assert gate()[0] == 1
    assert {path.name for path in (store / "generations").iterdir()} == asked
    file.write_text(text.replace("dim the lamp", "put out the lamp"), encoding="utf-8")
    gate()
    assert {path.name for path in (store / "generations").iterdir()} > asked


# --- help -----------------------------------------------------------------------------------------------
def test_the_example_of_the_help_works(here, file, monkeypatch):
    text = run("add", "--help").output
    example = text[text.index("Example:") :].partition("\n")[2].partition("\n\n")[0]
    tools = here.parent / "bin"
    tools.mkdir()
    (tools / "seatrial").write_text(
        f'#!/bin/sh\nexec {shlex.join(python("seatrial"))} "$@"\n', encoding="utf-8"
    )
    (tools / "seatrial").chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": python_path(),
    }
    ended = subprocess.run(
        ["sh", "-c", example], env=environment, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [row["id"] for row in rows(file)] == ["inc-7"]


def test_a_mistake_ends_in_one_message_and_status_3(here):
    words = [*python("seatrial", "regressions", "add", "-")]
    environment = {**os.environ, "PYTHONPATH": python_path()}
    ended = subprocess.run(words, input="{}", env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 3
    assert ended.stderr.startswith("error: standard input:1: this record has no prompt")
    assert "Traceback" not in ended.stderr


def test_a_person_is_asked_for_what_the_options_do_not_say(here, file, monkeypatch):
    said = iter(["dim the lamp", BAD, '{"operation": "off"}', "INC-7"])
    monkeypatch.setattr(verb.click, "prompt", lambda *_, **__: next(said))
    monkeypatch.setattr(verb, "_is_person", lambda: True)
    done(run("add"))
    assert rows(file)[0]["history"]["incident"] == "INC-7"
