"""A task: what the model is for, when it may ship, and where its cases lie. Read from ``task.toml``.

The judge takes every threshold from here; a number in a test would be a number without a reason.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveInt, field_validator, model_validator

from seatrial.training.configuration import Config, Misplaced, read_toml
from seatrial.training.errors import SeatrialError

SHIPPED = "shipped"
REGRESSIONS = "regressions"  # the case set whose every case is a hard requirement
RULES = ("point", "confident", "superior", "non_inferior", "within")


def _one_or_many(value: Any) -> Any:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


# One name or a list of them.
CaseSetNames = Annotated[tuple[str, ...], BeforeValidator(_one_or_many)]


class Contract(Config):
    """What every answer must look like."""

    schema_file: Path = Field(alias="schema")
    """File with the JSON schema (draft 2020-12) that every answer fulfils."""
    operations: tuple[str, ...] = ()
    """The values that an answer's `operation` may have, and cases may expect."""
    no_operation: str = ""
    """What an answer that names no operation is taken for; empty: it is never right."""


class Decoding(Config):
    """How answers are generated; greedy at temperature 0, the only one that repeats exactly."""

    temperature: Literal[0]
    """Always 0: greedy decoding, the only one that repeats exactly."""
    max_tokens: PositiveInt
    """Most tokens of an answer."""
    context: PositiveInt
    """Tokens that question and answer may have together."""


class Prompts(Config):
    """The system prompt that ships, and the file with a good prompt for the untuned base."""

    system: str
    """The system prompt that the model ships with."""
    prompted_base: Path
    """Text file with the best prompt for the untuned model, its fair rival."""


class CaseSet(Config):
    """A JSONL file of cases. ``contract``: an answer to each must fulfil the output contract."""

    file: Path
    """JSONL file of cases (docs/cases.md)."""
    contract: bool = True
    """Whether answers to these cases must fulfil the contract."""
    why: str
    """What these cases are for."""


