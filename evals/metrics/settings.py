"""What a criterion's settings may hold, by their names: a name means the same whichever metric has it.

A metric of one's own may have settings of other names, which are not checked here.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from seatrial.evals.metrics.shapes import NUMBER, TEXT, TEXTS, TRUTH, Shape

if TYPE_CHECKING:
    from seatrial.evals.metrics.base import Metric
    from seatrial.evals.task import Task

LANGUAGE = re.compile(r"[a-z]{2,3}(?:[_-][A-Za-z]{2,4})?")


def _is_pattern(value: Any) -> bool:
    try:
        re.compile(value)
    except (re.error, TypeError, OverflowError, RecursionError):
        return False
    return bool(value)


def _is_share(value: Any) -> bool:
    return NUMBER.fits(value) and 0 <= value <= 1


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _are_counts(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(map(_is_count, value))


def _are_words(value: Any) -> bool:
    return isinstance(value, list | tuple) and TEXTS.fits(list(value))


def _are_words_by_label(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_are_words, value.values()))


COUNT = Shape("a whole number from 1", _is_count)
WHOLE = Shape("a whole number from 0", _is_whole)
COUNTS = Shape("a list of whole numbers from 1", _are_counts)
WORDS = Shape("a list of texts", _are_words)
SHARE = Shape("a number from 0 to 1", _is_share)
SHAPES: Mapping[str, Shape] = {
    **dict.fromkeys(
        ("phrases", "ignore", "ignore_words", "unsafe", "follow_up_words", "foreign_terms"), WORDS
    ),
    **dict.fromkeys(("max", "min", "least_letters"), WHOLE),
    **dict.fromkeys(("k", "bins", "runs", "budget"), COUNT),
    **dict.fromkeys(("slots", "threads"), COUNTS),
    **dict.fromkeys(("field", "label", "confidence", "metric"), TEXT),
    **dict.fromkeys(("max_grade", "miss_below"), NUMBER),
    "acknowledgements": Shape("lists of texts by label", _are_words_by_label),
    "pattern": Shape("a regular expression", _is_pattern),
    "language": Shape(
        "the code of a language, such as 'en'",
        lambda value: isinstance(value, str) and bool(LANGUAGE.fullmatch(value)),
    ),
    "overlap": SHARE,
    **dict.fromkeys(("severity", "per_token"), TRUTH),
    "flags": Shape("a list of values", lambda value: isinstance(value, list | tuple) and bool(value)),
    "match": Shape("'exact' or 'contains'", lambda value: value in ("exact", "contains")),
    "normalise": Shape("'none' or 'plain'", lambda value: value in ("none", "plain")),
}


def wrong_settings(metric: Metric, settings: Mapping[str, Any], task: Task) -> Iterator[tuple[str, str, str]]:
    """The settings that hold what they may not: name, what is wrong, what is allowed.

    ``settings`` are those that the metric knows; fields and labels must be among the task's, where it says
    which there are, and no more answers can be asked for than are drawn.
    """
    for name, value in settings.items():
        shape = SHAPES.get(name) if metric.source is None else None
        if shape is not None and not shape.fits(value):
            yield name, f"is {value!r:.100}", f"give {shape.about}"
    named = [*_texts(settings.get("field")), *_texts(settings.get("fields"))]
    known = {**task.reader.fields, task.reader.main: ""} if task.reader.fields else {}
    for field in named:
        if known and field not in known:
            close = difflib.get_close_matches(field, known, n=1)
            guess = f"did you mean {close[0]!r}? " if close else ""
            yield "field", f"names {field!r}, which the answer has not", f"{guess}fields: {', '.join(known)}"
    label, labels = settings.get("label"), task.reader.labels
    if label is not None and labels and "field" not in settings and label not in labels:
        yield "label", f"is {label!r}, which is none of the task's", f"labels: {', '.join(labels)}"
    k, samples = settings.get("k"), task.sampling.samples
    if k is not None and _is_count(k) and k > samples:
        yield "k", f"is {k}, but {samples} answers are drawn", f"[sampling] samples = {k}, or more"


def _texts(value: Any) -> list[str]:
    found = [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else []
    return [text for text in found if isinstance(text, str)]
