"""What a program's answers may do: every one is read as it was written, or refused in one clear message.

python -m pytest tests/test_program.py
"""

from __future__ import annotations

import _thread
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
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


def both(*lines: object) -> str:
    """Source of a program that reads all its questions and writes ``lines``."""
    return "sys.stdin.read()\n" + "\n".join(f"print({json.dumps(line)!r})" for line in lines)


def writing(line: object) -> str:
    """Source of a program that writes ``line``: bytes as they are, anything else as JSON."""
    data = line if isinstance(line, bytes) else json.dumps(line).encode()
    return f"sys.stdin.read(); sys.stdout.buffer.write({data!r} + bytes([10]))"


def test_answers_come_in_any_order_by_their_ids(ask):
    source = """
for line in reversed(sys.stdin.readlines()):
    asked = json.loads(line)
    print(json.dumps({"id": asked["id"], "text": asked["messages"][-1]["content"]}))"""
    assert [answer.text for answer in ask(source, 3)] == ["question 0", "question 1", "question 2"]


def test_answers_without_ids_are_in_the_order_of_the_questions(ask):
    assert [answer.text for answer in ask(both({"text": "a"}, {"text": "b", "id": None}), 2)] == ["a", "b"]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ([{"id": "0"}, {"id": "0"}], "lines 1 and 2 of its output both answer '0'"),
        ([{"id": "0"}, {"id": "7\x1b[2J"}], r"line 2 of its output answers '7\x1b[2J', which was not asked"),
        ([{"id": "0"}, {}], "line 2 of its output has no id, others have"),
        ([{}, {"id": "1"}], "line 1 of its output has no id, others have"),
        ([{"id": "1"}], "1 answers to 2 questions and ended with exit status 0: no line answers '0'"),
        (
            [{"id": "0"}, {"id": "1"}, {"id": "1"}],
            "3 answers to 2 questions and ended with exit status 0: lines 2 and 3",
        ),
        ([{"id": 0}, {"id": 1}], "'id' must be a string"),
        ([{"id": ["0"]}, {"id": ["1"]}], "'id' must be a string"),
    ],
)
def test_ids_that_do_not_tell_the_answers_apart_are_one_error(ask, lines, problem):
    with pytest.raises(SeatrialError) as told:
        ask(both(*({"text": "yes", **line} for line in lines)), 2)
    assert problem in str(told.value)


def test_a_program_may_say_times_and_counts(ask):
    said = {"seconds": 1.5, "first_token_seconds": 0, "prompt_tokens": 7, "completion_tokens": 3}
    (answer,) = ask(writing({"text": "yes", **said}))
    assert {key: getattr(answer, key) for key in said} == said


def test_a_program_that_says_no_times_has_none(ask):
    (answer,) = ask(writing({"text": "yes", "seconds": None}))
    assert (answer.seconds, answer.first_token_seconds, answer.prompt_tokens) == (0.0, None, 0)


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
        ({"text": "yes", "prompt_tokens": 1.5}, "'prompt_tokens' must be a whole number"),
        ({"text": "yes", "seconds": -0.1}, "'seconds' must be finite and not negative"),
        ({"text": "yes", "seconds": float("nan")}, "'seconds' must be finite and not negative"),
        ({"text": "yes", "first_token_seconds": float("inf")}, "'first_token_seconds' must be finite"),
        ({"text": "yes", "seconds": 10**400}, "OverflowError"),
        ({"text": "yes", "seconds": "1"}, "'seconds' must be a number"),
        ({"text": "yes", "seconds": True}, "'seconds' must be a number"),
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


# --- a program that is kept ----------------------------------------------------------------------------
COUNTING = """
print(os.getpid(), file=sys.stderr, flush=True)
batch = 1
for line in sys.stdin:
    if line.strip():
        print(json.dumps({"id": json.loads(line)["id"], "text": f"{batch} {os.getpid()}"}), flush=True)
    else:
        batch += 1
"""


