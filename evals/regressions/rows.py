"""Rows of a case file, added or changed without touching any other byte of it.

A file is replaced as a whole, by a rename, under a lock: a reader sees the old rows or the new ones, and two
commands at once lose none.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from seatrial.training.errors import SeatrialError, at
from seatrial.training.store import FOLDERS, default_root

FIELDS = ("id", "prompt", "messages", "expect", "reference", "tags", "note", "history")  # in this order


def line_of_row(row: Mapping[str, Any]) -> str:
    """A row as golden/README.md says that it is written, without the line's end; other fields come last."""
    ordered = {name: row[name] for name in (*FIELDS, *row) if name in row}
    text = json.dumps(ordered, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can spell and UTF-8 cannot
        return json.dumps(ordered)
    return text


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody else changes the case file ``path`` meanwhile, as far as this user's commands go."""
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:32]
    folder = default_root() / "locks"
    try:
        for name in FOLDERS:  # a store whole or not at all
            (default_root() / name).mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"cases-{digest}.lock")
        lock.acquire()
    except OSError as error:
        raise SeatrialError(
            f"cannot be locked: {error.strerror}",
            where=path,
            hint=f"the lock lies in {folder}: name another store with SEATRIAL_STORE",
        ) from None
    try:
        yield
    finally:
        lock.release()


def append(path: Path, rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Add ``rows`` to the end of a case file, which is made if it is missing; the lines that they stand in.

    Call it under :func:`locked`.

    Raises:
        SeatrialError: the file cannot be written; it is as it was.
    """
    before = path.read_bytes() if path.exists() else b""
    end = b"\r\n" if before.endswith(b"\r\n") else b"\n"
    start = before if not before or before.endswith(b"\n") else before + end
    first = start.count(b"\n") + 1
    _replace(path, start + b"".join(line_of_row(row).encode() + end for row in rows))
    return list(range(first, first + len(rows)))


def change(path: Path, rows: Mapping[str, Mapping[str, Any]]) -> bool:
    """Write the rows of these ids in place of what they were; True if the file changed.

    Only those rows are written again. Call it under :func:`locked`.

    Raises:
        SeatrialError: the file cannot be read or written, or a line of it is no JSON; it is as it was.
    """
    try:
        before = path.read_bytes()
    except OSError as error:
        raise SeatrialError(f"cannot be read: {error.strerror}", where=path) from None
    lines = before.split(b"\n")
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise SeatrialError(f"not valid JSON: {error}", where=at(path, number + 1)) from None
        new = rows.get(str(row.get("id"))) if isinstance(row, dict) else None
        if new is not None and new != row:
            end = b"\r" if line.endswith(b"\r") else b""
            lines[number] = line_of_row({**row, **new}).encode() + end
    after = b"\n".join(lines)
    if after == before:
        return False
    _replace(path, after)
    return True


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if path.exists():
                shutil.copymode(path, temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise SeatrialError(
            f"cannot be written: {error.strerror or error}",
            where=path,
            hint="nothing was changed; make the folder writable, or copy the task to one that is",
        ) from None
