"""A regression's history, kept in its row: the failure that was seen, and since when it is mended.

It decides nothing and is no part of what a model is asked: a row whose history changes asks nothing anew.
``seatrial regressions add`` writes it and ``seatrial regressions check`` keeps it, by one rule:

- held, and ``green_since`` is not set: ``green_since`` becomes this day and this model;
- missed: ``green_since`` is taken away, and ``last_red`` becomes this day and this model, unless it names
  this model already;
- not evaluated: nothing changes.

So ``green_since`` begins the unbroken run of checks that held up to now, and checking a model again that was
checked before changes no byte.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, ValidationError

from seatrial.training.configuration import Config
from seatrial.training.errors import SeatrialError

MODEL = r"sha256:[0-9a-f]{64}|program:\S.*"


def _moment(text: str) -> str:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("no date or time as ISO 8601 has them, such as 2026-11-20") from None
    return text


def _model(text: str) -> str:
    if not re.fullmatch(MODEL, text):
        raise ValueError("no model: sha256: and the 64 hexadecimal digits of a file, or program: and a name")
    return text


Moment = Annotated[str, AfterValidator(_moment)]  # ISO 8601: a day, or a day and a time
ModelName = Annotated[str, AfterValidator(_model)]  # "sha256:<hex>" of a file, "program:<name>"


class Seen(Config):
    """Where and when the failure was seen."""

    where: str | None = None
    when: Moment | None = None


class On(Config):
    """A check: the day, and the model that was asked."""

    when: Moment
    on: ModelName


class History(Config):
    """Everything that a row remembers.

    ``answer`` is the bad answer that was seen (and ``stop_reason`` how it ended, where that is known): it is
    kept so that anybody can see that the row is still red on it. ``red_on``: the model that gave it; None if
    nobody said.
    """

    seen: Seen = Seen()
    incident: str | None = None
    added: Moment | None = None
    answer: str | None = None
    stop_reason: str | None = None
    red_on: ModelName | None = None
    green_since: On | None = None
    last_red: On | None = None

    def after(self, held: bool | None, on: str, today: date) -> History:
        """The history after a check on the model ``on``; ``held`` is None if it was not evaluated."""
        check = On(when=today.isoformat(), on=on)
        if held is None or (held and self.green_since):
            return self
        if held:
            return self.model_copy(update={"green_since": check})
        if self.last_red and self.last_red.on == on:
            check = self.last_red
        return self.model_copy(update={"green_since": None, "last_red": check})

    def to_json(self) -> dict[str, Any]:
        """As it stands in a row: what is not known is left out."""
        told = self.model_dump(mode="json", exclude_none=True)
        return {name: value for name, value in told.items() if value != {}}


def read_history(value: Any, where: str) -> History:
    """The history that a row holds.

    Raises:
        SeatrialError: a key that no history has, or a value of another kind; with file and line.
    """
    if not isinstance(value, Mapping):
        raise SeatrialError(f"'history' is {value!r}", where=where, hint=_ALLOWED)
    try:
        return History.model_validate(value, strict=True)
    except ValidationError as error:
        item = error.errors()[0]
        key = ".".join(map(str, ("history", *item["loc"])))
        if item["type"] == "extra_forbidden":
            raise SeatrialError(f"unknown key '{key}'", where=where, hint=_ALLOWED) from None
        message = item["msg"].removeprefix("Value error, ")
        raise SeatrialError(f"'{key}' is {item['input']!r}: {message}", where=where, hint=_ALLOWED) from None


_ALLOWED = (
    f"a history has the keys {', '.join(History.model_fields)}, "
    "all optional; seen has where and when, green_since and last_red have when and on"
)
