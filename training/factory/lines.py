"""One hand-written way to say something, and the small notation that it is written in.

    parse(Path("update.toml"), "phrasings.bare[4]", "update", "bare", "Move {ref} to {due}.")

A line is a sentence with slots and, after " => ", the arguments that no slot gives: "Reopen {ref}.
=> status=open". A leading underscore ({_due}) means that the value is said but is no argument;
"reply=..." replaces the acknowledgement. Left out: values for the slots, which is `slots`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from seatrial.training.factory.answer import ARGUMENTS, PRIORITIES, REQUIRED, STATUSES
from seatrial.training.factory.checks import SeedError, listed, one_of

SLOT = re.compile(r"\{(_?[A-Za-z_]+)\}")
_MAIN = "title or task"
# slot -> the argument that it fills; None: said, but no argument
SLOTS: dict[str, str | None] = {
    **dict.fromkeys(("do", "Do", "thing", "any"), _MAIN),
    **dict.fromkeys(("ref", "Ref", "num", "n"), "task"),
    **dict.fromkeys(("due", "day", "when", "span"), "due"),
    "p": "priority",
    "new": "title",
    "past": None,
    "person": None,
    "Person": None,
}


@dataclass(frozen=True)
class Line:
    """A sentence with slots; `fixed` are the arguments that stand after " => "."""

    operation: str
    kind: str
    text: str
    fixed: dict[str, str] = field(default_factory=dict)
    reply: str | None = None

    @property
    def slots(self) -> list[str]:
        return SLOT.findall(self.text)


def argument_of(slot: str, operation: str) -> str | None:
    """The argument that a slot fills in a line of this operation, if any."""
    if slot.startswith("_"):
        return None
    argument = SLOTS[slot]
    return ("title" if operation == "create" else "task") if argument == _MAIN else argument


def parse(path: Path, place: str, operation: str, kind: str, source: str) -> Line:
    """A line from its notation. Raises SeedError, which names the file and the place."""
    text, _, tail = source.partition(" => ")
    fixed: dict[str, str] = {}
    for pair in tail.split("; ") if tail else []:
        key, _, value = pair.partition("=")
        if not value:
            hint = "write key=value after ' => ', and '; ' between two of them"
            raise SeedError(f"{place}: {pair!r} has no value", where=path, hint=hint)
        fixed[key] = value
    reply = fixed.pop("reply", None)
    line = Line(operation, kind, text, fixed, reply)
    one_of(path, f"{place}: slot", (slot.lstrip("_") for slot in line.slots), SLOTS)
    _check_arguments(path, place, line)
    _check_values(path, place, line)
    return line


def _check_arguments(path: Path, place: str, line: Line) -> None:
    allowed = ARGUMENTS[line.operation]
    given = [argument_of(slot, line.operation) for slot in line.slots]
    names = [*line.fixed, *(name for name in given if name)]
    one_of(path, f"{place}: argument of {line.operation}", names, allowed)
    for name in allowed:
        if names.count(name) > 1:
            problem = f"{place}: {line.text!r} gives {name!r} twice"
            raise SeedError(problem, where=path, hint="give it once, by a slot or after ' => '")
    required = REQUIRED.get(line.operation)
    if required and required not in names:
        problem = f"{place}: {line.text!r} gives no {required!r}"
        raise SeedError(problem, where=path, hint="give it by a slot or after ' => '")
    if line.operation == "update" and len(names) < 2:
        problem = f"{place}: {line.text!r} changes nothing"
        raise SeedError(problem, where=path, hint=f"give one of: {listed(allowed[1:])}")


def _check_values(path: Path, place: str, line: Line) -> None:
    if "priority" in line.fixed:
        one_of(path, f"{place}: priority", [line.fixed["priority"]], PRIORITIES)
    if "status" in line.fixed:
        one_of(path, f"{place}: status", [line.fixed["status"]], STATUSES[line.operation])
    for name in ("title", "task", "due"):
        value = line.fixed.get(name, "")
        if value not in line.text:
            problem = f"{place}: {name}={value!r} is not in the sentence"
            raise SeedError(problem, where=path, hint=f"copy words of {line.text!r}")
