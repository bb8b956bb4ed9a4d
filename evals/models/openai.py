"""A model behind an OpenAI-compatible endpoint: a hosted one, vLLM, llama.cpp's server, Ollama, a gateway.

The official client speaks to it (extra ``endpoints``). What is sent, when it is tried again, and what an
answer is, are decided here: some questions at a time, each attempt within a time and a size, again after what
may pass (429, 5xx, 408, 409, broken connections, silence), and at once an error after what will not.

An endpoint may answer otherwise tomorrow under the same name. What it says of its model beforehand (in its
list of models) is part of the identity that answers are kept by; ``system_fingerprint`` comes with an answer
only, so it cannot be: the log tells it. To ask again, name a dated model, or empty the store.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import ipaddress
import json
import logging
import math
import os
import random
import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
from pydantic import Field, NonNegativeInt

from seatrial.evals.models import (
    EOS,
    ERROR,
    LENGTH,
    UNKNOWN,
    Generation,
    Model,
    Question,
    encodable,
    opened,
    seed_of,
)
from seatrial.evals.models.table import ModelTable, Surroundings
from seatrial.evals.provenance import decided_by
from seatrial.evals.verdict import NotEvaluated, shorten
from seatrial.evals.visible import spelled_out
from seatrial.training import extras
from seatrial.training.errors import SeatrialError

if TYPE_CHECKING:
    from openai import AsyncOpenAI

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds before the second attempt; it doubles up to the longest
MOST_PATIENCE = 120.0  # seconds; an endpoint that asks for a longer pause has refused
CONNECT = 10.0  # seconds for a connection, and for what the endpoint says of its model
LONGEST_BODY = 4_000_000  # bytes of one answer
FAILED_IN_A_ROW = 10  # questions without an answer after which the endpoint is taken for down
PASSING = (408, 409, 429)  # and 5xx: the same request may be answered later
SECRET = 16  # characters from which a key is one; shorter ones ("EMPTY") are words that answers may hold
STOPS = {"stop": EOS, "length": LENGTH}
LENGTH_FIELDS = ("max_tokens", "max_completion_tokens")
OURS = {"model", "messages", "temperature", "seed", "tools", "stream", "n", *LENGTH_FIELDS}
LOGGERS = (
    "openai._base_client",
    "httpx",
    *(f"httpcore.{part}" for part in ("connection", "http11", "http2", "proxy")),
)
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
    ) -> None:
        self.name, self.model, self.system = name, model, system
        self.url_variable = f"SEATRIAL_{re.sub('[^A-Z0-9]', '_', name.upper())}_URL"
        self.address, self._local = _address(base_url, self.url_variable)
        self.key_variable = key_variable
        self.concurrency, self.timeout, self.retries = concurrency, timeout, retries
        self.length_field = length_field
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
            **decided_by(__name__),
            "address": self.address,
            "model": self.model,
            "system": self.system,
            "decoding": {**self.decoding, "length_field": self.length_field},
            "told": self._told(),
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
        self, questions: Sequence[Question], max_tokens: int, key: _Key, file: IO[str]
    ) -> list[Generation]:
        async with self._client(key) as client:
            batch = _Batch(self, client, key, max_tokens, file)
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

    def _client(self, key: _Key) -> AsyncOpenAI:
        from openai import AsyncOpenAI

        # A proxy that the environment names is not for a server on this machine. A redirection is not
        # followed: what answers would not be what the identity says.
        http = httpx.AsyncClient(
            trust_env=not self._local,
            follow_redirects=False,
            event_hooks={"request": [key.sign], "response": [_bound]},
        )
        return AsyncOpenAI(
            api_key="put on by the hook",
            base_url=self.address,
            http_client=http,
            timeout=httpx.Timeout(self.timeout, connect=min(CONNECT, self.timeout)),
            max_retries=0,
        )

    def _key(self) -> _Key:
        key = os.environ.get(self.key_variable, "").strip()
        if not key and not self._local:
            raise NotEvaluated(
                f"the environment variable {self.key_variable} holds no key for the endpoint {self.address}"
            )
        if not (key.isascii() and key.isprintable()):
            raise SeatrialError(
                "the key has characters that no header can carry", where=f"${self.key_variable}"
            )
        return _Key(key)

    def _told(self) -> Mapping[str, Any]:
        """What the endpoint says of the model, {} where it cannot be asked or says nothing."""
        try:
            extras.require(extras.ENDPOINTS)
            key = self._key()
            with key.out_of_logs():
                return asyncio.run(self._ask_told(key))
        except (NotEvaluated, SeatrialError):  # asking the first question says it
            return {}

    async def _ask_told(self, key: _Key) -> Mapping[str, Any]:
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


@dataclass(eq=False)
class _Failed(Exception):
    """An attempt without an answer: why, whether another may have one, and what pause the endpoint asks for.

    ``heard``: something answered at that address.
    """

    why: str
    passing: bool
    pause: float = 0.0
    heard: bool = True


@dataclass
class _Batch:
    """The questions of one call of ``generate``."""

    model: OpenAIModel
    client: AsyncOpenAI
    key: _Key
    max_tokens: int
    file: IO[str]
    heard: bool = False
    failed_in_a_row: int = 0
    answered_by: set[str] = field(default_factory=set)

    async def answer(self, question: Question) -> Generation:
        """The answer to one question, after as many attempts as it takes and may have."""
        attempts = self.model.retries + 1
        for attempt in range(attempts):
            try:
                answer = await self._attempt(question)
                self.heard, self.failed_in_a_row = True, 0
                return answer
            except _Failed as failed:
                failure = failed
            self.heard = self.heard or failure.heard
            self._log(question, f"attempt {attempt + 1} of {attempts}: {failure.why}")
            if not failure.passing or failure.pause > MOST_PATIENCE:
                break
            if attempt + 1 < attempts:
                await asyncio.sleep(_pause(attempt, failure.pause))
        return self._without_answer(failure)

    def _without_answer(self, failure: _Failed) -> Generation:
        if not self.heard:
            raise NotEvaluated(
                f"the endpoint {self.model.address} cannot be reached ({failure.why}); "
                f"the environment variable {self.model.url_variable} names another address"
            )
        self.failed_in_a_row += 1
        if self.failed_in_a_row >= FAILED_IN_A_ROW:
            raise NotEvaluated(
                f"the endpoint {self.model.address} gave no answer to {self.failed_in_a_row} questions "
                f"in a row, to the last: {failure.why}"
            )
        return Generation(text="", stop_reason=ERROR, error=failure.why)

    async def _attempt(self, question: Question) -> Generation:
        from openai import APIConnectionError, APIStatusError

        request = self.model.request(question, self.max_tokens)
        started = time.monotonic()
        problem: Exception
        try:
            async with asyncio.timeout(self.model.timeout):
                raw = await self.client.chat.completions.with_raw_response.create(**request)
        except TimeoutError:
            problem = _Failed(self._too_long, passing=True)
        except APIStatusError as error:
            problem = self._refused(error.response)
        except APIConnectionError as error:
            problem = self._broken(error.__cause__ or error)
        else:
            return self._read(raw.http_response.content, time.monotonic() - started)
        raise problem  # here, not above: the client's error, with what the server said, is no context of it

    def _read(self, body: bytes, seconds: float) -> Generation:
        try:
            answer = json.loads(body.decode("utf-8"))
            generation = _generation(answer)
        except _Failed as failed:
            why = self._said(failed.why)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            start = self._said(body[:4000].decode("utf-8", "replace"), 120)
            why = f"no chat completion ({self._said(f'{type(error).__name__}: {error}', 120)}) but: {start}"
        else:
            who = (f"{key} {self._said(str(answer.get(key)), 80)}" for key in ("model", "system_fingerprint"))
            self.answered_by.add(", ".join(who))
            text = self.key.hidden(generation.text) if self.key.is_secret else generation.text
            return replace(generation, text=text, seconds=round(seconds, 4))
        raise _Failed(why, passing=False)

    def _refused(self, response: httpx.Response) -> Exception:
        """What a status other than 2xx means."""
        status, said = response.status_code, self._said(_message(response.content))
        if status in PASSING or status >= 500:
            pause = _asked_pause(response.headers)
            longer = f"; it asks for a pause of {pause:g} s" if pause > MOST_PATIENCE else ""
            return _Failed(f"HTTP {status}: {said}{longer}", passing=True, pause=pause)
        if 300 <= status < 400:
            said = f"it sends us to {self._said(response.headers.get('Location', 'nowhere'))}"
        model = self.model
        hints = {
            401: f"is the key in {model.key_variable} the right one?",
            403: f"may the key in {model.key_variable} use the model {model.model!r}?",
            404: f"is there a model {model.model!r}? Addresses mostly end in /v1, see {model.url_variable}",
        }
        hint = hints.get(status, f"the environment variable {model.url_variable} names another address")
        return SeatrialError(
            f"the endpoint refused the request (HTTP {status}): {said}", where=model.address, hint=hint
        )

    def _broken(self, cause: BaseException) -> _Failed:
        """What a connection without a whole answer means."""
        if isinstance(cause, Unreadable):
            return _Failed(str(cause), passing=False)
        if isinstance(cause, httpx.TimeoutException) and not isinstance(cause, httpx.ConnectTimeout):
            return _Failed(self._too_long, passing=True)
        nobody = isinstance(cause, (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError))
        why = self._said(f"{type(cause).__name__}: {cause}".rstrip(": "))
        return _Failed(why, passing=True, heard=not nobody)

    @property
    def _too_long(self) -> str:
        return f"no answer within {self.model.timeout:g} s"

    def _said(self, text: str, most: int = 300) -> str:
        """Words of the endpoint as they may be shown and kept: without the key, on one line."""
        return spelled_out(encodable(shorten(self.key.hidden(text), most)))

    def _log(self, question: Question, what: str) -> None:
        self.file.write(f"{self._said(question.id)}: {what}\n")


class _Key:
    """The key, which no ``repr`` and no traceback shows; it is put on a request when that is sent."""

    def __init__(self, key: str) -> None:
        self.__key = key

    def __repr__(self) -> str:
        return "<key>"

    @property
    def is_secret(self) -> bool:
        return len(self.__key) >= SECRET

    def hidden(self, text: str) -> str:
        """``text`` without the key."""
        return text.replace(self.__key, "<key>") if self.__key else text

    async def sign(self, request: httpx.Request) -> None:
        """Event hook of httpx."""
        request.headers.pop("Authorization", None)
        if self.__key:
            request.headers["Authorization"] = f"Bearer {self.__key}"
        request.headers["Accept-Encoding"] = "identity"  # a small answer cannot unpack to a big one

    @contextmanager
    def out_of_logs(self) -> Iterator[None]:
        """While this lasts, the client's libraries log no key, though a server sends it back in a header."""
        loggers = [logging.getLogger(name) for name in LOGGERS]
        for logger in loggers:
            logger.addFilter(self._hide)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeFilter(self._hide)

    def _hide(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self.hidden(record.getMessage()), ()
        if record.exc_info:
            record.exc_text = self.hidden(logging.Formatter().formatException(record.exc_info))
            record.exc_info = None
        return True


class Unreadable(Exception):
    """An answer that is not read on."""


async def _bound(response: httpx.Response) -> None:
    """Event hook of httpx: no body is read beyond ``LONGEST_BODY``."""
    packed = response.headers.get("Content-Encoding", "identity")
    if packed.lower() != "identity":
        raise Unreadable(f"the answer is packed ({packed[:20]!r}), which was not asked for")
    assert isinstance(response.stream, httpx.AsyncByteStream)
    response.stream = _Bounded(response.stream)


class _Bounded(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        total = 0
        async for chunk in self._stream:
            total += len(chunk)
            if total > LONGEST_BODY:
                raise Unreadable(f"the answer has more than {LONGEST_BODY:,} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


def _address(base_url: str, variable: str) -> tuple[str, bool]:
    """Where the endpoint is, and whether that is this machine."""
    given = os.environ.get(variable, "").strip()
    address, where = (given, f"${variable}") if given else (base_url, "base_url")
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    hint = "allowed: such as https://api.example.com/v1 or http://127.0.0.1:8000/v1"
    if not host or parts.scheme not in ("http", "https") or port == 0 or not address.isprintable():
        # Not shown where a key may be in it.
        shown = repr(address[:200]) if not re.search("[@?#]", address) else "it"
        raise SeatrialError(f"{shown} is no address of an endpoint", where=where, hint=hint)
    if parts.username is not None or parts.query or parts.fragment:
        # Not shown: addresses are kept and told, and keys are written into all three.
        raise SeatrialError(
            f"the address of {host} has a user, a query or a fragment",
            where=where,
            hint=f"{hint}; a key belongs into its own environment variable",
        )
    return address.rstrip("/"), host == "localhost" or _is_loopback(host)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _pause(attempt: int, asked: float) -> float:
    """Seconds before the next attempt: doubled each time, never less than was asked for, and never at the
    same moment for all that wait."""
    own = min(LONGEST_WAIT, FIRST_WAIT * 2**attempt)
    return asked + random.uniform(0, FIRST_WAIT) if asked else random.uniform(own / 2, own)


def _asked_pause(headers: Mapping[str, str]) -> float:
    """Seconds that ``Retry-After`` asks for, a number or a date (RFC 9110, 10.2.3); 0 if it does not."""
    text = headers.get("Retry-After", "")
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError, IndexError):
            return 0.0
    return 0.0 if math.isnan(seconds) else max(0.0, seconds)


def _message(body: bytes) -> str:
    """What an error's body says: its message, if it has one, else its beginning."""
    text = body.decode("utf-8", "replace")
    with suppress(ValueError, RecursionError):
        told = json.loads(text)
        error = told.get("error", told) if isinstance(told, dict) else told
        found = error.get("message") if isinstance(error, dict) else error
        if isinstance(found, str):
            return found
    return text.strip() or "nothing said"


def _generation(answer: Any) -> Generation:
    """The generation that a chat completion is; whatever goes wrong, it is none."""
    if answer.get("error"):  # gateways send it with status 200
        raise _Failed(_message(json.dumps(answer).encode()), passing=False)
    choice, usage = answer["choices"][0], answer.get("usage")
    message, reason = choice["message"], choice.get("finish_reason")
    text = message.get("content")
    text = (message.get("refusal") or "") if text is None else text
    if not isinstance(text, str):
        raise TypeError("'content' must be a string")
    stop = STOPS.get(reason, UNKNOWN) if isinstance(reason, str) else UNKNOWN
    if calls := message.get("tool_calls"):
        text = json.dumps([_call(call["function"]) for call in calls], ensure_ascii=False)
        stop = EOS if reason == "tool_calls" else stop
    counts = usage if isinstance(usage, dict) else {}
    return Generation(
        text=encodable(text),
        prompt_tokens=_count(counts.get("prompt_tokens")),
        completion_tokens=_count(counts.get("completion_tokens")),
        stop_reason=stop,
    )


def _call(function: Mapping[str, Any]) -> dict[str, Any]:
    """A tool call; arguments that are no JSON stay the text that they are."""
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        with suppress(ValueError, RecursionError):
            arguments = json.loads(arguments)
    return {"name": function["name"], "arguments": arguments}


def _count(tokens: Any) -> int:
    return tokens if isinstance(tokens, int) and not isinstance(tokens, bool) and tokens >= 0 else 0


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
