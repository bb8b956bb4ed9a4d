"""The standard core: what every release is asked, whatever its task says, unless the task waives it by name.

A task decides by its criteria, and could be emptied of them in silence: with one criterion on the file's size
anything would ship. So each part of the core must be covered by required criteria of the task; a part that is
not stands against shipping as NOT EVALUATED, with what to add. ``[waivers]`` in task.toml takes a part or a
criterion out, with a reason, and whoever reads the verdict reads the reasons with it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from seatrial.evals.cases import SAMPLE, Case
from seatrial.evals.criterion import SHIPPED, Criterion
from seatrial.evals.data import LEAKAGE
from seatrial.evals.metrics import METRICS
from seatrial.evals.task import Task
from seatrial.training.configuration import line_of
from seatrial.training.errors import SeatrialError, at
from seatrial.training.recipe import QUANTIZATIONS

GROUP = "CORE"  # the group of the verdicts on parts that no criterion covers
NO_FILE = "a program was judged, which has no file and no trained model to compare with"
BASES = ("base", "prompted_base")
OF_TRAINED = ("sft", "adapter", "merged", "f16")  # models that are there where the trained model is known
OF_FILES = (*QUANTIZATIONS, "ollama")  # models that are there where a file is judged
SURE_COMPARISONS = ("superior", "non_inferior")


@dataclass(frozen=True)
class Part:
    """A part of the core: covered where each of ``needs`` has a required criterion with one of its metrics,
    or where a required criterion's metric says that it covers the part.

    ``of``: ``answers`` of whatever is judged, a ``file``, or a file with the ``trained`` model beside it.
    ``criterion``: metric and bound of a criterion that would cover it, for people to start from.
    ``mend``: what to do where no criterion is missing.
    """

    name: str
    title: str
    why: str
    needs: tuple[tuple[str, ...], ...]
    of: str
    criterion: str
    lacking: str = "no required criterion of this task covers it"
    mend: str = ""

    @property
    def remedy(self) -> str:
        """Why nothing covers this part, what would, and how it is waived."""
        return f"{self.lacking}: {self.to_do}"

    @property
    def to_do(self) -> str:
        """What would cover this part, and how it is waived."""
        return f'{self.mend or f"add one ({self.criterion})"}, or waive it: [waivers] {self.name} = "why"'

    def covered_by(self, criterion: Criterion) -> bool:
        if criterion.model != SHIPPED or criterion.metric not in METRICS:
            return False
        named = any(criterion.metric in metrics for metrics in self.needs)
        return named or METRICS[criterion.metric].covers == self.name


class Comparison(Part):
    """The part that a criterion covers by its rival instead of its metric."""

    def covered_by(self, criterion: Criterion) -> bool:
        sure = criterion.rule in SURE_COMPARISONS
        return sure and criterion.model == SHIPPED and criterion.against in BASES


PARTS = (
    Part(
        name="contract",
        title="Every answer can be used by its caller",
        why="An answer that the caller cannot parse is an outage.",
        needs=(),
        of="answers",
        criterion='metric = "schema_validity", at_least = 0.99',
    ),
    Part(
        name="stopping",
        title="Answers end by themselves",
        why="A model that does not stop costs its whole token limit at every call.",
        needs=(),
        of="answers",
        criterion='metric = "stopped", at_least = 1.0',
    ),
    Comparison(
        name="base",
        title="Better than the untuned model, or surely no worse",
        why="A tuned model that does not beat its base was not worth its training.",
        needs=(),
        of="answers",
        criterion='rule = "superior", against = "base"',
    ),
    Part(
        name="export",
        title="The file loads and answers, and its Modelfile serves what was judged",
        why="What was judged must be what is served.",
        needs=(("gguf_answers",), ("modelfile_parity",)),
        of="file",
        criterion='metric = "gguf_answers", at_least = 1.0, and metric = "modelfile_parity", at_least = 1.0',
    ),
    Part(
        name="fidelity",
        title="The file is the model that was trained",
        why="Most faults of an export leave the answers to test questions as they were.",
        needs=(
            ("metadata_parity",),
            ("weights_parity",),
            ("token_parity",),
            ("prompt_parity",),
            ("kl_divergence",),
        ),
        of="trained",
        criterion='metric = "metadata_parity", at_least = 1.0; so weights_parity, token_parity, '
        "prompt_parity, and kl_divergence, at_most = 0.03",
    ),
)
SAMPLES = Part(
    name="samples",
    title="The questions are this task's own",
    why="Questions that 'seatrial new' wrote say nothing about the model that ships.",
    needs=(),
    of="answers",
    criterion="",
)
DATA = "leakage"  # its verdict is there for every trained model: see evals/data.py


@dataclass(frozen=True)
class Waiver:
    """Something that is not required of this task, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class Core:
    """What the core makes of a task: the parts that nothing covers, and all that is waived.

    ``optional``: ids of criteria that the task requires and a waiver takes back. ``inapplicable``: of those
    that cannot be measured of what is judged, each with the reason.
    """

    missing: tuple[Part, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    optional: frozenset[str] = frozenset()
    inapplicable: Mapping[str, str] = field(default_factory=dict)

    @property
    def leakage_waived(self) -> bool:
        return any(waiver.name in (DATA, LEAKAGE) for waiver in self.waivers)


def standard_core(task: Task, judged: str, cases: Mapping[str, Sequence[Case]] | None = None) -> Core:
    """The core of ``task`` where a ``program``, a ``file``, or a file and its ``trained`` model is judged.

    ``cases``: what is asked; among them must be none of the samples that a new task begins with.

    Raises:
        SeatrialError: a waiver of something that does not exist, with its line in task.toml.
    """
    applies = {"program": ("answers",), "file": ("answers", "file")}.get(
        judged, ("answers", "file", "trained")
    )
    parts = [part for part in PARTS if part.of in applies]
    _check_names(task)
    waivers = [Waiver(name, why.strip()) for name, why in task.waivers.items() if _concerns(name, judged)]
    named = {waiver.name for waiver in waivers}
    optional = named & {criterion.id for criterion in task.criteria}
    missing = []
    for part in parts:
        covering = [criterion for criterion in task.criteria if part.covered_by(criterion)]
        if part.name in named:
            optional |= {criterion.id for criterion in covering}
            if part.of == "trained":  # whatever else is compared with the trained model
                optional |= {criterion.id for criterion in task.criteria if asked_of(criterion) == part.of}
            continue
        left = [criterion for criterion in covering if criterion.required and criterion.id not in optional]
        if _whole(part, left):
            continue
        if not _whole(part, covering):
            missing.append(part)
            continue
        waivers += [
            Waiver(part.name, f"{criterion.id} is not required: {criterion.why}")
            for criterion in covering
            if not criterion.required
        ]
    if SAMPLES.name not in named and (samples := _samples(cases or {})):
        missing.append(samples)
    others = [criterion.id for criterion in task.criteria if asked_of(criterion) not in applies]
    inapplicable = dict.fromkeys(others, NO_FILE) if judged == "program" else {}
    return Core(tuple(missing), tuple(waivers), frozenset(optional), inapplicable)


def _samples(cases: Mapping[str, Sequence[Case]]) -> Part | None:
    """The part on samples, if there are any among the cases."""
    asked = [case for group in cases.values() for case in group]
    samples = [case for case in asked if SAMPLE in case.tags]
    if not samples:
        return None
    count = f"{len(samples)} of {len(asked)} cases are samples, such as {samples[0].where}"
    mend = f"put questions of your own there, without the tag {SAMPLE!r}"
    return replace(SAMPLES, lacking=count, mend=mend)


def asked_of(criterion: Criterion) -> str:
    """What a criterion can be measured of: ``answers`` of anything, a ``file``, or the ``trained`` model."""
    metric = METRICS.get(criterion.metric)
    models = {criterion.model, criterion.against}
    if models & set(OF_TRAINED) or (metric and metric.of == "trained"):
        return "trained"
    return "file" if models & set(OF_FILES) or (metric and metric.of == "file") else "answers"


def _whole(part: Part, criteria: Sequence[Criterion]) -> bool:
    """Whether these criteria cover all that a part needs."""
    found = {criterion.metric for criterion in criteria}
    return all(found & set(metrics) for metrics in part.needs) if part.needs else bool(criteria)


def _concerns(name: str, judged: str) -> bool:
    """A program has no training data and no file: waiving what is not asked of it is no waiver."""
    of = {part.name: part.of for part in (*PARTS, SAMPLES)}.get(
        name, "file" if name in (DATA, LEAKAGE) else "answers"
    )
    return judged != "program" or of == "answers"


def _check_names(task: Task) -> None:
    known = dict.fromkeys([*(part.name for part in PARTS), SAMPLES.name, DATA, LEAKAGE], True)
    known |= {criterion.id: criterion.required for criterion in task.criteria}
    path = task.folder / "task.toml"
    for name in task.waivers:
        where = at(path, line_of(path, ("waivers", name)))
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            guess = f"did you mean {close[0]!r}? " if close else ""
            parts = ", ".join([*(part.name for part in PARTS), SAMPLES.name, DATA])
            raise SeatrialError(
                f"[waivers] names {name!r}, which is neither a part of the standard core nor a criterion",
                where=where,
                hint=f"{guess}the core: {parts}; criteria go by their id",
            )
        if not known[name]:
            raise SeatrialError(
                f"[waivers] names {name!r}, which is not required anyway",
                where=where,
                hint="take the waiver out",
            )
