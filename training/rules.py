"""The rules of thumb of ``rules.toml``: each a number with its unit, why it is so and where it is from."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field

from seatrial.training.configuration import Config, read_toml

FILE = Path(__file__).with_name("rules.toml")


class Rule(Config):
    """One rule of thumb."""

    value: float
    unit: str = Field(min_length=1)
    why: str = Field(min_length=1)
    source: str = Field(min_length=1)

    def told(self) -> str:
        """The rule as one sentence."""
        return f"{self.value:g} {self.unit}: {self.why} ({self.source})"


class Rules(Config):
    """The file: rules by name, and shapes of models as their config.json says them."""

    rules: Mapping[str, Rule]
    shapes: Mapping[str, Mapping[str, Any]]


@cache
def rules() -> Rules:
    """What ``rules.toml`` says."""
    return read_toml(FILE, Rules)


def rule(name: str) -> Rule:
    """The rule of that name."""
    return rules().rules[name]