class Criterion(Config):
    """One requirement; the part of ``id`` before the first dot is its group (SC-3.perplexity → SC-3).

    ``least_cases``: with fewer it is not evaluated; without the key, the metric and the rule say how many.
    """

    id: str
    """Its name; what stands before the first dot is its group."""
    title: str
    """What is required, in words."""
    metric: str
    """What is measured: one of the metrics below."""
    cases: CaseSetNames = ()
    """One case set or a list of them; metrics of files need none."""
    model: str = SHIPPED
    """What is measured: shipped, base, prompted_base, adapter, merged, ollama, f16, q8_0 ..."""
    at_least: float | None = None
    """Threshold of a metric of which more is better."""
    at_most: float | None = None
    """Threshold of a metric of which less is better."""
    rule: Literal["point", "confident", "superior", "non_inferior", "within"] = "point"
    """How it is decided: see Rules below."""
    against: str | None = None
    """The model that it is compared with, for the last three rules."""
    margin: float = Field(default=0.0, ge=0)
    """How much worse than `against` is allowed, in the metric's unit."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Confidence of the interval, and of the rules that have to be sure."""
    least_cases: PositiveInt | None = None
    """With fewer cases it is not evaluated; by default metric and rule say how many."""
    required: bool = True
    """Whether nothing ships without it."""
    why: str
    """Why this threshold: it is printed when the criterion fails."""
    advice: str = ""
    """What to do when it fails."""
    stage: str = ""
    """Stage of the pipeline that it watches; a failure names it."""
    settings: Mapping[str, Any] = {}
    """Settings of the metric."""

    @property
    def group(self) -> str:
        return self.id.partition(".")[0]

    @field_validator("id", "why", "title")
    @classmethod
    def _not_empty(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("must not be empty")
        return value

    @model_validator(mode="after")
    def _decidable(self) -> Criterion:
        bounds = [bound for bound in (self.at_least, self.at_most) if bound is not None]
        if self.rule in ("point", "confident"):
            if len(bounds) != 1:
                raise ValueError(f"rule {self.rule!r} needs exactly one of at_least and at_most")
            if self.against:
                raise ValueError(
                    f"'against' belongs to the rules superior, non_inferior and within, not {self.rule}"
                )
        elif bounds or not self.against:
            raise ValueError(f"rule {self.rule!r} needs 'against' (a model) and no at_least or at_most")
        return self


# name of the step, stage that it belongs to, its model, the model before it, whether it can be required.
# Only the file that ships is gated among the quantisations; the runtime is, where a server is required.
STEPS = (
    ("training", "training", "adapter", "base", True),
    ("merge", "merge", "merged", "adapter", True),
    ("conversion", "conversion", "f16", "merged", True),
    ("quantisation", "quantisation", "shipped", "f16", True),
    ("q8_0", "quantisation", "q8_0", "f16", False),
    ("q5_k_m", "quantisation", "q5_k_m", "f16", False),
    ("ollama", "runtime", "ollama", "shipped", False),
)


class Loss(Config):
    """A metric by which the stages from base to runtime are compared: one criterion for each of ``STEPS``.

    ``margin``: how much worse a stage's model may be than the one before it, in the metric's unit.
    """

    id: str
    """Its name; the criteria are called ID.training, ID.merge, ..."""
    title: str
    """What is compared, in words."""
    metric: str
    """What is measured at every stage."""
    cases: CaseSetNames
    """One case set or a list of them."""
    margin: float = Field(ge=0)
    """How much worse than the stage before is allowed, in the metric's unit."""
    least_cases: PositiveInt | None = None
    """With fewer cases it is not evaluated."""
    required: bool = True
    """Whether nothing ships without it."""
    why: str
    """Why this margin."""

    def criteria(self) -> list[Criterion]:
        """LOSS.operations → LOSS.operations.training, .merge, .conversion, ..."""
        return [
            Criterion(
                id=f"{self.id}.{name}",
                title=f"{self.title}: {model} against {against}",
                metric=self.metric,
                cases=self.cases,
                model=model,
                against=against,
                rule="within",
                margin=self.margin,
                least_cases=self.least_cases,
                required=self.required and needed,
                stage=stage,
                why=self.why,
            )
            for name, stage, model, against, needed in STEPS
            if not (name == "ollama" and self.metric == "perplexity")  # Ollama gives no likelihoods
        ]


class Task(Config):
    """A task folder's ``task.toml``; ``folder`` is where it lies.

    ``recipe`` and ``train`` say how a model is made, and are needed only where one is made.
    ``waivers``: by the name of a part of the standard core (``evals/core.py``) or the id of a criterion, why
    it is not required of this task. They stand beside every verdict.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    """Lower-case letters, digits, `-` and `_`; reports lie in a folder of this name."""
    title: str
    """The name as people say it."""
    intent: str
    """What the model is for."""
    non_goals: tuple[str, ...]
    """What it need not be able to do."""
    constraints: tuple[str, ...] = ()
    """Further limits, for the report."""
    recipe: str | None = None
    """How a model is made: the name of a recipe; needed only where one is made."""
    train: Path | None = None
    """Training rows in ShareGPT form; needed only where a model is made."""
    ratings: Path = Path("ratings.csv")
    """CSV file of ratings by people, if there is one."""
    require: tuple[str, ...] = ()
    """Names of criteria that are required although they say `required = false`."""
    waivers: Mapping[str, str] = {}
    """Why a part of the standard core, or a criterion, is not required, by its name."""
    contract: Contract
    """What every answer must look like."""
    decoding: Decoding
    """How answers are generated."""
    prompts: Prompts
    """The prompts."""
    case_sets: Mapping[str, CaseSet]
    """By name; every case of the set `regressions` is a hard requirement."""
    criteria: tuple[Criterion, ...]
    """The requirements, one table each."""
    losses: tuple[Loss, ...] = ()
    """Comparisons of each stage from base to runtime with the one before, one table each."""
    folder: Path = Field(default=Path(), exclude=True)

    @model_validator(mode="after")
    def _consistent(self) -> Task:
        seen: set[str] = set()
        tables: dict[str, Sequence[Criterion | Loss]] = {"criteria": self.criteria, "losses": self.losses}
        for table, entries in tables.items():
            for number, entry in enumerate(entries):
                for name in [c.id for c in entry.criteria()] if isinstance(entry, Loss) else [entry.id]:
                    if name in seen:
                        raise Misplaced(f"criterion id {name!r} is used twice", table, number, "id")
                    seen.add(name)
                unknown = [name for name in entry.cases if name not in self.case_sets]
                if unknown:
                    known = ", ".join(self.case_sets)
                    kind = "loss" if isinstance(entry, Loss) else "criterion"
                    problem = f"{kind} {entry.id!r} names the case set {unknown[0]!r}; there are: {known}"
                    raise Misplaced(problem, table, number, "cases")
        for name in self.case_sets:
            close = difflib.get_close_matches(name.casefold(), [REGRESSIONS], n=1, cutoff=0.85)
            if close and name != REGRESSIONS:
                problem = f"the cases of a set called {name!r} are no hard requirements"
                hint = f"did you mean {REGRESSIONS!r}? A set of another meaning needs another name"
                raise Misplaced(f"{problem}; {hint}", "case_sets", name)
        for name, why in self.waivers.items():
            if not why.strip():
                raise Misplaced(f"the waiver of {name!r} gives no reason", "waivers", name)
        if not any(criterion.required for criterion in self.criteria):
            raise ValueError("no criterion is required, so anything would ship")
        return self

    @property
    def train_file(self) -> Path:
        """The training rows; raises :class:`SeatrialError` if the task names none."""
        if self.train is None:
            raise self.lacks("train", 'train = "train.jsonl", rows in ShareGPT form')
        return self.path(self.train)

    @property
    def recipe_name(self) -> str:
        """The recipe's name; raises :class:`SeatrialError` if the task names none."""
        if self.recipe is None:
            raise self.lacks("recipe", 'recipe = "NAME" or --recipe=NAME')
        return self.recipe

    def lacks(self, key: str, example: str) -> SeatrialError:
        """What is said where a model would have to be made and the task does not say how."""
        return SeatrialError(
            f"this task has no {key!r}, so no model can be made from it",
            where=self.folder / "task.toml",
            hint="judge one that is there: --gguf=FILE or --program=COMMAND. To make one, the task needs "
            f"{example}",
        )

    def path(self, relative: Path) -> Path:
        """A path of this task's file, made absolute."""
        return (self.folder / relative).resolve()

    @property
    def prompted_base(self) -> str:
        return _text(self.path(self.prompts.prompted_base))

    @property
    def contract_schema(self) -> dict[str, Any]:
        import json

        path = self.path(self.contract.schema_file)
        try:
            schema: dict[str, Any] = json.loads(_text(path))
        except ValueError as error:
            raise SeatrialError(f"not valid JSON: {error}", where=path) from None
        return schema


def load_task(folder: Path) -> Task:
    """Read a task from its folder or from its ``task.toml``.

    Raises:
        SeatrialError: no such task, or a mistake in its file.
    """
    path = folder if folder.suffix == ".toml" else folder / "task.toml"
    if not path.is_file():
        raise SeatrialError(
            "no task here", where=path, hint="give a folder that holds a task.toml: --task=golden/task_api"
        )
    task = read_toml(path, Task)
    losses = [criterion for loss in task.losses for criterion in loss.criteria()]
    return task.model_copy(update={"folder": path.parent.resolve(), "criteria": (*task.criteria, *losses)})


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SeatrialError(f"cannot be read: {error.strerror}", where=path) from None
