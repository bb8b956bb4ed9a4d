"""Which artifacts a report on record rests on: those are never pruned.

Each run that writes a report leaves its path with the store. A report that is there still, and can be read,
holds what its results.json names and all that this was built from; to let that go, delete the report.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from seatrial.training.inventory import Entry
from seatrial.training.store import Artifact

FOLDER = "reports"  # of a store: a file for each report, which holds its path


def note(root: Path, results: Path) -> None:
    """Leave with the store at ``root`` that a report, its ``results`` file, rests on what it names."""
    place = root / FOLDER
    place.mkdir(parents=True, exist_ok=True)
    path = str(results.absolute())
    name = hashlib.sha256(path.encode()).hexdigest()[:32]
    (place / f"{name}.txt").write_text(path, encoding="utf-8")


def rests_on(root: Path, found: Sequence[Entry]) -> Mapping[str, Path]:
    """For each artifact's key among ``found`` that a report on record rests on: one such report."""
    held: dict[str, Path] = {}
    by_digest = {Artifact(e.path, e.manifest).digest: e for e in found if e.manifest and not e.damage}
    by_key = {entry.key: entry for entry in found}
    for report, keys in _reports(root):
        open_ = [by_key[key] for key in keys if key in by_key]
        while open_:
            entry = open_.pop()
            if entry.key not in held:
                held[entry.key] = report
                inputs = (entry.manifest.get("inputs") or {}).values()
                open_ += [by_digest[digest] for digest in inputs if digest in by_digest]
    return held


def _reports(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """The reports that are there still, and the keys that each names; the notes of others are removed."""
    for noted in sorted((root / FOLDER).glob("*.txt")):
        with suppress(OSError, ValueError, LookupError, TypeError):
            report = Path(noted.read_text(encoding="utf-8"))
            if not report.exists():
                noted.unlink(missing_ok=True)
                continue
            found = json.loads(report.read_text(encoding="utf-8"))
            yield report, [str(artifact["key"]) for artifact in found["artifacts"]]
