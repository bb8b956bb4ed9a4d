"""The table that a run of the sabotage tests leaves: fault, stage, what saw it, what a prompt-only suite said."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

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

    @property
    def stages(self) -> list[str]:
        return list(dict.fromkeys(stage for stages in self.red.values() for stage in stages))


@dataclass
class Table:
    """Rows, written again after each one, so that a run that is cut short leaves what it found."""

    folder: Path
    rows: list[Row] = field(default_factory=list)

    def add(self, row: Row) -> None:
        self.rows.append(row)
        self.folder.mkdir(parents=True, exist_ok=True)
        data = [{**asdict(row), "stages": row.stages} for row in self.rows]
        (self.folder / "table.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        (self.folder / "table.md").write_text(self.markdown(), encoding="utf-8")

    def markdown(self) -> str:
        lines = [HEADINGS, tuple("---" for _ in HEADINGS)]
        for row in self.rows:
            red = ", ".join(row.red) or "-"
            cells = (row.fault, row.stage or "-", row.decision, red, ", ".join(row.stages) or "-")
            lines.append((*cells, row.prompt_only))
        return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
