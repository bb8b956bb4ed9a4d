"""Reads the folder of TOML seeds into typed objects; a mistake is refused with place and remedy.

    seeds = load(Path("training/data/task_api/seeds"))

Ten files: plan (how many rows), topics, slots, noise, and the lines of each operation. Left
out: the notation of a line (`lines`) and choosing among seeds (`compose`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatrial.training.factory.answer import ARGUMENTS, PRIORITIES
from seatrial.training.factory.checks import SeedError, listed, no_repeats, one_of, read_toml
from seatrial.training.factory.lines import Line, parse

TOPICS = ("do", "thing", "plural", "past", "person")
VALUES = ("due", "day", "when", "span", "p", "n", "words", "ordinals")
STYLES = ("number_styles", "name_styles")


@dataclass(frozen=True)
class FollowUp:
    """A closing question. The first one whose argument `unless` was not given is asked."""

    say: str
    unless: str | None = None


@dataclass(frozen=True)
class Noise:
    """How people type: shares of the rows, polite words, chatter before a line, misspellings."""

    rates: dict[str, float]
    polite_rate: float
    openers: list[str]
    closers: list[str]
    chatter_rate: float
    chatter: list[str]
    typos: dict[str, str]


@dataclass(frozen=True)
class Seeds:
    """Everything that a person wrote; the rest is chance with a fixed seed."""

    seed: int
    number_share: float
    rows: dict[str, int]
    topics: dict[str, list[str]]
    slots: dict[str, list[Any]]
    noise: Noise
    lines: dict[str, list[Line]]
    followups: dict[str, list[FollowUp]]
    none_replies: dict[str, str]


def load(folder: Path) -> Seeds:
    """Read every seed file of a folder. Raises SeedError."""
    plan = read_toml(folder / "plan.toml", ("seed", "number_share", "rows"))
    topics = read_toml(folder / "topics.toml", TOPICS)
    slots = read_toml(folder / "slots.toml", VALUES + STYLES)
    no_repeats(folder / "topics.toml", topics)
    one_of(folder / "plan.toml", "rows", plan["rows"], ARGUMENTS)
    one_of(folder / "slots.toml", "p", slots["p"], PRIORITIES)
    lines: dict[str, list[Line]] = {}
    followups: dict[str, list[FollowUp]] = {}
    none_replies: dict[str, str] = {}
    for operation in ARGUMENTS:
        path = folder / f"{operation}.toml"
        closing = "replies" if operation == "none" else "followups"
        table = read_toml(path, (closing, "phrasings"))
        lines[operation] = _lines(path, operation, table["phrasings"])
        if operation == "none":
            none_replies = table["replies"]
            one_of(path, "phrasings", table["phrasings"], none_replies)
        else:
            followups[operation] = _followups(path, operation, table["followups"])
        _enough_rows(folder / "plan.toml", operation, plan["rows"], len(lines[operation]))
    return Seeds(
        seed=plan["seed"],
        number_share=plan["number_share"],
        rows=plan["rows"],
        topics=topics,
        slots=slots,
        noise=_noise(folder / "noise.toml"),
        lines=lines,
        followups=followups,
        none_replies=none_replies,
    )


def _lines(path: Path, operation: str, phrasings: dict[str, list[str]]) -> list[Line]:
    lines = [
        parse(path, f"phrasings.{kind}[{index}]", operation, kind, source)
        for kind, sources in phrasings.items()
        for index, source in enumerate(sources)
    ]
    no_repeats(path, {"phrasings": [line.text for line in lines]})
    return lines


def _followups(path: Path, operation: str, entries: list[dict[str, str]]) -> list[FollowUp]:
    for index, entry in enumerate(entries):
        place = f"followups[{index}]"
        one_of(path, place, entry, ("say", "unless"))
        if "say" not in entry:
            raise SeedError(f"{place}: no 'say'", where=path, hint='write say = "...?"')
        if "unless" in entry:
            one_of(path, f"{place}.unless", [entry["unless"]], ARGUMENTS[operation])
    if [("unless" in entry) for entry in entries] != [True] * (len(entries) - 1) + [False]:
        problem = "followups: the last one has to fit every row, the others not"
        raise SeedError(problem, where=path, hint="leave 'unless' out of the last one only")
    return [FollowUp(**entry) for entry in entries]


def _noise(path: Path) -> Noise:
    table = read_toml(path, ("rates", "politeness", "chatter", "typos"))
    one_of(path, "rates", table["rates"], ("lower", "caps", "bare_end", "typo"))
    one_of(path, "politeness", table["politeness"], ("rate", "openers", "closers"))
    one_of(path, "chatter", table["chatter"], ("rate", "before"))
    polite = table["politeness"]
    return Noise(
        rates=table["rates"],
        polite_rate=polite["rate"],
        openers=polite["openers"],
        closers=polite["closers"],
        chatter_rate=table["chatter"]["rate"],
        chatter=table["chatter"]["before"],
        typos=table["typos"],
    )


def _enough_rows(path: Path, operation: str, rows: dict[str, int], lines: int) -> None:
    wanted = rows.get(operation, 0)
    if wanted < lines:
        problem = f"rows.{operation} = {wanted}, but {operation}.toml has {lines} lines"
        hint = f"write at least {lines}, or take lines out; planned: {listed(rows)}"
        raise SeedError(problem, where=path, hint=hint)
