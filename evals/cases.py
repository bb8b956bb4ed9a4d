"""Cases: one row of a JSONL case file is one question with what is expected of its answer.

A row has ``id``, ``prompt`` (or ``messages``), and optionally ``expect`` (what the task's metrics read),
``reference`` (a whole expected answer) and ``tags``; a regression may have a ``history``. The tag
``critical`` makes a case a hard requirement; so is every case of the set ``regressions``.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seatrial.evals.case_names import REGRESSIONS
from seatrial.evals.history import History, read_history
from seatrial.evals.models import Question
from seatrial.training.dataset import read_jsonl
from seatrial.training.errors import SeatrialError, at

FIELDS = {"id", "prompt", "messages", "expect", "reference", "tags", "note", "seen", "history"}
ROLES = ("system", "user", "assistant", "tool")
IN_A_MESSAGE = {"role", "content", "name", "tool_call_id", "tool_calls"}
CRITICAL = "critical"
SAMPLE = "sample"  # of the cases that a new task begins with; they prove nothing about it


@dataclass(frozen=True)
class Case:
    """One case; ``case_set`` is the name of its set and ``where`` its file and line.

    ``contract``: its answer must fulfil the output contract. ``label``: the one that it expects, by which
    cases are grouped. ``history`` is for people and decides nothing:
    two cases that differ in it alone are the same.
    """

    id: str
    question: Question
    case_set: str
    where: str
    expect: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    contract: bool = True
    label: str = ""
    history: History = field(default=History(), compare=False)

    @property
    def prompt(self) -> str:
        """What the person said last."""
        return str(self.question.messages[-1]["content"])

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


def load_cases(path: Path, case_set: str, main: str = "label", contract: bool = True) -> list[Case]:
    """The cases of one file; an empty file has none.

    Args:
        path: the JSONL file; ``case_set`` is the name of its set.
        main: the field whose expected value is a case's label.
        contract: whether their answers must fulfil the contract.

    Raises:
        SeatrialError: with file and line, for the first row that is not a case.
    """
    cases: list[Case] = []
    lines: dict[str, int] = {}
    for number, row in read_jsonl(path):
        case = read_case(row, case_set, at(path, number), main, contract)
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
    row: dict[str, Any], case_set: str, where: str, main: str = "label", contract: bool = True
) -> Case:
    """The case that one row is; ``where`` is its file and line. What it expects is checked by the
    metrics that read it (:func:`seatrial.evals.expectations.Expectations`).

    Raises:
        SeatrialError: it is none.
    """
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
    if isinstance(expect, str):
        expect = {main: expect}
    if not isinstance(expect, dict):
        hint = f'an object of what is right, such as {{"{main}": "..."}}; a text alone is the {main}'
        raise SeatrialError(f"'expect' is {expect!r}", where=where, hint=hint)
    for name, value, good in (
        ("tags", row.get("tags", []), _texts),
        ("reference", row.get("reference", ""), lambda value: isinstance(value, str)),
    ):
        if not good(value):
            raise SeatrialError(f"'{name}' is {value!r}", where=where)
    question = Question(identifier, _messages(row, where), row.get("reference"))
    history = read_history(row.get("history", {}), where)
    tags = tuple(row.get("tags", ()))
    for tag in tags:
        if tag != CRITICAL and _nearly(tag, CRITICAL):
            raise SeatrialError(
                f"the tag {tag!r} makes no case a hard one",
                where=where,
                hint=f"did you mean {CRITICAL!r}? A tag of another meaning needs another name",
            )
    label = expect.get(main)
    return Case(
        identifier,
        question,
        case_set,
        where,
        expect,
        tags,
        contract,
        label if isinstance(label, str) else "",
        history,
    )


def _nearly(text: str, word: str) -> bool:
    """Whether ``text`` looks like ``word`` misspelt: another case, a letter or two off, a plural, letters of
    another alphabet that look alike."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    alike = [here == there or not here.isascii() for here, there in zip(folded, word, strict=False)]
    if len(folded) == len(word) and all(alike) and any(map(str.isascii, folded)):
        return True
    plain = re.sub(r"[^a-z]", "", folded)
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
    if not isinstance(messages, list) or not messages or not all(map(_is_message, messages)):
        raise SeatrialError(
            "'prompt' must be text; 'messages' a list of role and content",
            where=where,
            hint=f'{{"role": "user", "content": "..."}}; roles: {", ".join(ROLES)}',
        )
    if messages[-1]["role"] not in ("user", "tool"):
        raise SeatrialError(
            "'messages' must end with what the model answers: the user or a tool", where=where
        )
    if any(message["role"] == "system" for message in messages[1:]):
        raise SeatrialError("a system message must be the first of 'messages'", where=where)
    return tuple(messages)


def _is_message(message: Any) -> bool:
    return (
        isinstance(message, dict)
        and message.get("role") in ROLES
        and isinstance(message.get("content"), str)
        and not set(message) - IN_A_MESSAGE
    )
