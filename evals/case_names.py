"""Which case sets a criterion means: names, patterns of names, and what is taken out of them.

``*`` is every set but the regressions, which are hard requirements anyway; ``!safety`` takes one out again;
``@first`` is the first set of the task.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

FIRST = "@first"
REGRESSIONS = "regressions"  # the case set whose every case is a hard requirement
FOLDER = "cases"  # whose files are the case sets of a task that names none


def files_of(data: Mapping[str, Any], folder: Path) -> dict[str, Path]:
    """The files of a task's case sets by their names, from the data of its ``task.toml`` in ``folder``.

    Those that it names, or else the files of the folder ``cases``, the set ``regressions`` last.
    """
    named = data.get("case_sets", {})
    if named:
        return {
            name: Path(each["file"] if isinstance(each, Mapping) else each) for name, each in named.items()
        }
    found = sorted((folder / FOLDER).glob("*.jsonl"), key=lambda path: (path.stem == REGRESSIONS, path.stem))
    return {path.stem: path.relative_to(folder) for path in found}


def nearly_regressions(name: str) -> bool:
    """Whether a set's name is that of the regressions misspelt: its cases would be no hard requirements."""
    close = difflib.get_close_matches(name.casefold(), [REGRESSIONS], n=1, cutoff=0.85)
    return bool(close) and name != REGRESSIONS


def unasked(named: Mapping[str, Path], folder: Path) -> Iterator[tuple[Path, str]]:
    """What lies in the folder ``cases`` as if it were regressions and is asked by none of the sets that are
    ``named``, or not as regressions; each with what to do."""
    sets = {(folder / path).resolve(): name for name, path in named.items()}
    rename = f"call it {FOLDER}/{REGRESSIONS}.jsonl; a set of another meaning needs another name"
    for path in sorted((folder / FOLDER).glob("*")):
        name, set_name = path.name.partition(".")[0], sets.get(path.resolve())
        if path.name == f"{REGRESSIONS}.jsonl":
            if REGRESSIONS not in named and path.is_file() and path.read_bytes().strip():
                yield path, f'name it in task.toml: [case_sets] {REGRESSIONS} = "{FOLDER}/{path.name}"'
        elif set_name is not None:
            if nearly_regressions(set_name):
                yield path, rename
        elif REGRESSIONS not in named and (name == REGRESSIONS or nearly_regressions(name)):
            yield path, rename


def is_pattern(name: str) -> bool:
    """Whether a name may stand for none, one or several sets."""
    return name == FIRST or name.startswith("!") or any(sign in name for sign in "*?[")


def chosen(wanted: Sequence[str], known: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The sets that ``wanted`` means, in their order there, and the plain names that do not exist.

    No pattern means the regressions, which have a test of their own.
    """
    ordinary = [name for name in known if name != REGRESSIONS]
    found: list[str] = []
    missing = []
    for name in wanted:
        if name == FIRST:
            found += ordinary[:1]
        elif name.startswith("!"):
            found = [each for each in found if not fnmatchcase(each, name[1:])]
        elif is_pattern(name):
            found += [each for each in ordinary if fnmatchcase(each, name) and each not in found]
        elif name in known:
            found.append(name)
        else:
            missing.append(name)
    return tuple(found), tuple(missing)
