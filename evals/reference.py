"""Writes docs/task.md: ``python -m seatrial.evals.reference > docs/task.md``.

Keys, types and defaults are those of the models that read task.toml, meanings their attributes' docstrings,
the metrics those of the registry, so the page cannot say what is not so; a test compares it.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from seatrial.evals.core import DATA, PARTS, SAMPLES
from seatrial.evals.metrics import METRICS
from seatrial.training import task
from seatrial.training.configuration import Config

TABLES = (
    ("Top of the file", task.Task),
    ("[contract]", task.Contract),
    ("[decoding]", task.Decoding),
    ("[prompts]", task.Prompts),
    ("[case_sets.NAME]", task.CaseSet),
    ("[[criteria]]", task.Criterion),
    ("[[losses]]", task.Loss),
)
RULES = {
    "point": "the value meets `at_least` or `at_most`",
    "confident": "the bound of the interval on the bad side meets it; else INCONCLUSIVE",
    "superior": "surely better than `against`, by a paired test at `confidence`",
    "non_inferior": "surely not worse than `against` by more than `margin`",
    "within": "the difference from `against` is at most `margin`, whatever its interval",
}


def page() -> str:
    """The text of docs/task.md."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# task.toml"
    yield ""
    yield "What a task may say. Paths start at the task's folder. An unknown key is an error with its line."
    yield "This page is written by `python -m seatrial.evals.reference > docs/task.md`."
    for heading, model in TABLES:
        yield from ("", f"## {heading}", "", "| key | type | default | meaning |", "|---|---|---|---|")
        meanings = _meanings(model)
        for name, info in model.model_fields.items():
            if not info.exclude:
                key = info.alias or name
                yield f"| `{key}` | {_type(info.annotation)} | {_default(info)} | {meanings[name]} |"
    yield from ("", "## Rules", "", "| rule | passes if |", "|---|---|")
    for name in task.RULES:
        yield f"| `{name}` | {RULES[name]} |"
    yield from ("", "## Standard core", "")
    yield "Required of every task, unless `[waivers]` takes a part out by its name."
    yield from ("", "| part | asked of | why |", "|---|---|---|")
    for part in (*PARTS, SAMPLES):
        yield f"| `{part.name}` | {_OF[part.of]} | {part.title}. {part.why} |"
    yield f"| `{DATA}` | {_OF['file']} | No case was in the training data. |"
    yield from (
        "",
        "## Metrics",
        "",
        "| metric | what it is | unit | better | settings |",
        "|---|---|---|---|---|",
    )
    for name, metric in METRICS.items():
        settings = ", ".join(f"`{setting}`" for setting in metric.settings)
        about = " ".join(metric.about.split()).rstrip(".")
        yield f"| `{name}` | {about} | {metric.unit} | {metric.better} | {settings} |"


_OF = {"answers": "everything", "file": "a file", "trained": "a file whose trained model is known"}


def _meanings(model: type[Config]) -> Mapping[str, str]:
    """The docstrings below the attributes of a model."""
    (defined,) = ast.parse(inspect.getsource(model)).body
    assert isinstance(defined, ast.ClassDef)
    found = {}
    for node, following in zip(defined.body, defined.body[1:], strict=False):
        if isinstance(node, ast.AnnAssign) and isinstance(following, ast.Expr):
            assert isinstance(node.target, ast.Name)
            found[node.target.id] = str(ast.literal_eval(following.value))
    return found


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "must be given"
    value = info.default
    if value is None:
        return "none"
    return f"`{json.dumps(str(value) if isinstance(value, Path) else value)}`"


def _type(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return " or ".join(_type(each) for each in inner if each is not NoneType)
    if origin is Literal:
        return " or ".join(f"`{json.dumps(value)}`" for value in inner)
    if annotation == task.CaseSetNames or (origin is tuple and inner[0] is str):
        return "list of texts"
    if origin is tuple:
        return "tables"
    if origin is not None and hasattr(annotation, "__metadata__"):
        return _type(inner[0])
    if origin is not None:
        return "table"
    if inspect.isclass(annotation) and issubclass(annotation, Config):
        return "table"
    return _NAMES[annotation]


_NAMES = {str: "text", Path: "path", bool: "`true` or `false`", int: "whole number", float: "number"}


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    print(page(), end="")
