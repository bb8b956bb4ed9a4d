"""Progress as a person sees it: a line that rewrites itself on a terminal, else plain lines now and then.

python -m pytest tests/test_progress.py
"""

import io
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from seatrial.training import progress
from seatrial.training.progress import Lines, Silent

CLEAR = "\r\x1b[K"


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


def lines(stream):
    return [line for line in stream.getvalue().split("\n") if line]


def test_without_a_terminal_a_plain_line_comes_at_most_every_so_often(clock):
    stream = io.StringIO()
    progress = Lines(lambda: stream, every=10)
    progress.start("train")
    for second in range(1, 36):
        clock.now += 1
        progress.update(second, 100)
    assert [line.split(" %")[0] for line in lines(stream)] == [f"seatrial: train  {n}" for n in (10, 20, 30)]
    assert "\r" not in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_what_is_said_and_finished_is_told_at_once_without_a_terminal(clock):
    stream = io.StringIO()
    progress = Lines(lambda: stream, every=10)
    progress.start("train")
    progress.say("a file is damaged")
    progress.finish("train", 75)
    assert lines(stream) == ["seatrial: a file is damaged", "seatrial: train built in 1:15"]


def test_the_wait_starts_anew_with_every_step(clock):
    stream = io.StringIO()
    progress = Lines(lambda: stream, every=10)
    progress.start("first")
    clock.now += 60
    progress.start("second")
    clock.now += 9
    progress.update(1, 2)
    assert lines(stream) == []


def test_on_a_terminal_the_line_rewrites_itself_and_the_last_one_stays(clock):
    stream = Terminal()
    progress = Lines(lambda: stream)
    progress.start("train")
    progress.update(1, 2)
    progress.update(2, 2)
    progress.finish("train", 3)
    first, *others = stream.getvalue().removeprefix("\n\r").split(CLEAR)
    assert first == "seatrial: train ..."
    assert [text[:22] for text in others[:2]] == ["seatrial: train  50 %,", "seatrial: train 100 %,"]
    assert others[2:] == ["seatrial: train built in 0:03\n"]
    assert "\n" not in "".join(others[:2])


def test_on_a_terminal_a_finished_line_is_not_overwritten_by_the_next_step(clock):
    stream = Terminal()
    progress = Lines(lambda: stream)
    progress.finish("first", 3)
    stream.seek(0)
    stream.truncate()
    progress.start("second")
    assert CLEAR not in stream.getvalue()


@pytest.mark.parametrize(
    ("done", "total", "elapsed", "expected"),
    [
        (25, 100, 10, " 25 %, 0:10 gone, 0:30 left"),
        (1, 3, 61, " 33 %, 1:01 gone, 2:02 left"),
        (0, 100, 5, "  0 %, 0:05 gone, 0:00 left"),
        (7, 7, 3599, "100 %, 59:59 gone, 0:00 left"),
        (0, 0, 1, "100 %, 0:01 gone, 0:00 left"),
    ],
)
def test_an_update_tells_the_share_and_the_time_gone_and_left(clock, done, total, elapsed, expected):
    stream = io.StringIO()
    progress = Lines(lambda: stream, every=0)
    progress.start("train")
    clock.now += elapsed
    progress.update(done, total)
    assert lines(stream)[-1] == f"seatrial: train {expected}"


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, "left"),
        ({"loss": 0.123456}, "left, loss 0.1235"),
        ({"learning_rate": 2e-05, "epoch": 3}, "left, learning rate 2e-05, epoch 3"),
        ({"file": "a_b.gguf"}, "left, file a_b.gguf"),
    ],
)
def test_facts_are_told_in_words_with_four_digits(clock, facts, expected):
    stream = io.StringIO()
    progress = Lines(lambda: stream, every=0)
    progress.start("train")
    progress.update(1, 2, **facts)
    assert lines(stream)[-1].endswith(expected)


def test_every_write_happens_within_the_context_and_is_flushed():
    events = []

    class Stream(io.StringIO):
        def write(self, text):
            events.append("write")
            return super().write(text)

        def flush(self):
            events.append("flush")

    @contextmanager
    def around():
        events.append("enter")
        yield
        events.append("leave")

    progress = Lines(Stream, around, every=0)
    progress.start("train")
    progress.update(1, 2)
    progress.say("word")
    progress.finish("train", 1)
    assert events == ["enter", "write", "flush", "leave"] * 4


def test_the_stream_is_asked_for_each_time_because_pytest_swaps_it(capsys):
    progress = Lines()
    progress.say("one")
    assert "one" in capsys.readouterr().err
    progress.say("two")
    assert "two" in capsys.readouterr().err


def test_silence_takes_every_message_and_writes_nothing(capfd):
    silent = Silent()
    silent.start("train")
    silent.update(1, 2, loss=0.5)
    silent.say("word")
    silent.finish("train", 1)
    assert capfd.readouterr() == ("", "")
