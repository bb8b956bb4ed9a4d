"""Two compared runs for a terminal of 100 columns."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from seatrial.evals.compare import SAME, RunsCompared
from seatrial.evals.report import compared as words
from seatrial.evals.report.escaping import one_line

WIDTH = 100
ARROW = "->"
MOST_CASES = 20  # whose answers are shown
MOST_NAMES = 200  # characters of a list of names


def text(found: RunsCompared) -> str:
    """The comparison as lines of at most ``WIDTH`` columns."""
    return "\n".join(line for part in (_head, _criteria, _hard, _cases, _only) for line in part(found)) + "\n"


def _head(found: RunsCompared) -> Iterator[str]:
    task = found.after["task"]
    yield from _wrapped("", f"{task['title']} ({task['name']})")
    for label, run in (("before", found.before), ("after", found.after)):
        told = f"{run['gate']['spoken']}  {run['run']['id']}, {words.judged(run)}, {words.commit(run)}"
        yield from _wrapped(f"  {label:7}", told)
    for note in found.notes:
        yield from _wrapped("  note   ", note)
    yield ""
    yield from _wrapped("", f"{words.headline(found)}.")
    yield from _wrapped("", words.conclusion(found))
    yield from _wrapped("", words.pairing(found))


def _criteria(found: RunsCompared) -> Iterator[str]:
    yield ""
    yield "criteria"
    for change in words.ordered(found):
        facts = [words.statuses(change, ARROW), words.values(change, ARROW), words.within(change)]
        optional = "" if change.verdict["required"] else " (not required)"
        told = f"{change.criterion}{optional}: {'; '.join(filter(None, facts))}"
        yield from _wrapped(f"  {change.direction:15}", told)
        if change.direction != SAME:
            facts = [words.difference(change), words.tally(change)]
            yield from _wrapped(" " * 17, "; ".join(filter(None, facts)))
        for note in change.notes:
            yield from _wrapped(" " * 17, note)


def _hard(found: RunsCompared) -> Iterator[str]:
    if found.hard:
        yield ""
        yield "hard cases"
    for each in found.hard:
        yield from _wrapped(f"  {each.direction:15}", f"{each.case}: {each.before} {ARROW} {each.after}")


def _cases(found: RunsCompared) -> Iterator[str]:
    if found.cases:
        yield ""
        yield "cases"
    for case in found.cases[:MOST_CASES]:
        of = "" if case.model == "shipped" else f" ({case.model})"
        yield from _wrapped(f"  {case.direction:7}", f"{case.case}{of}: {words.scores(case, ARROW)}")
        for label, told in (("asked", case.prompt), ("before", case.before), ("after", case.after)):
            yield from _wrapped(f"{'':9}{label:7}", told or "(empty)")
    if len(found.cases) > MOST_CASES:
        yield f"  and {len(found.cases) - MOST_CASES:,} more: --format html shows them"


def _only(found: RunsCompared) -> Iterator[str]:
    for what, cases in words.only(found):
        yield ""
        yield from _wrapped("", f"{what}: {len(cases):,}")
        yield from _wrapped("  ", one_line(", ".join(cases), MOST_NAMES))


def _wrapped(prefix: str, told: str) -> Iterator[str]:
    """``told`` behind ``prefix``, on as many lines as it needs, indented alike."""
    room, line = WIDTH - len(prefix), ""
    for word in one_line(told).split(" "):
        if line and _columns(f"{line} {word}") > room:
            yield prefix + line
            prefix, line = " " * len(prefix), ""
        line = f"{line} {word}" if line else word
        while _columns(line) > room:  # a word longer than a line
            cut = next(n for n in range(len(line), 0, -1) if _columns(line[:n]) <= room)
            yield prefix + line[:cut]
            prefix, line = " " * len(prefix), line[cut:]
    yield prefix + line


def _columns(text: str) -> int:
    """Columns of a terminal: wide characters take two, combining ones none (Unicode annex 11)."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) != 0 for character in text)
