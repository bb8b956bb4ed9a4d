"""The files that a command line runs on: what decides a program's answers, as far as its words tell.

A word may name a file, or a folder, or say one behind an equals sign (``--rules=rules.json``). What a Python
file imports from beside it, or from PYTHONPATH, is followed without running anything; so are a module behind
``-m`` and the ``__main__.py`` of a folder. What a program opens by itself, installed packages and other
languages' imports are not seen.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from modulefinder import ModuleFinder
from pathlib import Path

from seatrial.training.store import file_digest


def files_of(command: Sequence[str]) -> dict[str, str]:
    """Digest of every file that a command line names or imports, by its place."""
    named = {Path(word) for word in _said(command)}
    ran = shutil.which(command[0])
    code = {path for start in _starts(command) for path in _imported(start)}
    found = {*named, *code, *([Path(ran)] if ran else [])}
    return {here(str(path)): file_digest(path) for path in sorted(found)}


def here(word: str) -> str:
    """A path below the folder where the program is run, from there; any other word as it is: in which folder
    a repository lies decides nothing."""
    beside = os.path.relpath(word) if os.path.isabs(word) else word
    return word if beside.startswith(os.pardir) else beside


def _said(command: Sequence[str]) -> Iterator[str]:
    """Files that words name, and those in folders that they name."""
    for word in command:
        for part in (word, word.partition("=")[2]):
            if os.path.isfile(part):
                yield part
            elif part and os.path.isdir(part) and not Path.cwd().is_relative_to(Path(part).absolute()):
                yield from map(str, _within(Path(part)))  # not of a folder around: reports lie there


def _within(folder: Path) -> Iterator[Path]:
    """The files in a folder, without hidden ones and what Python compiles."""
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in parts):
            yield path


def _starts(command: Sequence[str]) -> Iterator[tuple[Path | str, list[str]]]:
    """Python files and modules that are run, each with the folders that its imports are looked up in."""
    more = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    for before, word in zip(["", *command], command, strict=False):
        path = Path(word, "__main__.py") if os.path.isdir(word) else Path(word)
        if before == "-m":
            yield word, [os.getcwd(), *more]
        elif os.path.isfile(path) and _is_python(path):  # a word may be a whole program, too long for a name
            yield path, [str(path.parent), *more]


def _is_python(path: Path) -> bool:
    with path.open("rb") as file:
        first = file.read(200).partition(b"\n")[0]
    return path.suffix == ".py" or (first.startswith(b"#!") and b"python" in first)


def _imported(start: tuple[Path | str, list[str]]) -> Iterator[Path]:
    """The files of a start and of what it imports, as far as they can be read."""
    code, folders = start
    finder = ModuleFinder(folders)
    for name in [code] if isinstance(code, Path) else [code, f"{code}.__main__"]:
        try:
            if isinstance(name, Path):
                finder.run_script(str(name))
            else:
                finder.import_hook(name)
        except (ImportError, SyntaxError, ValueError, OSError, RecursionError, AttributeError):
            continue  # running it says what is wrong
    files = (getattr(module, "__file__", None) for module in finder.modules.values())
    yield from map(Path, filter(None, files))
