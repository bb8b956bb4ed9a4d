"""A GGUF file as a model to compare with: a larger one, an older one, the judged one bound by a grammar."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import model_validator

from seatrial.evals.models.grammar import grammar_of, readable
from seatrial.evals.models.llama_cpp import LlamaCppModel
from seatrial.evals.models.table import ModelTable, Surroundings
from seatrial.evals.verdict import NotEvaluated
from seatrial.training.errors import SeatrialError
from seatrial.training.store import file_digest

if TYPE_CHECKING:
    from seatrial.evals.task import Task

JUDGED = "shipped"


class Table(ModelTable):
    """A GGUF file, answering in llama.cpp through its own chat template."""

    file: Path | None = None
    """The GGUF file, from the task's folder; by default the judged one, which then needs a `grammar`."""
    grammar: bool | Path = False
    """What binds its answers: `true`, the task's contract; else a file, a JSON schema or GBNF (`.gbnf`)."""

    @model_validator(mode="after")
    def _another_model(self) -> Table:
        if self.file is None and not self.grammar:
            raise ValueError("name a 'file', or a 'grammar' that binds the judged file's answers")
        return self

    def model(self, name: str, around: Surroundings) -> LlamaCppModel:
        grammar, system = self.grammar_text(around.task), self.prompt(name, around.task)
        context = around.task.decoding.context
        if self.file is None:
            judged = around.other(JUDGED)
            if not isinstance(judged, LlamaCppModel):
                raise NotEvaluated("a program was judged, whose answers no grammar can bind")
            return LlamaCppModel(name, judged.path, judged.sha256, system, context, grammar=grammar)
        path = around.task.path(self.file)
        if not path.is_file():
            raise NotEvaluated(f"the file of the model {name!r} is not here: {path}")
        return LlamaCppModel(name, path, file_digest(path), system, context, grammar=grammar)

    def check(self, task: Task) -> None:
        """Raise :class:`SeatrialError` if there is no such grammar, or llama.cpp cannot take it."""
        self.grammar_text(task)

    def grammar_text(self, task: Task) -> str | None:
        """GBNF; None where answers are free."""
        if self.grammar is False:
            return None
        if self.grammar is True:
            if task.reader.schema is None:
                raise SeatrialError(
                    "the task's answer has no schema to make a grammar of", hint='[answer] schema = "FILE"'
                )
            return grammar_of(task.reader.schema)
        path = task.path(self.grammar)
        try:
            text = path.read_text(encoding="utf-8")
            return readable(text) if path.suffix == ".gbnf" else grammar_of(json.loads(text))
        except OSError as error:
            raise SeatrialError(f"the grammar {path} cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise SeatrialError(f"{path} is no JSON schema: {error}", hint="GBNF ends in .gbnf") from None
