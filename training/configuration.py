"""Reads a TOML file into a typed object; a mistake names the file, the line, the key and what is allowed.

Used for tasks and recipes. What it leaves out: nothing is ever filled in silently; a key that the model
does not know is an error, because a misspelt threshold would otherwise be no threshold.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from datetime import date, time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from seatrial.training.errors import SeatrialError, at

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


class Config(BaseModel):
    """Base of every table read from TOML: immutable, and no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


ConfigT = TypeVar("ConfigT", bound=Config)


def read_toml(
    path: Path, model: type[ConfigT], prepare: Callable[[dict[str, Any]], dict[str, Any]] | None = None
) -> ConfigT:
    """Parse ``path`` and validate it as ``model``; raises :class:`SeatrialError` for every mistake in it.

    ``prepare`` may complete what was read, such as by defaults that lie elsewhere; it adds no entry before
    one of the file's own, so that a mistake is still told with its line.

    Types are taken at their word: ``"0.9"`` is no number, and neither ``"no"`` nor ``0`` is ``false``.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SeatrialError("this file does not exist", where=path, hint=_neighbours(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SeatrialError(f"cannot be read: {error}", where=path) from None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        raise SeatrialError(
            f"not valid TOML: {error}",
            where=at(path, int(line[1]) if line else None),
            hint="strings need quotes, tables [brackets]; see https://toml.io for the syntax",
        ) from None
    for location, value, wanted in _useless(data):
        where = at(path, _line_of(text, location))
        raise SeatrialError(f"'{_dotted(location)}' = {value}: should be {wanted}", where=where)
    if prepare is not None:
        data = prepare(data)
    try:
        # As JSON, because strict Python values would refuse TOML's lists as tuples and its strings as paths.
        return model.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        in_order = sorted(error.errors(), key=lambda item: _line_at_fault(text, item) or 0)
        first, *others = [_explain(path, text, model, item) for item in in_order]
        more = "".join(f"\n{other}" for other in others)
        raise SeatrialError(str(first) + more) from None


def _useless(value: Any, location: tuple[str | int, ...] = ()) -> Iterator[tuple[Any, Any, str]]:
    """Values that no key of ours may have, with their place and what should be there instead."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _useless(item, (*location, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _useless(item, (*location, number))
    elif isinstance(value, float) and not math.isfinite(value):
        yield location, value, "a finite number"
    elif isinstance(value, date | time):
        yield location, value, "in quotes: without them it is a date or a time, not a text"


def _explain(path: Path, text: str, model: type[Config], item: ErrorDetails) -> SeatrialError:
    key = _dotted(item["loc"])
    where = at(path, _line_at_fault(text, item))
    if item["type"] == "missing":
        return SeatrialError(f"'{key}' is missing", where=where, hint=f"add the key {item['loc'][-1]!r}")
    if item["type"] == "extra_forbidden":
        known = _known_keys(model, item["loc"][:-1])
        close = difflib.get_close_matches(str(item["loc"][-1]), known, n=1)
        guess = f"did you mean {close[0]!r}? " if close else ""
        return SeatrialError(
            f"unknown key '{key}'", where=where, hint=f"{guess}allowed here: {', '.join(known)}"
        )
    message = item["msg"].removeprefix("Value error, ")
    if not item["loc"] or isinstance(item.get("ctx", {}).get("error"), Misplaced):  # its text says what it is
        return SeatrialError(message, where=where)
    return SeatrialError(f"'{key}' = {item['input']!r}: {message}", where=where)


def _line_at_fault(text: str, item: ErrorDetails) -> int | None:
    if item["type"] == "missing":  # where it should be: the line of its table
        return _line_of(text, item["loc"][:-1])
    cause = item.get("ctx", {}).get("error")
    return _line_of(text, (*item["loc"], *getattr(cause, "location", ())))


def _dotted(location: Sequence[str | int]) -> str:
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in location]
    return "".join(parts).lstrip(".")


def _known_keys(model: type[Config], location: Sequence[str | int]) -> list[str]:
    """The keys that are allowed at ``location``: walks lists and dicts of tables down from ``model``."""
    current: Any = model
    for part in location:
        if isinstance(current, type) and issubclass(current, BaseModel):
            fields = {field.alias or name: field.annotation for name, field in current.model_fields.items()}
            current = fields.get(str(part))
        else:  # the tables of a list or of a table of tables
            current = next((a for a in reversed(get_args(current)) if a not in (..., type(None))), None)
    if isinstance(current, type) and issubclass(current, BaseModel):
        return sorted(field.alias or name for name, field in current.model_fields.items())
    return []


class Misplaced(ValueError):
    """A rule that needs the whole file was broken at ``location``."""

    def __init__(self, message: str, *location: str | int) -> None:
        super().__init__(message)
        self.location = location


def line_of(path: Path, location: Sequence[str | int]) -> int | None:
    """The line of a key in a TOML file, as well as it can be told."""
    return _line_of(path.read_text(encoding="utf-8"), location)


def _line_of(text: str, location: Sequence[str | int]) -> int | None:
    """Best effort: the line of the deepest key of ``location`` that the text shows, counting list tables."""
    lines = text.splitlines()
    start = 0
    found: int | None = None
    for depth, part in enumerate(location):
        if isinstance(part, int):
            name = re.escape(str(location[depth - 1]))
            headers = [n for n, line in enumerate(lines) if re.match(rf"\s*\[\[{name}\]\]", line)]
            if part < len(headers):
                start, found = headers[part], headers[part] + 1
            continue
        path = re.escape(".".join(str(p) for p in location[: depth + 1] if isinstance(p, str)))
        pattern = rf"\s*(\[{path}\]|[\"']?{re.escape(str(part))}[\"']?\s*=)"
        match = next((n for n in range(start, len(lines)) if re.match(pattern, lines[n])), None)
        if match is not None:
            start, found = match, match + 1
    return found


def _neighbours(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"the folder {folder} does not exist either"
    names = sorted(entry.name for entry in folder.glob("*.toml"))
    return f"TOML files beside it: {', '.join(names)}" if names else f"no TOML file lies in {folder}"
