"""Child processes that speak JSON lines: whatever becomes of a child, its parent hears why.

python -m pytest tests/test_process.py
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from seatrial.training.errors import SeatrialError
from seatrial.training.process import ChildDied, JsonProcess

REPOSITORY = Path(__file__).resolve().parents[1]
LONG = 30.0


@pytest.fixture
def child(tmp_path):
    with JsonProcess("tests.children.speaker", tmp_path / "logs" / "child.log", "the speaker") as process:
        yield process


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize(
    "value",
    [
        "text",
        "two\nlines \u2028 and more",
        "Grüße 任务 🚢",
        1.5,
        None,
        [],
        {"a": [{"b": True}]},
        "x" * 300_000,
    ],
    ids=["text", "lines", "unicode", "number", "null", "list", "nested", "long"],
)
def test_a_value_comes_back_as_it_was_sent(child, value):
    assert child.call({"do": "echo", "value": value}, LONG) == value


def test_one_child_answers_many_requests_in_order(child):
    assert [child.call({"do": "echo", "value": n}, LONG) for n in range(20)] == list(range(20))


def test_no_thread_watches_progress_bars(child):
    """It can wait for ever: a download did, of which nothing was left but its lock."""
    assert "tqdm_monitor" not in child.call({"do": "show_a_bar"}, LONG)


def test_events_arrive_in_order_before_the_result(child):
    events = []
    assert child.call({"do": "count", "to": 3}, LONG, events.append) == "counted"
    assert events == [{"done": n, "total": 3} for n in (1, 2, 3)]


def test_an_error_of_ours_arrives_with_its_place_and_hint_and_the_child_lives_on(child):
    with pytest.raises(SeatrialError) as caught:
        child.call({"do": "refuse"}, LONG)
    assert str(caught.value).strip() == "rows.jsonl:3: the value is wrong\n  write another"
    assert not isinstance(caught.value, ChildDied)
    assert child.call({"do": "echo", "value": "alive"}, LONG) == "alive"


def test_any_other_error_is_named_and_its_traceback_lies_in_the_log(child):
    with pytest.raises(SeatrialError, match=r"ZeroDivisionError: by nothing\n.*traceback"):
        child.call({"do": "crash"}, LONG)
    assert "do_crash" in child.log.read_text(encoding="utf-8")
    assert child.call({"do": "echo", "value": "alive"}, LONG) == "alive"


@pytest.mark.parametrize("name", ["SIGKILL", "SIGABRT", "SIGSEGV"])
def test_a_killed_child_is_told_with_its_signal_and_the_end_of_its_log(child, name):
    with pytest.raises(ChildDied) as caught:
        child.call({"do": "die", "signal": name}, LONG)
    message = str(caught.value)
    assert f"the speaker: the process ended with signal {name}" in message
    assert str(child.log) in message
    assert "the last words" in message


def test_a_child_that_ends_is_told_with_its_exit_status(child):
    with pytest.raises(ChildDied, match=r"exit status 3\n  its log is empty"):
        child.call({"do": "exit", "status": 3}, LONG)


def test_asking_a_child_that_is_dead_already_says_so_again(child):
    for _ in range(2):
        with pytest.raises(ChildDied, match="signal SIGKILL"):
            child.call({"do": "die", "signal": "SIGKILL"}, LONG)


def test_a_module_that_cannot_be_imported_is_told_from_the_log(tmp_path):
    with JsonProcess("tests.children.nobody", tmp_path / "log", "nobody") as process:
        with pytest.raises(ChildDied, match=r"nobody: .*exit status 1\n(.|\n)*No module named"):
            process.call({}, LONG)


def test_a_silent_child_is_stopped_after_the_timeout(child):
    started = time.monotonic()
    with pytest.raises(ChildDied, match="the speaker gave no sign of life for .* s and was stopped"):
        child.call({"do": "die", "signal": "SIGSTOP"}, timeout=0.5)  # a stopped process only obeys SIGKILL
    child.close()
    assert gone(child.pid)
    assert time.monotonic() - started < 8  # not the ten seconds that a polite end may take


def test_events_are_signs_of_life(child):
    child.call({"do": "echo", "value": "started"}, LONG)
    assert child.call({"do": "count", "to": 7, "pause": 0.2}, timeout=1.0) == "counted"


def test_what_libraries_print_does_not_disturb_and_goes_to_the_log(child):
    assert child.call({"do": "noise"}, LONG) == "heard"
    log = child.log.read_text(encoding="utf-8")
    for words in ("a library, by print", "a library, by descriptor", "a grandchild"):
        assert words in log


def test_closing_ends_the_child_and_may_be_repeated(child):
    child.call({"do": "echo", "value": 1}, LONG)
    child.close()
    child.close()
    assert gone(child.pid)


def test_closing_a_dead_child_is_quiet(child):
    with pytest.raises(ChildDied):
        child.call({"do": "die", "signal": "SIGKILL"}, LONG)
    child.close()
    child.close()
    assert gone(child.pid)


def test_a_child_ends_when_its_parent_is_killed(tmp_path):
    lock = tmp_path / "held-by-the-child.lock"
    command = [sys.executable, "-m", "tests.children.parent", str(lock), str(tmp_path / "log")]
    parent = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, timeout=LONG)
    assert parent.returncode == -signal.SIGKILL
    assert parent.stdout.strip().isdigit(), "the child had the lock"
    with FileLock(lock).acquire(timeout=10) as released:  # a living child would hold it
        assert released.is_locked


def test_logs_of_several_children_are_appended(tmp_path):
    log = tmp_path / "log"
    for _ in range(2):
        with (
            JsonProcess("tests.children.speaker", log, "the speaker") as process,
            pytest.raises(ChildDied),
        ):
            process.call({"do": "die", "signal": "SIGTERM"}, LONG)
    assert log.read_text(encoding="utf-8").count("the last words") == 2
