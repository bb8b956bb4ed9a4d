"""The report's drawings: each function returns one SVG element as text, or None where there is no data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from seatrial.evals.report.drawing import COLOURS, figure_of, label_of, style, svg_of
from seatrial.evals.report.wording import amount, role

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MODEL_COLOURS = {"base": "base", "prompted_base": "prompted", "shipped": "shipped"}
DRAWN_CASES = 400  # beyond it, rows cannot be told apart: evenly spaced ones are drawn
NAMED_CASES = 45  # beyond it, rows are too many to carry names


def loss_curve(history: Sequence[Mapping[str, Any]]) -> str | None:
    """Training loss by optimiser step, and evaluation loss where it was measured."""
    return _curve(history, "loss", "loss (nats per token)", floor=0.0)


def margin_curve(history: Sequence[Mapping[str, Any]]) -> str | None:
    """DPO's margin by optimiser step, and that of held-out pairs where it was measured."""
    return _curve(history, "rewards/margins", "margin (beta x nats per pair)", floor=None)


def _curve(history: Sequence[Mapping[str, Any]], key: str, axis: str, floor: float | None) -> str | None:
    training = _series(history, key)
    evaluation = _series(history, f"eval_{key}")
    if not training and not evaluation:
        return None
    with style(key):
        figure, axes = figure_of(3.0)
        for points, name, marker in ((training, "training", ""), (evaluation, "evaluation", "D")):
            if points:
                colour = COLOURS["quiet" if name == "training" else "shipped"]
                steps, losses = zip(*points, strict=True)
                label = f"{name}, {losses[-1]:.3f} at the end"
                axes.plot(steps, losses, color=colour, marker=marker, markersize=4.5, label=label, lw=1.4)
        if floor is not None:
            axes.set_ylim(bottom=floor)
        axes.set_xlabel("optimiser step")
        axes.set_ylabel(axis)
        axes.legend(loc="upper right" if floor is not None else "upper left")
        axes.grid(axis="y")
        return svg_of(figure)


def latency(timings: Sequence[Mapping[str, Any]]) -> str | None:
    """One line a case, from first token to whole answer, with the 50th and 95th percentile of both."""
    import numpy as np

    rows = sorted((each for each in timings if each["seconds"] is not None), key=lambda each: each["seconds"])
    if not rows:
        return None
    everything = rows
    if len(rows) > DRAWN_CASES:
        rows = [rows[round(place)] for place in np.linspace(0, len(rows) - 1, DRAWN_CASES)]
    with style("latency"):
        named = len(rows) <= NAMED_CASES
        figure, axes = figure_of(1.5 + (0.17 * len(rows) if named else 4.0))
        places = range(len(rows))
        whole = [row["seconds"] for row in rows]
        first = [row.get("first_token_seconds") for row in rows]
        axes.hlines(places, [start or 0.0 for start in first], whole, color=COLOURS["rule"], lw=2.5)
        known = [(start, place) for start, place in zip(first, places, strict=True) if start is not None]
        series = [("whole answer", "seconds", whole, list(places), "o", "shipped")]
        if known:
            starts, rows_of = [start for start, _ in known], [place for _, place in known]
            series.append(("first token", "first_token_seconds", starts, rows_of, "|", "prompted"))
        for name, key, seconds, at, marker, shade in series:
            colour = COLOURS[shade]
            axes.scatter(seconds, at, color=colour, marker=marker, s=26, label=name, zorder=3)
            measured = [each[key] for each in everything if each.get(key) is not None]
            for rank, dashes in ((50, "--"), (95, ":")):
                value = float(np.percentile(measured, rank))
                axes.axvline(value, color=colour, ls=dashes, lw=1, zorder=1)
                text = f"p{rank} {amount(value, 's')}"
                axes.annotate(
                    text,
                    (value, 1),
                    (0, 3),
                    xycoords=("data", "axes fraction"),
                    textcoords="offset points",
                    ha="right" if rank == 50 else "left",  # the two may lie close together
                    fontsize=8,
                    color=colour,
                )
        labels = [label_of(row["case"]) for row in rows]
        axes.set_yticks(list(places) if named else [], labels if named else [])
        axes.set_ylim(-0.8, len(rows) - 0.2)
        axes.set_xlim(left=0, right=1.08 * max(whole))
        axes.set_xlabel("seconds")
        axes.tick_params(axis="y", length=0)
        figure.legend(loc="outside upper left", ncols=2)
        axes.grid(axis="x")
        return svg_of(figure)


def accuracy_bars(rows: Sequence[Mapping[str, Any]], models: Sequence[str]) -> str | None:
    """Share metrics side by side, one bar a model, with the interval as a whisker."""
    rows = [row for row in rows if row["unit"] == "share"]
    if not rows:
        return None
    with style("bars"):
        figure, axes = figure_of(0.7 + len(rows) * (0.27 * len(models) + 0.22))
        for index, row in enumerate(rows):
            shown = [(name, row["models"][name]) for name in models if name in row["models"]]
            for number, (name, measured) in enumerate(shown):
                if measured["value"] is not None:
                    place = index + 0.8 * (number + 0.5 - len(shown) / 2) / len(models)
                    _bar(axes, place, 0.72 / len(models), name, measured, first=index == 0)
        axes.set_yticks(range(len(rows)), [label_of(role(row["metric"])) for row in rows])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(0, 122)
        axes.set_xticks(range(0, 101, 20), [f"{tick} %" for tick in range(0, 101, 20)])
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=min(len(models), 4), borderaxespad=0.2)
        axes.grid(axis="x")
        return svg_of(figure)


def _bar(
    axes: Axes, place: float, height: float, name: str, measured: Mapping[str, Any], first: bool
) -> None:
    value, low, high = (None if x is None else 100 * x for x in map(measured.get, ("value", "low", "high")))
    assert value is not None
    colour = COLOURS[MODEL_COLOURS.get(name, "other")]
    label = label_of(role(name)) if first else None
    axes.barh(place, value, height, color=colour, label=label)
    if low is not None and high is not None:
        whisker = [[max(value - low, 0.0)], [max(high - value, 0.0)]]
        axes.errorbar(value, place, xerr=whisker, color=COLOURS["ink"], lw=1.2, capsize=2.5)
    text = amount(measured["value"], "share")
    axes.annotate(text, (max(value, high or 0), place), (6, 0), textcoords="offset points", va="center")


def _series(history: Sequence[Mapping[str, Any]], name: str) -> list[tuple[float, float]]:
    return [(entry["step"], entry[name]) for entry in history if entry.get(name) is not None]
