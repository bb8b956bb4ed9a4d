"""Production records: what a log, an incident or a person says about one bad answer.

A record is a JSON object; a file holds one, a list of them, or one a line. Logs call things by several names,
so each field has some, and ``paths`` says where it lies if a log nests it. What a record has beyond that is
left out of the row, and named, so that a misspelt field is seen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from seatrial.evals.models import EOS, ERROR, LENGTH, UNKNOWN
from seatrial.evals.regressions.private_data import Redactor
from seatrial.training.errors import SeatrialError, at

MOST_BYTES = 100_000  # of one record: a row is read by people, and it is kept for good
FIELDS: Mapping[str, tuple[str, ...]] = {
    "id": ("id",),
    "prompt": ("prompt", "input", "question"),
    "messages": ("messages",),
    "answer": ("answer", "response", "output", "completion"),
    "expect": ("expect", "expected"),
    "reference": ("reference",),
    "stop_reason": ("stop_reason", "finish_reason"),
    "where": ("where", "source"),
    "when": ("when", "timestamp", "created_at"),
    "incident": ("incident", "incident_id"),
    "note": ("note",),
    "tags": ("tags",),
}
STOPS = {"stop": EOS, "end_turn": EOS, EOS: EOS, LENGTH: LENGTH, "max_tokens": LENGTH, ERROR: ERROR}
ROLES = ("user", "assistant")


@dataclass(frozen=True)
class Record:
    """One record; ``where`` is its file and line. Fields that it lacks are None.

    ``stop_reason`` is one of ours, ``unknown`` if nobody said why the answer ended: then nothing is judged
    by it. ``left_out``: names of what the row does not keep.
    """

    where: str
    messages: list[dict[str, str]]
    answer: str
    expect: dict[str, Any]
    reference: str | None
    stop_reason: str
    id: str | None
    seen_where: str | None
    seen_when: str | None
    incident: str | None
    note: str | None
    tags: list[str]
    left_out: list[str] = field(default_factory=list)


def parse(text: str, name: str) -> list[tuple[str, dict[str, Any]]]:
    """The JSON objects of ``text`` with the place of each: one object, a list, or one a line.

    Raises:
        SeatrialError: there is none, or something is no JSON object; with its line.
    """
    if not text.strip():
        raise SeatrialError(
            "there is no record in it", where=name, hint='a record is {"prompt": "...", "answer": "...", ...}'
        )
    try:
        whole = _json(text)
    except json.JSONDecodeError as error:
        return _lines(text, name, error)
    except (ValueError, RecursionError) as error:
        raise SeatrialError(f"not valid JSON: {error}", where=name) from None
    if isinstance(whole, list):
        found = [(f"{name}: record {number}", item) for number, item in enumerate(whole, 1)]
    else:
        first = text[: len(text) - len(text.lstrip())].count("\n") + 1
        found = [(at(name, first), whole)]
    if not found:
        raise SeatrialError("the list holds no record", where=name)
    return [(where, _object(value, where)) for where, value in found]


def read_record(
    row: Mapping[str, Any],
    where: str,
    system: str,
    filled: Mapping[str, Any],
    paths: Mapping[str, str],
) -> Record:
    """What one JSON object says; ``filled`` stands in for what it lacks, ``paths`` says where fields lie.

    ``system``: the task's system prompt, which is not part of a row; a record may begin with it.

    Raises:
        SeatrialError: something is missing or of another kind.
    """
    size = len(json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    if size > MOST_BYTES:
        raise SeatrialError(
            f"this record is {size:,} bytes long; a row may have {MOST_BYTES:,}",
            where=where,
            hint="keep the part that shows the failure: it becomes a row that people read",
        )
    given, used = _fields(row, paths, where)
    left_out = [str(name) for name in row if name not in used]
    values = {**filled, **given}
    messages, answer = _conversation(values, system, where)
    expect = values.get("expect") or {}
    if not isinstance(expect, dict):
        raise SeatrialError(
            f"'expect' is {_short(expect)}",
            where=where,
            hint='what would be right, as in a case: {"contains_any": ["..."]}',
        )
    tags = values.get("tags") or []
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise SeatrialError(f"'tags' is {_short(tags)}", where=where, hint="tags are a list of texts")
    return Record(
        where=where,
        messages=messages,
        answer=answer,
        expect=expect,
        reference=_line(values, "reference", where, control=True),
        stop_reason=_stop(values.get("stop_reason"), where),
        id=_line(values, "id", where),
        seen_where=_line(values, "where", where),
        seen_when=_moment(values.get("when"), where),
        incident=_line(values, "incident", where),
        note=_line(values, "note", where),
        tags=tags,
        left_out=left_out,
    )


def _fields(row: Mapping[str, Any], paths: Mapping[str, str], where: str) -> tuple[dict[str, Any], set[str]]:
    """The fields that a record has, and the names at its top level that they were read from."""
    row = dict(row)
    used: set[str] = set()
    if isinstance(row.get("seen"), dict) and set(row["seen"]) <= {"where", "when"}:
        row = {**row.pop("seen"), **row}
        used.add("seen")
    given: dict[str, Any] = {}
    for name, path in paths.items():
        value: Any = row
        for step in path.split("."):
            value = _step(value, step)
        if value is None:
            raise SeatrialError(
                f"there is no {path!r} in it",
                where=where,
                hint=f"--field={name}=PATH, such as choices.0.text",
            )
        given[name] = value
        used.add(path.partition(".")[0])
    for name, aliases in FIELDS.items():
        there = [alias for alias in aliases if row.get(alias) is not None]
        if there and name not in given:
            given[name] = row[there[0]]
            used.add(there[0])
    return given, used


def _step(value: Any, step: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(step)
    if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
        return value[int(step)]
    return None


def _conversation(values: Mapping[str, Any], system: str, where: str) -> tuple[list[dict[str, str]], str]:
    """What was said up to the bad answer, and the bad answer."""
    prompt, messages, answer = values.get("prompt"), values.get("messages"), values.get("answer")
    if (prompt is None) == (messages is None):
        problem = "has no prompt" if prompt is None else "has both 'prompt' and 'messages'"
        raise SeatrialError(
            f"this record {problem}",
            where=where,
            hint=f"'prompt' (or {' or '.join(FIELDS['prompt'][1:])}), or 'messages' with roles and contents; "
            "--field=prompt=PATH says where it lies",
        )
    turns = _turns(messages, system, where) if messages is not None else []
    if messages is None:
        if not isinstance(prompt, str) or not prompt.strip():
            raise SeatrialError(f"'prompt' is {_short(prompt)}", where=where, hint="it must be a text")
        turns = [{"role": "user", "content": prompt}]
    elif turns and turns[-1]["role"] == "assistant":
        last = turns.pop()["content"]
        if answer is not None and answer != last:
            raise SeatrialError(
                "'messages' ends in an answer, and 'answer' is another one",
                where=where,
                hint="give the bad answer once",
            )
        answer = last
    if not isinstance(answer, str):
        raise SeatrialError(
            "this record has no answer" if answer is None else f"'answer' is {_short(answer)}",
            where=where,
            hint=f"'answer' (or {' or '.join(FIELDS['answer'][1:])}): the bad answer as the model gave it, "
            "as a text; without it nobody can show that the row would have caught it",
        )
    if not turns or turns[-1]["role"] != "user":
        raise SeatrialError("'messages' has no turn of the user before the answer", where=where)
    for name, text in (*((turn["role"], turn["content"]) for turn in turns), ("answer", answer)):
        _encodable(text, name, where)
    return turns, answer


def _turns(messages: Any, system: str, where: str) -> list[dict[str, str]]:
    if not isinstance(messages, list) or not messages:
        raise SeatrialError(f"'messages' is {_short(messages)}", where=where, hint=_TURN)
    turns = []
    for number, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        content = _content(message.get("content")) if isinstance(message, dict) else None
        if not isinstance(content, str):
            raise SeatrialError(f"message {number + 1} is {_short(message)}", where=where, hint=_TURN)
        if role == "system" and number == 0:
            if content.strip() != system.strip():
                raise SeatrialError(
                    "the system prompt in it is not the task's",
                    where=where,
                    hint="the gate asks with [prompts] system of task.toml: mend that, or take the system "
                    "message out of the record if the answer is bad under either",
                )
        elif role not in ROLES:
            raise SeatrialError(
                f"message {number + 1} has the role {_short(role)}",
                where=where,
                hint=f"roles: {', '.join(ROLES)}, and system for the first",
            )
        else:
            turns.append({"role": role, "content": content})
    return turns


def _content(value: Any) -> Any:
    """The text of a message; chat APIs also give it in parts, which are joined if all are text."""
    parts = value if isinstance(value, list) else []
    told = [part.get("text") for part in parts if isinstance(part, dict) and part.get("type") == "text"]
    texts = [text for text in told if isinstance(text, str)]
    return "".join(texts) if parts and len(texts) == len(parts) else value


_TURN = 'messages are a list such as [{"role": "user", "content": "..."}]'


def _line(values: Mapping[str, Any], name: str, where: str, control: bool = False) -> str | None:
    """A field of one line: it is printed in reports and on terminals."""
    value = values.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise SeatrialError(f"'{name}' is {_short(value)}", where=where, hint="it must be a text")
    _encodable(value, name, where)
    if not control and not value.isprintable():
        raise SeatrialError(
            f"'{name}' is {_short(value)}: it holds line ends or control characters", where=where
        )
    return value


def _moment(value: Any, where: str) -> str | None:
    """A time as ISO 8601; a number is taken as seconds since 1970, or milliseconds if it is so large."""
    if value is None or value == "":
        return None
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            seconds = value / 1000 if value > 1e11 else value
            return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
        datetime.fromisoformat(value)
    except (ValueError, TypeError, OverflowError, OSError):
        raise SeatrialError(
            f"'when' is {_short(value)}", where=where, hint="a date or time as in 2026-11-20T09:30:00Z"
        ) from None
    return str(value)


def _stop(value: Any, where: str) -> str:
    if value is None:
        return UNKNOWN
    if not isinstance(value, str) or value not in STOPS:
        raise SeatrialError(
            f"'stop_reason' is {_short(value)}", where=where, hint=f"allowed: {', '.join(sorted(STOPS))}"
        )
    return STOPS[value]


def _encodable(text: str, name: str, where: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise SeatrialError(
            f"'{name}' holds half of a surrogate pair, which no text file can hold", where=where
        ) from None


def _lines(text: str, name: str, whole: json.JSONDecodeError) -> list[tuple[str, dict[str, Any]]]:
    """One record a line; what is wrong with the first line is what is wrong with the whole."""
    found: list[tuple[str, dict[str, Any]]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = _json(line)
        except (ValueError, RecursionError) as error:
            said, place = (error, number) if found else (whole, whole.lineno)
            told = (
                f"{said.msg} at column {said.colno}" if isinstance(said, json.JSONDecodeError) else str(said)
            )
            raise SeatrialError(
                f"not valid JSON: {told}",
                where=at(name, place),
                hint="a file holds one JSON object, a list of them, or one a line",
            ) from None
        found.append((at(name, number), _object(value, at(name, number))))
    return found


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SeatrialError(f"a {type(value).__name__} where a JSON object is expected", where=where)
    return value


def _json(text: str) -> Any:
    return json.loads(text, parse_constant=_refuse)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON value")


def _short(value: Any) -> str:
    """A value for an error, which may end in a log: nothing private in it is shown."""
    said = str(Redactor(replace=True).clean(repr(value)[:MOST_BYTES], ""))
    return said if len(said) <= 60 else f"{said[:60]}…"
