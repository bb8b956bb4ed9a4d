"""What cases may expect: that which a metric of the task reads, in the shape that it reads, and nothing else.

An expectation that no metric reads would be a requirement that nobody checks, and a label that the task does
not have one that no answer meets; both are mistakes with file and line.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seatrial.evals.case_names import REGRESSIONS
from seatrial.evals.cases import CRITICAL, Case
from seatrial.evals.metrics import METRICS
from seatrial.evals.metrics.own import load_own
from seatrial.evals.metrics.shapes import ANYTHING, CALLS, Shape
from seatrial.evals.task import Task
from seatrial.training.errors import SeatrialError


@dataclass(frozen=True)
class Reads:
    """What one metric reads of ``expect`` under some settings; ``needed``: what a case must have for that."""

    shapes: Mapping[str, Shape]
    needed: frozenset[str] = frozenset()


class Expectations:
    """What the metrics of a task's criteria read of ``expect``, and what is read of hard cases anyway."""

    def __init__(self, task: Task) -> None:
        load_own(task.folder)
        self.reader, main, fields = task.reader, task.reader.main, list(task.reader.fields)
        self.named: list[Reads] = []
        for criterion in task.criteria:
            if metric := METRICS.get(criterion.metric):
                shapes = metric.expected(criterion.settings, main, fields)
                self.named.append(Reads(shapes, frozenset(metric.needed(criterion.settings, main))))
        # A hard case may expect what any metric reads under a name of its own, and any field of the answer.
        self.hard = [*self.named, Reads(dict.fromkeys(fields, ANYTHING))]
        self.hard += [Reads(metric.shapes) for metric in METRICS.values() if metric.judge and metric.shapes]
        if self.reader.labels:
            self.hard.append(Reads({main: ANYTHING}))

    def check(self, case: Case) -> None:
        """Raise :class:`SeatrialError` for an expectation that would not be read, or could not be met."""
        readers = self.hard if case.hard else self.named
        known = {name: shape for reads in reversed(readers) for name, shape in reads.shapes.items()}
        for name, value in case.expect.items():
            self._check_read(case, name, readers, known)
            if not known[name].fits(value):
                hint = f"it must be {known[name].about}"
                raise SeatrialError(f"'expect.{name}' is {value!r:.200}", where=case.where, hint=hint)
            self._check_label(case, name, value)
            if problem := self.reader.impossible(name, value):
                raise SeatrialError(
                    f"'expect.{name}' is {value!r:.200}, which no right answer can have",
                    where=case.where,
                    hint=f"the schema says: {problem}",
                )
        if case.hard and not any(_says_something(*each, known[each[0]]) for each in case.expect.items()):
            kind = "a regression" if case.case_set == REGRESSIONS else f"a case tagged {CRITICAL!r}"
            example = self.reader.main if self.reader.labels else "contains_any"
            raise SeatrialError(
                f"{kind} must say what is right, and this one expects nothing that an answer could miss",
                where=case.where,
                hint=f'add "expect": {{"{example}": ...}}; it may expect {", ".join(sorted(known))}',
            )

    def _check_read(
        self, case: Case, name: str, readers: Sequence[Reads], known: Mapping[str, Shape]
    ) -> None:
        if name not in known:
            raise SeatrialError(
                f"'expect.{name}' is read by no metric of this task's criteria",
                where=case.where,
                hint=_hint(name, known),
            )
        missing = [reads.needed - set(case.expect) for reads in readers if name in reads.shapes]
        if all(missing):
            nearest = min(missing, key=len)
            beside = " and ".join(f"'expect.{other}'" for other in sorted(nearest))
            raise SeatrialError(
                f"'expect.{name}' stands without {beside}",
                where=case.where,
                hint=f"the metric that reads it scores no case without: add {beside}",
            )

    def _check_label(self, case: Case, name: str, value: Any) -> None:
        if name == self.reader.main:
            allowed = self.reader.labels
        elif name in self.reader.fields:
            allowed = self.reader.allowed(name)
        else:
            return
        if not allowed or not isinstance(value, str) or value in allowed:
            return
        spelt = {each.casefold(): each for each in allowed}
        close = difflib.get_close_matches(value.casefold(), spelt, n=1)
        guess = f"did you mean {spelt[close[0]]!r}? " if close else ""
        raise SeatrialError(
            f"'expect.{name}' is {value!r}, which no right answer can be",
            where=case.where,
            hint=f"{guess}the task's values of {name!r}: {', '.join(allowed)}",
        )


def _hint(name: str, known: Mapping[str, Shape]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    guess = f"did you mean {close[0]!r}? " if close else ""
    elsewhere = [metric.name for metric in METRICS.values() if name in metric.expects]
    reads = f"; a criterion with the metric {elsewhere[0]!r} would read it" if elsewhere else ""
    return f"{guess}read here: {', '.join(sorted(known)) or 'nothing'}{reads}"


def _says_something(name: str, value: Any, shape: Shape) -> bool:
    """Whether an answer could miss it: an empty list of calls says that none is right."""
    if name.startswith("min_") and value == 0:
        return False
    if name == "pattern" and isinstance(value, str):
        return not _found_anywhere(value)
    return value not in ("", None, {}, []) or (value == [] and shape is CALLS)


def _found_anywhere(pattern: str) -> bool:
    """Whether a pattern is found in nothing and in what nobody would write, and so in every answer."""
    try:
        return all(re.search(pattern, text) for text in ("", "\x00"))
    except re.error:  # of the syntax of the package regex alone, or told where the pattern is used
        return False
