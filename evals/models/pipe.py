"""Runs a command on some input and takes its output, within bounds: whatever runs may be hostile or hung.

:func:`piped` runs it once, to its end; :class:`Kept` keeps it and gives it one batch of input after another.
Its standard error goes to a file. The command and what it started are ended, by their process group, when a
bound is crossed, when the caller is interrupted and when Python ends.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

CHUNK = 1 << 16
LOOK = 0.05  # seconds between two looks at the clock and at the size of standard error
LEAVE = 2.0  # seconds that a kept command has to end by itself, once its input was closed


class Broken(Exception):
    """A bound was crossed; the text goes on after the command's name."""


@dataclass(frozen=True)
class Bounds:
    """Seconds without output, seconds in all, bytes of one line, bytes of all output; for each batch anew."""

    silence: float
    seconds: float
    line: int
    output: int


def piped(command: Sequence[str], given: bytes, errors: Path, bounds: Bounds) -> tuple[bytes, int]:
    """Standard output and exit status of ``command``, given ``given`` on its standard input.

    Raises:
        Broken: it was ended because it crossed a bound.
    """
    process = _started(command, errors)
    assert process.stdin and process.stdout
    reader = _Reader(process.stdout, bounds)
    threading.Thread(target=_write, args=(process.stdin, given, True), daemon=True).start()
    reader.start()
    started = time.monotonic()
    try:
        while reader.is_alive():
            reader.join(LOOK)
            _check(reader, started, errors, bounds)
        return reader.output(), _status(process, bounds)
    finally:
        _end(process)


class Kept:
    """A command that goes on between batches; all its standard error goes to ``errors``.

    It is ended by :meth:`close`, with this object, and at the latest when Python ends: its input is closed,
    and what is left of its process group after ``LEAVE`` seconds is killed. After a bound was crossed, or an
    interruption, it is killed at once, because what it would write next belongs to no question.
    """

    def __init__(self, command: Sequence[str], errors: Path) -> None:
        self.errors = errors
        self._process = _started(command, errors)
        assert self._process.stdout
        self._reader = _Reader(self._process.stdout, Bounds(0, 0, 0, 0))  # every batch brings its own
        self._writer: threading.Thread | None = None
        self._leaving = weakref.finalize(self, _leave, self._process)

    def ask(self, given: bytes, lines: int, bounds: Bounds) -> tuple[bytes, int | None]:
        """What it writes, given ``given``, until there are ``lines`` lines, blank ones apart, or it ends.

        Returns:
            The output and the exit status, None while it runs. More lines than asked for are given back, too,
            if they come within ``LOOK`` seconds; later ones break the next batch.

        Raises:
            Broken: it crossed a bound, or wrote something when it was asked nothing, and was ended.
        """
        try:
            return self._ask(given, lines, bounds)
        except BaseException:
            if self._leaving.detach():
                _end(self._process)
                self._close_input()
            raise

    def close(self) -> None:
        self._leaving()

    @property
    def closed(self) -> bool:
        return not self._leaving.alive

    def _ask(self, given: bytes, lines: int, bounds: Bounds) -> tuple[bytes, int | None]:
        reader = self._reader
        if uncalled := reader.begin(bounds):
            raise Broken(f"wrote {uncalled[:80]!r} when nothing was asked")
        if not reader.ident:
            reader.start()
        writer = threading.Thread(target=_write, args=(self._process.stdin, given, False), daemon=True)
        self._writer = writer
        writer.start()
        started = time.monotonic()
        while reader.is_alive() and reader.lines < lines:
            reader.news.wait(LOOK)
            reader.news.clear()
            _check(reader, started, self.errors, bounds, f" after {reader.lines} of {lines} answers")
        reader.join(LOOK)  # a line too many is seen now, if it can be
        if not reader.is_alive():
            return reader.output(), _status(self._process, bounds)
        writer.join(LOOK)
        if writer.is_alive():
            raise Broken("gave all its answers before it had read its questions")
        return reader.output(), None

    def _close_input(self) -> None:
        """Close the input of a command that was killed, unless a writer still has it in its hands."""
        if self._writer:
            self._writer.join(LOOK)
        if self._process.stdin and not (self._writer and self._writer.is_alive()):
            self._process.stdin.close()


