"""Whether this very file was judged and may ship: a record's own consistency, and digests of what is here.

For the job that deploys. It needs the record, the file and a Python with click and jsonschema; no model is
loaded and nothing is asked. What it proves: the bytes of the file, its Modelfile, the task and the cases are
those that the record says were judged, and the record says SHIP throughout. What it does not prove: that the
record is true. Whoever may write results.json can write any digest into it, so take it from where only the
gate's job may put it: an artifact of that job, or a store that signs.
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from seatrial.evals.case_names import files_of
from seatrial.evals.judged import judged_digest
from seatrial.evals.record import PAGE, Record, read_bytes, require_regular
from seatrial.training.errors import SeatrialError

MOST_TEXT = 64_000_000  # bytes of a task.toml, a Modelfile or a page
NAMED = 5  # ids that are named in one line
HELD, FAILED, NOT_ASKED = "holds", "fails", "not asked"


@dataclass(frozen=True)
class Check:
    """One question and its answer: ``state`` is HELD, FAILED or NOT_ASKED."""

    name: str
    state: str
    said: str


def verify(
    record: Record, file: Path, modelfile: Path | None = None, task: Path | None = None
) -> list[Check]:
    """All checks. The file may ship if none of them fails; what could not be asked says so.

    Args:
        record: the run's results.
        file: the file that is to ship. A link is followed: its bytes are what counts.
        modelfile: the Modelfile that it is served by; else the one beside ``file``, else the run's copy.
        task: the folder of the task; else the recorded one, if it is found from the working folder.

    Raises:
        SeatrialError: a file that was named cannot be read.
    """
    for named in filter(None, (file, modelfile)):
        require_regular(named)
    checks = [*_decision(record), _file(record.document, file)]
    checks.append(_modelfile(record, file, modelfile))
    checks += _task(record.document, task)
    return checks


def may_ship(checks: list[Check]) -> bool:
    """Whether no check fails."""
    return all(check.state != FAILED for check in checks)


def _state(holds: bool) -> str:
    return HELD if holds else FAILED


# --- the record itself -----------------------------------------------------------------------------------


def _decision(record: Record) -> Iterator[Check]:
    document = record.document
    gate = document["gate"]
    said = f"the run {document['run']['id']} says {gate['decision']}"
    if gate["summary"]:
        said += f": {_some(gate['summary'], '; ')}"
    yield Check("decision", _state(gate["decision"] == "SHIP"), said)
    doubts = list(_contradictions(document)) if gate["decision"] == "SHIP" else []
    if record.page:
        page = read_bytes(record.page, MOST_TEXT).decode("utf-8", "replace")
        if document["run"]["id"] not in page:
            doubts.append(f"{PAGE} shows another run")
    agreed = f"{sum(v['required'] for v in document['verdicts'])} required criteria passed"
    if hard := document["hard_cases"]["total"]:
        agreed += f", {hard} hard cases were right"
    if gate["decision"] == "SHIP" or doubts:
        told = f"it contradicts itself: {_some(doubts, '; ')}" if doubts else agreed
        yield Check("record", _state(not doubts), told)
    if gate["decision"] == "SHIP" and gate["waivers"]:
        names = _some([waiver["name"] for waiver in gate["waivers"]])
        yield Check("waivers", NOT_ASKED, f"this task does not require: {names}")


def _contradictions(document: Mapping[str, Any]) -> Iterator[str]:
    """What in the record of a SHIP cannot be: each of these stops a release in the gate itself."""
    gate, hard, tests = document["gate"], document["hard_cases"], document["tests"]
    required = [verdict for verdict in document["verdicts"] if verdict["required"]]
    if gate["exit_status"] != 0:
        yield f"the exit status is {gate['exit_status']}"
    if gate["reasons"] or gate["summary"]:
        yield f"it names reasons against shipping ({_some(gate['reasons'] or gate['summary'], '; ')})"
    if not str(gate["spoken"]).startswith("SHIP"):
        yield f"it is spoken as {gate['spoken']!r}"
    if not required:
        yield "no criterion was required, so nothing was proved"
    if wrong := [f"{v['criterion']} {v['status']}" for v in required if v["status"] != "PASS"]:
        yield f"required and not passed: {_some(wrong)}"
    ids = [verdict["criterion"] for verdict in document["verdicts"]]
    if twice := {name for name in ids if ids.count(name) > 1}:
        yield f"two verdicts on {_some(sorted(twice))}"
    missed = {*hard["missed"], *(seen["case"] for seen in document["observations"] if _hard_miss(seen))}
    if missed:
        yield f"hard cases missed: {_some(sorted(missed))}"
    if hard["not_evaluated"]:
        yield f"hard cases not evaluated: {_some(hard['not_evaluated'])}"
    if hard["passed"] != hard["total"]:
        yield f"{hard['passed']} of {hard['total']} hard cases passed"
    if tests["failed"] or tests["errors"]:
        yield f"{tests['failed']} tests failed, {tests['errors']} ended in an error"


def _hard_miss(seen: Mapping[str, Any]) -> bool:
    return bool(seen["hard"] and seen["missed"])


# --- the file and what it is served by -------------------------------------------------------------------


def _file(document: Mapping[str, Any], file: Path) -> Check:
    shipped = document["shipped"]
    if shipped is None:
        what = f"the program {document['program']!r}" if document["program"] else "nothing"
        return Check("file", FAILED, f"the run judged {what}, not a file, so it says nothing about {file}")
    try:
        size = file.stat().st_size
        if size != shipped["bytes"]:
            judged = f"{shipped['name']}, which was judged, has {shipped['bytes']:,}"
            return Check("file", FAILED, f"{file} has {size:,} bytes; {judged}")
        digest = sha256(file)
    except OSError as error:
        raise SeatrialError(f"cannot be read: {error.strerror}", where=file) from None
    if digest != shipped["sha256"]:
        return Check("file", FAILED, f"{file} has SHA-256 {digest}; {shipped['sha256']} was judged")
    return Check("file", HELD, f"{file} is the judged {shipped['name']}: SHA-256 {digest}")


def _modelfile(record: Record, file: Path, given: Path | None) -> Check:
    shipped = record.document["shipped"]
    judged = shipped and shipped["modelfile_sha256"]
    beside, copy = file.parent / "Modelfile", record.path.parent / "Modelfile"
    path = given or next((path for path in (beside, copy) if os.path.lexists(path)), None)
    if shipped is None:
        return Check("Modelfile", NOT_ASKED, "no file was judged")
    if judged is None:
        if path in (None, copy):
            return Check("Modelfile", NOT_ASKED, "the file was judged without one, and none lies beside it")
        return Check("Modelfile", FAILED, f"{path} was not judged: the run had no Modelfile")
    if path is None:
        said = f"none lies beside {file}, and the judged one decides how it answers"
        return Check("Modelfile", FAILED, f"{said}: name it with --modelfile=FILE")
    digest = hashlib.sha256(read_bytes(path, MOST_TEXT)).hexdigest()
    if digest != judged:
        return Check("Modelfile", FAILED, f"{path} has SHA-256 {digest}; {judged} was judged")
    also = "" if path != copy or given else f"; none lies beside {file}: serve it by this one"
    return Check("Modelfile", HELD, f"{path} is the judged one{also}")


# --- the task and its cases ------------------------------------------------------------------------------


def _task(document: Mapping[str, Any], given: Path | None) -> Iterator[Check]:
    folder = _task_folder(document, given)
    for file in document["case_files"]:
        if not file["own"]:
            yield _other_file(file)
    if folder is None:
        yield Check("task", NOT_ASKED, "not found from here: name its folder with --task=DIR")
        return
    path = folder / "task.toml"
    content = read_bytes(path, MOST_TEXT)
    digest, judged = hashlib.sha256(content).hexdigest(), document["task"]["sha256"]
    if digest != judged:
        yield Check("task", FAILED, f"{path} has changed: SHA-256 {digest}; {judged} was judged by")
        return
    yield Check("task", HELD, f"{path} is the one that was judged by")
    yield from _beside(document["task"].get("files", {}), folder)
    yield _case_files(document, folder, tomllib.loads(content.decode("utf-8")))


def _beside(recorded: Mapping[str, str], folder: Path) -> Iterator[Check]:
    """The files that task.toml names beside its cases: the contract's schema, the base's prompt."""
    wrong = []
    for name, digest in sorted(recorded.items()):
        if not (folder / name).is_file():
            wrong.append(f"{folder / name} is gone")
        elif sha256(folder / name) != digest:
            wrong.append(f"{folder / name} has changed")
    if wrong:
        yield Check("task files", FAILED, _some(wrong, "; "))


def _task_folder(document: Mapping[str, Any], given: Path | None) -> Path | None:
    """The folder that the user names; else the recorded one, if it lies here: below the working folder, or
    below the top of the git checkout around it."""
    if given is not None:
        folder = given.parent if given.name.endswith(".toml") else given
        require_regular(folder / "task.toml")
        return folder
    recorded = document["task"].get("path")
    if not recorded:
        return None
    here = Path.cwd()
    top = next((folder for folder in (here, *here.parents) if (folder / ".git").exists()), here)
    found = (folder / recorded for folder in (here, top))
    return next((folder for folder in found if (folder / "task.toml").is_file()), None)


def _case_files(document: Mapping[str, Any], folder: Path, task: Mapping[str, Any]) -> Check:
    """The task's own case files; which they are, its task.toml says, whose digest is right."""
    recorded = {file["case_set"]: file for file in document["case_files"] if file["own"]}
    named = {name: folder / path for name, path in files_of(task, folder).items()}
    wrong = [f"{name} is not in the record" for name in named if name not in recorded]
    wrong += [f"{name} is not in task.toml" for name in recorded if name not in named]
    histories = False
    for name in named.keys() & recorded.keys():
        path = named[name]
        if not path.is_file():
            wrong.append(f"{path} is gone")
        elif sha256(path) != recorded[name]["sha256"]:
            if judged_digest(path) == recorded[name].get("judged_sha256"):
                histories = True
            else:
                wrong.append(f"{path} has changed")
    if wrong:
        return Check("cases", FAILED, _some(sorted(wrong), "; "))
    but = "; histories of regressions apart" if histories else ""
    return Check("cases", HELD, f"the {len(named)} case files of the task are those that were asked{but}")


def _other_file(file: Mapping[str, Any]) -> Check:
    """A file that stood in for the task's own: it is said, and looked at where it still lies."""
    name, path = f"cases of {file['case_set']}", Path(file["path"])
    said = f"{file['cases']} were asked of {PurePath(path)}, which is not the task's own file"
    try:
        if not path.is_file():
            return Check(name, NOT_ASKED, f"{said} and is not found here")
        same = sha256(path) == file["sha256"]
    except OSError as error:
        return Check(name, NOT_ASKED, f"{said} and cannot be read: {error.strerror}")
    return Check(name, _state(same), f"{said}{'' if same else ' and has changed'}")


def sha256(path: Path) -> str:
    """The digest of a file's bytes, in hexadecimal; raises :class:`SeatrialError` if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SeatrialError(f"cannot be read: {error.strerror}", where=path) from None


def _some(names: list[str], separator: str = ", ") -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return separator.join(names[:NAMED]) + more
