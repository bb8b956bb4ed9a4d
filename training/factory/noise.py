"""Roughens a sentence as people do: lower case, capitals, no full stop, a typo, a please,
chatter before the request.

    manner = choose(line, seeds.noise, rng)
    manner.carrier("Please delete ")   # "please delte "

The sentence around a task's name is touched, the name never: it has to be copied to the answer.
A line with hand-written arguments only loses its full stop. Left out: noise inside numbers and
dates other than case.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from seatrial.training.factory.lines import SLOT, Line
from seatrial.training.factory.seeds import Noise
from seatrial.training.factory.slots import Filled, pick

COPIED = ("title", "task", "due")
UNTOUCHED = ("escape", "language", "long", "typo")


@dataclass(frozen=True)
class Manner:
    """How one row is typed."""

    case: str = ""  # "", "lower" or "caps"
    bare_end: bool = False
    typo: tuple[str, str] | None = None
    opener: str = ""
    closer: str = ""
    chatter: str = ""

    @property
    def tags(self) -> list[str]:
        given = {
            self.case: self.case,
            "bare_end": self.bare_end,
            "typo": self.typo,
            "polite": self.opener or self.closer,
            "chatter": self.chatter,
        }
        return [name for name, present in given.items() if present]

    def carrier(self, text: str) -> str:
        """A stretch of the sentence between two slots."""
        if self.typo:
            text = _misspelt(text, *self.typo)
        return self._cased(text)

    def slot(self, filled: Filled, argument: str | None) -> Filled:
        """A slot's value: names stay as they are, dates and numbers follow the case."""
        if filled.is_topic:
            return filled
        value = self._cased(filled.value) if argument == "due" else filled.value
        return Filled(self._cased(filled.text), value)

    def ends(self, sentence: str) -> str:
        """The whole sentence with what comes before and after, with or without its full stop."""
        if self.closer:
            sentence = sentence.rstrip(".") + self.closer
        if self.bare_end:
            sentence = sentence.rstrip(".?!")
        if self.opener and sentence[1:2].islower():
            sentence = sentence[0].lower() + sentence[1:]
        return self._cased(self.chatter + self.opener) + sentence

    def _cased(self, text: str) -> str:
        return {"lower": text.lower(), "caps": text.upper()}.get(self.case, text)


def choose(line: Line, noise: Noise, rng: random.Random) -> Manner:
    """How to type this line. Draws the same count of random numbers whatever comes out."""
    case_roll, end_roll, typo_roll, polite_roll, side, chatter_roll = (rng.random() for _ in range(6))
    word = pick(rng, _words_with_typos(line, noise) or [""])
    opener, closer = pick(rng, noise.openers), pick(rng, noise.closers)
    chatter = pick(rng, noise.chatter)
    if line.kind in UNTOUCHED or line.operation == "none":
        return Manner()
    bare_end = end_roll < noise.rates["bare_end"]
    if any(name in line.fixed for name in COPIED):
        return Manner(bare_end=bare_end)
    polite = line.kind == "bare" and polite_roll < noise.polite_rate
    talks = line.kind not in ("telegraphic", "context") and chatter_roll < noise.chatter_rate
    return Manner(
        case=_case(case_roll, noise.rates["caps"], noise.rates["lower"]),
        bare_end=bare_end,
        typo=(word, noise.typos[word]) if word and typo_roll < noise.rates["typo"] else None,
        opener=opener if polite and side < 0.5 else "",
        closer=closer if polite and side >= 0.5 else "",
        chatter=chatter if talks and not polite else "",
    )


def _case(roll: float, caps: float, lower: float) -> str:
    if roll < caps:
        return "caps"
    return "lower" if roll < caps + lower else ""


def _words_with_typos(line: Line, noise: Noise) -> list[str]:
    carrier = SLOT.sub(" ", line.text).lower()
    return [word for word in noise.typos if re.search(rf"\b{word}\b", carrier)]


def _misspelt(text: str, word: str, slip: str) -> str:
    def slipped(found: re.Match[str]) -> str:
        return slip.capitalize() if found.group()[0].isupper() else slip

    return re.sub(rf"\b{word}\b", slipped, text, count=1, flags=re.IGNORECASE)
