"""Where quality was won and lost: the paired steps from base model to runtime, put together from verdicts.

Each ``[[losses]]`` of a task asks for one verdict a step (``evals.criterion.STEPS``): a model against the one
that it was made from, on the same cases. Nothing is measured anew here, and a step without a number says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from seatrial.evals.criterion import PREFERENCE_STEPS, SHIPPED, STEPS
from seatrial.evals.report.sentence import sentence
from seatrial.evals.report.step import Json, Step
from seatrial.evals.verdict import PASS

MODELS_OF = {name: (model, against) for name, _, model, against, _ in STEPS}
WITH_PREFERENCE = {name: (model, against) for name, _, model, against, _ in (*PREFERENCE_STEPS, *STEPS[1:])}
PREFERENCE = next(name for name in WITH_PREFERENCE if name not in MODELS_OF)
FORK = next(against for model, against in MODELS_OF.values() if model == SHIPPED)
BESIDE = [name for name, (model, against) in MODELS_OF.items() if against == FORK and model != SHIPPED]
FIRST = STEPS[0][3]  # the base


@dataclass(frozen=True)
class Stage:
    """A model of the chain: its score (None: not measured) and the step that made it (None: the base)."""

    model: str
    measured: Json | None
    step: Step | None


@dataclass(frozen=True)
class Attribution:
    """One metric from base to runtime; ``id`` is that of its ``[[losses]]``."""

    id: str
    metric: str
    title: str
    unit: str
    better: str
    steps: tuple[Step, ...]
    stages: tuple[Stage, ...]
    sentence: str

    @property
    def passed(self) -> list[Step]:
        """Steps that the gate depends on, and that passed."""
        return [s for s in self.steps if s.verdict and s.verdict["required"] and s.verdict["status"] == PASS]

    @property
    def changed(self) -> list[Step]:
        """Steps after training that changed whether a case is right."""
        return [step for step in self.steps if step.against != FIRST and (step.won or step.lost)]


def is_step(verdict: Json) -> bool:
    """Whether a verdict is one step of a loss attribution."""
    loss, _, name = verdict["criterion"].rpartition(".")
    if not loss or verdict["rule"] != "within" or name not in WITH_PREFERENCE:
        return False
    measured, against = verdict["measured"], verdict["against"]
    of_step = (MODELS_OF.get(name), WITH_PREFERENCE[name])
    return not measured or not against or (measured["model"], against["model"]) in of_step


def attributions(verdicts: Iterable[Json]) -> list[Attribution]:
    """One attribution for each ``[[losses]]`` that the verdicts know of, in their order."""
    chains: dict[str, dict[str, Json]] = {}
    for verdict in verdicts:
        if is_step(verdict):
            loss, _, name = verdict["criterion"].rpartition(".")
            chains.setdefault(loss, {})[name] = verdict
    return [_attribution(loss, found) for loss, found in chains.items()]


def _attribution(loss: str, found: Mapping[str, Json]) -> Attribution:
    facts = next(iter(found.values()))
    title = facts["title"].rpartition(": ")[0] or facts["title"]  # the rest names the two models
    models = WITH_PREFERENCE if PREFERENCE in found else MODELS_OF
    along = [name for name in models if name not in BESIDE]
    place = next(number for number, name in enumerate(along) if models[name][0] == SHIPPED)
    steps = tuple(
        Step(
            name=name,
            model=models[name][0],
            against=models[name][1],
            beside=name in BESIDE,
            unit=facts["unit"],
            better=facts["better"],
            verdict=found.get(name),
            reason=_reason(found.get(name), name, facts["metric"]),
        )
        for name in (*along[:place], *BESIDE, *along[place:])
    )
    seen = {step.against: step.before for step in steps if step.before}
    seen |= {step.model: step.after for step in steps if step.after}
    made = [Stage(step.model, seen.get(step.model), step) for step in steps]
    return Attribution(
        id=loss,
        metric=facts["metric"],
        title=title,
        unit=facts["unit"],
        better=facts["better"],
        steps=steps,
        stages=(Stage(FIRST, seen.get(FIRST), None), *made),
        sentence=sentence(title, steps),
    )


def _reason(verdict: Json | None, name: str, metric: str) -> str:
    if verdict is None:
        silent = name == "ollama" and metric == "perplexity"
        return "Ollama gives no likelihoods" if silent else "these results hold no verdict on it"
    if not verdict["comparison"]:
        return verdict["reason"] or "no reason was given"
    return "" if verdict["comparison"]["difference"] is not None else "the difference is not a number"
