"""A model that is shown the nearest training rows before each question: few-shot prompting by retrieval.

What a fine-tuned model has to beat is often not the bare base but the base with the training data at hand.
The rows are ranked by BM25 (Robertson and Zaragoza 2009, Foundations and Trends in Information Retrieval
3:333-389) with the library bm25s (extra ``retrieval``) and put before the question as turns of user and
assistant, the nearest last, next to the question. Only answers can be asked of it: likelihoods and timings
would be those of longer prompts.

Words are runs of letters and digits, without case; there is no stemming, and a script that puts no spaces
between words is matched by whole runs only.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

from seatrial.evals.models import Generation, Message, Model, Question, SamplingModel
from seatrial.evals.models.table import ModelTable, Surroundings
from seatrial.evals.provenance import decided_by
from seatrial.evals.verdict import NotEvaluated
from seatrial.training import extras
from seatrial.training.dataset import read_sharegpt
from seatrial.training.errors import SeatrialError

WORD = re.compile(r"\w+")


class RetrievalModel:
    """``inner`` with the training rows that are nearest to each question put before it.

    A row whose question is the one that is asked, word for word, is left out: its answer would be given away.
    Of rows that are equally near the earlier one is nearer, and a row that is there twice counts once. The
    question is what the person said last.

    Args:
        name: the model's role.
        inner: what answers.
        rows: (question, answer) of each training row.
        examples: rows put before a question, at least 1; fewer where there are no more.

    Raises:
        SeatrialError: there are no rows, or no examples are wanted.
    """

    def __init__(self, name: str, inner: Model, rows: Sequence[tuple[str, str]], examples: int = 3) -> None:
        if not rows:
            raise SeatrialError(
                "there are no training rows to retrieve from", hint="name a file of rows that has some"
            )
        if examples < 1:
            raise SeatrialError(f"{examples} examples", hint="1 or more can be put before a question")
        self.name, self.inner, self.examples = name, inner, examples
        self.rows = list(dict.fromkeys((question, answer) for question, answer in rows))

    @property
    def identity(self) -> Mapping[str, Any]:
        return {
            "runtime": "retrieval",
            **decided_by(__name__, packages=("bm25s", "numpy")),
            "inner": dict(self.inner.identity),
            "rows_sha256": hashlib.sha256(json.dumps(self.rows).encode()).hexdigest(),
            "examples": self.examples,
        }

    @property
    def errors_pass(self) -> bool:
        return bool(getattr(self.inner, "errors_pass", False))

    def generate(self, questions: Sequence[Question], max_tokens: int, log: Path) -> list[Generation]:
        """Answers of ``inner`` in the order of ``questions``.

        Raises:
            MissingExtra: bm25s is not here.
        """
        extras.require(extras.RETRIEVAL)
        return self.inner.generate([self._with_examples(each) for each in questions], max_tokens, log)

    def sample(
        self,
        questions: Sequence[Question],
        max_tokens: int,
        log: Path,
        temperature: float,
        samples: int,
        seed: int,
    ) -> list[list[Generation]]:
        """``samples`` answers of ``inner`` to each question.

        Raises:
            MissingExtra: bm25s is not here.
            NotEvaluated: ``inner`` draws no answers.
        """
        extras.require(extras.RETRIEVAL)
        if not hasattr(self.inner, "sample"):
            raise NotEvaluated(f"the runtime of {self.inner.name!r} gives no samples")
        asked = [self._with_examples(each) for each in questions]
        return cast(SamplingModel, self.inner).sample(asked, max_tokens, log, temperature, samples, seed)

    def nearest(self, text: str) -> list[tuple[str, str]]:
        """The rows that are put before the question ``text``, the nearest first."""
        asked = _words(text)
        known = [word for word in asked if word in self._known]
        scores = self._index.get_scores(known) if known else [0.0] * len(self.rows)
        ranked = sorted(range(len(self.rows)), key=lambda row: (-float(scores[row]), row))
        others = (row for row in ranked if self._words[row] != asked)
        return [self.rows[row] for row, _ in zip(others, range(self.examples), strict=False)]

    def _with_examples(self, question: Question) -> Question:
        turns: list[Message] = []
        for asked, answered in reversed(self.nearest(question.messages[-1]["content"])):
            turns += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
        first = 1 if question.messages[0]["role"] == "system" else 0
        own = question.messages
        return replace(question, messages=(*own[:first], *turns, *own[first:]))

    @cached_property
    def _words(self) -> list[list[str]]:
        """The words of each row's question."""
        return [_words(question) for question, _ in self.rows]

    @cached_property
    def _known(self) -> set[str]:
        return {word for words in self._words for word in words}

    @cached_property
    def _index(self) -> Any:
        from bm25s import BM25

        index = BM25(method="lucene", k1=1.5, b=0.75, backend="numpy")
        index.index(self._words, show_progress=False)
        return index


def _words(text: str) -> list[str]:
    """The words of ``text``; a text that has none is one itself, so that it equals itself alone."""
    return WORD.findall(text.casefold()) or [text.strip()]


class Table(ModelTable):
    """Another model that is shown the nearest training rows before each question."""

    of: str = "base"
    """The model that answers: a name of this table's neighbours, or `base`."""
    rows: Path | None = None
    """Training rows in ShareGPT form; by default those that the shipped model was trained on."""
    examples: int = 3
    """Rows put before a question."""

    def model(self, name: str, around: Surroundings) -> RetrievalModel:
        rows = around.task.path(self.rows) if self.rows is not None else around.train
        if rows is None:
            raise NotEvaluated(
                f'the model {name!r} needs training rows: rows = "FILE" in its table, or --train=FILE'
            )
        return RetrievalModel(name, around.other(self.of), _turns(rows), self.examples)


def _turns(rows: Path) -> list[tuple[str, str]]:
    """Each question of the rows with the answer to it."""
    return [
        (first["content"], second["content"])
        for messages in read_sharegpt(rows)
        for first, second in pairwise(messages)
        if (first["role"], second["role"]) == ("user", "assistant")
    ]
