"""From records to rows that are proven, clean and new: everything short of writing them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from seatrial.evals.case_names import REGRESSIONS
from seatrial.evals.case_sets import load_case_sets
from seatrial.evals.cases import Case, read_case
from seatrial.evals.expectations import Expectations
from seatrial.evals.metrics import Score
from seatrial.evals.models import UNKNOWN
from seatrial.evals.regressions.private_data import Redactor
from seatrial.evals.regressions.proof import only_by_form, require_red, trained_on
from seatrial.evals.regressions.records import Record
from seatrial.evals.task import Task
from seatrial.training.errors import SeatrialError

TABLE = """[case_sets.regressions]
  file = "cases/regressions.jsonl"
  why = "Failures seen in production; each is a hard requirement.\""""


@dataclass(frozen=True)
class Proven:
    """A row that may be written, the case that it is, and why the answer that was seen is a miss."""

    row: Mapping[str, Any]
    case: Case
    missed: Sequence[Score]
    only_form: bool


def case_file(task: Task) -> Path:
    """The file of the task's regressions.

    Raises:
        SeatrialError: the task has no such case set; says the lines to add.
    """
    if REGRESSIONS not in task.case_sets:
        raise SeatrialError(
            "this task has no case set for regressions",
            where=task.folder / "task.toml",
            hint=f"add these lines, then try again; the file is made when it is first needed\n\n  {TABLE}",
        )
    return task.path(task.case_sets[REGRESSIONS].file)


def known_cases(task: Task) -> list[Case]:
    """All cases of the task; a file of regressions that is not there yet has none."""
    path = case_file(task)
    if not path.exists():
        others = {name: value for name, value in task.case_sets.items() if name != REGRESSIONS}
        task = task.model_copy(update={"case_sets": others})
    return [case for group in load_case_sets(task).values() for case in group]


def prove(
    task: Task,
    records: Sequence[Record],
    redactor: Redactor,
    train: Path | None,
    red_on: str | None,
    repeat: bool,
    today: date,
) -> list[Proven]:
    """The rows of ``records``, in their order; all of them may be written, or none.

    ``train``: the rows that must not hold any of their prompts; None where there are none to search.
    ``repeat``: a prompt that another case set asks may be asked again.

    Raises:
        SeatrialError: the first reason why one may not.
    """
    known = known_cases(task)
    raw = [_row(record, red_on, today) for record in records]
    redactor.avoid(json.dumps(raw, ensure_ascii=False))
    rows = [_clean(row, record, redactor) for row, record in zip(raw, records, strict=True)]
    if redactor.told and not redactor.replace:
        raise SeatrialError(
            "private data does not belong into a case file:\n  " + "\n  ".join(_few(redactor.told)),
            hint="take it out, or replace it: --redact; where it is none, --allow=KIND keeps it",
        )
    _name(rows, [case.id for case in known])
    proven: list[Proven] = []
    expected = Expectations(task)
    for row, record in zip(rows, records, strict=True):
        contract = task.case_sets[REGRESSIONS].contract
        case = read_case(dict(row), REGRESSIONS, record.where, task.reader.main, contract)
        expected.check(case)
        _require_new(case, known, repeat)
        proven.append(Proven(row, case, require_red(task, case), only_by_form(task, case)))
        known.append(case)
    if train is not None:
        found = trained_on(train, [each.case.prompt for each in proven])
        for each in proven:
            if each.case.prompt in found:
                raise SeatrialError(
                    f"the model was trained on this prompt: {found[each.case.prompt]}",
                    where=each.case.where,
                    hint="a case that training has seen proves nothing: take that row out, then add this one",
                )
    return proven


def _row(record: Record, red_on: str | None, today: date) -> dict[str, Any]:
    seen = {"where": record.seen_where, "when": record.seen_when}
    history: dict[str, Any] = {
        "seen": {name: value for name, value in seen.items() if value is not None},
        "incident": record.incident,
        "added": today.isoformat(),
        "answer": record.answer,
        "stop_reason": None if record.stop_reason == UNKNOWN else record.stop_reason,
        "red_on": red_on,
    }
    asked = record.messages
    row = {
        "id": record.id,
        **({"prompt": asked[0]["content"]} if len(asked) == 1 else {"messages": asked}),
        "expect": record.expect,
        "reference": record.reference,
        "tags": record.tags or ["production"],
        "note": record.note,
        "history": {name: value for name, value in history.items() if value not in (None, {})},
    }
    return {name: value for name, value in row.items() if value is not None or name == "id"}


def _clean(row: Mapping[str, Any], record: Record, redactor: Redactor) -> dict[str, Any]:
    """A row without private data in what came from outside."""
    ours = {"added", "red_on", "stop_reason"}
    cleaned = {
        name: redactor.clean(value, f"{record.where}: {name}")
        for name, value in row.items()
        if name != "history"
    }
    history = {
        name: value if name in ours else redactor.clean(value, f"{record.where}: {name}")
        for name, value in row["history"].items()
    }
    return {**cleaned, "history": history}


def _name(rows: Sequence[dict[str, Any]], known: Sequence[str]) -> None:
    """Give every row an id as golden/README.md has them: its own, its incident's, or the next number."""
    for row in rows:
        row["id"] = _slug(row["id"])
    taken = {*known, *(row["id"] for row in rows)}
    for row in rows:
        if not row["id"]:
            row["id"] = _free_id(_slug(row["history"].get("incident")), taken)
            taken.add(row["id"])


def _slug(text: str | None) -> str:
    return re.sub(r"[^a-z0-9]+", "-", (text or "").casefold()).strip("-")[:80].strip("-")


def _free_id(name: str, taken: Iterable[str]) -> str:
    if name and name not in taken:
        return name
    stem = re.escape(name or "regression")
    numbers = [int(found[1]) for each in taken if (found := re.fullmatch(rf"{stem}-(\d{{1,9}})", each))]
    return f"{name or 'regression'}-{max(numbers, default=1 if name else 0) + 1}"


def _require_new(case: Case, known: Iterable[Case], repeat: bool) -> None:
    for other in known:
        if other.id == case.id:
            raise SeatrialError(
                f"the id {case.id!r} is taken: {other.where}",
                where=case.where,
                hint="give another one, --id=NAME, or none: then one is made",
            )
        if other.question.messages != case.question.messages:
            continue
        if other.case_set == REGRESSIONS:
            raise SeatrialError(
                f"this is asked already, by the regression {other.id!r}: {other.where}",
                where=case.where,
                hint="one row is enough; if more must be right, add to what that one expects",
            )
        if not repeat:
            raise SeatrialError(
                f"this is asked already, by the case {other.id!r} of {other.case_set!r}: {other.where}",
                where=case.where,
                hint="--repeat adds it all the same: there a share of the cases may be missed, here none",
            )


def _few(lines: Sequence[str], most: int = 20) -> list[str]:
    return [*lines[:most], *([f"and {len(lines) - most} more"] if len(lines) > most else [])]
