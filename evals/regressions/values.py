"""Single values of a production record: one line of text, a time, why an answer ended."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from seatrial.evals.models import EOS, ERROR, LENGTH, UNKNOWN
from seatrial.evals.regressions.private_data import Redactor
from seatrial.training.errors import SeatrialError

MOST_BYTES = 100_000  # of one record: a row is read by people, and it is kept for good
STOPS = {"stop": EOS, "end_turn": EOS, EOS: EOS, LENGTH: LENGTH, "max_tokens": LENGTH, ERROR: ERROR}


def line(values: Mapping[str, Any], name: str, where: str, control: bool = False) -> str | None:
    """A field of one line: it is printed in reports and on terminals."""
    value = values.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise SeatrialError(f"'{name}' is {short(value)}", where=where, hint="it must be a text")
    encodable(value, name, where)
    if not control and not value.isprintable():
        raise SeatrialError(
            f"'{name}' is {short(value)}: it holds line ends or control characters", where=where
        )
    return value


def moment(value: Any, where: str) -> str | None:
    """A time as ISO 8601; a number is taken as seconds since 1970, or milliseconds if it is so large."""
    if value is None or value == "":
        return None
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            seconds = value / 1000 if value > 1e11 else value
            return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
        datetime.fromisoformat(value)
    except (ValueError, TypeError, OverflowError, OSError):
        raise SeatrialError(
            f"'when' is {short(value)}", where=where, hint="a date or time as in 2026-11-20T09:30:00Z"
        ) from None
    return str(value)


def stop(value: Any, where: str) -> str:
    if value is None:
        return UNKNOWN
    if not isinstance(value, str) or value not in STOPS:
        raise SeatrialError(
            f"'stop_reason' is {short(value)}", where=where, hint=f"allowed: {', '.join(sorted(STOPS))}"
        )
    return STOPS[value]


def encodable(text: str, name: str, where: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise SeatrialError(
            f"'{name}' holds half of a surrogate pair, which no text file can hold", where=where
        ) from None


def short(value: Any) -> str:
    """A value for an error, which may end in a log: nothing private in it is shown."""
    said = str(Redactor(replace=True).clean(repr(value)[:MOST_BYTES], ""))
    return said if len(said) <= 60 else f"{said[:60]}…"
