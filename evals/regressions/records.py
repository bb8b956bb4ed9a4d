"""Production records: what a log, an incident or a person says about one bad answer.

A record is a JSON object; a file holds one, a list of them, or one a line. Logs call things by several names,
so each field has some, and ``paths`` says where it lies if a log nests it. What a record has beyond that is
left out of the row, and named, so that a misspelt field is seen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from seatrial.evals.regressions.values import MOST_BYTES, encodable, line, moment, short, stop
from seatrial.training.errors import SeatrialError, at

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
            f"'expect' is {short(expect)}",
            where=where,
            hint='what would be right, as in a case: {"contains_any": ["..."]}',
        )
    tags = values.get("tags") or []
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise SeatrialError(f"'tags' is {short(tags)}", where=where, hint="tags are a list of texts")
    return Record(
        where=where,
        messages=messages,
        answer=answer,
        expect=expect,
        reference=line(values, "reference", where, control=True),
        stop_reason=stop(values.get("stop_reason"), where),
        id=line(values, "id", where),
        seen_where=line(values, "where", where),
        seen_when=moment(values.get("when"), where),
        incident=line(values, "incident", where),
        note=line(values, "note", where),
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
            raise SeatrialError(f"'prompt' is {short(prompt)}", where=where, hint="it must be a text")
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
            "this record has no answer" if answer is None else f"'answer' is {short(answer)}",
            where=where,
            hint=f"'answer' (or {' or '.join(FIELDS['answer'][1:])}): the bad answer as the model gave it, "
            "as a text; without it nobody can show that the row would have caught it",
        )
    if not turns or turns[-1]["role"] != "user":
        raise SeatrialError("'messages' has no turn of the user before the answer", where=where)
    for name, text in (*((turn["role"], turn["content"]) for turn in turns), ("answer", answer)):
        encodable(text, name, where)
    return turns, answer


def _turns(messages: Any, system: str, where: str) -> list[dict[str, str]]:
    if not isinstance(messages, list) or not messages:
        raise SeatrialError(f"'messages' is {short(messages)}", where=where, hint=_TURN)
    turns = []
    for number, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        content = _content(message.get("content")) if isinstance(message, dict) else None
        if not isinstance(content, str):
            raise SeatrialError(f"message {number + 1} is {short(message)}", where=where, hint=_TURN)
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
                f"message {number + 1} has the role {short(role)}",
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


def _lines(text: str, name: str, whole: json.JSONDecodeError) -> list[tuple[str, dict[str, Any]]]:
    """One record a line; what is wrong with the first line is what is wrong with the whole."""
    found: list[tuple[str, dict[str, Any]]] = []
    for number, one in enumerate(text.split("\n"), 1):
        if not one.strip():
            continue
        try:
            value = _json(one)
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
