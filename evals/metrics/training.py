"""Metrics of the training itself, read from the loss history that the adapter's manifest keeps.

They judge no answer: a model that answers well may ship whatever its curve looked like. They say what to
change when it does not. Losses are nats per answer token, at the start and at the end the median of the
first and last fifth of what was logged, because single entries are of a few rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from seatrial.evals.criterion import Criterion
from seatrial.evals.evidence import Evidence
from seatrial.evals.metrics.base import Estimator, Measure, Metric, Score, counted, only, register
from seatrial.evals.verdict import NotEvaluated

ENTRIES = 4  # fewer logged losses have no course
WINDOW = 5  # logged losses before one, whose median it is compared with
SPIKE = 0.5  # of the loss at the start

Entry = Mapping[str, Any]


def ends(losses: Sequence[float]) -> tuple[float, float]:
    """The loss at the start and at the end."""
    part = max(1, len(losses) // 5)
    return median(losses[:part]), median(losses[-part:])


def fall(losses: Sequence[float]) -> float:
    """The share of the loss at the start that training took away: 1 all, 0 none, below 0 it rose.

    A loss that is no number counts as one that rose without end: -1, and so does one that more than doubled.
    """
    if not all(map(math.isfinite, losses)):
        return -1.0
    start, end = ends(losses)
    return max(-1.0, 1 - end / start) if start > 0 else 0.0


def spikes(losses: Sequence[float]) -> list[int]:
    """Places of losses that stand above the median of the five before by half of the loss at the start."""
    finite = [loss for loss in losses if math.isfinite(loss)]
    if not finite:
        return list(range(len(losses)))
    limit = SPIKE * ends(finite)[0]
    found = []
    for place, loss in enumerate(losses):
        before = [each for each in losses[max(0, place - WINDOW) : place] if math.isfinite(each)]
        if not math.isfinite(loss) or (before and loss > median(before) + limit):
            found.append(place)
    return found


def rise(validation: Sequence[float], kept: float) -> float:
    """How far the validation loss of the adapter that was kept lies above the lowest, as a share of that."""
    if not math.isfinite(kept) or not all(map(math.isfinite, validation)):
        return 1.0
    best = min(validation)
    return kept / best - 1 if best > 0 else 0.0


def _history(evidence: Evidence) -> tuple[list[Entry], Mapping[str, Any]]:
    adapter = evidence.built.sft or evidence.built.adapter  # a stage on pairs has metrics of its own
    if adapter is None or adapter.manifest["step"] != "adapter":
        raise NotEvaluated("the model was not trained here")
    return list(evidence.use(adapter).facts["history"]), adapter.manifest["params"]["trainer"]


def _losses(history: Sequence[Entry]) -> list[float]:
    found = [
        float("nan") if each["loss"] is None else float(each["loss"]) for each in history if "loss" in each
    ]
    if len(found) < ENTRIES:
        raise NotEvaluated(f"{len(found)} losses were logged: a course needs {ENTRIES}")
    return found


def _numbers(history: Sequence[Entry], key: str) -> list[float]:
    """The figures that were logged under ``key``; a document holds None for what is no number."""
    found = [each[key] for each in history if key in each]
    return [math.nan if value is None else float(value) for value in found]


def _loss_fall(evidence: Evidence, criterion: Criterion, model: str) -> list[Score]:
    history, _ = _history(evidence)
    losses = _losses(history)
    value = fall(losses)
    start, end = ends(losses)
    if value < -0.05:
        reason = "it diverges: a tenth of the learning_rate, or a longer warm-up (warmup_ratio)"
    elif value < 0.1:
        reason = "it stalls: ten times the learning_rate, or look whether the rows' answers can be learnt"
    else:
        reason = "where it still falls at the end, it underfits: more epochs or a higher rank"
    return [Score("training", value, value < 0.1, f"loss {start:.3g} -> {end:.3g}: {reason}")]


def _loss_spikes(evidence: Evidence, criterion: Criterion, model: str) -> list[Score]:
    history, _ = _history(evidence)
    losses = _losses(history)
    places = set(spikes(losses))
    reason = "half of the learning_rate, a longer warm-up, or a larger batch; look at the rows of that step"
    return [
        Score(
            f"entry {place + 1}", float(place in places), place in places, reason if place in places else ""
        )
        for place in range(len(losses))
    ]


def _validation_rise(evidence: Evidence, criterion: Criterion, model: str) -> list[Score]:
    history, trainer = _history(evidence)
    losses = _numbers(history, "eval_loss")
    if len(losses) < 2:
        raise NotEvaluated("the validation loss was measured less than twice")
    early = trainer.get("early_stopping_patience", 0) > 0
    kept = min(losses, default=0.0) if early and all(map(math.isfinite, losses)) else losses[-1]
    value = rise(losses, kept)
    reason = ""
    if value > 0:
        best = losses.index(min(losses)) + 1
        reason = (
            f"lowest at evaluation {best} of {len(losses)}, so what came after overfits: fewer epochs, "
            "early_stopping_patience = 1, more varied rows, or dropout"
        )
    return [Score("validation", value, value > 0, reason)]


def _of_training(
    name: str, about: str, unit: str, better: str, measure: Measure, estimate: Estimator
) -> Metric:
    return register(Metric(name, about, unit, better, measure, estimate, needs_cases=False, of="file"))


loss_fall = _of_training(
    "loss_fall",
    "Share of the training loss at the start that training took away; below 0 where it rose",
    "share",
    "higher",
    _loss_fall,
    only,
)
loss_spikes = _of_training(
    "loss_spikes",
    "Share of logged training losses that jump by half of the loss at the start, or are no number",
    "share",
    "lower",
    _loss_spikes,
    counted,
)
validation_rise = _of_training(
    "validation_rise",
    "How far the validation loss of the kept adapter lies above the lowest one, as a share of that",
    "share",
    "lower",
    _validation_rise,
    only,
)
