"""The waterfall of one metric: what it was, step by step what was won and lost, and what ships."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from seatrial.evals.criterion import SHIPPED
from seatrial.evals.report.attribution import Attribution, Stage
from seatrial.evals.report.drawing import COLOURS, label_of, panels_of, style, svg_of
from seatrial.evals.report.step import Step
from seatrial.evals.report.wording import amount, role, tick

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 4.4  # inches: narrow, so that a phone shows the whole of it in letters of a legible size
SMALL = 0.1  # of the drawing's width: later steps that lie within it are drawn enlarged, too


@dataclass(frozen=True)
class Row:
    """A whole bar (``step`` is None) or a floating one; ``ends``: start, interval if any, and last the value.

    ``ends`` is empty where nothing was measured.
    """

    words: str
    model: str
    step: Step | None
    ends: tuple[float, ...]


def waterfall(chain: Attribution) -> str | None:
    """Base and shipped model as bars, each step between as a floating bar from the value that it met.

    Whiskers are the intervals of the paired differences. Hollow bars are files of other sizes: they start
    where the shipped one does, and lead nowhere. Steps after the first that would be too small to be seen
    are drawn once more, enlarged. None where no step was measured.
    """
    rows = [row for stage in chain.stages for row in _rows(stage)]
    if not any(row.ends for row in rows if row.step):
        return None
    later = [row for row in rows if row.step and row.step is not chain.steps[0] and row.ends]
    within = [end for row in later for end in row.ends]
    whole = [end for row in rows for end in row.ends]
    enlarged = within and 0 < max(within) - min(within) < SMALL * (max(whole) - min(0.0, *whole))
    panels = [rows, later] if enlarged else [rows]
    with style(f"waterfall {chain.id}"):
        figure, axes = panels_of([0.6 + 0.3 * len(panel) for panel in panels], WIDTH)
        _draw(axes[0], rows, chain.unit, from_zero=True)
        if enlarged:
            _draw(axes[1], later, chain.unit, from_zero=False)
            axes[1].set_title(f"after {role(chain.steps[0].name)}, enlarged", loc="left", fontsize=9.5)
        return svg_of(figure)


def _rows(stage: Stage) -> list[Row]:
    """The step that made a model; and the model itself, if it is the first or the shipped one."""
    rows = []
    if stage.step:
        words = role(stage.step.name)
        words = f"if {words}" if stage.step.beside else words
        rows.append(Row(words, stage.model, stage.step, _ends(stage.step)))
    if stage.step is None or stage.model == SHIPPED:
        value = (stage.measured or {}).get("value")
        rows.append(Row(role(stage.model), stage.model, None, () if value is None else (0.0, value)))
    return rows


def _ends(step: Step) -> tuple[float, ...]:
    if step.difference is None or step.before is None or step.before["value"] is None:
        return ()
    start = step.before["value"]
    bounds = [start + step.comparison[name] for name in ("low", "high") if step.comparison[name] is not None]
    if step.unit == "share":  # the interval of a difference knows nothing of 0 and 100 %
        bounds = [min(max(bound, 0.0), 1.0) for bound in bounds]
    return (start, *bounds, start + step.difference)


def _draw(axes: Axes, rows: Sequence[Row], unit: str, from_zero: bool) -> None:
    lines: dict[str, int] = {}  # the row in which a model's value was drawn last
    at: dict[str, Any] = {
        "xycoords": axes.get_yaxis_transform(),
        "textcoords": "offset points",
        "va": "center",
    }
    for place, row in enumerate(rows):
        if not row.ends:
            axes.annotate("not evaluated", (0, place), (6, 0), color=COLOURS["quiet"], **at)
            continue
        if row.step is None:
            axes.barh(place, row.ends[-1], 0.62, color=COLOURS["shipped" if lines else "base"])
            text = amount(row.ends[-1], unit)
        else:
            _float(axes, place, row.step, row.ends, lines.get(row.step.against))
            points = " points" if unit == "share" else ""
            text = tick(row.step.difference or 0.0, unit, True) + points
        lines[row.model] = place
        weight = "normal" if row.step else "bold"
        axes.annotate(text, (1, place), (8, 0), fontweight=weight, **at)
    axes.set_yticks(range(len(rows)), [label_of(row.words) for row in rows])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    _scale(axes, [end for row in rows for end in row.ends], unit, from_zero)
    axes.grid(axis="x")


def _float(axes: Axes, place: int, step: Step, ends: Sequence[float], origin: int | None) -> None:
    """One step's difference, hung up at the value that it met."""
    start, *bounds, end = ends
    colour = COLOURS["gain" if step.advantage > 0 else "loss" if step.advantage < 0 else "quiet"]
    if origin is not None:
        axes.vlines(start, origin, place, color=COLOURS["quiet"], lw=0.8, ls=":", zorder=1)
    fill = "none" if step.beside else colour
    axes.barh(place, end - start, 0.5, left=start, facecolor=fill, edgecolor=colour, lw=1)
    axes.vlines(end, place - 0.25, place + 0.25, color=colour, lw=2)  # what is too small for a bar
    if len(bounds) == 2:
        whisker = [[max(end - bounds[0], 0.0)], [max(bounds[1] - end, 0.0)]]
        axes.errorbar(end, place, xerr=whisker, color=COLOURS["ink"], lw=1.1, capsize=2.5)


def _scale(axes: Axes, ends: Sequence[float], unit: str, from_zero: bool) -> None:
    share = unit == "share"
    least, most = min(ends), max(ends)
    room = 0.04 * (most - least) or 0.5
    if from_zero:
        least, most = min(least, 0.0), 1.0 if share else max(most, 0.0)
    left = least - room if least else 0.0
    axes.set_xlim(left, min(most + room, 1.0) if share else most + room)
    axes.locator_params(axis="x", nbins=5)
    if share:
        axes.xaxis.set_major_formatter(lambda value, _: tick(value, unit))
    else:
        axes.set_xlabel(unit)
