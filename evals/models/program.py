"""A program that answers prompts: any command that reads JSON lines and writes JSON lines.

It gets one line per question, ``{"id": ..., "messages": [...], "max_tokens": n}``, and answers each, in
order, with one line ``{"text": ...}`` (optionally ``stop_reason`` and ``completion_tokens``). Rules,
retrieval pipelines and remote services are judged this way, and it proves that the gate can say SHIP.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.models import EOS, ERROR, LENGTH, Generation, Question, encodable
from training.errors import SeatrialError

TIMEOUT = 600.0


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
        files = [Path(word) for word in self.command if Path(word).is_file()]
        digests = {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
        self.identity: Mapping[str, Any] = {
            "runtime": "program",
            "command": self.command,
            "files": digests,
            "system": system,
        }

    def generate(self, questions: Sequence[Question], max_tokens: int, log: Path) -> list[Generation]:
        system = [{"role": "system", "content": self.system}] if self.system else []
        lines = [
            json.dumps({"id": q.id, "messages": [*system, *q.messages], "max_tokens": max_tokens})
            for q in questions
        ]
        try:
            done = subprocess.run(
                self.command,
                input="\n".join(lines) + "\n",
                capture_output=True,
                text=True,
                encoding="utf-8",
                timeout=TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            raise SeatrialError(
                f"the program did not finish within {TIMEOUT:.0f} s", where=shlex.join(self.command)
            ) from None
        log.write_text(done.stderr, encoding="utf-8")
        answers = [line for line in done.stdout.splitlines() if line.strip()]
        if done.returncode or len(answers) != len(questions):
            raise SeatrialError(
                f"the program gave {len(answers)} answers to {len(questions)} questions "
                f"and ended with exit status {done.returncode}",
                where=shlex.join(self.command),
                hint=f"it must write one JSON line per question; see {log}",
            )
        return [self._read(line) for line in answers]

    def _read(self, line: str) -> Generation:
        try:
            answer = json.loads(line)
            stop = answer.get("stop_reason", EOS)
            if stop not in (EOS, LENGTH, ERROR):
                raise ValueError(f"stop_reason {stop!r}")
            return Generation(
                encodable(str(answer["text"])), 0, int(answer.get("completion_tokens", 0)), stop
            )
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise SeatrialError(
                f"the program wrote {line[:120]!r} ({type(error).__name__}: {error})",
                where=shlex.join(self.command),
                hint='a line must be {"text": "the answer"}',
            ) from None
