"""Reads the record of a finished run: its results.json, wherever a user points to it, checked before use.

A record may come from another machine or another hand, so nothing in it is taken on trust: its size, its
JSON, its schema version and its shape are looked at first, and each mistake is one message. Light on purpose:
``seatrial verify`` runs in deploy jobs that have neither pytest nor llama.cpp nor numpy.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatrial.evals.visible import spelled_out
from seatrial.training.dataset import each_key_once
from seatrial.training.errors import SeatrialError

SCHEMA = Path(__file__).parent / "report" / "results.schema.json"
VERSION = 1  # of the layout of results.json
RESULTS, PAGE = "results.json", "report.html"
MOST = 512_000_000  # bytes; ten thousand cases under ten criteria take about 60 MB
SAMPLE = 50  # entries of a long list whose shape is checked before the record is used
LONGEST = 200  # characters of a wrong value that are shown
BROKEN = (AttributeError, IndexError, KeyError, TypeError, ValueError)  # what a value of another kind causes


@dataclass(frozen=True)
class Record:
    """A run's results: ``path`` is the file, ``page`` the report.html that the user named, if it was one."""

    path: Path
    document: Mapping[str, Any]
    page: Path | None = None

    @property
    def name(self) -> str:
        """The run's id."""
        return str(self.document["run"]["id"])


def read_record(given: Path) -> Record:
    """The record that ``given`` names: a results.json, its run folder, or the report.html beside it.

    Raises:
        SeatrialError: no such file, or it is no results.json of a schema version that is known here.
    """
    path = _results_file(given)
    document = _parsed(path, read_bytes(path, MOST))
    _check_version(document, path)
    for message in _mistakes(_sample(document)):
        raise SeatrialError(message, where=path, hint="take the results.json as the run wrote it")
    return Record(path, document, given if given.name.endswith(".html") else None)


@contextmanager
def intact(*records: Record) -> Iterator[None]:
    """Around whatever reads whole records: if it stumbles over an entry that was not in the sample, the
    mistake in the record is the message."""
    try:
        yield
    except BROKEN:
        for record in records:
            for message in _mistakes(record.document):
                raise SeatrialError(message, where=record.path) from None
        raise


def read_bytes(path: Path, most: int) -> bytes:
    """The bytes of a regular file of at most ``most`` bytes.

    Raises:
        SeatrialError: it is absent, no regular file, not readable, or larger.
    """
    require_regular(path)
    try:
        size = path.stat().st_size
        if size > most:
            raise SeatrialError(f"{size:,} bytes are too many to read (at most {most:,})", where=path)
        return path.read_bytes()
    except OSError as error:
        raise SeatrialError(f"cannot be read: {error.strerror}", where=path) from None


def require_regular(path: Path) -> None:
    """Raise unless ``path`` is a file, or a link to one: a pipe would wait for ever."""
    try:
        if path.is_dir():
            raise SeatrialError("is a folder, not a file", where=path)
        if path.is_symlink() and not path.exists():
            raise SeatrialError(f"is a link to {os.readlink(path)}, which does not exist", where=path)
        if not path.exists():
            raise SeatrialError("does not exist", where=path)
        if not path.is_file():
            raise SeatrialError("is not a regular file", where=path)
    except OSError as error:  # a folder that may not be entered, a name that is too long
        raise SeatrialError(f"cannot be read: {error.strerror}", where=path) from None


def _results_file(given: Path) -> Path:
    if _is_folder(given):
        return _in_folder(given)
    try:
        require_regular(given)
    except SeatrialError as error:
        raise SeatrialError(error.problem, where=given, hint=_WHAT) from None
    if not given.name.endswith(".html"):
        return given
    beside = given.parent / RESULTS
    if not beside.is_file():
        raise SeatrialError(f"no {RESULTS} lies beside this page", where=given, hint=_WHAT)
    return beside


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False  # said by whatever looks next


def _in_folder(folder: Path) -> Path:
    path = folder / RESULTS
    if path.exists() or path.is_symlink():
        return path
    latest = next(
        (each for each in (folder, *folder.glob("*")) if (each / "latest" / RESULTS).is_file()), None
    )
    hint = f"its newest run: {latest / 'latest'}" if latest else _WHAT
    raise SeatrialError(f"holds no {RESULTS}", where=folder, hint=hint)


_WHAT = "name a results.json or the folder of a run, such as reports/TASK/latest"


def _parsed(path: Path, content: bytes) -> Mapping[str, Any]:
    if not content.strip():
        raise SeatrialError(
            "is empty", where=path, hint="the run that wrote it did not finish: run the gate again"
        )
    try:
        document = json.loads(content, object_pairs_hook=each_key_once, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        ended = error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated")
        problem = "ends in the middle" if ended else "is not JSON"
        where = f"{path}:{error.lineno}"
        raise SeatrialError(f"{problem}: {error.msg}", where=where, hint=_WHAT) from None
    except UnicodeDecodeError:
        raise SeatrialError("is not JSON: it is not UTF-8 text", where=path, hint=_WHAT) from None
    except RecursionError:
        raise SeatrialError("is not a results.json: it is nested too deeply", where=path) from None
    except ValueError as error:
        raise SeatrialError(f"is not a results.json: {_short(str(error))}", where=path) from None
    if not isinstance(document, dict):
        raise SeatrialError("is JSON, but not the results of a run", where=path, hint=_WHAT)
    return document


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _check_version(document: Mapping[str, Any], path: Path) -> None:
    if "schema_version" not in document:
        raise SeatrialError("is no results.json: it has no schema_version", where=path, hint=_WHAT)
    version = document["schema_version"]
    if version != VERSION or isinstance(version, bool):
        raise SeatrialError(
            f"has schema version {_short(json.dumps(version))}; this Seatrial reads version {VERSION}",
            where=path,
            hint="use the Seatrial that wrote it, or run the gate again with this one",
        )


def _mistakes(document: Mapping[str, Any]) -> Iterator[str]:
    """What does not fit the schema, as messages that name the place."""
    from jsonschema import Draft202012Validator

    validator = Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    for error in validator.iter_errors(document):
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
        yield f"is no results of a run: {_short(place.lstrip('.') or 'the whole')}: {_short(error.message)}"


def _sample(value: Any, whole: bool = True) -> Any:
    """``value`` with long lists and maps cut, its verdicts apart: checking all of 100 MB takes 25 s."""
    if isinstance(value, dict):
        kept = list(value.items())[: None if whole else SAMPLE]
        return {key: _sample(item, whole and key == "verdicts") for key, item in kept}
    if isinstance(value, list):
        return [_sample(item, False) for item in value[: None if whole else SAMPLE]]
    return value


def _short(text: str) -> str:
    text = spelled_out(text).replace("\n", "\\n")
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"