@pytest.fixture
def keep(tmp_path):
    """A long-lived program with this source, ended with the test."""
    models = []

    def keep(source: str) -> ProgramModel:
        path = tmp_path / f"kept-{len(models)}.py"
        path.write_text(f"import json, os, sys, time\n{source}\n", encoding="utf-8")
        models.append(ProgramModel("shipped", shlex.join([sys.executable, str(path)]), long_lived=True))
        return models[-1]

    yield keep
    for model in models:
        model.close()


def some(*ids: str) -> list[Question]:
    return [Question(each, ({"role": "user", "content": f"question {each}"},)) for each in ids]


def ended(pid: int) -> bool:
    """Whether a process ends within some seconds."""
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists() or _is_zombie(str(pid)):
            return True
        time.sleep(0.05)
    os.kill(pid, 9)
    return False


def test_one_process_answers_one_case_set_after_another(keep, tmp_path):
    model = keep(COUNTING)
    answers = [model.generate(some(*ids), 8, tmp_path / f"{ids}.txt") for ids in ("abc", "a", "de")]
    assert [len(each) for each in answers] == [3, 1, 2]
    told = [answer.text.split() for each in answers for answer in each]
    assert [batch for batch, _ in told] == ["1", "1", "1", "2", "3", "3"]
    assert len({pid for _, pid in told}) == 1


def test_a_program_may_read_a_whole_case_set_before_it_answers(keep, tmp_path):
    model = keep("""
waiting = []
for line in sys.stdin:
    if line.strip():
        waiting.insert(0, json.loads(line)["id"])
    else:
        print("\\n".join(json.dumps({"id": each, "text": each}) for each in waiting), end="\\n\\n", flush=True)
        waiting = []
""")
    for ids in ("abc", "de"):
        assert [answer.text for answer in model.generate(some(*ids), 8, tmp_path / "log.txt")] == list(ids)


def test_more_questions_than_a_pipe_holds_are_asked_of_a_kept_program(keep, tmp_path):
    model = keep(COUNTING)
    many = some(*map(str, range(3000)))
    assert len(model.generate(many, 8, tmp_path / "log.txt")) == 3000


def test_no_questions_start_no_process(keep, tmp_path):
    assert keep(COUNTING).generate([], 8, tmp_path / "log.txt") == []
    assert not (tmp_path / "log.txt").exists()


def test_a_kept_program_is_another_model_than_one_that_is_started_each_time():
    identities = [ProgramModel("m", sys.executable, long_lived=each).identity for each in (False, True)]
    assert identities[0] != identities[1]


def test_a_line_too_many_is_not_taken_for_the_next_case_sets_answer(keep, tmp_path):
    model = keep(COUNTING.replace("batch += 1", "print('late', flush=True) or time.sleep(9)"))
    with pytest.raises(SeatrialError, match="2 answers to 1 questions"):
        model.generate(some("a"), 8, tmp_path / "log.txt")


def test_a_line_between_two_case_sets_is_refused(keep, tmp_path):
    model = keep(COUNTING.replace("batch += 1", 'time.sleep(0.4); print(\'{"text": "late"}\', flush=True)'))
    model.generate(some("a"), 8, tmp_path / "log.txt")
    time.sleep(1)
    with pytest.raises(SeatrialError, match="late.* when nothing was asked"):
        model.generate(some("b"), 8, tmp_path / "log.txt")


def test_a_kept_program_without_ids_is_refused_before_an_answer_can_be_another_question_s(keep, tmp_path):
    model = keep(COUNTING.replace('"id": json.loads(line)["id"], ', ""))
    with pytest.raises(SeatrialError, match="the answers of a long-lived program have no ids"):
        model.generate(some("a", "b"), 8, tmp_path / "log.txt")


