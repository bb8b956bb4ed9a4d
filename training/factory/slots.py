"""Deals values to slots, so that each topic, number and date is used by every operation in turn.

    dealer = Dealer(seeds, rng)
    dealer.fill("ref", "delete")   # Filled(text="the dentist call", value="dentist call")

A topic that comes up under one operation only would teach the model that the topic means that
operation. Left out: the sentence around the slot, which is `compose`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from seatrial.training.factory.seeds import Seeds


@dataclass(frozen=True)
class Filled:
    """What a slot says, and the argument that it means: "task #4" says task #4 and means "4"."""

    text: str
    value: str
    is_topic: bool = False


def pick(rng: random.Random, values: Sequence[Any]) -> Any:
    """One of the values. Built on random(), which is the same on every Python and machine."""
    return values[int(rng.random() * len(values))]


def shuffled(rng: random.Random, values: Sequence[Any]) -> list[Any]:
    """A shuffled copy, also built on random()."""
    deck = list(values)
    for last in range(len(deck) - 1, 0, -1):
        other = int(rng.random() * (last + 1))
        deck[last], deck[other] = deck[other], deck[last]
    return deck


class Deck:
    """Cards in a fixed order: the longest unused one that this operation has not had yet."""

    def __init__(self, rng: random.Random, values: Sequence[Any]) -> None:
        self._cards = shuffled(rng, values)
        self._had: dict[str, set[Any]] = {}

    def draw(self, operation: str) -> Any:
        had = self._had.setdefault(operation, set())
        if len(had) == len(set(self._cards)):
            had.clear()
        index = next(i for i, card in enumerate(self._cards) if card not in had)
        card = self._cards.pop(index)
        self._cards.append(card)
        had.add(card)
        return card


class Dealer:
    """A deck for every kind of value."""

    def __init__(self, seeds: Seeds, rng: random.Random) -> None:
        self._rng = rng
        self._number_share = seeds.number_share
        self._words: list[str] = seeds.slots["words"]
        self._ordinals: list[str] = seeds.slots["ordinals"]
        values = {**seeds.topics, **seeds.slots}
        self._decks = {name: Deck(rng, cards) for name, cards in values.items()}

    def fill(self, slot: str, operation: str) -> Filled:
        """A value for a slot in a line of this operation."""
        name = slot.lstrip("_")
        if name == "any":
            name = "plural" if self._rng.random() < 0.5 else "thing"
        if name in ("ref", "Ref"):
            by_number = self._rng.random() < self._number_share
            filled = self._number(operation) if by_number else self._name(operation)
            return _capitalised(filled) if name == "Ref" else filled
        if name == "Person":
            text = self._draw("person", operation)
            return _capitalised(Filled(text, text))
        if name == "num":
            return self._number(operation)
        if name == "Do":
            text = self._draw("do", operation)
            return _topic(text[0].upper() + text[1:])
        if name in ("do", "thing", "plural", "new"):
            return _topic(self._draw("do" if name == "new" else name, operation))
        text = str(self._draw(name, operation))
        return Filled(text, text)

    def _draw(self, name: str, operation: str) -> Any:
        return self._decks[name].draw(operation)

    def _number(self, operation: str) -> Filled:
        style = self._draw("number_styles", operation)
        number = self._draw("n", operation)
        spelt = "{word}" in style or "{ordinal}" in style
        while spelt and number > len(self._words):
            number = self._draw("n", operation)
        text = style.replace("{n}", str(number))
        if spelt:
            text = text.replace("{word}", self._words[number - 1])
            text = text.replace("{ordinal}", self._ordinals[number - 1])
        return Filled(text, str(number))

    def _name(self, operation: str) -> Filled:
        style = self._draw("name_styles", operation)
        kind = "do" if "{do}" in style else "thing"
        topic = self._draw(kind, operation)
        return Filled(style.replace("{" + kind + "}", topic), topic, is_topic=True)


def _topic(text: str) -> Filled:
    return Filled(text, text, is_topic=True)


def _capitalised(filled: Filled) -> Filled:
    text = filled.text
    return Filled(text[0].upper() + text[1:], filled.value, filled.is_topic)
