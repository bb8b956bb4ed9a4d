"""The shipped file in Ollama as it is served: created from its Modelfile, asked without any option.

What ``ollama create -f Modelfile`` would send is sent, all of it, and a question is sent alone: temperature,
length and everything else are the Modelfile's. The model is removed afterwards.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import uuid
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from ollama import Client, ResponseError
from pydantic import Field

from seatrial.evals.modelfiles.parser import RefusedModelfile, read_modelfile
from seatrial.evals.modelfiles.source import hindrance
from seatrial.evals.models import (
    EOS,
    ERROR,
    LENGTH,
    Generation,
    Message,
    Model,
    Question,
    encodable,
    for_template,
)
from seatrial.evals.models.ollama_server import find, last_lines, version_of
from seatrial.evals.models.table import ModelTable, Surroundings
from seatrial.evals.provenance import decided_by
from seatrial.training.errors import SeatrialError

ANSWER_SECONDS = 120.0  # after which an answer is cut; one of the example takes half a second
TAGS_SECONDS = 10.0  # until a server that runs must have listed its models
GONE = (httpx.HTTPError, ConnectionError)  # what the client raises when a server does not answer


class OllamaRefuses(SeatrialError):
    """The server takes the file or its Modelfile for wrong, and has said why."""


def available() -> tuple[str | None, str]:
    """The version of the Ollama that would answer, or None and why there is none; within some seconds."""
    server, reason = find()
    return (server.version if server else None), reason


class OllamaModel:
    """A GGUF file created in Ollama from its Modelfile.

    Args:
        name: the model's role.
        path: the GGUF file; ``sha256`` is its digest.
        modelfile: the Modelfile's text.
        version: what :func:`available` gave; no other version may answer.
        folder: where the Modelfile lies; beside the file, if it is not said.

    Raises:
        RefusedModelfile: Ollama takes no such Modelfile, or would answer with something else than the file.
    """

    def __init__(
        self, name: str, path: Path, sha256: str, modelfile: str, version: str, folder: Path | None = None
    ) -> None:
        self.name, self.path, self.sha256, self.version = name, path, sha256, version
        self.settings = read_modelfile(modelfile)
        if why := hindrance(self.settings, path, sha256, folder or path.parent):
            raise RefusedModelfile(why)
        self.identity: Mapping[str, Any] = {
            "runtime": "ollama",
            "version": version,
            "file_sha256": sha256,
            "modelfile": modelfile,
            **decided_by(__name__, packages=("ollama",)),
        }

    def generate(self, questions: Sequence[Question], max_tokens: int, log: Path) -> list[Generation]:
        """Answers in the order of ``questions``, asked one at a time.

        The Modelfile says how long an answer may be; one that outgrows ``max_tokens`` or takes longer than
        ``ANSWER_SECONDS`` is cut here, so that a run ends.
        """
        with self._created(log) as (client, model):
            return [_answer(client, model, question, max_tokens) for question in questions]

    def render(
        self,
        conversations: Sequence[Sequence[Message]],
        log: Path,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> list[str]:
        """The prompts that Ollama makes of ``conversations``, which are sent as they are; ``tools``:
        definitions of tools that are offered in all of them.

        Ollama itself puts the Modelfile's system prompt before a conversation that begins without one.
        """
        with self._created(log) as (client, model):
            return [_rendered(client, model, conversation, tools) for conversation in conversations]

    @contextlib.contextmanager
    def _created(self, log: Path) -> Iterator[tuple[Client, str]]:
        """A client and the name of the model in its server, where both exist no longer than the block."""
        server, reason = find()
        if server is None:
            raise SeatrialError(f"Ollama cannot be asked: {reason}")
        with server.client(log) as client, self._telling("stopped answering", log):
            if (found := version_of(client)) and found != self.version:
                raise SeatrialError(
                    f"Ollama {found} answers where {self.version} did before",
                    hint="leave Ollama as it is during a run, and run again",
                )
            model = f"seatrial-{uuid.uuid4().hex[:12]}"
            with self._telling("could not create a model from this file and its Modelfile", log):
                client.create_blob(self.path)
                files = {self.path.name: f"sha256:{self.sha256}"}
                _post(client, "/api/create", model=model, files=files, **self.settings.request())
            try:
                # Only loads, so that a file that cannot be loaded is one error and not one of each question.
                with self._telling("could not load this file", log):
                    client.chat(model, messages=[])
                yield client, model
            finally:
                with contextlib.suppress(*GONE):
                    _remove(client, model)

    @contextlib.contextmanager
    def _telling(self, what: str, log: Path) -> Iterator[None]:
        try:
            yield
        except ResponseError as error:
            if error.status_code < 500:
                raise OllamaRefuses(f"Ollama {what}: {error.error}", where=self.path) from None
            problem = f"Ollama {what}: {error.error}"
            raise SeatrialError(problem, where=self.path, hint=last_lines(log)) from None
        except GONE as error:
            problem = f"Ollama {what}: {error or type(error).__name__}"
            raise SeatrialError(problem, where=self.path, hint=last_lines(log)) from None


def _answer(client: Client, model: str, question: Question, max_tokens: int) -> Generation:
    parts: list[str] = []
    started = time.monotonic()
    messages = [dict(message) for message in for_template(question.messages)]
    try:
        with contextlib.closing(_streamed(client, model=model, messages=messages)) as stream:
            for part in stream:
                parts.append(part["message"].get("content") or "")
                if part.get("done"):
                    return Generation(
                        text=encodable("".join(parts)),
                        prompt_tokens=part.get("prompt_eval_count") or 0,
                        completion_tokens=part.get("eval_count") or 0,
                        stop_reason=EOS if part.get("done_reason") == "stop" else LENGTH,
                        seconds=round((part.get("total_duration") or 0) / 1e9, 4),
                    )
                # A part is a token, or some that are a character or the beginning of a stop string together.
                seconds = time.monotonic() - started
                if len(parts) > max_tokens or seconds > ANSWER_SECONDS:
                    return _cut(parts[:max_tokens], seconds)
    except ResponseError as error:
        return Generation(text="", stop_reason=ERROR, error=f"Ollama: {error.error}")
    return Generation(text="", stop_reason=ERROR, error="Ollama: the answer broke off")


def _streamed(client: Client, **request: Any) -> Generator[dict[str, Any], None, None]:
    """The parts of an answer. The official client's ``chat`` would drop the ids of calls and results, and
    with them what the prompts of some models hold."""
    with client._client.stream("POST", "/api/chat", json={**request, "stream": True}) as answer:
        if answer.is_error:
            answer.read()
            raise ResponseError(answer.text, answer.status_code)
        for line in answer.iter_lines():
            part = json.loads(line)
            if told := part.get("error"):
                raise ResponseError(told)
            yield part


def _cut(parts: Sequence[str], seconds: float) -> Generation:
    return Generation(
        text=encodable("".join(parts)),
        completion_tokens=len(parts),
        stop_reason=LENGTH,
        seconds=round(seconds, 4),
        error=f"Ollama had not ended the answer after {len(parts)} tokens and {seconds:.0f} s; it was cut",
    )


def _rendered(
    client: Client,
    model: str,
    conversation: Sequence[Message],
    tools: Sequence[Mapping[str, Any]] | None,
) -> str:
    offered = {"tools": [dict(tool) for tool in tools]} if tools else {}
    answer = _post(
        client,
        "/api/chat",
        model=model,
        messages=[dict(message) for message in conversation],
        options={"num_predict": 1},  # a server that does not know the next field would answer
        _debug_render_only=True,
        **offered,
    )
    try:
        return str(answer["_debug_info"]["rendered_template"])
    except (ValueError, KeyError, TypeError):
        raise SeatrialError(
            "this version of Ollama does not tell the prompts that it makes",
            hint="install a newer one; 0.24 does",
        ) from None


def _post(client: Client, path: str, **request: Any) -> Any:
    """Ollama's answer to a request with fields that the official client's calls do not know."""
    answer = client._client.post(path, json={**request, "stream": False})
    if answer.is_error:
        raise ResponseError(answer.text, answer.status_code)
    return answer.json()


def named_there(address: str, name: str) -> dict[str, str]:
    """What a server says of the model that it has under ``name``: its digest, which ``ollama pull`` changes,
    and the server's version; what it does not say is left out."""
    with contextlib.suppress(*GONE, ValueError, KeyError, TypeError, httpx.InvalidURL):
        with Client(host=address, timeout=TAGS_SECONDS) as client:
            tags = client._client.get("/api/tags").json()["models"]
            wanted = name if ":" in name else f"{name}:latest"
            digest = next((each["digest"] for each in tags if each["name"] == wanted), None)
            told = {"ollama": version_of(client), "digest": digest}
            return {key: str(value) for key, value in told.items() if value}
    return {}


def _remove(client: Client, model: str) -> None:
    with contextlib.suppress(ResponseError):
        client.chat(model, messages=[], keep_alive=0)  # out of the memory of a server that goes on
    client.delete(model)


class Table(ModelTable):
    """A model that an Ollama server has under a name, such as a larger one; asked by its OpenAI endpoint."""

    name_there: str = Field(alias="model")
    """What the server calls it, such as `llama3.2:3b`."""

    def model(self, name: str, around: Surroundings) -> Model:
        from seatrial.evals.models.openai import OpenAIModel

        host = os.environ.get("OLLAMA_HOST") or "127.0.0.1:11434"
        address = host if "://" in host else f"http://{host}"
        url, system = f"{address.rstrip('/')}/v1", self.prompt(name, around.task)
        return OpenAIModel(
            name, url, self.name_there, system, tells=lambda: named_there(address, self.name_there)
        )
