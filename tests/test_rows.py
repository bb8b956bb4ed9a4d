"""Rows of case files as commands write them: nothing of anybody's is lost.

python -m pytest tests/test_rows.py
"""

from __future__ import annotations

import json

from seatrial.evals.regressions.rows import change, line_of_row, locked
from seatrial.training.inventory import entries
from seatrial.training.store import FOLDERS


def test_fields_that_a_command_does_not_know_stay(tmp_path):
    path = tmp_path / "regressions.jsonl"
    path.write_text('{"id": "r-1", "seen": "chat 2025", "prompt": "off"}\n', encoding="utf-8")
    assert change(path, {"r-1": {"history": {"green_since": {}}}})
    row = json.loads(path.read_text(encoding="utf-8"))
    assert row == {"id": "r-1", "prompt": "off", "history": {"green_since": {}}, "seen": "chat 2025"}


def test_half_of_a_surrogate_pair_is_written_as_json_spells_it(tmp_path):
    row = {"id": "r-1", "prompt": "off", "note": "half \ud83d pair"}
    line_of_row(row).encode()
    assert json.loads(line_of_row(row)) == row


def test_the_lock_leaves_a_store_that_is_one(tmp_path, monkeypatch):
    monkeypatch.setenv("SEATRIAL_STORE", str(tmp_path / "store"))
    with locked(tmp_path / "cases.jsonl"):
        pass
    assert {path.name for path in (tmp_path / "store").iterdir()} == set(FOLDERS)
    assert entries(tmp_path / "store") == []
