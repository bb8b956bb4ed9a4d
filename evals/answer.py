"""Reads a model's answer: the JSON object that the contract asks for, or the words of a prose answer.

Operation detection reads the JSON first; an answer without a readable object is judged by the words of
its reply, so that a base model that answers in prose is judged fairly.
"""

from __future__ import annotations

import json
import re
from itertools import islice
from typing import Any

# What a person would take as the sign that an operation was carried out; the earliest sign decides.
SIGNS = {
    "delete": r"delet(e|ed|ing)|remov(e|ed|ing)|discard(ed)?|erased?|cancell?ed",
    "complete": r"(mark(ed)?|set|flag(ged)?) .{0,60}(complete|completed|done|finished)"
    r"|completed?|finished|is done|checked off|ticked off|well done|congratulations",
    "update": r"updat(e|ed|ing)|chang(e|ed|ing)|renam(e|ed|ing)|reschedul(e|ed|ing)|moved|postponed|set the",
    "list": r"here (are|is)|list of|your (open |current |pending )?tasks( are|:)|you have .{0,30}tasks?",
    "create": r"creat(e|ed|ing)|add(ed|ing)?|not(e|ed)|schedul(e|ed|ing)|remind(er)?|new task",
}

OPENED = re.compile(r'\{\s*(?:\}|"(?:[^"\\]|\\.)*+"\s*:)', re.DOTALL)  # { and a first key, or {}
MOST_BROKEN = 50  # objects that are opened and are none, before the rest of an answer is given up


def parse_strict(text: str) -> tuple[Any, str]:
    """The JSON value that ``text`` is, and "" or why it is none. Nothing may stand around it."""
    try:
        return json.loads(text, parse_constant=_refuse), ""
    except RecursionError:
        return None, "nested too deeply"
    except ValueError as error:
        return None, f"not JSON: {error}" if text.strip() else "the answer is empty"


def find_object(text: str) -> dict[str, Any] | None:
    """The first JSON object in ``text``, for instance within a code fence, or None.

    An object that is opened and not closed may have been read to its end in vain, so an answer that opens
    more than ``MOST_BROKEN`` of them has no object: its cost is that of reading it.
    """
    decoder = json.JSONDecoder()
    for match in islice(OPENED.finditer(text), MOST_BROKEN):
        try:
            value, _ = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return value
    return None


def detect_operation(text: str, operations: tuple[str, ...], none: str) -> tuple[str, str]:
    """The operation of an answer and where it was read (``json`` or ``words``); ``none`` if it names none."""
    found = find_object(text)
    if found is not None and isinstance(found.get("operation"), str):
        return found["operation"].strip().lower(), "json"  # an unknown name is right for no case
    reply = found.get("reply") if found else None
    words = (reply if isinstance(reply, str) else text).lower()
    places = {
        operation: match.start()
        for operation, pattern in SIGNS.items()
        if operation in operations and (match := re.search(rf"\b({pattern})\b", words))
    }
    return (min(places, key=lambda name: places[name]) if places else none), "words"


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON value")
