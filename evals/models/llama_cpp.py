"""GGUF files in llama.cpp, each in a process of its own, because llama.cpp can abort on a bad file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
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
from seatrial.evals.provenance import decided_by, environment
from seatrial.training.errors import SeatrialError
from seatrial.training.process import ChildDied, JsonProcess
from seatrial.training.store import file_digest

PACKAGES = ("llama-cpp-python", "jinja2", "numpy")
OWN_LIBRARY = "LLAMA_CPP_LIB_PATH"  # a folder whose llama.cpp the package loads instead of its own
BACKEND = re.compile(r"(?:lib)?ggml-([a-z0-9]+)")
SILENCE = 600.0  # seconds without an answer after which the runtime is taken for hung


class LlamaCppModel:
    """A GGUF file answering through its own chat template.

    Args:
        name: the model's role.
        path: the GGUF file; ``sha256`` is its digest.
        system: system prompt put before every question ("" for none).
        context: context length in tokens.
        slots: sequences decoded together.
        threads: of the runtime; None for as many as there are processors. Then they are no part of the
            identity: each row of a product is computed by one thread, however many there are.
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
        settings: dict[str, Any] = {"context": context, "slots": slots}
        settings |= {} if threads is None else {"threads": threads}
        follows: Mapping[str, Any] = {} if grammar is None else {"grammar": grammar}
        self._load = {"op": "load", "path": str(path), "threads": processors(), **settings, **follows}
        self.identity: Mapping[str, Any] = {
            "runtime": "llama.cpp",
            **decided_by(__name__, packages=PACKAGES),
            "build": _build(),
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


def _build() -> dict[str, Any]:
    """What the version of the package does not say: the backends that llama.cpp was built with, a library of
    the user's own in its place, and what ggml is told by the environment.

    Backends count by their names, not by their bytes: two builds of one source differ in those, and answers
    are not kept by the type of the processor either.
    """
    told = environment("GGML_")
    found: dict[str, Any] = {"environment": told} if told else {}
    if own := os.environ.get(OWN_LIBRARY):
        files = sorted(path for path in Path(own).glob("*") if path.is_file())
        return {**found, "library": {path.name: file_digest(path) for path in files}}
    spec = find_spec("llama_cpp")
    folders = spec.submodule_search_locations or [] if spec else []
    names = (path.name for folder in folders for path in Path(folder, "lib").glob("*ggml-*"))
    return {**found, "backends": sorted({each[1] for name in names if (each := BACKEND.match(name))})}


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
