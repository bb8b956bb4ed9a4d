"""Cases: one row of a JSONL case file is one question with what is expected of its answer.

A row has ``id``, ``prompt`` (or ``messages``), and optionally ``expect`` (``operation``, ``arguments``,
``contains_any``), ``reference`` (a whole expected answer) and ``tags``; a regression may have a ``history``.
The tag ``critical`` makes a case a hard requirement; so is every case of the set ``regressions``. Hard cases
may be added to, never replaced: whatever other file is asked in a set's place, the task's own hard cases are
asked as well.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from seatrial.evals.history import History, read_history
from seatrial.evals.judged import judged_digest
from seatrial.evals.models import Question
from seatrial.training.dataset import read_jsonl
from seatrial.training.errors import SeatrialError, at
from seatrial.training.store import file_digest
from seatrial.training.task import REGRESSIONS, Task

FIELDS = {"id", "prompt", "messages", "expect", "reference", "tags", "note", "seen", "history"}
EXPECTATIONS = {"operation", "arguments", "contains_any"}
CRITICAL = "critical"
SAMPLE = "sample"  # of the cases that a new task begins with; they prove nothing about it
KEPT = "hard"  # the set of the task's own hard cases whose file another one stands in for: domain.hard


@dataclass(frozen=True)
class Case:
    """One case; ``case_set`` is the name of its set and ``where`` its file and line.

    ``contract``: its answer must fulfil the output contract. ``history`` is for people and decides nothing:
    two cases that differ in it alone are the same.
    """

    id: str
    question: Question
    case_set: str
    where: str
    expect: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    contract: bool = True
    history: History = field(default=History(), compare=False)

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


@dataclass(frozen=True)
class CaseFile:
    """A file whose cases were asked, for the record; ``own``: it is the one that the task names.

    ``judged_sha256``: of its rows without the histories of regressions (:func:`judged_digest`).
    """

    case_set: str
    path: str
    sha256: str
    bytes: int
    cases: int
    own: bool
    judged_sha256: str


def load_cases(path: Path, case_set: str, operations: tuple[str, ...], contract: bool = True) -> list[Case]:
    """The cases of one file; an empty file has none. ``contract``: their answers must fulfil the contract.

    Raises:
        SeatrialError: with file and line, for the first row that is not a case.
    """
    cases: list[Case] = []
    lines: dict[str, int] = {}
    for number, row in read_jsonl(path):
        case = read_case(row, case_set, at(path, number), operations, contract)
        if case.id in lines:
            raise SeatrialError(
                f"the id {case.id!r} was used in line {lines[case.id]} already",
                where=case.where,
                hint="every case needs an id of its own",
            )
        lines[case.id] = number
        cases.append(case)
    return cases


def read_case(
    row: dict[str, Any], case_set: str, where: str, operations: tuple[str, ...], contract: bool = True
) -> Case:
    """The case that one row is; ``where`` is its file and line.

    Raises:
        SeatrialError: it is none, or a hard one that no answer could miss.
    """
    case = replace(_case(row, case_set, where, operations), contract=contract)
    _check_hard(case)
    return case


def load_case_sets(task: Task, instead: Mapping[str, Path] | None = None) -> dict[str, list[Case]]:
    """All case sets of a task by name; ``instead`` names other files for some of them.

    A file for ``regressions`` is asked beside the task's own. Of another set that a file stands in for, the
    task's critical cases are kept in a set of their own (``domain.hard``): they bind the release, and do not
    count among the locked questions.

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
    for name, case_set in task.case_sets.items():
        own = load_cases(task.path(case_set.file), name, task.contract.operations, case_set.contract)
        if name not in instead:
            sets[name] = own
            continue
        given = load_cases(instead[name], name, task.contract.operations, case_set.contract)
        known = {case.id: case for case in given}
        kept = [case for case in own if case.hard and not _same(case, known.get(case.id))]
        if name == REGRESSIONS:
            sets[name] = [*kept, *given]
        else:
            sets[name] = given
            if kept:
                sets[f"{name}.{KEPT}"] = [replace(case, case_set=f"{name}.{KEPT}") for case in kept]
    seen: dict[str, Case] = {}
    for case in (case for group in sets.values() for case in group):
        if case.id in seen:
            raise SeatrialError(f"the id {case.id!r} is also used in {seen[case.id].where}", where=case.where)
        seen[case.id] = case
    return sets


def case_files(
    task: Task, instead: Mapping[str, Path], cases: Mapping[str, Sequence[Case]]
) -> Iterator[CaseFile]:
    """The files that ``cases`` were read from, with their digests; a task's own one even if none of its
    cases were asked, because another stood in for it."""
    asked = Counter(case.where.rpartition(":")[0] for group in cases.values() for case in group)
    for name, case_set in task.case_sets.items():
        own = task.path(case_set.file)
        for path in dict.fromkeys([own, instead.get(name, own)]):
            digest, size = file_digest(path), path.stat().st_size
            yield CaseFile(name, str(path), digest, size, asked[str(path)], path == own, judged_digest(path))


def _same(case: Case, other: Case | None) -> bool:
    """Whether another file asks the same of the same question."""
    return other is not None and replace(other, where=case.where) == case


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
            hint=f"the task's operations: {', '.join(operations) or 'none ([contract] in task.toml)'}",
        )
    if "arguments" in expect and "operation" not in expect:
        raise SeatrialError(
            "'expect.arguments' stands without 'expect.operation'",
            where=where,
            hint='arguments are those of an operation: {"operation": "...", "arguments": {...}}',
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
    history = read_history(row.get("history", {}), where)
    return Case(identifier, question, case_set, where, expect, tuple(row.get("tags", ())), history=history)


def _check_hard(case: Case) -> None:
    """Raise for what would be a soft or an empty requirement without its author's knowing.

    A hard case says what is right; an answer that only has to stop and to parse is no regression test.
    """
    for tag in case.tags:
        if tag != CRITICAL and _nearly(tag, CRITICAL):
            raise SeatrialError(
                f"the tag {tag!r} makes no case a hard one",
                where=case.where,
                hint=f"did you mean {CRITICAL!r}? A tag of another meaning needs another name",
            )
    if case.hard and not any(case.expect.get(name) for name in ("operation", "contains_any")):
        kind = "a regression" if case.case_set == REGRESSIONS else f"a case tagged {CRITICAL!r}"
        raise SeatrialError(
            f"{kind} must say what is right, and this one expects nothing that an answer could miss",
            where=case.where,
            hint='add "expect": {"operation": "..."}, with "arguments", or {"contains_any": ["..."]}',
        )


def _nearly(text: str, word: str) -> bool:
    """Whether ``text`` looks like ``word`` misspelt: another case, a letter or two off, a plural."""
    plain = re.sub(r"[^a-z]", "", text.casefold())
    if plain in (word, f"{word}s"):
        return True
    return word not in plain and difflib.SequenceMatcher(None, plain, word).ratio() >= 0.85


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
