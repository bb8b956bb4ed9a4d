"""Writes pages of docs/: ``python -m seatrial.evals.reference > docs/task.md``, and others by their name.

Keys, types and defaults are those of the models that read task.toml, meanings their attributes' docstrings,
criteria those of the kinds' files, so the pages cannot say what is not so; a test compares them.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from seatrial.evals.answer import Answer
from seatrial.evals.core import DATA, PARTS, SAMPLES
from seatrial.evals.criterion import RULES, STEPS, CaseSetNames, Criterion, Loss
from seatrial.evals.kinds import FOLDER, Origin, kinds, preset_for
from seatrial.evals.metrics import METRICS
from seatrial.evals.models.table import ModelTable, model_kinds
from seatrial.evals.task import TAKEN, CaseSet, Sampling, Task
from seatrial.evals.verdict import requirement, show
from seatrial.training.configuration import Config
from seatrial.training.source import Decoding, Prompts

COMMAND = "python -m seatrial.evals.reference"
TABLES: tuple[tuple[str, type[Config]], ...] = (
    ("Top of the file", Task),
    ("[answer]", Answer),
    ("[decoding]", Decoding),
    ("[sampling]", Sampling),
    ("[prompts]", Prompts),
    ("[case_sets.NAME]", CaseSet),
    ("[[criteria]]", Criterion),
    ("[[losses]]", Loss),
)
MEANT = {
    "point": "the value meets `at_least` or `at_most`",
    "confident": "the bound of the interval on the bad side meets it; else INCONCLUSIVE",
    "superior": "surely better than `against`, by a paired test at `confidence`",
    "non_inferior": "surely not worse than `against` by more than `margin`",
    "within": "the difference from `against` is at most `margin`, whatever its interval",
}

INTRO = {
    "kinds": """
# Kinds of tasks

`kind` in task.toml brings the criteria that are usual for such a task. Each kind is a TOML file of
`evals/kinds`, as anybody could write it into a task, and may build on others. A task changes a
criterion by a table with the same `id` that holds what is different, and adds its own beside them;
`pytest --criteria` lists what then holds, with the file and the line that say it.
This page is written by `python -m seatrial.evals.reference kinds > docs/kinds.md`.

Cases: `*` are all sets but the regressions, `@first` is the first set. A case counts only where it
says what the metric reads ([metrics.md](metrics.md)). What is not required is measured and told.
Whatever of the standard core ([task.md](task.md)) a kind does not cover is asked all the same.
`LOSS.NAME.STAGE` stands for one criterion a stage: training, merge, conversion, quantisation.
""",
    "models": """
# Models to compare with

A table `[models.NAME]` of task.toml is a model beside the one that is judged; its `kind` is a file
of `evals/models`, whose keys stand below. A criterion chooses a model by its name, `model = "NAME"`
or `against = "NAME"`. A model that no criterion names is asked what the first criterion on answers
asks, as `MODELS.NAME`, which is not required. What cannot be asked is NOT EVALUATED with the reason.
This page is written by `python -m seatrial.evals.reference models > docs/models.md`.

A run has models by itself: `shipped` is what is judged, and {stages} are stages of its
making, where they are known. `base` and `prompted_base` are the untuned model, bare and with the
prompt of `[prompts] prompted_base`: given with `--base-gguf=FILE` or `--base-program=COMMAND`, or
else by tables of these names. No table may be called {taken}.

```toml
[models.larger]
kind = "openai"
url = "https://api.example.com/v1"
model = "large-2026-01"
key = "EXAMPLE_API_KEY"  # the name of an environment variable, never the key

[[criteria]]
id = "LARGER"
title = "Not worse than the larger model by more than 5 %"
metric = "accuracy"
cases = "*"
rule = "non_inferior"
against = "larger"
margin = 0.05
why = "What is saved must not cost answers."
```

A key stands in the environment only: a table names the variable that holds it. Prices stand in
`prices.toml` beside task.toml, by a model's name ([verdicts.md](verdicts.md)): the report then says
what 1,000 requests cost. They decide nothing.