def test_a_late_line_is_no_answer_to_the_next_questions(keep, tmp_path):
    late = (
        "    if batch == 2:\n        print(json.dumps({'id': 'a', 'text': 'late'}), flush=True); batch = 3\n"
    )
    model = keep(COUNTING.replace("    if line.strip():", f"{late}    if line.strip():"))
    model.generate(some("a", "b"), 8, tmp_path / "log.txt")
    with pytest.raises(SeatrialError, match="both answer 'a'|no line answers|answers to 2 questions"):
        model.generate(some("a", "b"), 8, tmp_path / "log.txt")


def test_a_kept_program_that_waits_for_the_end_of_its_input_is_told_to_flush(keep, monkeypatch, tmp_path):
    monkeypatch.setattr(program, "SILENCE", 0.5)
    model = keep("sys.stdin.read()")
    with pytest.raises(SeatrialError, match=r"wrote nothing for 0 s after 0 of 2 answers[^$]*must flush"):
        model.generate(some("a", "b"), 8, tmp_path / "log.txt")


def test_bounds_hold_for_each_case_set_anew(keep, monkeypatch, tmp_path):
    monkeypatch.setattr(program, "MOST_OUTPUT", 60_000)
    model = keep("""
for line in sys.stdin:
    if line.strip():
        asked = json.loads(line)["id"]
        print(json.dumps({"id": asked, "text": "x" * int(asked)}), flush=True)
""")
    for _ in range(3):
        model.generate(some("25000"), 8, tmp_path / "log.txt")
    with pytest.raises(SeatrialError, match="more than 60,000 bytes"):
        model.generate(some("25000", "45000"), 8, tmp_path / "log.txt")


def test_a_kept_program_that_ended_is_told_and_started_again(keep, tmp_path):
    model = keep('sys.stdin.readline(); print(\'{"text": "yes"}\', flush=True); sys.exit(3)')
    for _ in range(2):
        with pytest.raises(SeatrialError, match="1 answers to 2 questions and ended with exit status 3"):
            model.generate(some("a", "b"), 8, tmp_path / "log.txt")


def test_a_kept_program_is_ended_by_close_with_what_it_started(keep, tmp_path):
    model = keep(
        "import subprocess; child = subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL)\n"
        "print(child.pid, file=sys.stderr, flush=True)" + COUNTING
    )
    model.generate(some("a"), 8, tmp_path / "log.txt")
    child, own = map(int, (tmp_path / "log.txt").read_text().split())
    model.close()
    assert ended(own) and ended(child)


def test_a_kept_program_is_ended_when_its_caller_is_interrupted(keep, tmp_path):
    model = keep("print(os.getpid(), file=sys.stderr, flush=True); time.sleep(60)")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a job of the background
    threading.Timer(1.0, _thread.interrupt_main).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            model.generate(some("a"), 8, tmp_path / "log.txt")
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended(int((tmp_path / "log.txt").read_text()))


def test_a_kept_program_is_ended_with_python(tmp_path):
    path = tmp_path / "kept.py"
    path.write_text(f"import json, os, sys, time\n{COUNTING}\ntime.sleep(60)", encoding="utf-8")
    caller = f"""
from pathlib import Path
from seatrial.evals.models import Question
from seatrial.evals.models.program import ProgramModel
model = ProgramModel("m", {shlex.join([sys.executable, str(path)])!r}, long_lived=True)
print(model.generate([Question("a", ({{"role": "user", "content": "?"}},))], 8, Path({str(tmp_path / "log.txt")!r})))
"""
    done = subprocess.run([sys.executable, "-c", caller], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    assert ended(int((tmp_path / "log.txt").read_text()))


@pytest.mark.parametrize("word", ["{}", "--rules={}"])
def test_a_file_that_its_command_names_decides_what_it_answers(tmp_path, word):
    rules = tmp_path / "rules.json"
    identities = []
    for text in ("{}", "[]"):
        rules.write_text(text, encoding="utf-8")
        identities.append(ProgramModel("m", f"{sys.executable} {word.format(rules)}").identity)
    assert identities[0] != identities[1]
