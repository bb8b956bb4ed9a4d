"""The questions of one call to an endpoint: attempts, pauses between them, and what each of them ended in."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING

import httpx

from seatrial.evals.models import ERROR, Generation, Question, encodable
from seatrial.evals.models.endpoint_answer import Failed, generation_of
from seatrial.evals.models.endpoint_http import Unreadable, asked_pause, message_of, pause_before
from seatrial.evals.models.endpoint_key import Key
from seatrial.evals.verdict import NotEvaluated, shorten
from seatrial.evals.visible import spelled_out
from seatrial.training.errors import SeatrialError

if TYPE_CHECKING:
    from openai import AsyncOpenAI

    from seatrial.evals.models.openai import OpenAIModel

MOST_PATIENCE = 120.0  # seconds; an endpoint that asks for a longer pause has refused
FAILED_IN_A_ROW = 10  # questions without an answer after which the endpoint is taken for down
PASSING = (408, 409, 429)  # and 5xx: the same request may be answered later


@dataclass
class Batch:
    """The questions of one call of ``generate``."""

    model: OpenAIModel
    client: AsyncOpenAI
    key: Key
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
            except Failed as failed:
                failure = failed
            self.heard = self.heard or failure.heard
            self._log(question, f"attempt {attempt + 1} of {attempts}: {failure.why}")
            if not failure.passing or failure.pause > MOST_PATIENCE:
                break
            if attempt + 1 < attempts:
                await asyncio.sleep(pause_before(attempt, failure.pause))
        return self._without_answer(failure)

    def _without_answer(self, failure: Failed) -> Generation:
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
            problem = Failed(self._too_long, passing=True)
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
            generation = generation_of(answer)
        except Failed as failed:
            why = self._said(failed.why)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            start = self._said(body[:4000].decode("utf-8", "replace"), 120)
            why = f"no chat completion ({self._said(f'{type(error).__name__}: {error}', 120)}) but: {start}"
        else:
            who = (f"{key} {self._said(str(answer.get(key)), 80)}" for key in ("model", "system_fingerprint"))
            self.answered_by.add(", ".join(who))
            text = self.key.hidden(generation.text) if self.key.is_secret else generation.text
            return replace(generation, text=text, seconds=round(seconds, 4))
        raise Failed(why, passing=False)

    def _refused(self, response: httpx.Response) -> Exception:
        """What a status other than 2xx means."""
        status, said = response.status_code, self._said(message_of(response.content))
        if status in PASSING or status >= 500:
            pause = asked_pause(response.headers)
            longer = f"; it asks for a pause of {pause:g} s" if pause > MOST_PATIENCE else ""
            return Failed(f"HTTP {status}: {said}{longer}", passing=True, pause=pause)
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

    def _broken(self, cause: BaseException) -> Failed:
        """What a connection without a whole answer means."""
        if isinstance(cause, Unreadable):
            return Failed(str(cause), passing=False)
        if isinstance(cause, httpx.TimeoutException) and not isinstance(cause, httpx.ConnectTimeout):
            return Failed(self._too_long, passing=True)
        nobody = isinstance(cause, (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError))
        why = self._said(f"{type(cause).__name__}: {cause}".rstrip(": "))
        return Failed(why, passing=True, heard=not nobody)

    @property
    def _too_long(self) -> str:
        return f"no answer within {self.model.timeout:g} s"

    def _said(self, text: str, most: int = 300) -> str:
        """Words of the endpoint as they may be shown and kept: without the key, on one line."""
        return spelled_out(encodable(shorten(self.key.hidden(text), most)))

    def _log(self, question: Question, what: str) -> None:
        self.file.write(f"{self._said(question.id)}: {what}\n")
