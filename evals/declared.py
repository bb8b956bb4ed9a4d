"""Checks what a task's criteria declare, before anything is measured: names, units, directions, settings.

A criterion that anything would pass, or that nothing could, is a mistake with file and line, not a verdict.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from seatrial.evals.criterion import Criterion
from seatrial.evals.metrics import METRICS, Metric
from seatrial.evals.metrics.own import load_own
from seatrial.evals.metrics.settings import wrong_settings
from seatrial.evals.task import Task
from seatrial.training.configuration import line_of
from seatrial.training.errors import SeatrialError, at
from seatrial.training.recipe import QUANTIZATIONS

MODELS = ("shipped", "base", "prompted_base", "sft", "adapter", "merged", *QUANTIZATIONS, "ollama")
Mistake = tuple[str, str, str]  # key, problem, hint


def check_criteria(task: Task) -> None:
    """Raise :class:`SeatrialError` for the first criterion that cannot be decided, or not as it was meant,
    and for the first model that cannot be asked as its table says."""
    load_own(task.folder)
    for criterion in task.criteria:
        for key, problem, hint in _mistakes(criterion, task):
            origin = task.origins[criterion.id]
            where = at(origin.path, origin.line(key))
            raise SeatrialError(f"criterion {criterion.id!r} {problem}", where=where, hint=hint)
    for name, table in task.models.items():
        try:
            table.check(task)
        except SeatrialError as error:
            path = task.folder / "task.toml"
            where = at(path, line_of(path, ("models", name)))
            raise SeatrialError(f"[models.{name}] {error.problem}", where=where, hint=error.hint) from None


def _mistakes(criterion: Criterion, task: Task) -> Iterator[Mistake]:
    metric = METRICS.get(criterion.metric)
    if metric is None:
        problem = f"names the metric {criterion.metric!r}, which does not exist"
        yield "metric", problem, _known(criterion.metric, tuple(METRICS), "metrics")
        return
    if metric.needs_cases and not criterion.cases and not criterion.absent:
        hint = f"case sets: {', '.join(task.case_sets)}"
        yield "", f"needs 'cases': {metric.name} scores answers", hint
    if twice := {name for name in criterion.cases if criterion.cases.count(name) > 1}:
        yield "cases", f"names the case set {min(twice)!r} twice", "its cases would count twice: name it once"
    for key, model in (("model", criterion.model), ("against", criterion.against)):
        known = list(dict.fromkeys([*MODELS, *task.models]))
        if model is not None and model not in known:
            yield key, f"names the model {model!r}", _known(model, known, "models")
    if criterion.against == criterion.model:
        yield "against", f"compares {criterion.model} with itself", "name another model in 'against'"
    yield from _settings(criterion, metric, task)
    yield from _direction(criterion, metric)
    yield from _scale(criterion, metric)


def _settings(criterion: Criterion, metric: Metric, task: Task) -> Iterator[Mistake]:
    for key in criterion.settings:
        if key not in metric.settings:
            known = _known(key, metric.settings, "settings") if metric.settings else "take the setting out"
            yield "settings", f"has the setting {key!r}, which {metric.name} does not know", known
    rank = criterion.settings.get("percentile", 50)
    if isinstance(rank, bool) or not isinstance(rank, int | float) or not 0 < rank < 100:
        yield "settings", f"has percentile = {rank!r}", "give a number between 0 and 100, such as 95"
    for name, problem, allowed in wrong_settings(metric, criterion.settings, task):
        yield "settings", f"has a setting {name} that {problem}", allowed


def _direction(criterion: Criterion, metric: Metric) -> Iterator[Mistake]:
    """A bound on the good side would let a worse model pass and refuse a better one."""
    wrong, right = ("at_most", "at_least") if metric.better == "higher" else ("at_least", "at_most")
    bound = getattr(criterion, wrong)
    if bound is not None:
        problem = f"says {wrong} = {bound:g}, but of {metric.name} {metric.better} is better"
        yield wrong, f"{problem}: a worse model would pass", f"type {right} = {bound:g}"


def _scale(criterion: Criterion, metric: Metric) -> Iterator[Mistake]:
    bottom, top = metric.estimator.scale
    for key in ("at_least", "at_most"):
        bound = getattr(criterion, key)
        if bound is None:
            continue
        if (bottom is not None and bound < bottom) or (top is not None and bound > top):
            yield key, f"says {key} = {bound:g}, but {_range(metric)}", _meant(bound, metric)
        elif bound == (bottom if key == "at_least" else top) and criterion.required and metric.of != "file":
            # What is measured of a file may fail by not being there at all: that it loads is asked, too.
            yield key, f"says {key} = {bound:g}, which any model would pass: {_range(metric)}", _BOUND
        elif criterion.rule == "confident" and bound == (top if key == "at_least" else bottom):
            if metric.estimator.least is not None:
                problem = f"can never pass: no number of cases makes {key} = {bound:g} sure"
                yield key, problem, 'take a bound inside the scale, or the rule "point"'
    if bottom is not None and top is not None and criterion.margin >= top - bottom > 0:
        problem = f"says margin = {criterion.margin:g}, but {_range(metric)}, so any model would pass"
        yield "margin", problem, _meant(criterion.margin, metric)


_BOUND = "give a bound that can be missed, or required = false where the value is only to be shown"


def _range(metric: Metric) -> str:
    bottom, top = metric.estimator.scale
    if bottom is None or top is None:
        return f"{metric.name} is never below {bottom:g}" if bottom is not None else f"at most {top:g}"
    return f"{metric.name} is {'a share, ' if metric.unit == 'share' else ''}from {bottom:g} to {top:g}"


def _meant(value: float, metric: Metric) -> str:
    bottom, top = metric.estimator.scale
    if (bottom, top) == (0.0, 1.0) and 1 < value <= 100:
        return f"was {value / 100:g} meant, which is {value:g} %?"
    return "give a value inside this range"


def _known(name: str, known: Sequence[str], what: str) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"{f'did you mean {close[0]!r}? ' if close else ''}{what}: {', '.join(known)}"
