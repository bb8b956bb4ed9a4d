"""The ``seatrial`` command as a test types it, in this process, and records of runs to give it."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.report_results import results

Document = dict[str, Any]


@dataclass(frozen=True)
class Said:
    """What a command line ended with: its exit status, standard output and standard error."""

    status: int
    out: str
    err: str


def seatrial(*words: str | Path) -> Said:
    """Type ``seatrial`` and ``words``."""
    from seatrial.cli import main

    out, err, typed = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["seatrial", *map(str, words)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
        status = 0
    except SystemExit as ended:
        status = int(ended.code or 0)
    finally:
        sys.argv = typed
    return Said(status, out.getvalue(), err.getvalue())


def document(change: Callable[[Document], object] | None = None, **changes: Any) -> Document:
    """The results of a run that may ship, as results.json holds them; ``change`` edits them in place."""
    made: Document = json.loads(json.dumps(results(**changes)))
    if change:
        change(made)
    return made


def write(folder: Path, made: Document) -> Path:
    """``made`` as the results.json of the run folder ``folder``, and its page, of which only the id counts."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(made), encoding="utf-8")
    (folder / "report.html").write_text(f"<p>{made['run']['id']}</p>", encoding="utf-8")
    return folder
