"""What models cost, as a task declares it: ``prices.toml`` beside ``task.toml``, one table a model.

    [models.shipped]
    per_hour = 0.53
    why = "g4dn.xlarge, on demand, 2026-11"

    [models.larger]
    input = 2.5
    output = 10.0
    why = "The provider's price list of 2026-11"

Prices decide nothing and belong to no digest: a new price list asks nothing anew. Without the file, costs are
not told.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from seatrial.training.configuration import Config, read_toml

FILE = "prices.toml"


class Price(Config):
    """What one model costs: by tokens, by the hour of the machine, or both."""

    input: float | None = Field(default=None, ge=0)
    """Dollars for a million tokens of prompts, the system prompt among them."""
    output: float | None = Field(default=None, ge=0)
    """Dollars for a million tokens of answers."""
    per_hour: float | None = Field(default=None, ge=0)
    """Dollars for an hour of the machine."""
    why: str = Field(min_length=1)
    """Where the price is from, and of when it is."""

    @model_validator(mode="after")
    def _priced(self) -> Price:
        if (self.input is None) != (self.output is None):
            raise ValueError("a price by tokens needs both 'input' and 'output'")
        if self.input is None and self.per_hour is None:
            raise ValueError("needs 'input' and 'output' (a million tokens), or 'per_hour' (the machine)")
        return self


class Prices(Config):
    """The file: a price by the name of a model, as criteria name models."""

    models: Mapping[str, Price]
    """By name: shipped, base, prompted_base ..."""


def read_prices(folder: Path) -> dict[str, dict[str, Any]]:
    """The prices of a task's models by name, as results.json holds them; none where there is no file.

    Raises:
        SeatrialError: with file, line and key, for a mistake in it.
    """
    path = folder / FILE
    if not path.exists():
        return {}
    return {name: price.model_dump() for name, price in read_toml(path, Prices).models.items()}
