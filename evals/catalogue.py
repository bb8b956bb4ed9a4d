"""Writes docs/metrics.md: ``python -m seatrial.evals.catalogue > docs/metrics.md``.

Everything on the page is what the registry says of each metric, so it cannot say what is not so; a test
compares it, and others hold the docstrings to what is scored.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Iterator

from seatrial.evals.metrics import METRICS
from seatrial.evals.metrics.base import FIELDS, LABEL, Metric
from seatrial.training.extras import install_line

OF = {
    "answers": "the answers of a file, a program or an endpoint",
    "file": "a file",
    "trained": "a file whose trained model is known",
}
NAMES = {LABEL: "the field of `field`, else the task's label", FIELDS: "any field of the answer"}
TOLD = ("empty", "broken", "refused")  # answers of which docstrings say what they score


def page() -> str:
    """The text of docs/metrics.md."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Metrics"
    yield ""
    yield "What a criterion may measure. A case is scored if its `expect` says what the metric reads. A"
    yield "metric of a task's own is a function in its `metrics.py`, made by the same decorator."
    yield "This page is written by `python -m seatrial.evals.catalogue > docs/metrics.md`."
    yield ""
    yield "An answer is *empty* if nothing but white space is in it, *broken* if its form cannot be read, and"
    yield "*refused* if it declines in words."
    families = defaultdict(list)
    for metric in METRICS.values():
        if metric.source is None:
            families[_family(metric)].append(metric)
    yield from ("", "| family | metrics |", "|---|---|")
    for family, metrics in sorted(families.items()):
        yield f"| {family} | {', '.join(f'[{metric.name}](#{metric.name})' for metric in metrics)} |"
    yield from _expectations()
    for family, metrics in sorted(families.items()):
        yield from ("", f"## {family}")
        for metric in metrics:
            yield from _metric(metric)


def _expectations() -> Iterator[str]:
    """What cases may expect, and who reads it."""
    readers: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for metric in METRICS.values():
        for key, shape in metric.expects.items():
            if key not in NAMES and metric.source is None:
                readers[key, shape.about].append(f"[{metric.name}](#{metric.name})")
    yield from ("", "| `expect` | shape | read by |", "|---|---|---|")
    for (key, about), names in sorted(readers.items()):
        yield f"| `{key}` | {about} | {', '.join(names)} |"


def _metric(metric: Metric) -> Iterator[str]:
    about, claims, source = _parts(metric.about)
    yield from ("", f"### {metric.name}", "")
    yield from about
    yield from ("", "| | |", "|---|---|")
    yield f"| measured of | {OF[metric.of]} |"
    if metric.expects:
        yield f"| reads | {'; '.join(_reads(metric))} |"
    if metric.settings:
        yield f"| settings | {', '.join(f'`{name}`' for name in metric.settings)} |"
    yield f"| unit | {metric.unit or 'none'}, {_range(metric)}; {metric.better} is better |"
    for of in TOLD:
        if of in claims:
            yield f"| {of} | {claims[of]} |"
    if metric.judge:
        yield f"| hard cases | {_hard(metric)} |"
    if metric.covers:
        yield f"| covers | the part `{metric.covers}` of the standard core |"
    if metric.extra:
        yield f"| needs | `{install_line(metric.extra)}` |"
    if source:
        yield f"| source | {source} |"


def _parts(about: str) -> tuple[list[str], dict[str, str], str]:
    """A docstring's paragraphs in Markdown; what it says of each sort of answer; its source."""
    lines: list[str] = []
    claims: dict[str, str] = {}
    source = ""
    for paragraph in about.replace("``", "`").split("\n\n"):
        text = " ".join(paragraph.split())
        if re.match(r"(?i)(empty|broken|refused)[,:]", text):
            text, _, source = text.partition(" Source: ")
            for match in re.finditer(
                r"(?i)\b((?:empty|broken|refused)(?:, (?:empty|broken|refused))*): (.+?)(?=\. [A-Z]|\.?$)",
                text,
            ):
                claims |= dict.fromkeys(match[1].lower().split(", "), match[2])
        elif text.startswith("Raises:"):
            lines.append(re.sub(r"^Raises: \w+: ", "Not evaluated where ", text))
        else:
            lines.append(text)
    return [line for text in lines for line in (text, "")][:-1], claims, source.rstrip(".")


def _reads(metric: Metric) -> Iterator[str]:
    for key, shape in metric.expects.items():
        without = "" if key in metric.needs or key == FIELDS else ", if it is there"
        yield f"{NAMES.get(key, f'`{key}`')} ({shape.about}{without})"


def _hard(metric: Metric) -> str:
    if metric.always:
        return "all"
    if not metric.hard:
        return "none"
    return "those that expect what it reads" if metric.expects else "none, because it reads nothing of them"


def _range(metric: Metric) -> str:
    low, high = (None if end is None else f"{end:g}" for end in metric.estimator.scale)
    if low is None and high is None:
        return "any value"
    return (
        f"{low} to {high}" if low is not None and high is not None else f"from {low}" if low else f"to {high}"
    )


def _family(metric: Metric) -> str:
    """The module that defines it."""
    return (metric.judge or metric.measure).__module__.rpartition(".")[2]


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    print(page(), end="")