Answers are greedy, of the task's length, unless a table says `temperature` and `max_tokens`. In
llama.cpp the same question may be answered otherwise in other company: the logits of a quantised
file depend on what is decoded together. Of 12 answers of 48 tokens by the published SmolLM2-135M
(Q4_1), which is not tuned and unsure of its words, all were equal when asked again in the same way, and
3 with 8 slots instead of 1; in float32 it was 12 (`python -m benchmarks.determinism`, two cores).
The metrics `determinism` and `batch_invariance` measure it for a file of yours.
""",
}


def page(name: str = "task") -> str:
    """The text of docs/NAME.md.

    Raises:
        KeyError: there is no such page.
    """
    return "\n".join(PAGES[name]()) + "\n"


# --- task.md ----------------------------------------------------------------------------------------------
def _task() -> Iterator[str]:
    yield "# task.toml"
    yield ""
    yield "What a task may say. Paths start at the task's folder. An unknown key is an error with its line."
    yield f"This page is written by `{COMMAND} > docs/task.md`."
    for heading, model in TABLES:
        yield from ("", f"## {heading}", "")
        yield from _keys(model)
    yield from ("", "## Rules", "", "| rule | passes if |", "|---|---|")
    for name in RULES:
        yield f"| `{name}` | {MEANT[name]} |"
    yield from ("", "## Standard core", "")
    yield "Required of every task, unless `[waivers]` takes a part out by its name."
    yield from ("", "| part | asked of | why |", "|---|---|---|")
    for part in (*PARTS, SAMPLES):
        yield f"| `{part.name}` | {_OF[part.of]} | {part.title}. {part.why} |"
    yield f"| `{DATA}` | {_OF['file']} | No case was in the training data. |"
    yield from ("", "## Elsewhere", "")
    yield "What may stand in `kind`: [kinds.md](kinds.md). In `[models.NAME]`: [models.md](models.md)."
    yield "In a criterion's `metric` and `settings`: [metrics.md](metrics.md), or your own: [own.md](own.md)."


_OF = {"answers": "everything", "file": "a file", "trained": "a file whose trained model is known"}


# --- kinds.md ---------------------------------------------------------------------------------------------
def _kinds() -> Iterator[str]:
    yield from INTRO["kinds"].strip().splitlines()
    known = kinds()
    yield from ("", "| kind | what it is for |", "|---|---|")
    for name, path in known.items():
        yield f"| [{name}](#{name}) | {_content(path)['about']} |"
    shared = [path for path in sorted(FOLDER.glob("*.toml")) if path.stem not in known]
    for name, path in known.items():
        yield from ("", f"## {name}", "")
        layers = _content(path).get("with", [])
        builds = ", ".join(f"[{layer}](#{layer})" for layer in layers)
        yield f"{_content(path)['about']} File: `kinds/{path.name}`" + (
            f"; builds on {builds}." if builds else "."
        )
        yield from _criteria(name, path)
    for path in shared:
        yield from ("", f"## {path.stem}", "")
        yield f"No kind, but what kinds build on: `kinds/{path.name}`."
        using = next(name for name, each in known.items() if path.stem in _content(each).get("with", []))
        yield from _criteria(using, path)


def _content(path: Path) -> Mapping[str, Any]:
    import tomllib

    return tomllib.loads(path.read_text(encoding="utf-8"))


def _criteria(kind: str, path: Path) -> Iterator[str]:
    """The criteria that the file ``path`` says, as a task of ``kind`` gets them."""
    fields = {"label": ("a", "b"), "{field}": ("a", "b")}  # so that a criterion of each field is told once
    preset = preset_for({"kind": kind, "answer": {"values": fields}}, path)
    criteria = [(Criterion.model_validate(table), origin) for table, origin in preset.criteria.values()]
    losses = [(Loss.model_validate(table), origin) for table, origin in preset.losses.values()]
    yield from ("", "| criterion | requirement | cases | required | why |", "|---|---|---|---|---|")
    for criterion, origin in criteria:
        if told := _told_by(origin, path):
            asked = requirement(criterion, METRICS[criterion.metric].unit)
            model = "" if criterion.model == "shipped" or criterion.against else f", of {criterion.model}"
            settings = "".join(
                f", `{key} = {json.dumps(value)}`" for key, value in criterion.settings.items()
            )
            told = f"`{criterion.id}` {told}".strip()
            row = (
                told,
                f"{criterion.title}: {asked}{model}{settings}",
                _names(criterion.cases),
                criterion.required,
            )
            yield _row(*row, criterion.why)
    for loss, origin in losses:
        if told := _told_by(origin, path):
            margin = show(loss.margin, METRICS[loss.metric].unit)
            asked = f"{loss.title}: {loss.metric} at most {margin} worse at each stage"
            yield _row(
                f"`{loss.id}.STAGE` {told}".strip(), asked, _names(loss.cases), loss.required, loss.why
            )


def _told_by(origin: Origin, path: Path) -> str:
    """Whether ``path`` says a criterion, and if it only changes one, of which file; else empty."""
    if origin.path == path:
        return f"(changes {origin.changes.path.stem})" if origin.changes else " "
    return _told_by(origin.changes, path) if origin.changes else ""


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in dict.fromkeys(names)) or "none"


def _row(criterion: str, asked: str, cases: str, required: bool, why: str) -> str:
    return f"| {criterion} | {asked} | {cases} | {'yes' if required else 'no'} | {why} |"


# --- models.md --------------------------------------------------------------------------------------------
def _models() -> Iterator[str]:
    stages = [step[2] for step in STEPS if step[2] != "shipped"]
    told = {"stages": _names(stages), "taken": _names(TAKEN)}
    yield from INTRO["models"].strip().format_map(told).splitlines()
    yield from ("", "## Every kind", "")
    yield from _keys(ModelTable)
    common = set(ModelTable.model_fields)
    for name in model_kinds():
        module = import_module(f"seatrial.evals.models.{name}")
        yield from (
            "",
            f'## kind = "{name}"',
            "",
            " ".join(inspect.cleandoc(module.Table.__doc__).split()),
            "",
        )
        yield from _keys(module.Table, without=common)


# --- tables of keys ---------------------------------------------------------------------------------------
def _keys(model: type[Config], without: set[str] = frozenset()) -> Iterator[str]:  # type: ignore[assignment]
    yield from ("| key | type | default | meaning |", "|---|---|---|---|")
    meanings = _meanings(model)
    for name, info in model.model_fields.items():
        if not info.exclude and name not in without:
            key, kind = info.alias or name, _type(info.annotation)
            yield f"| `{key}` | {kind} | {_default(info)} | {meanings[name]} |"


def _meanings(model: type[Config]) -> Mapping[str, str]:
    """The docstrings below the attributes of a model and of those that it is made from."""
    found = {}
    for each in reversed(model.__mro__):
        if not (issubclass(each, Config) and each is not Config):
            continue
        (defined,) = ast.parse(inspect.getsource(each)).body
        assert isinstance(defined, ast.ClassDef)
        for node, following in zip(defined.body, defined.body[1:], strict=False):
            if isinstance(node, ast.AnnAssign) and isinstance(following, ast.Expr):
                assert isinstance(node.target, ast.Name)
                found[node.target.id] = " ".join(str(ast.literal_eval(following.value)).split())
    return found


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "must be given"
    value = info.default
    if value is None:
        return "none"
    if isinstance(value, Config):
        return "that of each key"
    return f"`{json.dumps(str(value) if isinstance(value, Path) else value)}`"


def _type(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return " or ".join(_type(each) for each in inner if each is not NoneType)
    if origin is Literal:
        return " or ".join(f"`{json.dumps(value)}`" for value in inner)
    if annotation == CaseSetNames or (origin is tuple and inner[0] is str):
        return "list of texts"
    if origin is tuple and inner[-1] is not Ellipsis:
        return f"list of {len(inner)}: {', '.join(_type(each) for each in inner)}"
    if origin is tuple:
        return "tables"
    if origin is not None and hasattr(annotation, "__metadata__"):
        return _type(inner[0])
    if origin is not None and issubclass(origin, Mapping):
        return _of_mapping(inner[1])
    if inspect.isclass(annotation) and issubclass(annotation, Config):
        return "table"
    return _NAMES[annotation]


def _of_mapping(value: Any) -> str:
    """A table by what stands in it: of further tables, of texts, or of anything."""
    if value is Any:
        return "table"
    told = _type(value)
    return "table of tables" if told == "table" else f"table of {_MANY.get(told, told)}"


_NAMES = {str: "text", Path: "path", bool: "`true` or `false`", int: "whole number", float: "number"}
_MANY = {"text": "texts", "list of texts": "lists of texts"}
PAGES: Mapping[str, Callable[[], Iterator[str]]] = {"task": _task, "kinds": _kinds, "models": _models}


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["task"]
    if len(wanted) != 1 or wanted[0] not in PAGES:
        sys.exit(f"usage: {COMMAND} [{'|'.join(PAGES)}]")
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    print(page(wanted[0]), end="")
