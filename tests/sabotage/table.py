"""The table that the sabotage tests leave: fault, stage, what saw it, what a prompt-only suite said.

The whole table takes hours, so a run of some entries (``-k``) keeps the rows of the others, if they are of the
same good file; a row says which commit of the suite judged.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from filelock import FileLock

HEADINGS = ("fault", "put in at", "the gate", "criteria that went red", "stages named", "prompt-only suite")


@dataclass(frozen=True)
class Row:
    """What became of one artefact."""

    fault: str
    stage: str  # empty for an artefact without a fault
    decision: str
    red: dict[str, list[str]]  # criterion: stages
    prompt_only: str
    seconds: float
    commit: str = ""  # of the suite that judged

    @property
    def stages(self) -> list[str]:
        return list(dict.fromkeys(stage for stages in self.red.values() for stage in stages))


@dataclass
class Table:
    """Rows, written again after each one, so that a run that is cut short leaves what it found.

    ``file``: the digest of the good file, which was made faulty.
    """

    folder: Path
    file: str
    rows: dict[str, Row] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "table.lock"):  # the other workers of a run add rows, too
            self.rows = {**self._kept(), row.fault: row}
            data = {"file": self.file, "rows": [asdict(row) for row in self.rows.values()]}
            (self.folder / "table.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
            (self.folder / "table.md").write_text(self.markdown(), encoding="utf-8")

    def _kept(self) -> dict[str, Row]:
        if not (path := self.folder / "table.json").is_file():
            return {}
        table = json.loads(path.read_text(encoding="utf-8"))
        return {row["fault"]: Row(**row) for row in table["rows"]} if table["file"] == self.file else {}

    def markdown(self) -> str:
        lines = [HEADINGS, tuple("---" for _ in HEADINGS)]
        for row in self.rows.values():
            red = ", ".join(row.red) or "-"
            cells = (row.fault, row.stage or "-", row.decision, red, ", ".join(row.stages) or "-")
            lines.append((*cells, row.prompt_only))
        return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