class _Reader(threading.Thread):
    """Takes what comes from ``pipe``; stops with a problem where it is too much.

    ``heard``: when it last came; ``lines``: how many lines have ended that are not blank; ``news`` is set
    whenever something came, and at the end.
    """

    def __init__(self, pipe: IO[bytes], bounds: Bounds) -> None:
        super().__init__(daemon=True)
        self._pipe, self._lock, self.news, self.problem = pipe, threading.Lock(), threading.Event(), ""
        self._chunks: list[bytes] = []
        self.begin(bounds)

    def begin(self, bounds: Bounds) -> bytes:
        """Count anew, within ``bounds``; gives what came since the last :meth:`output`, blanks apart."""
        with self._lock:
            left = b"".join(self._chunks).strip()
            self._bounds, self._chunks, self._total, self._line, self._blank = bounds, [], 0, 0, True
            self.lines, self.heard = 0, time.monotonic()
            return left

    def output(self) -> bytes:
        """What came since the last time.

        Raises:
            Broken: it was too much.
        """
        with self._lock:
            if self.problem:
                raise Broken(self.problem)
            taken, self._chunks = b"".join(self._chunks), []
            return taken

    def run(self) -> None:
        with suppress(OSError, ValueError):  # it was closed under our hands: nobody wants what it holds
            while not self.problem and (chunk := os.read(self._pipe.fileno(), CHUNK)):
                with self._lock:
                    self._take(chunk)
                self.news.set()
        self.news.set()

    def _take(self, chunk: bytes) -> None:
        self.heard = time.monotonic()
        self._chunks.append(chunk)
        self._total += len(chunk)
        *ended, rest = chunk.split(b"\n")
        longest = max(self._line + len(ended[0]) if ended else 0, *map(len, ended), 0)
        for piece in ended:
            self.lines += not (self._blank and not piece.strip())
            self._line, self._blank = 0, True
        self._line += len(rest)
        self._blank = self._blank and not rest.strip()
        if max(longest, self._line) > self._bounds.line:
            self.problem = f"wrote a line of more than {self._bounds.line:,} bytes"
        elif self._total > self._bounds.output:
            self.problem = f"wrote more than {self._bounds.output:,} bytes"
        if self.problem:
            self._chunks.clear()


def _started(command: Sequence[str], errors: Path) -> subprocess.Popen[bytes]:
    with errors.open("wb") as file:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, start_new_session=True
        )


def _check(reader: _Reader, started: float, errors: Path, bounds: Bounds, so_far: str = "") -> None:
    now = time.monotonic()
    if now - reader.heard > bounds.silence:
        raise Broken(f"wrote nothing for {bounds.silence:.0f} s{so_far}")
    if now - started > bounds.seconds:
        raise Broken(f"did not finish within {bounds.seconds:.0f} s{so_far}")
    if errors.stat().st_size > bounds.output:
        raise Broken(f"wrote more than {bounds.output:,} bytes to standard error")


def _status(process: subprocess.Popen[bytes], bounds: Bounds) -> int:
    """The exit status of a command whose output has ended."""
    with suppress(subprocess.TimeoutExpired):  # it closed its output and goes on
        process.wait(max(0.0, bounds.silence))
    if process.returncode is None:
        raise Broken(f"closed its output and did not end within {bounds.silence:.0f} s")
    return process.returncode


def _write(pipe: IO[bytes], given: bytes, close: bool) -> None:
    rest = memoryview(given)
    with suppress(OSError):  # it does not want to read on: its answers, or their lack, tell
        while rest:  # not through the buffer, which would keep what could not be written
            rest = rest[os.write(pipe.fileno(), rest) :]
    if close:
        with suppress(OSError):
            pipe.close()


def _leave(process: subprocess.Popen[bytes]) -> None:
    """End a kept command that owes nothing: it may end by itself, its process group may not outlive it."""
    if process.stdin:
        with suppress(OSError):
            process.stdin.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(LEAVE)
    _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # what it started, too: its children may hold the pipe open
    process.wait()
    if process.stdout:
        process.stdout.close()
