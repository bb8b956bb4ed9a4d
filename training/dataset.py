"""Training rows: ShareGPT JSONL in, prompt/completion messages out, split into training and validation.

ShareGPT's ``human``/``gpt`` roles are renamed here, because TRL's own conversion leaves them as they are.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seatrial.training.errors import SeatrialError, at

ROLES = {"human": "user", "gpt": "assistant", "system": "system"}
Message = dict[str, str]
Marked = tuple[float, list[Message]]


def read_jsonl(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """The objects of a JSONL file with their line numbers, blank lines left out.

    Raises:
        SeatrialError: no such file, or a line that is not a JSON object.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # U+2028 in a string ends no row
    except FileNotFoundError:
        raise SeatrialError("this file does not exist", where=path) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SeatrialError(f"cannot be read: {error}", where=path) from None
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=each_key_once)
        except json.JSONDecodeError as error:
            raise SeatrialError(
                f"not valid JSON: {error.msg} at column {error.colno}",
                where=at(path, number),
                hint="a JSONL file holds one JSON object per line",
            ) from None
        except (ValueError, RecursionError) as error:  # too many digits, nested too deeply
            raise SeatrialError(f"not valid JSON: {error}", where=at(path, number)) from None
        if not isinstance(row, dict):
            raise SeatrialError(
                f"a {type(row).__name__} where a JSON object is expected", where=at(path, number)
            )
        rows.append((number, row))
    return rows


def each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON. ValueError for a key that stands twice: programs differ in which they read."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {max(names, key=names.count)!r} stands twice")
    return found


def read_sharegpt(path: Path) -> list[list[Message]]:
    """The conversations of a ShareGPT file as messages with roles system, user and assistant.

    Raises:
        SeatrialError: with file and line, for a row that is no conversation ending in an answer.
    """
    conversations = []
    for number, row in read_jsonl(path):
        where = at(path, number)
        turns = row.get("conversations")
        if not isinstance(turns, list) or len(turns) < 2:
            raise SeatrialError("'conversations' must be a list of at least two turns", where=where)
        messages = []
        for turn in turns:
            role = turn.get("from") if isinstance(turn, dict) else None
            if not isinstance(role, str) or role not in ROLES or not isinstance(turn.get("value"), str):
                raise SeatrialError(
                    f"a turn is {turn!r}",
                    where=where,
                    hint='a turn is {"from": "human" or "gpt" or "system", "value": "text"}',
                )
            messages.append({"role": ROLES[role], "content": turn["value"]})
        if messages[-1]["role"] != "assistant":
            raise SeatrialError("the last turn must be from 'gpt': it is what is learnt", where=where)
        conversations.append(messages)
    if not conversations:
        raise SeatrialError("this training file holds no rows", where=path)
    return conversations


def prepare(
    source: Path,
    out: Path,
    system: str,
    validation_rows: int,
    seed: int,
    order: str = "shuffled",
    mix: Path | None = None,
    share: float = 0.0,
) -> Mapping[str, Any]:
    """Write ``rows.jsonl`` of ``{"prompt": messages, "completion": messages}`` to the folder ``out``.

    Rows are shuffled by ``seed``; the last ``validation_rows`` of the file are for validation. ``order``
    sorts those before them, by their characters (``length``) or by the number ``difficulty`` of each source
    row, least first. Of the rows that are trained on, ``share`` come from ``mix``, without ``system``.

    Raises:
        SeatrialError: too few rows in either file, or one without the difficulty that ``order`` asks for.
    """
    by_mark = order == "difficulty"
    own = [(mark, with_system(messages, system)) for mark, messages in _marked(source, by_mark)]
    if validation_rows >= len(own):
        raise SeatrialError(
            f"validation_rows = {validation_rows}, but {source} has only {len(own)} rows",
            where="recipe [trainer]",
        )
    random.Random(seed).shuffle(own)
    training, validation = own[:-validation_rows], own[-validation_rows:]
    general: list[Marked] = []
    if mix is not None:
        general = _drawn(mix, round(len(training) * share / (1 - share)), seed, by_mark)
        training += general
        random.Random(seed).shuffle(training)
    if order == "length":
        training.sort(key=lambda row: sum(len(message["content"]) for message in row[1]))
    elif order == "difficulty":
        training.sort(key=lambda row: row[0])
    lines = [
        json.dumps({"prompt": messages[:-1], "completion": messages[-1:]}, ensure_ascii=False)
        for _, messages in training + validation
    ]
    text = "\n".join(lines) + "\n"
    (out / "rows.jsonl").write_text(text, encoding="utf-8")
    return {
        "rows": len(lines),
        "validation_rows": validation_rows,
        "source_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
    } | ({"general_rows": len(general)} if mix else {})


def with_system(messages: list[Message], system: str) -> list[Message]:
    """A conversation with the system prompt before it, unless it begins with one of its own."""
    if messages[0]["role"] == "system" or not system:
        return messages
    return [{"role": "system", "content": system}, *messages]


def _marked(source: Path, by_mark: bool) -> list[Marked]:
    """The conversations of a ShareGPT file, each with its difficulty; 0 where nobody asks for it."""
    conversations = read_sharegpt(source)
    marks = _difficulties(source) if by_mark else [0.0] * len(conversations)
    return list(zip(marks, conversations, strict=True))


def _drawn(mix: Path, wanted: int, seed: int, by_mark: bool) -> list[Marked]:
    """``wanted`` conversations of a file of general ones, none of them twice."""
    there = _marked(mix, by_mark)
    if wanted > len(there):
        raise SeatrialError(
            f"the share asks for {wanted} general rows, but {mix} has only {len(there)}",
            where="recipe [mix]",
            hint="give a smaller share, or a file with more rows",
        )
    return random.Random(seed).sample(there, wanted)


def _difficulties(source: Path) -> list[float]:
    """The number ``difficulty`` of each row of a ShareGPT file."""
    found = []
    for number, row in read_jsonl(source):
        value = row.get("difficulty")
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise SeatrialError(
                f"'difficulty' is {value!r}",
                where=at(source, number),
                hint='order = "difficulty" needs a number in every row: '
                '{"difficulty": 1, "conversations": [...]}',
            )
        found.append(float(value))
    return found
