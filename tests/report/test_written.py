"""What a run leaves: two files, whole or not at all, and a schema that the results fulfil."""

import dataclasses
import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from seatrial.evals.report import SCHEMA, finite, write_report
from seatrial.evals.verdict import Measured, Miss, Verdict
from tests.report_results import (
    CASES,
    check,
    failing,
    fidelity,
    inconclusive,
    operations,
    refused,
    results,
    unevaluated,
    verdicts,
)


def test_writes_both_files_and_nothing_else(tmp_path: Path) -> None:
    write_report(results(), tmp_path / "new" / "folder")
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} == {
        "report.html",
        "results.json",
    }
    written = json.loads((tmp_path / "new" / "folder" / "results.json").read_text())
    assert written == json.loads(json.dumps(results()))


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_report(results(), tmp_path / name)
    for file in ("report.html", "results.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_the_report_can_be_written_again_from_its_own_results(tmp_path: Path) -> None:
    write_report(results(), tmp_path / "one")
    write_report(json.loads((tmp_path / "one" / "results.json").read_text()), tmp_path / "two")
    assert (tmp_path / "one" / "report.html").read_text() == (tmp_path / "two" / "report.html").read_text()


def test_results_survive_a_page_that_cannot_be_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seatrial.evals.report.render", lambda results: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(results(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_a_failed_write_leaves_the_old_report_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_report(results(), tmp_path)
    before = (tmp_path / "report.html").read_bytes()
    monkeypatch.setattr("seatrial.evals.report.render", lambda results: "half a page \ud800")
    with pytest.raises(UnicodeEncodeError):
        write_report(results(), tmp_path)
    assert (tmp_path / "report.html").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2


def test_a_kill_before_the_last_step_leaves_the_old_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_report(results(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def killed(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_report(refused(1, failing()), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_numbers_that_json_lacks_become_null(tmp_path: Path) -> None:
    diverged = [{"step": 5, "loss": float("nan")}, {"step": 10, "loss": float("inf")}]
    write_report(results(adapter_history=diverged), tmp_path)
    written = json.loads((tmp_path / "results.json").read_text(), parse_constant=pytest.fail)
    assert [entry["loss"] for entry in written["adapter_history"]] == [None, None]
    assert finite((1.5, {"a": float("-inf")})) == [1.5, {"a": None}]


def schema() -> dict:
    return json.loads(SCHEMA.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "run",
    [
        results(),
        refused(10, unevaluated()),
        refused(11, inconclusive()),
        refused(1, *fidelity(check()), *operations(merged=CASES[:3])),
        results(shipped=None, recipe=None, modelfile=None, adapter_history=[], timings=[], artifacts=[]),
    ],
    ids=["ship", "incomplete", "inconclusive", "stages", "bare"],
)
def test_results_fulfil_the_schema(run: dict) -> None:
    Draft202012Validator.check_schema(schema())
    errors = Draft202012Validator(schema()).iter_errors(json.loads(json.dumps(run)))
    assert [f"{error.json_path}: {error.message}" for error in errors] == []


@pytest.mark.parametrize(
    "change",
    [
        {"gate": {"decision": "PERHAPS", "exit_status": 0, "reasons": []}},
        {"schema_version": 2},
        {"verdicts": [verdicts()[0] | {"status": "GREEN"}]},
        {"verdicts": [{key: value for key, value in verdicts()[0].items() if key != "required"}]},
        {"shipped": {"name": "a.gguf", "sha256": "beef", "bytes": 1, "runtime": "llama.cpp"}},
        {"verdicts": [verdicts()[0] | {"stages": "merge"}]},
        {"verdicts": [{key: value for key, value in verdicts()[0].items() if key != "threshold"}]},
        {"verdicts": [verdicts()[2] | {"comparison": {"difference": 0.1, "low": 0.0, "high": 0.2}}]},
    ],
    ids=["decision", "version", "status", "required", "digest", "stages", "threshold", "comparison"],
)
def test_the_schema_rejects_what_is_wrong(change: dict) -> None:
    assert not Draft202012Validator(schema()).is_valid(json.loads(json.dumps(results(**change))))


@pytest.mark.parametrize(("name", "kind"), [("verdict", Verdict), ("measured", Measured), ("miss", Miss)])
def test_the_schema_has_the_fields_of_the_code(name: str, kind: type) -> None:
    assert set(schema()["$defs"][name]["properties"]) == {field.name for field in dataclasses.fields(kind)}


def test_every_field_is_described() -> None:
    def undescribed(node: object, path: str) -> list[str]:
        if isinstance(node, list):
            return [found for item in node for found in undescribed(item, path)]
        if not isinstance(node, dict):
            return []
        fields = node.get("properties", {})
        here = [f"{path}.{name}" for name, field in fields.items() if not field.get("description")]
        return here + [found for key, item in node.items() for found in undescribed(item, f"{path}.{key}")]

    assert undescribed(schema(), "") == []
