"""A model behind an OpenAI-compatible endpoint: a hosted one, vLLM, llama.cpp's server, Ollama, a gateway.

The official client speaks to it (extra ``endpoints``). What is sent is decided here; when it is tried again
in ``endpoint_batch.py``, and what an answer is in ``endpoint_answer.py``: some questions at a time, each
attempt within a time and a size, again after what may pass (429, 5xx, 408, 409, broken connections, silence),
and at once an error after what will not.

An endpoint may answer otherwise tomorrow under the same name. What it says of its model beforehand (in its
list of models) is part of the identity that answers are kept by; ``system_fingerprint`` comes with an answer
only, so it cannot be: the log tells it. To ask again, name a dated model, or empty the store.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import httpx
from pydantic import Field, NonNegativeInt

from seatrial.evals.models import (
    Generation,
    Model,
    Question,
    encodable,
    opened,
    seed_of,
)
from seatrial.evals.models.endpoint_batch import Batch
from seatrial.evals.models.endpoint_http import address_of, bound
from seatrial.evals.models.endpoint_key import Key
from seatrial.evals.models.table import ModelTable, Surroundings
from seatrial.evals.provenance import decided_by
from seatrial.evals.verdict import NotEvaluated
from seatrial.training import extras
from seatrial.training.errors import SeatrialError

if TYPE_CHECKING:
    from openai import AsyncOpenAI

CONNECT = 10.0  # seconds for a connection, and for what the endpoint says of its model
LENGTH_FIELDS = ("max_tokens", "max_completion_tokens")
OURS = {"model", "messages", "temperature", "seed", "tools", "stream", "n", *LENGTH_FIELDS}
# What is kept of what an endpoint says of a model; other fields (created, permission) change by the minute.
TOLD = ("owned_by", "root", "parent", "max_model_len", "meta")


class OpenAIModel:
    """A model behind ``POST base_url/chat/completions``.

    Args:
        name: the model's role; the environment variable ``SEATRIAL_<NAME>_URL`` names another ``base_url``.
        base_url: where the endpoint is, such as ``http://127.0.0.1:8000/v1``.
        model: what it calls the model.
        system: system prompt put before every question ("" for none).
        key_variable: the environment variable that holds the key; an address on this machine needs none.
        concurrency: questions asked at a time.
        timeout: seconds that one attempt may take in all.
        retries: further attempts at a question.
        temperature: None leaves it to the endpoint, as some models demand.
        seed: sent where it is not None; what it is worth is up to the endpoint.
        tools: definitions of tools, as the API has them; calls become the answer's text.
        extra: further fields of the request's body, such as ``top_p``.
        length_field: how the endpoint calls the most tokens of an answer.
        tells: gives what else is known beforehand of the model that will answer, for the identity.

    Raises:
        SeatrialError: an argument cannot be used.
    """

    errors_pass = True  # a network's and a crowded server's: the next run asks again

    def __init__(
        self,
        name: str,
        base_url: str,
        model: str,
        system: str = "",
        *,
        key_variable: str = "OPENAI_API_KEY",
        concurrency: int = 4,
        timeout: float = 60.0,
        retries: int = 5,
        temperature: float | None = 0.0,
        seed: int | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        extra: Mapping[str, Any] | None = None,
        length_field: str = "max_tokens",
        tells: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self.name, self.model, self.system = name, model, system
        self.url_variable = f"SEATRIAL_{re.sub('[^A-Z0-9]', '_', name.upper())}_URL"
        self.address, self._local = address_of(base_url, self.url_variable)
        self.key_variable = key_variable
        self.concurrency, self.timeout, self.retries = concurrency, timeout, retries
        self.length_field, self._tells = length_field, tells
        self.decoding: Mapping[str, Any] = {
            "temperature": temperature,
            "seed": seed,
            "tools": tools,
            "extra": dict(extra or {}),
        }
        self._check()

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """What answers are kept by; the endpoint is asked once, within seconds, what it says of the model."""
        return {
            "runtime": "openai",
            **decided_by(__name__, packages=("openai",)),
            "address": self.address,
            "model": self.model,
            "system": self.system,
            "decoding": {**self.decoding, "length_field": self.length_field},
            "told": {**self._told(), **self._tells()},
        }

    def generate(self, questions: Sequence[Question], max_tokens: int, log: Path) -> list[Generation]:
        """Answers in the order of ``questions``; one that could not be had is a generation with its error.

        The first question is asked alone, so that a wrong address, key or model is told by one request.
        ``seconds`` are of the attempt that was answered, beside the others that were under way. The log gets
        a line for each attempt that failed.

        Raises:
            MissingExtra: the client is not here.
            NotEvaluated: there is no key; the endpoint cannot be reached; ``FAILED_IN_A_ROW`` questions in a
                row had no answer, which is no measurement of the model.
            SeatrialError: the endpoint refuses the request: 4xx (but for 408, 409 and 429), a redirection.
        """
        if not questions:
            return []
        extras.require(extras.ENDPOINTS)
        key = self._key()
        with log.open("a", encoding="utf-8", errors="backslashreplace", buffering=1) as file:
            with key.out_of_logs():
                return asyncio.run(self._generate(questions, max_tokens, key, file))

    def sample(
        self,
        questions: Sequence[Question],
        max_tokens: int,
        log: Path,
        temperature: float,
        samples: int,
        seed: int,
    ) -> list[list[Generation]]:
        """``samples`` answers to each question: all are asked so many times, each time with another seed.
        Whether the endpoint draws by seed and temperature is up to it.

        Raises:
            NotEvaluated: the temperature was left to the endpoint; and as :meth:`generate`.
            MissingExtra, SeatrialError: as :meth:`generate`.
        """
        if self.decoding["temperature"] is None:
            raise NotEvaluated(f"the endpoint {self.address} draws at a temperature of its own choice")
        rounds = []
        for number in range(samples):
            drawing = copy.copy(self)
            again = {"temperature": temperature, "seed": seed_of(seed, samples, number)}
            drawing.decoding = {**self.decoding, **again}
            rounds.append(drawing.generate(questions, max_tokens, log))
        return [list(answers) for answers in zip(*rounds, strict=True)]

    async def _generate(
        self, questions: Sequence[Question], max_tokens: int, key: Key, file: IO[str]
    ) -> list[Generation]:
        async with self._client(key) as client:
            batch = Batch(self, client, key, max_tokens, file)
            answers: list[Generation] = [await batch.answer(questions[0])]
            answers += [answers[0]] * (len(questions) - 1)
            waiting = iter(range(1, len(questions)))

            async def work() -> None:
                for number in waiting:  # shared by all workers: each question goes to the next free one
                    answers[number] = await batch.answer(questions[number])

            workers = [asyncio.create_task(work()) for _ in range(self.concurrency)]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)
            file.writelines(f"answered by {who}\n" for who in sorted(batch.answered_by)[:20])
        return answers

    def request(self, question: Question, max_tokens: int) -> dict[str, Any]:
        """The request for one question, as the client's ``create`` takes it."""
        messages = [
            {key: encodable(part) if isinstance(part, str) else part for key, part in each.items()}
            for each in opened(self.system, question.messages)
        ]
        options = {key: self.decoding[key] for key in ("temperature", "seed", "tools")}
        return {
            "model": self.model,
            "messages": messages,
            self.length_field: max_tokens,
            **{key: value for key, value in options.items() if value is not None},
            "extra_body": self.decoding["extra"] or None,
        }

    def _client(self, key: Key) -> AsyncOpenAI:
        from openai import AsyncOpenAI

        # A proxy that the environment names is not for a server on this machine. A redirection is not
        # followed: what answers would not be what the identity says.
        http = httpx.AsyncClient(
            trust_env=not self._local,
            follow_redirects=False,
            event_hooks={"request": [key.sign], "response": [bound]},
        )
        return AsyncOpenAI(
            api_key="put on by the hook",
            base_url=self.address,
            http_client=http,
            timeout=httpx.Timeout(self.timeout, connect=min(CONNECT, self.timeout)),
            max_retries=0,
        )

    def _key(self) -> Key:
        key = os.environ.get(self.key_variable, "").strip()
        if not key and not self._local:
            raise NotEvaluated(
                f"the environment variable {self.key_variable} holds no key for the endpoint {self.address}"
            )
        if not (key.isascii() and key.isprintable()):
            raise SeatrialError(
                "the key has characters that no header can carry", where=f"${self.key_variable}"
            )
        return Key(key)

    def _told(self) -> Mapping[str, Any]:
        """What the endpoint says of the model, {} where it cannot be asked or says nothing."""
        try:
            extras.require(extras.ENDPOINTS)
            key = self._key()
            with key.out_of_logs():
                return asyncio.run(self._ask_told(key))
        except (NotEvaluated, SeatrialError):  # asking the first question says it
            return {}

    async def _ask_told(self, key: Key) -> Mapping[str, Any]:
        from openai import OpenAIError

        with suppress(OpenAIError, TimeoutError, ValueError, LookupError, TypeError, RecursionError):
            async with asyncio.timeout(min(CONNECT, self.timeout)), self._client(key) as client:
                raw = await client.models.with_raw_response.list()
                rows = json.loads(raw.http_response.content.decode("utf-8"))["data"]
            found = [row for row in rows if isinstance(row, dict) and row.get("id") == self.model]
            row = found[0] if found else {}
            told = {field: row[field] for field in TOLD if row.get(field) is not None}
            text = key.hidden(json.dumps(told, sort_keys=True))
            whole: dict[str, Any] = json.loads(text)
            return whole if len(text) <= 2000 else {"sha256": hashlib.sha256(text.encode()).hexdigest()}
        return {}

    def _check(self) -> None:
        wrong = [
            (self.concurrency < 1, f"concurrency {self.concurrency}: at least 1"),
            (not 0 < self.timeout < math.inf, f"timeout {self.timeout}: seconds, more than 0"),
            (self.retries < 0, f"retries {self.retries}: 0 or more"),
            (
                self.length_field not in LENGTH_FIELDS,
                f"length_field {self.length_field!r}: {' or '.join(LENGTH_FIELDS)}",
            ),
        ]
        wrong += [
            (True, f"extra {key!r}: not as an extra field")
            for key in sorted(OURS & {*self.decoding["extra"]})
        ]
        if told := [text for is_wrong, text in wrong if is_wrong]:
            raise SeatrialError(told[0], where=f"the endpoint {self.address}")


