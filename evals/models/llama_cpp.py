"""GGUF files in llama.cpp, each in a process of its own, because llama.cpp can abort on a bad file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seatrial.evals.models import (
    Generation,
    Likelihood,
    Message,
    Question,
    Timings,
    for_template,
    opened,
)
from seatrial.evals.provenance import decided_by
from seatrial.training.errors import SeatrialError
from seatrial.training.process import ChildDied, JsonProcess

PACKAGES = ("llama-cpp-python", "jinja2", "numpy")
SILENCE = 600.0  # seconds without an answer after which the runtime is taken for hung


class LlamaCppModel:
    """A GGUF file answering through its own chat template.

    Args:
        name: the model's role.
        path: the GGUF file; ``sha256`` is its digest.
        system: system prompt put before every question ("" for none).
        context: context length in tokens.
        slots: sequences decoded together.
        threads: of the runtime; None for as many as there are processors.
        grammar: GBNF text that every answer follows (:func:`seatrial.evals.models.grammar.grammar_of`).
    """

    def __init__(
        self,
        name: str,
        path: Path,
        sha256: str,
        system: str,
        context: int,
        slots: int = 8,
        threads: int | None = None,
        grammar: str | None = None,
    ) -> None:
        self.name, self.path, self.system, self.grammar = name, path, system, grammar
        self.sha256, self._context = sha256, context
        settings: Mapping[str, Any] = {
            "context": context,
            "slots": slots,
            "threads": threads or _processors(),
        }
        follows: Mapping[str, Any] = {} if grammar is None else {"grammar": grammar}
        self._load = {"op": "load", "path": str(path), **settings, **follows}
        self.identity: Mapping[str, Any] = {
            "runtime": "llama.cpp",
            **decided_by(__name__, packages=PACKAGES),
            "file_sha256": sha256,
            "system": system,
            **settings,
            "flash_attention": False,
            **follows,
        }

    def variant(self, slots: int, threads: int) -> LlamaCppModel:
        """The same model in a runtime that is set up otherwise.

        A quantised file may answer otherwise with more slots: its logits depend on what is decoded together.
        """
        return LlamaCppModel(
            self.name, self.path, self.sha256, self.system, self._context, slots, threads, self.grammar
        )

    def generate(self, questions: Sequence[Question], max_tokens: int, log: Path) -> list[Generation]:
        """Answers in the order of ``questions``; the prompt prefix that all share is decoded once."""
        request = {"op": "generate", "prompts": self._prompts(questions), "max_tokens": max_tokens}
        return [Generation(**answer) for answer in self._ask(request, log)]

    def sample(
        self,
        questions: Sequence[Question],
        max_tokens: int,
        log: Path,
        temperature: float,
        samples: int,
        seed: int,
    ) -> list[list[Generation]]:
        """``samples`` answers to each question, drawn from softmax(logits / temperature).

        The numbers drawn depend on the seed, the question and the sample's number alone, and what is decoded
        together are the samples of one question: they are the same whatever else is asked. At temperature 0
        every sample is greedy.
        """
        how = {"max_tokens": max_tokens, "temperature": temperature, "samples": samples, "seed": seed}
        rows = self._ask({"op": "sample", "prompts": self._prompts(questions), **how}, log)
        return [[Generation(**answer) for answer in answers] for answers in rows]

    def score(self, questions: Sequence[Question], log: Path) -> list[Likelihood]:
        """Likelihood of each question's reference answer, end-of-turn token included."""
        references = [question.reference for question in questions]
        request = {"op": "score", "prompts": self._prompts(questions), "references": references}
        return [Likelihood(**likelihood) for likelihood in self._ask(request, log)]

    def time(self, questions: Sequence[Question], max_tokens: int, log: Path) -> Timings:
        """One question at a time, after answering the first one twice to warm up."""
        request = {"op": "time", "prompts": self._prompts(questions), "max_tokens": max_tokens}
        result = self._ask(request, log)
        return Timings([Generation(**answer) for answer in result["answers"]], result["peak_memory"])

    def inspect(self, texts: Sequence[str], conversations: Sequence[Any], log: Path) -> Any:
        """How the file tokenises texts and renders conversations (None: its template refuses one)."""
        return self._ask({"op": "inspect", "texts": texts, "conversations": conversations}, log)

    def diverge(self, rows: Sequence[Any], reference: Path, log: Path) -> Any:
        """Divergence of each row's answer tokens from log-probabilities in a .npy file; see the worker."""
        return self._ask({"op": "diverge", "rows": rows, "reference": str(reference)}, log)

    def _prompts(self, questions: Sequence[Question]) -> list[list[Message]]:
        return [for_template(opened(self.system, question.messages)) for question in questions]

    def _ask(self, request: Mapping[str, Any], log: Path) -> Any:
        with JsonProcess(
            "seatrial.evals.models.llama_worker", log, f"llama.cpp with {self.path.name}"
        ) as worker:
            try:
                worker.call(self._load, SILENCE)
            except ChildDied as error:
                raise SeatrialError(
                    f"llama.cpp could not load this file: {error.problem}",
                    where=self.path,
                    hint=f"is it a whole GGUF file? {error.hint}",
                ) from None
            return worker.call(request, SILENCE)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
