"""Metrics of preferences between two answers: of any file by cases, and of the stage that taught them.

The stage's own are read from what its step measured on held-out pairs before and after, in the trainer. They
say what to change; whether the file that ships prefers the right answers is for ``preference_accuracy``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from seatrial.evals.cases import Case
from seatrial.evals.criterion import Criterion
from seatrial.evals.evidence import Evidence
from seatrial.evals.fidelity.stages import PREFERENCE
from seatrial.evals.metrics.base import Measure, Metric, Score, average, register, share
from seatrial.evals.metrics.estimators import Estimator, per_token
from seatrial.evals.metrics.shapes import TEXT
from seatrial.evals.models import Likelihood
from seatrial.evals.preference import ACCURACY, OF_STAGE, REJECTED
from seatrial.evals.verdict import NotEvaluated

Pair = Mapping[str, Sequence[float]]


def _accuracy(evidence: Evidence, criterion: Criterion, model: str) -> list[Score]:
    def value(likelihood: Likelihood) -> float:
        return -likelihood.nll / (likelihood.tokens if criterion.settings.get("per_token") else 1)

    scores = []
    for case_set in criterion.cases:
        found = evidence.preferences(model, case_set)
        for case in evidence.cases[case_set]:
            if case.id in found:
                chosen, rejected = map(value, found[case.id])
                scores.append(_judged(case, chosen, rejected))
    if not scores:
        sets = ", ".join(criterion.cases)
        raise NotEvaluated(f"no case of {sets} has both a 'reference' and, in 'expect', {REJECTED!r}")
    return scores


def _judged(case: Case, chosen: float, rejected: float) -> Score:
    missed = chosen <= rejected  # of answers that are equally likely neither is preferred
    return Score(
        case.id,
        float(not missed),
        missed,
        f"the rejected answer is likelier, by {rejected - chosen:.3g} nats" if missed else "",
        str(case.question.reference),
        str(case.expect[REJECTED]) if missed else "",
        case.prompt,
        case.where,
        group=case.label,
    )


def _held_out(evidence: Evidence) -> list[Pair]:
    adapter = evidence.built.adapter
    if adapter is None or adapter.manifest["step"] != "preference":
        raise NotEvaluated("the model was not trained on pairs here: its recipe has no [preference]")
    return list(evidence.use(adapter).facts["held_out"])


def _gain(pair: Pair, answer: str) -> float:
    """By how much an answer's log-likelihood rose."""
    before, after = pair[answer]
    return after - before


def _margin(pair: Pair) -> float:
    return _gain(pair, "chosen") - _gain(pair, "rejected")


def _margins(evidence: Evidence, criterion: Criterion, model: str) -> list[Score]:
    margins = map(_margin, _held_out(evidence))
    return [_score(place, each, each <= 0, _nearer(each)) for place, each in enumerate(margins, 1)]


def _won(evidence: Evidence, criterion: Criterion, model: str) -> list[Score]:
    margins = map(_margin, _held_out(evidence))
    return [_score(place, float(each > 0), each <= 0, _nearer(each)) for place, each in enumerate(margins, 1)]


def _nearer(margin: float) -> str:
    return f"the rejected answer gained {-margin:.3g} nats on the chosen one"


def _changes(evidence: Evidence, criterion: Criterion, model: str) -> list[Score]:
    scores = []
    for place, pair in enumerate(_held_out(evidence), 1):
        tokens = pair["tokens"][0]
        value = -_gain(pair, "chosen") / tokens
        missed = criterion.at_most is not None and value > criterion.at_most
        reason = f"the chosen answer became less likely, by {value:.3g} nats a token"
        scores.append(_score(place, value, missed, reason, tokens))
    return scores


def _score(place: int, value: float, missed: bool, reason: str, weight: float = 1.0) -> Score:
    name = f"held-out pair {place}"
    return Score(name, value, missed, reason if missed else "", weight=weight, stage=PREFERENCE)


preference_accuracy = register(
    Metric(
        ACCURACY,
        "Share of cases whose `reference` is likelier than the answer that `expect` calls `rejected`; with "
        "`per_token = true` by the mean per token, which does not favour the shorter answer",
        unit="share",
        better="higher",
        measure=_accuracy,
        estimator=share,
        settings=("per_token",),
        expects={REJECTED: TEXT},
        hard=False,
        of="file",
    )
)


def _of_stage(
    name: str, about: str, unit: str, better: str, measure: Measure, estimator: Estimator
) -> Metric:
    return register(Metric(name, about, unit, better, measure, estimator, needs_cases=False, of="file"))


preference_margin, preference_won, preference_nll_change = (
    _of_stage(name, about, unit, better, measure, estimator)
    for name, (about, unit, better, measure, estimator) in zip(
        OF_STAGE,
        (
            (
                "How much further apart the stage on pairs moved the log-likelihoods of held-out chosen and "
                "rejected answers, per pair; DPO's margin divided by its beta",
                "nats",
                "higher",
                _margins,
                average(),
            ),
            (
                "Share of held-out pairs that the stage on pairs moved the right way: DPO's reward accuracy",
                "share",
                "higher",
                _won,
                share,
            ),
            (
                "Negative log-likelihood of held-out chosen answers per token, after the stage on pairs "
                "minus before",
                "nats",
                "lower",
                _changes,
                per_token(),
            ),
        ),
        strict=True,
    )
)
