"""Changes that leave a model what it was: on each of which the gate must not turn red.

A new one is one function under ``@harmless``, written as a fault is (see ``faults.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.sabotage.faults import Make


@dataclass(frozen=True)
class Harmless:
    """One change, and why it is none to the answers."""

    name: str
    why: str
    make: Make


HARMLESS: dict[str, Harmless] = {}


def harmless(why: str) -> Callable[[Make], Make]:
    """Puts a function into the table, under its own name with hyphens."""

    def enter(make: Make) -> Make:
        name = make.__name__.replace("_", "-")
        assert name not in HARMLESS
        HARMLESS[name] = Harmless(name, why, make)
        return make

    return enter
