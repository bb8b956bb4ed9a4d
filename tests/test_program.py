"""What a program's answers may do: every one is read as it was written, or refused in one clear message.

python -m pytest tests/test_program.py
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from pathlib import Path

import pytest

from seatrial.evals.models import ERROR, UNKNOWN, Question, program
from seatrial.evals.models.program import ProgramModel
from seatrial.training.errors import SeatrialError


@pytest.fixture
def ask(tmp_path):
    """Answers of a program with this source to so many questions."""

    def ask(source: str, questions: int = 1):
        path = tmp_path / "program.py"
        path.write_text(f"import json, os, sys, time\n{source}\n", encoding="utf-8")
        model = ProgramModel("shipped", shlex.join([sys.executable, str(path)]))
        asked = [Question(str(n), ({"role": "user", "content": f"question {n}"},)) for n in range(questions)]
        return model.generate(asked, 32, tmp_path / "log.txt")

    return ask


def writing(line: object) -> str:
    """Source of a program that writes ``line``: bytes as they are, anything else as JSON."""
    data = line if isinstance(line, bytes) else json.dumps(line).encode()
    return f"sys.stdin.read(); sys.stdout.buffer.write({data!r} + bytes([10]))"


# --- answers -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("between", ["\u2028", "\u2029", "\x85", "\v", "\f", "\x1c", "\r", "\n"])
def test_no_character_within_an_answer_splits_it(ask, between):
    text = f"one{between}two"
    line = json.dumps({"text": text}, ensure_ascii=False).encode()
    assert [answer.text for answer in ask(writing(line))] == [text]


def test_lines_may_end_as_on_windows(ask):
    assert ask(writing(b'{"text": "yes"}\r'))[0].text == "yes"


@pytest.mark.parametrize("said", [{}, {"stop_reason": None}])
def test_who_does_not_say_why_an_answer_stopped_has_not_ended_it(ask, said):
    assert ask(writing({"text": "yes", **said}))[0].stop_reason == UNKNOWN


@pytest.mark.parametrize("stop", ["eos", "length"])
def test_a_stop_reason_is_taken_as_it_is_said(ask, stop):
    assert ask(writing({"text": "yes", "stop_reason": stop}))[0].stop_reason == stop


@pytest.mark.parametrize("line", [{"error": "busy"}, {"text": "half", "error": "busy", "stop_reason": "eos"}])
def test_an_answer_with_an_error_is_an_error(ask, line):
    (answer,) = ask(writing(line))
    assert (answer.stop_reason, answer.error, answer.text) == (ERROR, "busy", line.get("text", ""))


def test_an_error_without_words_still_says_something(ask):
    (answer,) = ask(writing({"text": "", "stop_reason": "error"}))
    assert (answer.stop_reason, bool(answer.error)) == (ERROR, True)


def test_answers_can_be_kept_whatever_characters_they_hold(ask):
    (answer,) = ask(writing({"text": "\ud800\x00\x1b[2J\u202e"}))
    assert answer.text.encode() == b"?\x00\x1b[2J\xe2\x80\xae"


# --- what is refused -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ({"text": "yes", "stop_reason": "stop"}, "stop_reason 'stop', allowed: eos, length, error"),
        ({"text": "yes", "stop_reason": "unknown"}, "stop_reason 'unknown', allowed"),
        ({"text": "yes", "stop_reason": ["eos"]}, "allowed: eos"),
        ({"text": None}, "must be strings"),
        ({"text": {"operation": "on"}}, "must be strings"),
        ({"answer": "yes"}, "KeyError: 'text'"),
        ({"text": "yes", "completion_tokens": -1}, "whole number"),
        ({"text": "yes", "completion_tokens": 1e999}, "whole number"),
        ({"text": "yes", "error": ["busy"]}, "must be strings"),
        (["yes"], "not an object"),
        (b"yes", "JSONDecodeError"),
        (b'{"text": "\xff\xfe"}', "UnicodeDecodeError"),
        (b'{"text": "a\x00b"}', "Invalid control character"),
        (b"[" * 200_000, "RecursionError"),
        (b'{"text": "\x1b[2J', "JSONDecodeError"),
    ],
)
def test_a_line_that_is_no_answer_is_told_with_its_number(ask, line, problem):
    with pytest.raises(SeatrialError) as told:
        ask(f"{writing({'text': 'fine'})}\n{writing(line)}", questions=2)
    message = str(told.value)
    assert problem in message
    assert "line 2 of its output" in message
    assert message.replace("\n", "").isprintable()
    assert len(message) < 1500


@pytest.mark.parametrize(
    ("bound", "value", "source", "problem"),
    [
        ("LONGEST_LINE", 100_000, "while True: sys.stdout.write('a' * 9999)", "a line of more than 100,000"),
        ("LONGEST_LINE", 100_000, "print(); sys.stdout.write('a' * 200_000)", "a line of more than 100,000"),
        ("MOST_OUTPUT", 100_000, "while True: print('a' * 999)", "wrote more than 100,000 bytes"),
        ("MOST_OUTPUT", 100_000, "while True: print('a', file=sys.stderr)", "bytes to standard error"),
        ("SILENCE", 0.5, "time.sleep(60)", "wrote nothing for 0 s"),
        ("SILENCE", 0.5, "os.close(1); time.sleep(60)", "did not end within 0 s"),
    ],
)
def test_a_program_is_ended_where_it_crosses_a_bound(ask, monkeypatch, bound, value, source, problem):
    monkeypatch.setattr(program, bound, value)
    with pytest.raises(SeatrialError, match=problem):
        ask(source)


def test_a_program_that_drips_is_ended_too(ask, monkeypatch):
    monkeypatch.setattr(program, "SILENCE", 1.0)
    monkeypatch.setattr(program, "EACH", 0.5)
    with pytest.raises(SeatrialError, match="did not finish within"):
        ask("while True: print('a', end='', flush=True); time.sleep(0.1)")


def test_what_a_program_started_is_ended_with_it(ask, monkeypatch, tmp_path):
    monkeypatch.setattr(program, "SILENCE", 1.0)
    left = tmp_path / "child.txt"
    child = f"import subprocess; c = subprocess.Popen(['sleep', '60']); open({str(left)!r}, 'w').write(str(c.pid))"
    with pytest.raises(SeatrialError, match="wrote nothing"):  # the child holds the pipe open
        ask(child)
    for _ in range(100):
        if not Path(f"/proc/{left.read_text()}").exists() or _is_zombie(left.read_text()):
            return
        time.sleep(0.05)
    os.kill(int(left.read_text()), 9)
    pytest.fail("the child lives")


def _is_zombie(pid: str) -> bool:
    return ") Z" in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")


def test_the_end_of_standard_error_is_told_and_shown_not_sent(ask):
    with pytest.raises(SeatrialError) as told:
        ask("sys.stderr.write('no licence\\x1b[2J'); sys.exit(3)")
    assert "exit status 3" in str(told.value)
    assert "no licence\\x1b[2J" in str(told.value)


def test_a_program_need_not_read_its_questions(ask):
    assert ask('print(\'{"text": "yes"}\\n\' * 5000)', questions=5000)[-1].text == "yes"


def test_source_on_the_command_line_may_be_long(tmp_path):
    source = f'import sys\nsys.stdin.read()\nprint(\'{{"text": "yes"}}\')  # {"long " * 200}'
    model = ProgramModel("shipped", shlex.join([sys.executable, "-c", source]))
    question = Question("one", ({"role": "user", "content": "yes?"},))
    assert model.generate([question], 8, tmp_path / "log.txt")[0].text == "yes"
