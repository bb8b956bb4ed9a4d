"""A program that answers prompts: any command that reads JSON lines and writes JSON lines.

It gets one line per question, ``{"id": ..., "messages": [...], "max_tokens": n}``, and answers each, in
order, with one line: ``{"text": ...}``, optionally with ``stop_reason`` (eos, length or error),
``completion_tokens`` and ``error``. Rules, retrieval pipelines and remote services are judged this way, and
it proves that the gate can say SHIP. A program that does not say why an answer stopped is not taken to have
ended it. Whatever it writes, reading it costs time and memory in proportion, within the bounds below.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seatrial.evals.models import EOS, ERROR, LENGTH, UNKNOWN, Generation, Question, encodable
from seatrial.evals.models.pipe import Bounds, Broken, piped
from seatrial.evals.provenance import decided_by
from seatrial.evals.visible import spelled_out
from seatrial.training.errors import SeatrialError
from seatrial.training.store import file_digest

SILENCE = 600.0  # seconds without a byte of output after which a program is taken for hung
EACH = 60.0  # seconds that a question may take in the mean, beyond that
LONGEST_LINE = 4_000_000  # bytes of one answer
MOST_OUTPUT = 256_000_000  # bytes of all answers, and of what it says on standard error
STOP_REASONS = (EOS, LENGTH, ERROR)


def command_words(command: str, option: str) -> list[str]:
    """The words of a command line; raises :class:`SeatrialError` if it cannot be run."""
    try:
        words, problem = shlex.split(command), "no such command"
    except ValueError as error:
        words, problem = [], str(error)
    if not words or shutil.which(words[0]) is None:
        raise SeatrialError(f"the program {command!r} cannot be run: {problem}", where=option)
    return words


class ProgramModel:
    """A command line as a model; its identity is the command and the digests of the files it names."""

    def __init__(self, name: str, command: str, system: str = "") -> None:
        self.name, self.command, self.system = name, command_words(command, "--program"), system
        self.identity: Mapping[str, Any] = {
            "runtime": "program",
            **decided_by(__name__),
            "command": self.command,
            "files": {word: file_digest(Path(word)) for word in self.command if os.path.isfile(word)},
            "system": system,
        }

    def generate(self, questions: Sequence[Question], max_tokens: int, log: Path) -> list[Generation]:
        system = [{"role": "system", "content": self.system}] if self.system else []
        asked = "".join(
            json.dumps({"id": q.id, "messages": [*system, *q.messages], "max_tokens": max_tokens}) + "\n"
            for q in questions
        )
        bounds = Bounds(SILENCE, SILENCE + EACH * len(questions), LONGEST_LINE, MOST_OUTPUT)
        try:
            output, status = piped(self.command, asked.encode(), log, bounds)
        except Broken as broken:
            raise SeatrialError(f"the program {broken}", where=self._where(), hint=_said(log)) from None
        # Lines end with a line feed and nothing else: str.splitlines would split at U+2028 within an answer.
        lines = [(number, line) for number, line in enumerate(output.split(b"\n"), 1) if line.strip()]
        if status or len(lines) != len(questions):
            raise SeatrialError(
                f"the program gave {len(lines)} answers to {len(questions)} questions "
                f"and ended with exit status {status}",
                where=self._where(),
                hint=f"it must write one JSON line per question; {_said(log)}",
            )
        return [self._read(number, line) for number, line in lines]

    def _read(self, number: int, line: bytes) -> Generation:
        try:
            return _generation(json.loads(line.decode("utf-8")))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            shown = line[:120].decode("utf-8", "backslashreplace")
            raise SeatrialError(
                f"the program wrote {shown!r} ({type(error).__name__}: {spelled_out(str(error)[:200])})",
                where=f"{self._where()}, line {number} of its output",
                hint='a line must be {"text": "the answer", "stop_reason": "eos"}',
            ) from None

    def _where(self) -> str:
        return shlex.join(self.command)


def _generation(answer: Any) -> Generation:
    """The answer that a line says; raises where it says none."""
    if not isinstance(answer, dict):
        raise TypeError("not an object")
    error = answer.get("error") or ""
    stop = answer.get("stop_reason")
    if stop is not None and stop not in STOP_REASONS:
        raise ValueError(f"stop_reason {stop!r:.80}, allowed: {', '.join(STOP_REASONS)}")
    if error or stop == ERROR:
        error, stop = error or "the program does not say what went wrong", ERROR
    text, tokens = answer.get("text", "") if error else answer["text"], answer.get("completion_tokens") or 0
    if not isinstance(text, str) or not isinstance(error, str):
        raise TypeError("'text' and 'error' must be strings")
    if not isinstance(tokens, int) or isinstance(tokens, bool) or tokens < 0:
        raise TypeError("'completion_tokens' must be a whole number")
    return Generation(encodable(text), 0, tokens, stop or UNKNOWN, error=encodable(error))


def _said(log: Path, lines: int = 5) -> str:
    """Where its standard error lies, and the last of it."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 2000))
        text = file.read().decode("utf-8", "replace")
    last = [spelled_out(line.rstrip()[:200]) for line in text.split("\n") if line.strip()][-lines:]
    return f"see {log}" + ("; it ends with:\n    " + "\n    ".join(last) if last else "")
