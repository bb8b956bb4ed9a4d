"""Reads a TOML file and says what is wrong in it: the file, the place, the value, the remedy.

    table = read_toml(path, ("rows", "seed"))

Left out: what the keys mean, which is `seeds` and `lines`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from seatrial.training.errors import SeatrialError


class SeedError(SeatrialError):
    """A mistake in a seed file."""


def read_toml(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    """The file's table, with just these keys, none of them empty. Raises SeedError."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SeedError("no such file", where=path, hint="a seed folder needs it") from None
    except tomllib.TOMLDecodeError as error:
        raise SeedError(f"not TOML: {error}", where=path, hint="mend this line") from None
    one_of(path, "top level", table, keys)
    for key in keys:
        if key not in table or table[key] in ([], {}, ""):
            raise SeedError(f"{key} is missing or empty", where=path, hint=f"needed: {listed(keys)}")
    return table


def one_of(path: Path, place: str, values: Iterable[str], allowed: Iterable[str]) -> None:
    """Raises SeedError for the first value that is not allowed."""
    allowed = list(allowed)
    for value in values:
        if value not in allowed:
            hint = f"allowed: {listed(allowed)}"
            raise SeedError(f"{place}: {value!r} is unknown", where=path, hint=hint)


def no_repeats(path: Path, table: dict[str, list[str]]) -> None:
    """Raises SeedError if a list has a value twice."""
    for key, values in table.items():
        for value in values:
            if values.count(value) > 1:
                raise SeedError(f"{key}: {value!r} stands there twice", where=path, hint="keep one")


def listed(values: Iterable[str]) -> str:
    return ", ".join(values) or "(nothing)"
