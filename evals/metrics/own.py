"""Metrics of a task's own: ``metrics.py`` beside its task.toml, made by the same decorator as ours."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from seatrial.evals.metrics.base import METRICS
from seatrial.training.errors import SeatrialError, at
from seatrial.training.store import file_digest

FILE = "metrics.py"


def load_own(folder: Path) -> None:
    """Enter the metrics of the task in ``folder``, if it has any; a second time does nothing.

    Raises:
        SeatrialError: the file cannot be run, or takes the name of another metric.
    """
    path = folder / FILE
    if not path.is_file():
        return
    name = f"seatrial_task_metrics_{file_digest(path)[:16]}"
    if getattr(sys.modules.get(name), "__file__", None) == str(path):
        return
    before = dict(METRICS)
    for known in [known for known, metric in METRICS.items() if metric.source == path]:
        del METRICS[known]  # of the same file as it was before
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        METRICS.clear()
        METRICS.update(before)
        raise SeatrialError(
            f"cannot be run: {_said(error)}",
            where=at(path, _line(error, path)),
            hint="docs/metrics.md shows a metric of one's own",
        ) from None


def _said(error: Exception) -> str:
    return error.problem if isinstance(error, SeatrialError) else f"{type(error).__name__}: {error}"


def _line(error: Exception, path: Path) -> int | None:
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno
    trace, line = error.__traceback__, None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
