"""Cases: one row of a JSONL case file is one question with what is expected of its answer.

A row has ``id``, ``prompt`` (or ``messages``), and optionally ``expect`` (``operation``, ``arguments``,
``contains_any``), ``reference`` (a whole expected answer) and ``tags``. The tag ``critical`` makes a case
a hard requirement; so is every case of the set ``regressions``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evals.models import Question
from training.dataset import read_jsonl
from training.errors import SeatrialError, at
from training.task import Task

FIELDS = {"id", "prompt", "messages", "expect", "reference", "tags", "note", "seen"}
EXPECTATIONS = {"operation", "arguments", "contains_any"}
REGRESSIONS = "regressions"
CRITICAL = "critical"


@dataclass(frozen=True)
class Case:
    """One case; ``case_set`` is the name of its set and ``where`` its file and line."""

    id: str
    question: Question
    case_set: str
    where: str
    expect: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()

    @property
    def prompt(self) -> str:
        """What the person said last."""
        return self.question.messages[-1]["content"]

    @property
    def operation(self) -> str | None:
        return self.expect.get("operation")

    @property
    def hard(self) -> bool:
        """One miss of this case stops the release."""
        return self.case_set == REGRESSIONS or CRITICAL in self.tags


def load_cases(path: Path, case_set: str, operations: tuple[str, ...]) -> list[Case]:
    """The cases of one file; an empty file has none.

    Raises:
        SeatrialError: with file and line, for the first row that is not a case.
    """
    cases: list[Case] = []
    lines: dict[str, int] = {}
    for number, row in read_jsonl(path):
        case = _case(row, case_set, at(path, number), operations)
        if case.id in lines:
            raise SeatrialError(
                f"the id {case.id!r} was used in line {lines[case.id]} already",
                where=case.where,
                hint="every case needs an id of its own",
            )
        lines[case.id] = number
        cases.append(case)
    return cases


def load_case_sets(task: Task, instead: Mapping[str, Path] | None = None) -> dict[str, list[Case]]:
    """All case sets of a task by name; ``instead`` names other files for some of them.

    Raises:
        SeatrialError: a mistake in a file, or an id that two files share.
    """
    instead = instead or {}
    for name in instead:
        if name not in task.case_sets:
            raise SeatrialError(
                f"this task has no case set {name!r}",
                where="--cases",
                hint=f"case sets: {', '.join(task.case_sets)}",
            )
    sets: dict[str, list[Case]] = {}
    seen: dict[str, Case] = {}
    for name, case_set in task.case_sets.items():
        path = instead.get(name) or task.path(case_set.file)
        sets[name] = load_cases(path, name, task.contract.operations)
        for case in sets[name]:
            if case.id in seen:
                raise SeatrialError(
                    f"the id {case.id!r} is also used in {seen[case.id].where}", where=case.where
                )
            seen[case.id] = case
    return sets


def _case(row: dict[str, Any], case_set: str, where: str, operations: tuple[str, ...]) -> Case:
    identifier = row.get("id")
    if not isinstance(identifier, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", identifier):
        raise SeatrialError(
            f"'id' is {identifier!r}" if "id" in row else "this case has no 'id'",
            where=where,
            hint='a case needs an id of letters, digits, ".", "_" and "-", such as "create-1"',
        )
    if unknown := set(row) - FIELDS:
        raise SeatrialError(
            f"unknown field {sorted(unknown)[0]!r}",
            where=where,
            hint=f"a case has the fields {', '.join(sorted(FIELDS))}",
        )
    expect = row.get("expect", {})
    if not isinstance(expect, dict) or set(expect) - EXPECTATIONS:
        raise SeatrialError(
            f"'expect' is {expect!r}", where=where, hint=f"allowed in it: {', '.join(sorted(EXPECTATIONS))}"
        )
    if "operation" in expect and expect["operation"] not in operations:
        raise SeatrialError(
            f"'expect.operation' is {expect['operation']!r}",
            where=where,
            hint=f"the task's operations: {', '.join(operations)}",
        )
    for name, value, good in (
        ("tags", row.get("tags", []), _texts),
        ("reference", row.get("reference", ""), lambda value: isinstance(value, str)),
        ("expect.arguments", expect.get("arguments", {}), lambda value: isinstance(value, dict)),
        ("expect.contains_any", expect.get("contains_any", []), _texts),
    ):
        if not good(value):
            raise SeatrialError(f"'{name}' is {value!r}", where=where)
    question = Question(identifier, _messages(row, where), row.get("reference"))
    return Case(identifier, question, case_set, where, expect, tuple(row.get("tags", ())))


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _messages(row: dict[str, Any], where: str) -> tuple[dict[str, str], ...]:
    if ("prompt" in row) == ("messages" in row):
        raise SeatrialError("a case needs either 'prompt' or 'messages'", where=where)
    if "prompt" in row:
        messages = [{"role": "user", "content": row["prompt"]}]
    else:
        messages = row["messages"]
    good = (
        isinstance(messages, list)
        and messages
        and all(
            isinstance(m, dict)
            and m.get("role") in ("user", "assistant")
            and isinstance(m.get("content"), str)
            for m in messages
        )
    )
    if not good or messages[-1]["role"] != "user":
        raise SeatrialError(
            "'prompt' must be text; 'messages' a list of role and content that ends with the user",
            where=where,
            hint='{"id": "x", "messages": [{"role": "user", "content": "..."}]}',
        )
    return tuple(messages)
