"""``seatrial verify``: says "may ship" for the very file, Modelfile, task and cases of a SHIP, and for no other."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from seatrial.evals import record
from seatrial.evals.judged import judged_digest
from tests.verb import Document, Said, document, seatrial, write

REPOSITORY = Path(__file__).resolve().parent.parent
TASK = (
    '[case_sets.domain]\nfile = "cases/domain.jsonl"\n[case_sets.regressions]\nfile = "regressions.jsonl"\n'
)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass
class Release:
    """A judged file with its Modelfile, its task, and the record of the run that judged it."""

    folder: Path

    def __post_init__(self) -> None:
        self.file, self.modelfile = self.folder / "model.gguf", self.folder / "Modelfile"
        self.task, self.run = self.folder / "golden" / "lamp", self.folder / "reports" / "lamp" / "1"
        (self.task / "cases").mkdir(parents=True)
        self.file.write_bytes(b"GGUF" + bytes(range(256)))
        self.modelfile.write_text("FROM ./model.gguf\n", encoding="utf-8")
        (self.task / "task.toml").write_text(TASK, encoding="utf-8")
        (self.task / "cases" / "domain.jsonl").write_text('{"id": "d-1"}\n', encoding="utf-8")
        (self.task / "regressions.jsonl").write_text('{"id": "r-1"}\n', encoding="utf-8")
        self.record()

    def record(self, change: Callable[[Document], object] | None = None) -> None:
        """Write the record of a SHIP; ``change`` edits it."""
        made = document()
        made["shipped"] |= {"sha256": sha256(self.file), "bytes": self.file.stat().st_size}
        made["shipped"]["modelfile_sha256"] = sha256(self.modelfile)
        made["task"] |= {"sha256": sha256(self.task / "task.toml"), "path": "golden/lamp"}
        for entry, name in zip(made["case_files"], ("cases/domain.jsonl", "regressions.jsonl"), strict=True):
            entry |= {"path": str(self.task / name), "sha256": sha256(self.task / name)}
        if change:
            change(made)
        write(self.run, made)

    def verify(self, *words: str | Path) -> Said:
        return seatrial("verify", self.run, self.file, "--task", self.task, *words)


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Release:
    monkeypatch.chdir(tmp_path)
    return Release(tmp_path)


# --- what holds ------------------------------------------------------------------------------------------


def test_the_very_file_that_was_judged_may_ship(release: Release) -> None:
    said = release.verify()
    assert said.status == 0, said.out
    lines = said.out.splitlines()
    assert lines[-1] == f"may ship: {release.file}"
    assert [line.split(":")[0] for line in lines[:-1]] == [
        f"ok  {check}" for check in ("decision", "record", "file", "Modelfile", "task", "cases")
    ]


@pytest.mark.parametrize("name", ["results.json", "report.html", ""])
def test_the_report_is_named_by_file_page_or_folder(release: Release, name: str) -> None:
    assert seatrial("verify", release.run / name, release.file).status == 0


def test_machines_read_json(release: Release) -> None:
    release.file.write_bytes(b"other")
    told = json.loads(release.verify("--json").out)
    assert told["may_ship"] is False
    assert [check["check"] for check in told["checks"] if check["state"] == "fails"] == ["file"]


def test_the_task_is_found_where_the_record_says(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    found = seatrial("verify", release.run, release.file)
    assert "ok  cases: " in found.out
    (release.folder / ".git").mkdir()
    (release.folder / "deploy").mkdir()
    monkeypatch.chdir(release.folder / "deploy")  # the top of the checkout counts, too
    assert "ok  cases: " in seatrial("verify", release.run, release.file).out
    (release.folder / ".git").rmdir()
    unasked = seatrial("verify", release.run, release.file)
    assert (unasked.status, "--  task: not found from here" in unasked.out) == (0, True)


def test_a_link_is_followed_to_the_bytes(release: Release) -> None:
    blob = release.file.rename(release.folder / "blob")
    release.file.symlink_to(blob)
    assert release.verify().status == 0
    blob.write_bytes(b"GGUF" + bytes(256))
    assert release.verify().status == 1


def test_the_judged_modelfile_may_lie_in_the_run_folder(release: Release) -> None:
    release.modelfile.rename(release.run / "Modelfile")
    said = release.verify()
    assert said.status == 0
    assert "serve it by this one" in said.out


# --- what does not hold ----------------------------------------------------------------------------------


def _other_modelfile(release: Release) -> None:
    release.modelfile.write_text("FROM ./model.gguf\nPARAMETER temperature 1\n", encoding="utf-8")


def _unjudged_modelfile(release: Release) -> None:
    release.record(lambda made: made["shipped"].update(modelfile_sha256=None))


CHANGES: dict[str, tuple[Callable[[Release], object], str]] = {
    "one byte": (lambda r: r.file.write_bytes(b"GGUF" + bytes(256)), "file"),
    "a longer file": (lambda r: r.file.write_bytes(r.file.read_bytes() + b"\0"), "file"),
    "another Modelfile": (_other_modelfile, "Modelfile"),
    "no Modelfile": (lambda r: r.modelfile.unlink(), "Modelfile"),
    "a Modelfile that was not judged": (_unjudged_modelfile, "Modelfile"),
    "task.toml": (lambda r: (r.task / "task.toml").write_text(TASK + "\n", encoding="utf-8"), "task"),
    "a case": (lambda r: (r.task / "regressions.jsonl").write_text("", encoding="utf-8"), "cases"),
    "a case file is gone": (lambda r: (r.task / "cases" / "domain.jsonl").unlink(), "cases"),
    "a case file is not on record": (
        lambda r: r.record(lambda made: made["case_files"].pop()),
        "cases",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_whatever_was_changed_since_does_not_ship(release: Release, what: str) -> None:
    change, check = CHANGES[what]
    change(release)
    said = release.verify()
    assert said.status == 1
    first = next(line for line in said.out.splitlines() if line.startswith("NO"))
    assert first.startswith(f"NO  {check}: ")
    assert said.out.splitlines()[-1].startswith("DO NOT SHIP")


def _required(made: Document) -> Document:
    return next(verdict for verdict in made["verdicts"] if verdict["required"])


def _no_requirement(made: Document) -> None:
    for verdict in made["verdicts"]:
        verdict["required"] = False


def _hard_miss(made: Document) -> None:
    made["observations"][0] |= {"hard": True, "missed": True}


CONTRADICTIONS: dict[str, Callable[[Document], object]] = {
    "the gate said no": lambda made: made["gate"].update(decision="DO NOT SHIP"),
    "an exit status": lambda made: made["gate"].update(exit_status=10),
    "a reason": lambda made: made["gate"].update(reasons=["SC-1 FAIL"]),
    "a summary": lambda made: made["gate"].update(summary=["SC-1 FAIL"]),
    "another word": lambda made: made["gate"].update(spoken="DO NOT SHIP"),
    "a failed requirement": lambda made: _required(made).update(status="FAIL"),
    "a requirement that was not evaluated": lambda made: _required(made).update(status="NOT EVALUATED"),
    "an inconclusive requirement": lambda made: _required(made).update(status="INCONCLUSIVE"),
    "nothing required": _no_requirement,
    "two verdicts": lambda made: made["verdicts"].append(made["verdicts"][0]),
    "a hard case missed": lambda made: made["hard_cases"].update(missed=["x"]),
    "a hard case not evaluated": lambda made: made["hard_cases"].update(not_evaluated=["x"]),
    "hard cases that do not add up": lambda made: made["hard_cases"].update(passed=11),
    "a hard case seen to miss": _hard_miss,
    "a failed test": lambda made: made["tests"].update(failed=1),
    "a test that ended in an error": lambda made: made["tests"].update(errors=1),
}


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_a_record_that_contradicts_its_ship_is_refused(release: Release, what: str) -> None:
    release.record(CONTRADICTIONS[what])
    said = release.verify()
    assert said.status == 1
    assert "NO  decision: " in said.out or "NO  record: it contradicts itself: " in said.out


def test_the_page_of_another_run_is_no_evidence(release: Release) -> None:
    (release.run / "report.html").write_text("<p>SHIP</p>", encoding="utf-8")
    said = seatrial("verify", release.run / "report.html", release.file)
    assert (said.status, "report.html shows another run" in said.out) == (1, True)


def test_a_program_is_no_file(release: Release) -> None:
    release.record(lambda made: made.update(shipped=None, program="python rules.py"))
    said = release.verify()
    assert said.status == 1
    assert "NO  file: the run judged the program 'python rules.py', not a file" in said.out


def test_cases_of_another_file_are_told(release: Release) -> None:
    locked = release.folder / "locked.jsonl"
    locked.write_text('{"id": "l-1"}\n', encoding="utf-8")
    other = {"case_set": "domain", "path": str(locked), "sha256": sha256(locked), "bytes": 14, "cases": 20}
    release.record(lambda made: made["case_files"].append({**other, "own": False}))
    said = release.verify()
    assert said.status == 0
    assert f"20 were asked of {locked}, which is not the task's own file" in said.out
    locked.write_text('{"id": "l-2"}\n', encoding="utf-8")
    assert release.verify().status == 1


def test_the_history_of_a_regression_is_no_change_of_what_was_asked(release: Release) -> None:
    path = release.task / "regressions.jsonl"
    release.record(lambda made: made["case_files"][1].update(judged_sha256=judged_digest(path)))
    path.write_text('{"history": {"green_since": "2026-11-20"}, "id": "r-1"}\n', encoding="utf-8")
    said = release.verify()
    assert (said.status, "histories of regressions apart" in said.out) == (0, True)
    path.write_text('{"id": "r-1", "tags": ["critical"]}\n', encoding="utf-8")
    assert release.verify().status == 1


def test_a_contract_that_changed_is_another_task(release: Release) -> None:
    schema = release.task / "contract.schema.json"
    schema.write_text("{}", encoding="utf-8")
    release.record(lambda made: made["task"].update(files={schema.name: sha256(schema)}))
    assert release.verify().status == 0
    schema.write_text('{"type": "object"}', encoding="utf-8")
    said = release.verify()
    assert (said.status, f"{schema} has changed" in said.out) == (1, True)
    schema.unlink()
    assert f"{schema} is gone" in release.verify().out


def test_waivers_stand_beside_the_answer(release: Release) -> None:
    waiver = {"name": "leakage", "why": "nobody knows"}
    release.record(lambda made: made["gate"].update(waivers=[waiver], spoken="SHIP, with 1 waiver"))
    said = release.verify()
    assert (said.status, "--  waivers: this task does not require: leakage" in said.out) == (0, True)


# --- what cannot be used ---------------------------------------------------------------------------------

RECORDS = {
    "empty": (b"", "is empty"),
    "cut off": (b'{"schema_version": 1, "task": {"name": "la', "ends in the middle"),
    "cut off between": (b'{"schema_version": 1,', "ends in the middle"),
    "not JSON": (b"<html>", "is not JSON"),
    "not text": (b"\xff\xfe\x00", "is not JSON"),
    "a list": (b"[1]", "is JSON, but not the results of a run"),
    "something else": (b'{"a": 1}', "has no schema_version"),
    "a later version": (b'{"schema_version": 2}', "schema version 2; this Seatrial reads version 1"),
    "a version that is true": (b'{"schema_version": true}', "schema version true"),
    "no gate": (b'{"schema_version": 1}', "is no results of a run"),
    "a key twice": (b'{"schema_version": 1, "gate": 1, "gate": 2}', "the key 'gate' stands twice"),
    "NaN": (b'{"schema_version": 1, "x": NaN}', "NaN is no JSON number"),
    "too deep": (b'{"schema_version": 1, "x": ' + b"[" * 200_000, "nested too deeply"),
}


@pytest.mark.parametrize("what", RECORDS)
def test_what_is_no_record_is_one_message(release: Release, what: str) -> None:
    content, message = RECORDS[what]
    (release.run / "results.json").write_bytes(content)
    said = release.verify()
    assert (said.status, said.out) == (3, "")
    assert message in said.err
    assert said.err.startswith("error: ")


@pytest.mark.parametrize(
    ("field", "value"),
    [("exit_status", True), ("exit_status", "0"), ("decision", "ship"), ("reasons", None), ("waivers", {})],
)
def test_a_value_of_the_wrong_kind_is_named(release: Release, field: str, value: object) -> None:
    release.record(lambda made: made["gate"].update({field: value}))
    said = release.verify()
    assert (said.status, f"gate.{field}" in said.err) == (3, True)


def test_a_wrong_entry_far_down_is_named_too(release: Release) -> None:
    def spoil(made: Document) -> None:
        made["observations"] = made["observations"] * 10
        made["observations"][150] = {"case": "\x1b[2J"}

    release.record(spoil)
    said = release.verify()
    assert (said.status, "observations[150]" in said.err, "\x1b" in said.err) == (3, True, False)


def test_places_that_hold_nothing(release: Release) -> None:
    os.mkfifo(release.folder / "pipe")
    (release.folder / "dangling").symlink_to("nowhere")
    (release.folder / "empty").mkdir()
    (release.folder / "page.html").write_text("<p>", encoding="utf-8")
    for place, message in {
        "absent": "does not exist",
        "pipe": "is not a regular file",
        "dangling": "is a link to nowhere, which does not exist",
        "empty": "holds no results.json",
        "page.html": "no results.json lies beside this page",
    }.items():
        said = seatrial("verify", release.folder / place, release.file)
        assert (said.status, message in said.err) == (3, True), said
    for place in ("absent", "pipe", "dangling", "empty"):
        said = seatrial("verify", release.run, release.folder / place)
        assert (said.status, f"{place}: " in said.err) == (3, True), said
        assert release.verify("--modelfile", release.folder / place).status == 3
        assert seatrial("verify", release.run, release.file, "--task", release.folder / place).status == 3


def test_the_newest_run_is_offered(release: Release) -> None:
    (release.run.parent / "latest").symlink_to(release.run.name)
    said = seatrial("verify", release.run.parent, release.file)
    assert f"its newest run: {release.run.parent / 'latest'}" in said.err


@pytest.mark.parametrize("name", ["results.json", "model.gguf", "Modelfile"])
def test_what_may_not_be_read_is_told(release: Release, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    whole, opened = Path.read_bytes, Path.open
    monkeypatch.setattr(Path, "read_bytes", lambda self: (refuse if self.name == name else whole)(self))
    monkeypatch.setattr(
        Path, "open", lambda self, *a, **k: (refuse if self.name == name else opened)(self, *a, **k)
    )
    said = release.verify()
    assert (said.status, "cannot be read: Permission denied" in said.err, name in said.err) == (3, True, True)


def test_a_record_that_is_too_large_is_not_read(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "MOST", 1000)
    said = release.verify()
    assert (said.status, "too many to read" in said.err) == (3, True)


def test_hidden_characters_are_spelled_out(release: Release) -> None:
    nasty = "x\x1b[2J\u202e\nmay ship: all"
    release.record(lambda made: made["gate"].update(decision="DO NOT SHIP", summary=[nasty], reasons=[nasty]))
    said = release.verify()
    assert said.status == 1
    assert not {"\x1b", "\u202e"} & set(said.out)
    assert not any(line.startswith("may ship") for line in said.out.splitlines())


# --- what it needs ---------------------------------------------------------------------------------------

BLOCKED = ("pytest", "_pytest", "llama_cpp", "numpy", "scipy", "pydantic", "torch", "jinja2", "matplotlib")
WITHOUT = f"""
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED!r}:
            raise ImportError(f"{{name}} is blocked")
sys.meta_path.insert(0, Blocker())
from seatrial.cli import main
main()
"""


def test_it_needs_no_pytest_no_runtime_and_no_numpy(release: Release) -> None:
    def typed(*words: str | Path) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "fixtures")}
        command = [sys.executable, "-c", WITHOUT, *map(str, words)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)

    done = typed("verify", release.run, release.file, "--task", release.task)
    assert (done.returncode, done.stderr) == (0, "")
    refused = typed("report", release.run)  # the blocker works: a page needs jinja2
    assert "is blocked" in refused.stderr
