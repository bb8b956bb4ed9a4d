"""The task that sabotage is judged by: golden/task_api with fewer questions and the criteria a file can fail.

Of the case sets ``domain``, ``heldout`` and ``regressions`` remain, on which the good file must pass; of the
criteria those that ask for the file's own answers or its fidelity. Latency, comparisons with the base, ratings
and files that do not ship tell nothing about a fault and cost most of a run.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from seatrial.evals.task import load_task
from seatrial.training.dataset import read_jsonl

CASE_SETS = ("domain", "heldout", "regressions")
KEPT = ("FIDELITY", "SC-1", "SC-4.gguf", "SC-4.modelfile", "SCHEMA", "EOS", "LOSS")  # criteria and groups
WAIVED = {
    "base": "Comparisons with the base tell nothing about a fault of an export, and cost most of a run."
}


def write_small_task(source: Path, out: Path) -> Path:
    """The task ``source`` cut down, in the folder ``out``; its files stay where they are."""

    def cut(task: dict[str, Any]) -> None:
        task["waivers"] = WAIVED
        task["case_sets"] = {name: task["case_sets"][name] for name in CASE_SETS}
        del task["kind"]  # whose criteria are spelt out: a preset cannot be cut
        spelt = [criterion.model_dump(exclude_defaults=True) for criterion in load_task(source).criteria]
        task["criteria"] = [kept for entry in spelt if (kept := _cut(entry))]

    return change_task(source, out, cut)


def change_task(source: Path, out: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of the task in ``source`` with ``change`` made to its TOML data; file names become absolute."""
    task = tomllib.loads((source / "task.toml").read_text(encoding="utf-8"))
    for table, key in _file_names(task):
        table[key] = str((source / table[key]).resolve())
    change(task)
    out.mkdir(parents=True)
    (out / "task.toml").write_text(dump(task), encoding="utf-8")
    return out


def questions_of(task: Path, case_set: str) -> list[dict[str, Any]]:
    """The rows of a case set."""
    data = tomllib.loads((task / "task.toml").read_text(encoding="utf-8"))
    return [row for _, row in read_jsonl(task / data["case_sets"][case_set]["file"])]


def dump(data: Mapping[str, Any], path: tuple[str, ...] = ()) -> str:
    """``data`` as TOML: strings, numbers, booleans, lists, tables and lists of tables."""
    plain = [f"{_key(key)} = {_plain(value)}\n" for key, value in data.items() if not _is_table(value)]
    nested = []
    for key, value in data.items():
        place = (*path, _key(key))
        if isinstance(value, Mapping):
            nested.append(f"\n[{'.'.join(place)}]\n{dump(value, place)}")
        elif _is_table(value):
            nested += [f"\n[[{'.'.join(place)}]]\n{dump(table, place)}" for table in value]
    return "".join(plain + nested)


def _file_names(task: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Where a task names files: table and key."""
    places = [(task, "train"), (task, "ratings"), (task["answer"], "schema")]
    places += [(task["prompts"], "prompted_base"), *((s, "file") for s in task["case_sets"].values())]
    return ((table, key) for table, key in places if key in table)


def _cut(entry: Mapping[str, Any]) -> dict[str, Any] | None:
    """A criterion or loss on the case sets that remain; None if it is left out or has none of them."""
    named = entry.get("cases", [])
    cases = [name for name in ([named] if isinstance(named, str) else named) if name in CASE_SETS]
    ships = entry.get("required", True) or entry.get("model", "shipped") in ("shipped", "ollama")
    kept = any(f"{entry['id']}.".startswith(f"{name}.") for name in KEPT)
    if not (kept and ships) or (named and not cases):
        return None
    return {**entry, "cases": cases} if named else dict(entry)


def _is_table(value: Any) -> bool:
    tables = isinstance(value, list) and bool(value) and all(isinstance(item, Mapping) for item in value)
    return isinstance(value, Mapping) or tables


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_plain, value))}]"
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)  # JSON escapes are TOML escapes, surrogates apart
    return repr(value)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)
