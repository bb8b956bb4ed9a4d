"""Runs a command on some input and takes its output, within bounds: whatever runs may be hostile or hung.

Its standard error goes to a file. The command and what it started are ended, by their process group, when a
bound is crossed and when the caller is interrupted.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

CHUNK = 1 << 16
LOOK = 0.05  # seconds between two looks at the clock and at the size of standard error


class Broken(Exception):
    """A bound was crossed; the text goes on after the command's name."""


@dataclass(frozen=True)
class Bounds:
    """Seconds without output, seconds in all, bytes of one line, bytes of all output."""

    silence: float
    seconds: float
    line: int
    output: int


def piped(command: Sequence[str], given: bytes, errors: Path, bounds: Bounds) -> tuple[bytes, int]:
    """Standard output and exit status of ``command``, given ``given`` on its standard input.

    Raises:
        Broken: it was ended because it crossed a bound.
    """
    with errors.open("wb") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, start_new_session=True
        )
    assert process.stdin and process.stdout
    reader = _Reader(process.stdout, bounds)
    threading.Thread(target=_write, args=(process.stdin, given), daemon=True).start()
    reader.start()
    started = time.monotonic()
    try:
        while reader.is_alive():
            reader.join(LOOK)
            now = time.monotonic()
            if now - reader.heard > bounds.silence:
                raise Broken(f"wrote nothing for {bounds.silence:.0f} s")
            if now - started > bounds.seconds:
                raise Broken(f"did not finish within {bounds.seconds:.0f} s")
            if errors.stat().st_size > bounds.output:
                raise Broken(f"wrote more than {bounds.output:,} bytes to standard error")
        if reader.problem:
            raise Broken(reader.problem)
        with suppress(subprocess.TimeoutExpired):  # it closed its output and goes on
            process.wait(max(0.0, bounds.silence))
        if process.returncode is None:
            raise Broken(f"closed its output and did not end within {bounds.silence:.0f} s")
        return b"".join(reader.chunks), process.returncode
    finally:
        _end(process)


class _Reader(threading.Thread):
    """Takes what comes from ``pipe``; stops with a problem where it is too much."""

    def __init__(self, pipe: IO[bytes], bounds: Bounds) -> None:
        super().__init__(daemon=True)
        self._pipe, self._bounds = pipe, bounds
        self.chunks: list[bytes] = []
        self.problem = ""
        self.heard = time.monotonic()

    def run(self) -> None:
        total = line = 0
        while chunk := os.read(self._pipe.fileno(), CHUNK):
            self.heard = time.monotonic()
            self.chunks.append(chunk)
            total += len(chunk)
            first, end = chunk.find(b"\n"), chunk.rfind(b"\n")
            longest = line + (len(chunk) if first < 0 else first)
            line = longest if end < 0 else len(chunk) - end - 1
            if longest > self._bounds.line:
                self.problem = f"wrote a line of more than {self._bounds.line:,} bytes"
            elif total > self._bounds.output:
                self.problem = f"wrote more than {self._bounds.output:,} bytes"
            if self.problem:
                self.chunks.clear()
                return


def _write(pipe: IO[bytes], given: bytes) -> None:
    with suppress(OSError):  # it does not want to read on: its answers, or their lack, tell
        pipe.write(given)
    with suppress(OSError):
        pipe.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # what it started, too: its children may hold the pipe open
    process.wait()
    if process.stdout:
        process.stdout.close()
