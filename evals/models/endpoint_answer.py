"""The generation that an endpoint's chat completion is, or why it is none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from seatrial.evals.models import EOS, LENGTH, UNKNOWN, Generation, encodable
from seatrial.evals.models.endpoint_http import message_of

STOPS = {"stop": EOS, "length": LENGTH}


@dataclass(eq=False)
class Failed(Exception):
    """An attempt without an answer: why, whether another may have one, and what pause the endpoint asks for.

    ``heard``: something answered at that address.
    """

    why: str
    passing: bool
    pause: float = 0.0
    heard: bool = True


def generation_of(answer: Any) -> Generation:
    """The generation that a chat completion is; whatever goes wrong, it is none."""
    if answer.get("error"):  # gateways send it with status 200
        raise Failed(message_of(json.dumps(answer).encode()), passing=False)
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
