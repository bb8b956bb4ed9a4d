"""What all drawings share: colours, style, figures, and how a figure becomes an element of the page.

The same data give the same bytes. Colours are CSS variables of the page (with a fallback, should someone
save a drawing on its own), so that one drawing is legible on light, on dark and on paper.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from seatrial.evals.report.wording import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    "ink": "#1b2026",
    "quiet": "#5a636d",
    "rule": "#d3d8dd",
    "base": "#9aa3ad",
    "prompted": "#c98a1b",
    "shipped": "#1c6a9e",
    "other": "#7a4fa3",
    "gain": "#0a6b3d",
    "loss": "#b3211b",
}
WIDTH = 5.8  # inches; the page scales drawings to the room there is
LONGEST_LABEL = 30  # characters


def label_of(name: str) -> str:
    """A name from data, short enough that it leaves room for the drawing."""
    text = str(visible(name.replace("\n", " ")))
    return text if len(text) <= LONGEST_LABEL else f"{text[: LONGEST_LABEL - 1]}…"


@contextmanager
def style(salt: str) -> Iterator[None]:
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a person's own matplotlibrc must not change a release report
        matplotlib.rcParams.update(
            {
                "svg.hashsalt": salt,
                "svg.fonttype": "none",
                "text.parse_math": False,  # names come from data, and $ is no formula there
                "font.size": 9.5,
                "axes.edgecolor": COLOURS["quiet"],
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.axisbelow": True,
                "axes.labelcolor": COLOURS["quiet"],
                "xtick.color": COLOURS["quiet"],
                "ytick.color": COLOURS["ink"],
                "text.color": COLOURS["ink"],
                "grid.color": COLOURS["rule"],
                "grid.linewidth": 0.6,
                "legend.frameon": False,
            }
        )
        yield


def figure_of(height: float) -> tuple[Figure, Axes]:
    figure, (axes,) = panels_of([height], WIDTH)
    return figure, axes


def panels_of(heights: Sequence[float], width: float) -> tuple[Figure, Sequence[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, sum(heights)), layout="constrained")
    return figure, list(figure.subplots(len(heights), height_ratios=heights, squeeze=False)[:, 0])


def svg_of(figure: Figure) -> str:
    """The drawing as an element to put into a page: no prologue, no metadata, no fixed size."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (?:width|height)="[0-9.]+pt"', "", svg)
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', svg))  # other ids would clash on the page
    svg = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", svg)
    for name, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--plot-{name}, {colour})")
    return svg
