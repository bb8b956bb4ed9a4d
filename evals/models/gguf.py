"""A GGUF file as a model to compare with: a larger one, an older one, the untuned base."""

from __future__ import annotations

from pathlib import Path

from seatrial.evals.models.llama_cpp import LlamaCppModel
from seatrial.evals.models.table import ModelTable, Surroundings
from seatrial.evals.verdict import NotEvaluated
from seatrial.training.store import file_digest


class Table(ModelTable):
    """A GGUF file, answering in llama.cpp through its own chat template."""

    file: Path
    """The GGUF file, from the task's folder."""

    def model(self, name: str, around: Surroundings) -> LlamaCppModel:
        path = around.task.path(self.file)
        if not path.is_file():
            raise NotEvaluated(f"the file of the model {name!r} is not here: {path}")
        system = self.prompt(name, around.task)
        return LlamaCppModel(name, path, file_digest(path), system, around.task.decoding.context)
