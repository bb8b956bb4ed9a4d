"""Progress of long work, told to whoever wants to hear it.

A step calls :meth:`Progress.update`; how it looks (a line that rewrites itself, plain lines, nothing) is
decided here once. pytest's capture is lifted by ``fixtures/terminal.py``, which owns the stream.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TextIO


class Progress(Protocol):
    """What a step may tell while it works."""

    def start(self, step: str) -> None: ...

    def update(self, done: float, total: float, **facts: float | str) -> None: ...

    def say(self, message: str) -> None: ...

    def finish(self, step: str, seconds: float) -> None: ...


class Silent:
    """Tells nobody."""

    def start(self, step: str) -> None: ...

    def update(self, done: float, total: float, **facts: float | str) -> None: ...

    def say(self, message: str) -> None: ...

    def finish(self, step: str, seconds: float) -> None: ...


class Lines:
    """Writes to a stream: one line that rewrites itself on a terminal, else a plain line now and then.

    Args:
        stream: called each time, because pytest swaps ``sys.stderr`` while it captures.
        around: entered around every write, for example to suspend pytest's capture.
        every: least number of seconds between two plain lines.
    """

    def __init__(
        self,
        stream: Callable[[], TextIO] = lambda: sys.stderr,
        around: Callable[[], AbstractContextManager[object]] = nullcontext,
        every: float = 15.0,
    ) -> None:
        self._stream, self._around, self._every = stream, around, every
        self._step, self._started, self._last = "", 0.0, 0.0
        self._open_line = False

    def start(self, step: str) -> None:
        self._step, self._started, self._last = step, time.monotonic(), time.monotonic()
        self._write(f"seatrial: {step} ...", passing=True)

    def update(self, done: float, total: float, **facts: float | str) -> None:
        now = time.monotonic()
        elapsed = now - self._started
        left = elapsed / done * (total - done) if done else 0.0
        shown = ", ".join(
            f"{name.replace('_', ' ')} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in facts.items()
        )
        percent = 100 * done / total if total else 100
        text = f"seatrial: {self._step} {percent:3.0f} %, {_clock(elapsed)} gone, {_clock(left)} left"
        self._write(text + (f", {shown}" if shown else ""), passing=True)

    def say(self, message: str) -> None:
        self._write(f"seatrial: {message}")

    def finish(self, step: str, seconds: float) -> None:
        self._write(f"seatrial: {step} built in {_clock(seconds)}")

    def _write(self, text: str, passing: bool = False) -> None:
        with self._around():
            stream = self._stream()
            if stream.isatty():
                clear = "\r\x1b[K" if self._open_line else "\n\r"
                stream.write(clear + text + ("" if passing else "\n"))
                self._open_line = passing
            else:
                now = time.monotonic()
                if passing and now - self._last < self._every:
                    return
                self._last = now
                stream.write(f"\n{text}" if passing else f"\n{text}\n")
            stream.flush()


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
