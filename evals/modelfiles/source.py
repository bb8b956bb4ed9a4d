"""Whether what a Modelfile's FROM names is the file that was judged."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from seatrial.evals.modelfiles.parser import Modelfile
from seatrial.evals.verdict import shorten
from seatrial.training.store import file_digest


def hindrance(written: Modelfile, file: Path, sha256: str, folder: Path) -> str:
    """Why Ollama would not answer with ``file`` alone by this Modelfile; empty if it would."""
    if written.adapters:
        return f"ADAPTER adds {shorten(', '.join(written.adapters))} to the file that is judged"
    if not serves(written.sources, file, sha256, folder):
        return f"FROM names {shorten(', '.join(written.sources))}, not {file.name}, the file that is judged"
    return ""


def serves(sources: Sequence[str], file: Path, sha256: str, folder: Path) -> bool:
    """Whether Ollama, creating a model from a Modelfile in ``folder``, takes ``file``.

    Several FROM are several files. One that names no file is the name of a model in somebody's registry,
    but for the file's own name: file and Modelfile are put side by side where they are served.
    """
    if len(sources) != 1:
        return False
    path = _expanded(sources[0], folder)
    try:
        if not path.exists():
            return os.path.normpath(sources[0]) == file.name
        if not path.is_file():
            return False  # of a folder Ollama takes every model file and configuration
        return path.samefile(file) or (
            path.stat().st_size == file.stat().st_size and file_digest(path) == sha256
        )
    except OSError:  # a name that is too long, a file that must not be read: Ollama fails on it, too
        return False


def _expanded(source: str, folder: Path) -> Path:
    """Where Ollama looks: it takes ``x/..`` out of a path as it is written, whether or not ``x`` exists."""
    path = os.path.expanduser(source) if source.startswith("~") else source
    return Path(os.path.abspath(folder / path))  # an absolute one stays as it is
