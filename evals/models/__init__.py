"""Models: whatever answers prompts. One module per runtime; all speak the interface below.

A model is asked whole case sets at once, so that its runtime can batch; tests only read the answers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

Message = Mapping[str, Any]  # role, content; name, tool_call_id and tool_calls where tools are called
EOS, LENGTH, ERROR = "eos", "length", "error"
UNKNOWN = "unknown"  # the runtime does not say, so nobody may count the answer as ended


@dataclass(frozen=True)
class Generation:
    """One model's answer to one case.

    ``stop_reason``: ``eos`` (ended by itself), ``length`` (hit the token limit), ``error`` or ``unknown``.
    Times are in seconds; ``first_token_seconds`` is only measured when answers are asked one at a time.
    """

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    stop_reason: str = EOS
    seconds: float = 0.0
    first_token_seconds: float | None = None
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def encodable(text: str) -> str:
    """``text`` without lone surrogates, which JSON can spell and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()


@dataclass(frozen=True)
class Likelihood:
    """Negative log-likelihood (natural logarithm, summed) of a reference answer and its token count."""

    nll: float
    tokens: int


@dataclass(frozen=True)
class Timings:
    """Answers asked one at a time after a warm-up, and the runtime process's peak memory in bytes."""

    generations: Sequence[Generation]
    peak_memory: int


@dataclass(frozen=True)
class Question:
    """One case as a model sees it: messages without the system prompt, which the model adds."""

    id: str
    messages: tuple[Message, ...]
    reference: str | None = None

    @property
    def key(self) -> str:
        """What is asked, whatever the case is called: equal questions get equal answers and likelihoods."""
        return json.dumps([[dict(message) for message in self.messages], self.reference])


def opened(system: str, messages: Sequence[Message]) -> list[Message]:
    """A conversation with the system prompt before it, unless it begins with one of its own."""
    own = bool(messages) and messages[0]["role"] == "system"
    return [*([{"role": "system", "content": system}] if system and not own else []), *messages]


def calls_tools(messages: Sequence[Message]) -> bool:
    """Whether tools are called or answer in a conversation."""
    return any(message["role"] == "tool" or "tool_calls" in message for message in messages)


def for_template(messages: Sequence[Message]) -> list[Message]:
    """``messages`` as chat templates take them: arguments of tool calls are objects, which OpenAI's API
    spells as JSON text. Arguments that are no JSON stay the text that they are."""
    return [
        {**message, "tool_calls": [_with_object(call) for call in calls]}
        if (calls := message.get("tool_calls"))
        else message
        for message in messages
    ]


def _with_object(call: Any) -> Any:
    try:
        arguments = json.loads(call["function"]["arguments"])
    except (KeyError, TypeError, ValueError):
        return call
    return {**call, "function": {**call["function"], "arguments": arguments}}


class Model(Protocol):
    """Something that answers prompts.

    ``name`` is its role (shipped, base, prompted_base ...). ``identity`` is every JSON value that decides
    its answers (runtime and version, file digest, system prompt); it keys what is kept of them, so it
    never holds the model's name.
    """

    name: str

    @property
    def identity(self) -> Mapping[str, Any]: ...

    def generate(self, questions: Sequence[Question], max_tokens: int, log: Path) -> list[Generation]: ...


class ScoringModel(Model, Protocol):
    """A model whose runtime also gives likelihoods and timings."""

    def score(self, questions: Sequence[Question], log: Path) -> list[Likelihood]: ...

    def time(self, questions: Sequence[Question], max_tokens: int, log: Path) -> Timings: ...


class SamplingModel(Model, Protocol):
    """A model whose runtime also draws answers."""

    def sample(
        self,
        questions: Sequence[Question],
        max_tokens: int,
        log: Path,
        temperature: float,
        samples: int,
        seed: int,
    ) -> list[list[Generation]]:
        """``samples`` answers to each question, in the order of the questions."""
        ...


class SetModel(Model, Protocol):
    """A model whose runtime can be set up otherwise, which should not change its answers."""

    def variant(self, slots: int, threads: int) -> Model: ...


def seed_of(seed: int, samples: int, number: int) -> int:
    """The seed of one of ``samples`` rounds, where a runtime takes one for each; no two seeds share any."""
    return seed * samples + number
