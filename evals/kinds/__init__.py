"""Kinds of tasks: the criteria that are usual for each, as TOML files that anybody can read.

``kind = "classification"`` brings the criteria of ``classification.toml`` and of the files that it builds on
(``with``): later ones change earlier ones by the same id, and a task changes what its kind says in the same
way. So the thresholds of a task are these files and its own, and each knows where it was said.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from seatrial.evals.answer import Answer, Reader
from seatrial.evals.criterion import Criterion, Loss
from seatrial.training.configuration import line_of
from seatrial.training.errors import SeatrialError, at

FOLDER = Path(__file__).parent
EACH = "each_field"  # of a kind's criterion: one for every further field of the answer that has listed values
BOUNDS = ("at_least", "at_most")
Table = dict[str, Any]


def kinds() -> dict[str, Path]:
    """The kinds that a task may name, and their files."""
    named = {path.stem: path for path in sorted(FOLDER.glob("*.toml"))}
    return {name: path for name, path in named.items() if "about" in _read(path)}


@dataclass(frozen=True)
class Origin:
    """Where a criterion is said: the table ``table[number]`` of ``path``; ``id``: of a loss that brings it.

    ``own``: the task's own file says it; ``changes``: and thereby changes what is said there.
    """

    path: Path
    table: str
    number: int
    id: str
    own: bool = False
    changes: Origin | None = None

    @property
    def what(self) -> str:
        return "loss" if self.table == "losses" else "criterion"

    def line(self, key: str = "") -> int | None:
        """The line of the table, or of one of its keys."""
        place = (self.table, self.id if self.table == "models" else self.number)
        return line_of(self.path, (*place, key) if key else place)

    def __str__(self) -> str:
        told = at(self.path.name if self.own else f"kinds/{self.path.name}", self.line())
        return f"{told}, which changes {self.changes}" if self.changes else told


@dataclass
class Preset:
    """What the kind of one task brings: tables by id, each with its origin, in their order."""

    criteria: dict[str, tuple[Table, Origin]] = field(default_factory=dict)
    losses: dict[str, tuple[Table, Origin]] = field(default_factory=dict)

    def merged(self, data: Table, path: Path) -> Table:
        """The task's file, ``path``, with its tables completed by what the kind says under the same id.

        Raises:
            SeatrialError: a criterion names no metric, so it is none of the task's own, and its id is nearly
                one of the kind's.
        """
        done = dict(data)
        for name, known in (("criteria", self.criteria), ("losses", self.losses)):
            if isinstance(entries := data.get(name), list):
                done[name] = [_changed(known, entry) for entry in entries]
        if isinstance(done.get("criteria"), list):  # one step of a loss may be changed alone
            done["criteria"] = [_changed(self._steps, entry) for entry in done["criteria"]]
            self._check_ids(done["criteria"], path)
        return done

    def _check_ids(self, entries: Sequence[Any], path: Path) -> None:
        for number, entry in enumerate(entries):
            name = entry.get("id") if isinstance(entry, dict) and "metric" not in entry else None
            close = difflib.get_close_matches(str(name), [*self.criteria, *self._steps], n=1) if name else []
            if close and close[0] != name:
                raise SeatrialError(
                    f"the kind has no criterion {name!r} to change, and one of the task's own needs a metric",
                    where=at(path, line_of(path, ("criteria", number, "id"))),
                    hint=f"did you mean {close[0]!r}?",
                )

    @property
    def _steps(self) -> Mapping[str, tuple[Table, Origin]]:
        """The criteria that the kind's losses bring, by id."""
        losses = [(Loss.model_validate(table), origin) for table, origin in self.losses.values()]
        return {
            criterion.id: (criterion.model_dump(exclude_defaults=True), origin)
            for loss, origin in losses
            for criterion in loss.criteria()
        }

    def with_own(
        self, criteria: Sequence[Criterion], losses: Sequence[Loss], path: Path
    ) -> Iterator[tuple[Criterion, Origin]]:
        """All criteria: the kind's, changed by the task's of the same id, then those that the task adds."""
        told: set[str] = set()
        own: dict[str, dict[str, tuple[int, Criterion | Loss]]] = {
            "criteria": {each.id: (number, each) for number, each in enumerate(criteria)},
            "losses": {each.id: (number, each) for number, each in enumerate(losses)},
        }
        for table, known, model in (
            ("criteria", self.criteria, Criterion),
            ("losses", self.losses, Loss),
        ):
            given = own[table]
            for name in [*known, *(each for each in given if each not in known)]:
                entry: Criterion | Loss
                if name in given:
                    number, entry = given[name]
                    before = known[name][1] if name in known else None
                    origin = Origin(path, table, number, name, own=True, changes=before)
                else:
                    content, origin = known[name]
                    entry = model.model_validate(content)  # type: ignore[attr-defined]
                for criterion in entry.criteria() if isinstance(entry, Loss) else [entry]:
                    if criterion.id not in told:  # one step of a loss may be the task's own criterion
                        yield criterion, origin
                    told.add(criterion.id)


