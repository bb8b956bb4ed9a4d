"""What a stage on pairs of answers changes about a task: a step more, and criteria of its own.

A task does not know by which recipe its model is made, so this is settled when a run's settings are read.
With the stage, training and the stage are two steps of every loss attribution, and one sees which of them won
or lost; without it, the criteria on the stage that the kind brings would only say that there is none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from seatrial.evals.cases import Case
from seatrial.evals.criterion import PREFERENCE_STEPS, STEPS, Criterion
from seatrial.evals.models import Question
from seatrial.evals.task import Task
from seatrial.training.recipe import Recipe

ACCURACY = "preference_accuracy"  # the metric of cases that say which answer is not wanted
REJECTED = "rejected"  # what such a case expects not to be preferred to its reference
OF_STAGE = ("preference_margin", "preference_won", "preference_nll_change")  # of the stage's own record
MODEL, AGAINST = STEPS[0][2:4]


def staged(task: Task, recipe: Recipe | None, named: Collection[str] = ()) -> Task:
    """``task`` as a model made by ``recipe`` is judged; None: the model was made elsewhere.

    ``named``: criteria that somebody asked for by name. They stay, as do those of the task's own file.
    """
    stage = recipe is not None and recipe.preference is not None
    criteria, origins = [], dict(task.origins)
    for criterion in task.criteria:
        origin = task.origins[criterion.id]
        asked = origin.own or _is_named(criterion, {*named, *task.require, *task.waivers})
        if not stage and criterion.metric in OF_STAGE and not asked:
            del origins[criterion.id]
            continue
        for each in _steps(criterion) if stage else [criterion]:
            criteria.append(each)
            origins[each.id] = origin
    return task.model_copy(update={"criteria": tuple(criteria), "origins": origins})


def compared(case: Case) -> tuple[Question, ...]:
    """A case's question with its reference, the chosen answer, and with the rejected one; () without both."""
    rejected = case.expect.get(REJECTED)
    if case.question.reference is None or rejected is None:
        return ()
    return case.question, replace(case.question, reference=str(rejected))


def _is_named(criterion: Criterion, names: Collection[str]) -> bool:
    known = criterion.id.casefold()
    return any(known == name.casefold() or known.endswith(f".{name.casefold()}") for name in names)


def _steps(criterion: Criterion) -> Iterator[Criterion]:
    """The training step of a loss as two steps; any other criterion as it is."""
    loss, _, name = criterion.id.rpartition(".")
    is_training = loss and name == STEPS[0][0] and criterion.rule == "within"
    if not is_training or (criterion.model, criterion.against) != (MODEL, AGAINST):
        yield criterion
        return
    title = criterion.title.rpartition(": ")[0] or criterion.title
    for name, stage, model, against, _ in PREFERENCE_STEPS:
        changed = {"id": f"{loss}.{name}", "stage": stage, "model": model, "against": against}
        yield criterion.model_copy(update={**changed, "title": f"{title}: {model} against {against}"})
