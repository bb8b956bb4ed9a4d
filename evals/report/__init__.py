"""The release report: one results dictionary becomes ``report.html`` and ``results.json``.

Everything here is a pure function of that dictionary, so that a report can be written again, on another
machine, from ``results.json`` alone. What the dictionary holds is written down in ``results.schema.json``.
Model output is hostile text: the template escapes everything but our own drawings, what cannot be seen is
spelled out, and the page forbids itself scripts and the network.

    seatrial report reports/task_api/latest --output=again.html
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

from seatrial.training import extras

HERE = Path(__file__).parent
SCHEMA = HERE / "results.schema.json"


def write_report(results: Mapping[str, Any], folder: Path) -> None:
    """Write ``results.json``, then ``report.html``, into ``folder`` (made if it is missing).

    Each file appears whole or not at all. The results come first: they are the evidence, and survive
    a page that cannot be drawn.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    results = finite(results)
    _write(folder / "results.json", lines(results))
    _write(folder / "report.html", render(results))


def render(results: Mapping[str, Any]) -> str:
    """The report as one HTML page that needs no other file."""
    from markupsafe import Markup

    from seatrial.evals.report import plots, view, waterfall

    page = view.page(results)
    draw: dict[str, Callable[[], str | None]] = {
        "loss": lambda: plots.loss_curve(results.get("adapter_history") or []),
        "preference": lambda: plots.margin_curve(results.get("preference_history") or []),
        "latency": lambda: plots.latency(results.get("timings") or []),
        "bars": lambda: plots.accuracy_bars(page["compared"]["rows"], page["compared"]["models"]),
    }
    draw |= {f"waterfall {each.id}": partial(waterfall.waterfall, each) for each in page["attributions"]}
    drawings, undrawn = _drawn(draw)
    safe = {name: Markup(svg) if svg else None for name, svg in drawings.items()}
    return environment().get_template("template.html").render(page, plots=safe, undrawn=undrawn)


def environment() -> Environment:
    """Where the templates of pages are found, and how what they show is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from seatrial.evals.report import wording

    made = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=wording.visible,
    )
    made.filters.update(wording.FILTERS)
    return made


def _drawn(draw: Mapping[str, Callable[[], str | None]]) -> tuple[dict[str, str | None], str]:
    """The drawings, or none of them and what to install: a page without them says the same."""
    try:
        extras.require(extras.PLOTS)
        return {name: drawing() for name, drawing in draw.items()}, ""
    except ImportError as error:
        told = extras.broken_import(error)
        if told is None:
            raise
        return dict.fromkeys(draw), told.problem
    except extras.MissingExtra as error:
        return dict.fromkeys(draw), error.problem


def lines(results: Mapping[str, Any]) -> str:
    """``results`` as JSON with one line a verdict, an observation, an artifact: to be read by grep and diff.

    Indenting it all would take ten times as long, and half of ten thousand cases' file would be spaces.
    """

    def text(value: Any) -> str:
        if isinstance(value, list) and value:
            return "[\n  " + ",\n  ".join(json.dumps(item, allow_nan=False) for item in value) + "\n ]"
        return json.dumps(value, allow_nan=False)

    return (
        "{\n" + ",\n".join(f" {json.dumps(key)}: {text(value)}" for key, value in results.items()) + "\n}\n"
    )


def finite(value: Any) -> Any:
    """``value`` with NaN and infinities as None: JSON knows neither, and a diverged training logs both."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