def preset_for(data: Mapping[str, Any], path: Path) -> Preset:
    """The criteria of the kind that a task's data names; of none, none.

    Raises:
        SeatrialError: there is no such kind.
    """
    kind = data.get("kind")
    if not isinstance(kind, str):
        return Preset()
    files = kinds()
    if kind not in files:
        close = difflib.get_close_matches(kind, files, n=1)
        guess = f"did you mean {close[0]!r}? " if close else ""
        raise SeatrialError(
            f"there is no kind of task {kind!r}",
            where=at(path, line_of(path, ("kind",))),
            hint=f"{guess}kinds: {', '.join(files)}",
        )
    preset = Preset()
    further = _further_fields(data, path.parent)
    for layer in _layers(files[kind]):
        content = _read(layer)
        for name, into in (("criteria", preset.criteria), ("losses", preset.losses)):
            for number, raw in enumerate(content.get(name, [])):
                for table in _each(raw, further):
                    before = into.get(table["id"])
                    origin = Origin(layer, name, number, table["id"], changes=before[1] if before else None)
                    into[table["id"]] = (_changed(into, table), origin)
    for known in (preset.criteria, preset.losses):  # what is the kind's own comes before what all are asked
        own = {
            name: entry for name, entry in known.items() if _first(entry[1]).path == FOLDER / f"{kind}.toml"
        }
        rest = {name: entry for name, entry in known.items() if name not in own}
        known.clear()
        known.update({**own, **rest})
    return preset


def _first(origin: Origin) -> Origin:
    """Where a criterion was first said, before anything changed it."""
    return origin if origin.changes is None else _first(origin.changes)


def _layers(path: Path) -> list[Path]:
    """A kind's file after those that it builds on."""
    return [*(FOLDER / f"{name}.toml" for name in _read(path).get("with", [])), path]


@cache
def _read(path: Path) -> Table:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _further_fields(data: Mapping[str, Any], folder: Path) -> list[str]:
    """The answer's fields beside the label that have listed values, as far as the answer can be read yet."""
    try:
        reader = Reader(Answer.model_validate(data.get("answer", {})), folder)
        return [name for name in reader.fields if name != reader.main and reader.allowed(name)]
    except (ValidationError, SeatrialError):
        return []  # told where the task is read


def _each(table: Table, fields: Sequence[str]) -> list[Table]:
    """A table as it stands, or, if it says so, one for every further field, whose name stands for {field}."""
    if not table.get(EACH):
        return [table]
    rest = {key: value for key, value in table.items() if key != EACH}
    return [_named(rest, name) for name in fields]


def _named(value: Any, name: str) -> Any:
    if isinstance(value, str):
        return value.replace("{field}", name)
    if isinstance(value, dict):
        return {key: _named(item, name) for key, item in value.items()}
    return value


def _changed(known: Mapping[str, tuple[Table, Origin]], entry: Any) -> Any:
    """``entry`` completed by the table of the same id. A bound takes the other one's place, and another rule
    those of the old one."""
    if not isinstance(entry, dict) or entry.get("id") not in known:
        return entry
    before = dict(known[entry["id"]][0])
    if set(BOUNDS) & set(entry) or entry.get("rule") in ("superior", "non_inferior", "within"):
        before = {key: value for key, value in before.items() if key not in BOUNDS}
    if entry.get("rule") in ("point", "confident") or set(BOUNDS) & set(entry):
        before = {key: value for key, value in before.items() if key not in ("against", "margin")}
        if before.get("rule") in ("superior", "non_inferior", "within"):
            del before["rule"]
    settings = {**before.get("settings", {}), **entry.get("settings", {})}
    return {**before, **entry, **({"settings": settings} if settings else {})}
