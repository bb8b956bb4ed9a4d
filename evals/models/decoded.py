"""A model whose own table says how it answers: how long, and at which temperature.

The same for every kind that draws answers, so that a kind need not know it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from seatrial.evals.models import Generation, Model, Question, SamplingModel, ScoringModel, Timings
from seatrial.evals.provenance import code
from seatrial.evals.verdict import NotEvaluated


class DecodedModel:
    """``inner``, decoding as is said here; what else it can do, it can do still.

    Args:
        inner: the model.
        max_tokens: the most tokens of an answer; None leaves that to the task.
        temperature: at 0 answers are greedy; above, one is drawn from softmax(logits / temperature).
        seed: of what is drawn.

    Raises:
        NotEvaluated: its runtime draws no answers.
    """

    def __init__(self, inner: Model, max_tokens: int | None, temperature: float, seed: int) -> None:
        if temperature > 0 and not hasattr(inner, "sample"):
            raise NotEvaluated(f"the runtime of {inner.name!r} draws no answers: leave out its temperature")
        self.inner, self.name = inner, inner.name
        self.max_tokens, self.temperature, self.seed = max_tokens, temperature, seed

    def __getattr__(self, name: str) -> Any:
        if name == "inner":
            raise AttributeError(name)  # while it is unpickled
        return getattr(self.inner, name)

    @property
    def identity(self) -> Mapping[str, Any]:
        own = {"max_tokens": self.max_tokens, "temperature": self.temperature, "seed": self.seed}
        inner = {"inner": self.inner.identity.get("decoding"), "code": code(__name__)}
        return {**self.inner.identity, "decoding": {**inner, **own}}

    def generate(self, questions: Sequence[Question], max_tokens: int, log: Path) -> list[Generation]:
        """Answers in the order of ``questions``: greedy ones, or the first that is drawn of each."""
        tokens = self.max_tokens or max_tokens
        if not self.temperature:
            return self.inner.generate(questions, tokens, log)
        drawn = cast(SamplingModel, self.inner).sample(questions, tokens, log, self.temperature, 1, self.seed)
        return [answers[0] for answers in drawn]

    def variant(self, slots: int, threads: int) -> DecodedModel:
        """The same model in a runtime that is set up otherwise."""
        other = cast(Any, self.inner).variant(slots, threads)
        return DecodedModel(other, self.max_tokens, self.temperature, self.seed)

    def time(self, questions: Sequence[Question], max_tokens: int, log: Path) -> Timings:
        """Greedy answers, one at a time: a token that is drawn takes as long as the likeliest."""
        return cast(ScoringModel, self.inner).time(questions, self.max_tokens or max_tokens, log)

    def sample(
        self,
        questions: Sequence[Question],
        max_tokens: int,
        log: Path,
        temperature: float,
        samples: int,
        seed: int,
    ) -> list[list[Generation]]:
        """``samples`` answers to each question, at the model's own temperature if it has one."""
        drawing = cast(SamplingModel, self.inner)
        tokens = self.max_tokens or max_tokens
        return drawing.sample(questions, tokens, log, self.temperature or temperature, samples, seed)
