"""Turns seeds into rows: a line, its slots filled and roughened, and the answer that fits.

    rows = compose(load(folder))
    text = to_jsonl(rows)

Every line is used once; an operation with more rows than lines uses its first lines again with
other values. Equal seeds give equal bytes on every machine. Left out: writing files.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass

from seatrial.training.factory.answer import acknowledgement, encode, ordered
from seatrial.training.factory.checks import SeedError
from seatrial.training.factory.lines import SLOT, Line, argument_of
from seatrial.training.factory.noise import choose
from seatrial.training.factory.seeds import Seeds
from seatrial.training.factory.slots import Dealer, shuffled

ATTEMPTS = 20


@dataclass(frozen=True)
class Row:
    """One request with its answer."""

    line: Line
    request: str
    arguments: dict[str, str]
    answer: str
    tags: list[str]

    def as_json(self, number: int) -> str:
        row = {
            "id": f"train-{number:03}",
            "conversations": [
                {"from": "human", "value": self.request},
                {"from": "gpt", "value": self.answer},
            ],
            "tags": self.tags,
        }
        return json.dumps(row, ensure_ascii=False)


def compose(seeds: Seeds) -> list[Row]:
    """All rows in their final order. Raises SeedError where two requests cannot be kept apart."""
    rng = random.Random(seeds.seed)
    composer = _Composer(seeds, rng)
    return [composer.new_row(line) for line in shuffled(rng, _planned(seeds))]


def to_jsonl(rows: list[Row]) -> str:
    """The training file: one JSON object per line, numbered from 1."""
    return "".join(row.as_json(number) + "\n" for number, row in enumerate(rows, start=1))


def _reply(seeds: Seeds, line: Line, arguments: dict[str, str]) -> str:
    """What the person reads: for `none` by the kind of line, else by the arguments."""
    if line.operation == "none":
        return seeds.none_replies[line.kind]
    asked = seeds.followups[line.operation]
    say = next(followup.say for followup in asked if followup.unless not in arguments)
    return f"{line.reply or acknowledgement(line.operation, arguments)} {say}"


def _planned(seeds: Seeds) -> list[Line]:
    planned = []
    for operation, lines in seeds.lines.items():
        planned += [lines[index % len(lines)] for index in range(seeds.rows[operation])]
    return planned


class _Composer:
    """Makes rows one after the other and remembers what has been asked."""

    def __init__(self, seeds: Seeds, rng: random.Random) -> None:
        self._seeds, self._rng = seeds, rng
        self._dealer = Dealer(seeds, rng)
        self._seen: set[str] = set()

    def new_row(self, line: Line) -> Row:
        """A row whose request is new, whatever its case."""
        for _ in range(ATTEMPTS):
            row = self._row(line)
            if row.request.casefold() not in self._seen:
                self._seen.add(row.request.casefold())
                return row
        raise SeedError(
            f"{line.text!r} gives no new request",
            where=f"{line.operation}.toml",
            hint="another row says the same: change this line, or plan fewer rows",
        )

    def _row(self, line: Line) -> Row:
        manner = choose(line, self._seeds.noise, self._rng)
        arguments = dict(line.fixed)
        request = ""
        # SLOT has one group, so that split gives carrier, slot, carrier, slot, ..., carrier
        for index, part in enumerate(SLOT.split(line.text)):
            if index % 2 == 0:
                request += manner.carrier(part)
                continue
            argument = argument_of(part, line.operation)
            filled = manner.slot(self._dealer.fill(part, line.operation), argument)
            request += filled.text
            if argument:
                arguments[argument] = filled.value
        arguments = ordered(line.operation, arguments)
        return Row(
            line=line,
            request=manner.ends(request),
            arguments=arguments,
            answer=encode(line.operation, arguments, _reply(self._seeds, line, arguments)),
            tags=[line.operation, line.kind, *manner.tags],
        )
