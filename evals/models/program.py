"""A program that answers prompts: any command that reads JSON lines and writes JSON lines.

It gets one line per question, ``{"id": ..., "messages": [...], "max_tokens": n}``, with ``temperature`` and
``seed`` where answers are to be drawn, and answers each with one line:
``{"text": ...}``, optionally with ``id``, ``stop_reason`` (eos, length or error), ``prompt_tokens`` and
``completion_tokens``, ``seconds`` and ``first_token_seconds``, and ``error``. Answers are in the order of the
questions, or all say the question's ``id`` and come in any. Rules, retrieval pipelines and remote services
are judged this way, and it proves that the gate can say SHIP. A program that does not say why an answer
stopped is not taken to have ended it. Whatever it writes, reading it costs time and memory in proportion,
within the bounds below.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seatrial.evals.models import (
    EOS,
    ERROR,
    LENGTH,
    UNKNOWN,
    Generation,
    Question,
    encodable,
    opened,
    seed_of,
)
from seatrial.evals.models.pipe import Bounds, Broken, Kept, piped
from seatrial.evals.models.table import ModelTable, Surroundings
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


def _named(command: Sequence[str]) -> list[str]:
    """What may be files in a command line: its words, and what follows an equals sign in one."""
    return [name for word in command for name in dict.fromkeys((word, word.partition("=")[2]))]


class ProgramModel:
    """A command line as a model; its identity is the command and the digests of the files it names.

    Args:
        name: the model's role.
        command: the command line, split as a shell would, and run without one.
        system: system prompt put before every question ("" for none).
        long_lived: start it once and give it one case set after another, each ended by an empty line, where
            it would else be started for each and read to the end of its input. Every answer must say its
            question's ``id``, and be written out (flushed) before it waits for more. It is ended with
            :meth:`close`, and at the latest with Python.
    """

    def __init__(self, name: str, command: str, system: str = "", long_lived: bool = False) -> None:
        self.name, self.command, self.system = name, command_words(command, "--program"), system
        self.long_lived = long_lived
        self._kept: Kept | None = None
        self.identity: Mapping[str, Any] = {
            "runtime": "program",
            **decided_by(__name__),
            "command": self.command,
            "files": {word: file_digest(Path(word)) for word in _named(self.command) if os.path.isfile(word)},
            "system": system,
            "long_lived": long_lived,  # what it was asked before may change its answers
        }

    def generate(self, questions: Sequence[Question], max_tokens: int, log: Path) -> list[Generation]:
        """Answers in the order of ``questions``.

        Raises:
            SeatrialError: it crossed a bound, or its lines are not one answer for each question.
        """
        return self._answers(questions, log, {"max_tokens": max_tokens})

    def sample(
        self,
        questions: Sequence[Question],
        max_tokens: int,
        log: Path,
        temperature: float,
        samples: int,
        seed: int,
    ) -> list[list[Generation]]:
        """``samples`` answers to each question: all are asked so many times, each time with another ``seed``
        and with the ``temperature`` in every line. What they are worth is up to the program.

        Raises:
            SeatrialError: as :meth:`generate`.
        """
        how = {"max_tokens": max_tokens, "temperature": temperature}
        rounds = [
            self._answers(questions, log, {**how, "seed": seed_of(seed, samples, number)})
            for number in range(samples)
        ]
        return [list(answers) for answers in zip(*rounds, strict=True)]

    def _answers(self, questions: Sequence[Question], log: Path, how: Mapping[str, Any]) -> list[Generation]:
        if not questions:
            return []
        asked = "".join(
            json.dumps({"id": q.id, "messages": opened(self.system, q.messages), **how}) + "\n"
            for q in questions
        )
        output, status, log = self._run(asked.encode(), len(questions), log)
        # Lines end with a line feed and nothing else: str.splitlines would split at U+2028 within an answer.
        lines = [(number, line) for number, line in enumerate(output.split(b"\n"), 1) if line.strip()]
        if status or len(lines) != len(questions):
            self.close()
            raise SeatrialError(
                f"the program gave {len(lines)} answers to {len(questions)} questions"
                f"{'' if status is None else f' and ended with exit status {status}'}"
                f"{_amiss(lines, questions)}",
                where=self._where(),
                hint=f"it must write one JSON line per question; {_said(log)}",
            )
        return self._ordered([(number, *self._read(number, line)) for number, line in lines], questions)

    def close(self) -> None:
        """End a long-lived program, if it runs; the next question starts another."""
        if self._kept:
            self._kept.close()
        self._kept = None

    def _run(self, asked: bytes, questions: int, log: Path) -> tuple[bytes, int | None, Path]:
        """What the program writes, its exit status (None: it goes on), and where its standard error lies."""
        bounds = Bounds(SILENCE, SILENCE + EACH * questions, LONGEST_LINE, MOST_OUTPUT)
        try:
            if not self.long_lived:
                return *piped(self.command, asked, log, bounds), log
            if self._kept is None or self._kept.closed:
                self._kept = Kept(self.command, log)
            log = self._kept.errors
            return *self._kept.ask(asked + b"\n", questions, bounds), log
        except Broken as broken:
            kept = "a long-lived program must flush its answers; " if self.long_lived else ""
            raise SeatrialError(
                f"the program {broken}", where=self._where(), hint=kept + _said(log)
            ) from None

    def _ordered(
        self, answers: Sequence[tuple[int, str | None, Generation]], questions: Sequence[Question]
    ) -> list[Generation]:
        """The answers in the order of the questions: by their ids, or as they came where none has one."""
        told = {identifier: answer for _, identifier, answer in answers if identifier is not None}
        if not told and self.long_lived:
            self.close()
            raise SeatrialError(
                "the answers of a long-lived program have no ids",
                where=self._where(),
                hint="every answer must carry the 'id' of its question: a line that comes late would else be "
                "taken for the answer to another question",
            )
        if not told:
            return [answer for _, _, answer in answers]
        if problem := _wrong_ids([(number, identifier) for number, identifier, _ in answers], questions):
            self.close()
            raise SeatrialError(
                f"the program's answers cannot be told apart: {problem}",
                where=self._where(),
                hint="every answer must carry the 'id' of its question, or none may",
            )
        return [told[question.id] for question in questions]

    def _read(self, number: int, line: bytes) -> tuple[str | None, Generation]:
        try:
            answer = json.loads(line.decode("utf-8"))
            return _identifier(answer), _generation(answer)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            self.close()
            shown = line[:120].decode("utf-8", "backslashreplace")
            raise SeatrialError(
                f"the program wrote {shown!r} ({type(error).__name__}: {spelled_out(str(error)[:200])})",
                where=f"{self._where()}, line {number} of its output",
                hint='a line must be {"text": "the answer", "stop_reason": "eos"}',
            ) from None

    def _where(self) -> str:
        return shlex.join(self.command)


def _identifier(answer: Any) -> str | None:
    """The id that a line says, if it does."""
    if not isinstance(answer, dict):
        raise TypeError("not an object")
    found = answer.get("id")
    if found is not None and not isinstance(found, str):
        raise TypeError("'id' must be a string, as it was in the question")
    return found


def _generation(answer: Mapping[str, Any]) -> Generation:
    """The answer that a line says; raises where it says none."""
    error = answer.get("error") or ""
    stop = answer.get("stop_reason")
    if stop is not None and stop not in STOP_REASONS:
        raise ValueError(f"stop_reason {stop!r:.80}, allowed: {', '.join(STOP_REASONS)}")
    if error or stop == ERROR:
        error, stop = error or "the program does not say what went wrong", ERROR
    text = answer.get("text", "") if error else answer["text"]
    if not isinstance(text, str) or not isinstance(error, str):
        raise TypeError("'text' and 'error' must be strings")
    return Generation(
        text=encodable(text),
        prompt_tokens=_count(answer, "prompt_tokens"),
        completion_tokens=_count(answer, "completion_tokens"),
        stop_reason=stop or UNKNOWN,
        seconds=_seconds(answer, "seconds") or 0.0,
        first_token_seconds=_seconds(answer, "first_token_seconds"),
        error=encodable(error),
    )


def _count(answer: Mapping[str, Any], key: str) -> int:
    tokens = answer.get(key) or 0
    if not isinstance(tokens, int) or isinstance(tokens, bool) or tokens < 0:
        raise TypeError(f"{key!r} must be a whole number")
    return tokens


def _seconds(answer: Mapping[str, Any], key: str) -> float | None:
    seconds = answer.get(key)
    if seconds is None:
        return None
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
        raise TypeError(f"{key!r} must be a number")
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"{key!r} must be finite and not negative")
    return float(seconds)


def _wrong_ids(answers: Sequence[tuple[int, str | None]], questions: Sequence[Question]) -> str:
    """What is wrong with the ids of answers, which come with the number of their line; "" if nothing is."""
    asked, lines = {question.id for question in questions}, dict[str, int]()
    for number, found in answers:
        if found is None:
            return f"line {number} of its output has no id, others have"
        if found not in asked:
            return f"line {number} of its output answers {_shown(found)}, which was not asked"
        if found in lines:
            return f"lines {lines[found]} and {number} of its output both answer {_shown(found)}"
        lines[found] = number
    missing = next((question.id for question in questions if question.id not in lines), None)
    if missing is not None:
        return f"no line answers {_shown(missing)}"
    return "" if len(asked) == len(questions) else "two questions have the same id"


def _amiss(lines: Sequence[tuple[int, bytes]], questions: Sequence[Question]) -> str:
    """What the ids of too few or too many lines tell, if every line has one."""
    try:
        found = [(number, _identifier(json.loads(line.decode("utf-8")))) for number, line in lines]
    except (ValueError, TypeError, RecursionError):
        return ""
    told = any(identifier is not None for _, identifier in found) and _wrong_ids(found, questions)
    return f": {told}" if told else ""


def _shown(identifier: str) -> str:
    return repr(identifier[:80])


def _said(log: Path, lines: int = 5) -> str:
    """Where its standard error lies, and the last of it."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 2000))
        text = file.read().decode("utf-8", "replace")
    last = [spelled_out(line.rstrip()[:200]) for line in text.split("\n") if line.strip()][-lines:]
    return f"see {log}" + ("; it ends with:\n    " + "\n    ".join(last) if last else "")


class Table(ModelTable):
    """A program that reads and writes JSON lines (docs/program-protocol.md)."""

    command: str
    """The command line; words that are files of the task's folder are found there."""
    long_lived: bool = False
    """Whether one process answers all case sets."""

    def model(self, name: str, around: Surroundings) -> ProgramModel:
        words = [self._found(word, around.task.folder) for word in shlex.split(self.command)]
        return ProgramModel(name, shlex.join(words), self.prompt(name, around.task), self.long_lived)

    @staticmethod
    def _found(word: str, folder: Path) -> str:
        beside = folder / word
        return str(beside) if not os.path.exists(word) and beside.is_file() else word
