"""What an expectation of a case may look like: each metric says it of what it reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Shape:
    """A kind of JSON value; ``about`` names it in messages."""

    about: str
    fits: Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_calls(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(call, dict)
        and isinstance(call.get("name"), str)
        and isinstance(call.get("arguments", {}), dict)
        for call in value
    )


ANYTHING = Shape("any value", lambda value: True)
TEXT = Shape("a text", _is_text)
TEXTS = Shape("a list of texts", lambda value: isinstance(value, list) and all(map(_is_text, value)))
TEXT_OR_TEXTS = Shape(
    "a text or a list of texts", lambda value: _is_text(value) or (bool(value) and TEXTS.fits(value))
)
OBJECT = Shape("an object", lambda value: isinstance(value, dict))
NUMBER = Shape("a number", _is_number)
WHOLE = Shape(
    "a whole number from 0", lambda value: isinstance(value, int) and _is_number(value) and value >= 0
)
TRUTH = Shape("true or false", lambda value: isinstance(value, bool))
CALLS = Shape('a list of calls, {"name": "...", "arguments": {...}}', _are_calls)
ISSUES = Shape(
    'a list of issues, {"id": "...", "severity": "..."}',
    lambda value: (
        isinstance(value, list)
        and all(isinstance(issue, dict) and isinstance(issue.get("id"), str) for issue in value)
    ),
)