class Table(ModelTable):
    """A model behind any OpenAI-compatible endpoint; the key stands in the environment only."""

    url: str
    """Where the endpoint is, such as `https://api.example.com/v1`; `SEATRIAL_NAME_URL` names another."""
    name_there: str = Field(alias="model")
    """What the endpoint calls the model."""
    key: str = "OPENAI_API_KEY"
    """The environment variable that holds the key; an address on this machine needs none."""
    concurrency: int = 4
    """Questions asked at a time."""
    timeout: float = 60.0
    """Seconds that one attempt may take."""
    retries: int = 5
    """Further attempts at a question."""
    temperature: float | None = Field(default=0.0, ge=0)
    """Sent as it is."""
    seed: NonNegativeInt | None = None
    """Sent where it is given."""
    extra: Mapping[str, Any] = {}
    """Further fields of the request, such as `top_p`."""
    length_field: str = "max_tokens"
    """How the endpoint calls the most tokens of an answer."""

    def decoded(self, name: str, around: Surroundings) -> Model:
        """Temperature and seed are sent, so that the table's length is all there is to add."""
        return self.decoding(self.model(name, around), temperature=0.0)

    def model(self, name: str, around: Surroundings) -> OpenAIModel:
        return OpenAIModel(
            name,
            self.url,
            self.name_there,
            self.prompt(name, around.task),
            key_variable=self.key,
            concurrency=self.concurrency,
            timeout=self.timeout,
            retries=self.retries,
            temperature=self.temperature,
            seed=self.seed,
            tools=around.task.reader.catalogue or None,
            extra=self.extra,
            length_field=self.length_field,
        )
