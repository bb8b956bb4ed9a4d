"""The shipped file in an Ollama server that is already running, through the official client.

The model is created from the file with the project's own Modelfile and removed afterwards.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.models import EOS, ERROR, LENGTH, Generation, Question, encodable


def server_version() -> str | None:
    """The version of the Ollama server that answers, or None within about two seconds."""
    import httpx
    from ollama import Client

    try:
        answer = Client(timeout=2.0)._client.get("/api/version")
        return str(answer.json()["version"])
    except (httpx.HTTPError, ConnectionError, ValueError, KeyError):
        return None


class OllamaModel:
    """A GGUF file created in Ollama from a Modelfile's template, stop strings and system prompt."""

    def __init__(self, name: str, path: Path, sha256: str, modelfile: str, version: str) -> None:
        self.name, self.path, self.sha256 = name, path, sha256
        self.settings = read_modelfile(modelfile)
        self.identity: Mapping[str, Any] = {
            "runtime": "ollama",
            "version": version,
            "file_sha256": sha256,
            "modelfile": modelfile,
        }

    def generate(self, questions: Sequence[Question], max_tokens: int, log: Path) -> list[Generation]:
        from ollama import Client

        client = Client(timeout=600.0)
        created = f"seatrial-{uuid.uuid4().hex[:12]}"
        client.create_blob(self.path)
        client.create(
            created,
            files={self.path.name: f"sha256:{self.sha256}"},
            template=self.settings["template"],
            system=self.settings["system"],
            parameters=self.settings["parameters"],
        )
        try:
            return [self._answer(client, created, question, max_tokens) for question in questions]
        finally:
            client.delete(created)

    def _answer(self, client: Any, created: str, question: Question, max_tokens: int) -> Generation:
        from ollama import ResponseError

        options = {"temperature": 0, "num_predict": max_tokens}
        try:
            answer = client.chat(created, messages=[dict(m) for m in question.messages], options=options)
        except ResponseError as error:
            return Generation(text="", stop_reason=ERROR, error=f"Ollama: {error.error}")
        return Generation(
            text=encodable(answer.message.content or ""),
            prompt_tokens=answer.prompt_eval_count or 0,
            completion_tokens=answer.eval_count or 0,
            stop_reason=EOS if answer.done_reason == "stop" else LENGTH,
            seconds=round((answer.total_duration or 0) / 1e9, 4),
        )


def read_modelfile(text: str) -> dict[str, Any]:
    """Template, system prompt and parameters of a Modelfile, as Ollama's create endpoint takes them."""
    blocks = dict(re.findall(r'^(TEMPLATE|SYSTEM) """(.*?)"""$', text, re.DOTALL | re.MULTILINE))
    parameters: dict[str, Any] = {}
    rest = re.sub(r'^(TEMPLATE|SYSTEM) """(.*?)"""$', "", text, flags=re.DOTALL | re.MULTILINE)
    for name, value in re.findall(r"^PARAMETER (\S+) (.+)$", rest, re.MULTILINE):
        if name == "stop":
            parameters.setdefault("stop", []).append(value.strip('"'))
        else:
            parameters[name] = float(value) if "." in value else int(value)
    return {"template": blocks.get("TEMPLATE"), "system": blocks.get("SYSTEM"), "parameters": parameters}
