"""Decides criteria: measure, estimate, compare, apply the rule. Returns verdicts; asserts nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from evals import stats
from evals.evidence import Evidence
from evals.fidelity.stages import ADVICE
from evals.metrics import METRICS, Metric, Score
from evals.stats import Comparison
from evals.verdict import (
    FAIL,
    INCONCLUSIVE,
    NOT_EVALUATED,
    PASS,
    Measured,
    Miss,
    NotEvaluated,
    Verdict,
    verdict_for,
)
from training.configuration import line_of
from training.errors import SeatrialError, at
from training.recipe import QUANTIZATIONS
from training.task import SHIPPED, Criterion, Task

MODELS = ("shipped", "base", "prompted_base", "adapter", "merged", *QUANTIZATIONS, "ollama")


def check_criteria(task: Task) -> None:
    """Raise :class:`SeatrialError` for a criterion whose metric or model does not exist."""
    path = task.folder / "task.toml"
    losses = {c.id: number for number, loss in enumerate(task.losses) for c in loss.criteria()}
    for number, criterion in enumerate(task.criteria):
        place = ("losses", losses[criterion.id]) if criterion.id in losses else ("criteria", number)
        where = at(path, line_of(path, place))
        if criterion.metric not in METRICS:
            raise SeatrialError(
                f"criterion {criterion.id!r} names the metric {criterion.metric!r}, which does not exist",
                where=where,
                hint=f"metrics: {', '.join(METRICS)}",
            )
        if METRICS[criterion.metric].needs_cases and not criterion.cases:
            raise SeatrialError(
                f"criterion {criterion.id!r} needs 'cases': {criterion.metric} scores answers",
                where=where,
                hint=f"case sets: {', '.join(task.case_sets)}",
            )
        for model in (criterion.model, criterion.against):
            if model is not None and model not in MODELS:
                raise SeatrialError(
                    f"criterion {criterion.id!r} names the model {model!r}",
                    where=where,
                    hint=f"models: {', '.join(MODELS)}",
                )


def judge(criterion: Criterion, evidence: Evidence) -> Verdict:
    """The verdict on ``criterion``; NOT EVALUATED with the reason where something needed is missing."""
    metric = METRICS[criterion.metric]
    evidence.used.clear()
    try:
        for case_set in criterion.cases:
            if not evidence.cases[case_set]:
                raise NotEvaluated(f"the case set {case_set!r} is empty")
        scores = metric.measure(evidence, criterion, criterion.model)
        if not scores:
            raise NotEvaluated(f"no case of {', '.join(criterion.cases)} can be scored by {metric.name}")
        rival = metric.measure(evidence, criterion, criterion.against) if criterion.against else None
    except NotEvaluated as missing:
        return verdict_for(criterion, NOT_EVALUATED, metric.unit, metric.better, reason=str(missing))
    measured = _measured(metric, criterion, criterion.model, scores, evidence)
    details: dict[str, Any] = {
        "measured": measured,
        "misses": _misses(scores),
        "stages": [],
        "notes": _notes(scores),
        "artifacts": evidence.manifests(),
    }
    if rival is not None and criterion.against:
        comparison = _compare(metric, scores, rival, criterion)
        status = _decide_comparison(criterion, metric, comparison)
        details["against"] = _measured(metric, criterion, criterion.against, rival, evidence)
        details["comparison"] = asdict(comparison)
    else:
        status = _decide(criterion, measured)
        if metric.unit == "share" and criterion.at_least is not None and status != FAIL:
            needed = stats.cases_needed(measured.value, criterion.at_least, criterion.confidence)
            details["cases_needed"] = needed if needed and needed > measured.n else None
    if status == FAIL:
        details["stages"] = stages = list(_stages(criterion, scores, evidence))
        if stages and not criterion.advice:
            details["advice"] = "; ".join(ADVICE[stage] for stage in stages if stage in ADVICE)
    return verdict_for(criterion, status, metric.unit, metric.better, **details)


def _stages(criterion: Criterion, scores: Sequence[Score], evidence: Evidence) -> tuple[str, ...]:
    """The stages at fault: those that the missed checks name, else the one that the criterion watches; a
    loss of the shipped file is put down to what else is wrong with that file."""
    named = tuple(dict.fromkeys(score.stage for score in scores if score.missed and score.stage))
    if named or not criterion.stage:
        return named
    if criterion.model == SHIPPED:
        return evidence.chain.stages(otherwise=criterion.stage)
    return (criterion.stage,)


def _decide(criterion: Criterion, measured: Measured) -> str:
    """Rules ``point`` and ``confident``: the estimate, or the bound on its bad side, meets the threshold."""
    at_least, at_most = criterion.at_least, criterion.at_most

    def meets(value: float) -> bool:
        return value >= at_least if at_least is not None else value <= (at_most or 0.0)

    if not meets(measured.value):
        return FAIL
    bound = measured.low if at_least is not None else measured.high
    if criterion.rule == "confident" and bound is not None and not meets(bound):
        return INCONCLUSIVE
    return PASS


def _decide_comparison(criterion: Criterion, metric: Metric, found: Comparison) -> str:
    """Rules ``superior``, ``non_inferior`` and ``within``. Where both models' scores are 0 or 1, McNemar's
    test decides about superiority, because bootstrap intervals of few binary pairs are too narrow."""
    sign = 1.0 if metric.better == "higher" else -1.0
    advantage = sign * found.difference
    surely = min(sign * found.low, sign * found.high)
    if criterion.rule == "within":
        return PASS if advantage >= -criterion.margin - 1e-9 else FAIL  # 0.9 - 0.95 is not quite -0.05
    if criterion.rule == "non_inferior":
        if advantage < -criterion.margin:
            return FAIL
        return PASS if surely >= -criterion.margin else INCONCLUSIVE
    if advantage <= 0:
        return FAIL
    if found.p_value is not None:
        return PASS if found.p_value < 1 - criterion.confidence else INCONCLUSIVE
    return PASS if surely > 0 else INCONCLUSIVE


def _compare(
    metric: Metric, first: Sequence[Score], second: Sequence[Score], criterion: Criterion
) -> Comparison:
    other = {score.case: score for score in second}
    pairs = [(score, other[score.case]) for score in first if score.case in other]
    if metric.name == "perplexity":
        one = [p[0].value for p in pairs], [p[0].weight for p in pairs]
        two = [p[1].value for p in pairs], [p[1].weight for p in pairs]
        return stats.compare_perplexity(one, two, criterion.confidence)
    return stats.compare([p[0].value for p in pairs], [p[1].value for p in pairs], criterion.confidence)


def _measured(
    metric: Metric, criterion: Criterion, model: str, scores: Sequence[Score], evidence: Evidence
) -> Measured:
    estimate = metric.estimate(scores, criterion)
    groups: dict[str, Mapping[str, float]] = {}
    for group in dict.fromkeys(score.group for score in scores if score.group):
        members = [score for score in scores if score.group == group]
        groups[group] = {"value": metric.estimate(members, criterion).value, "n": len(members)}
    return Measured(
        model=model,
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        n=estimate.n,
        method=estimate.method,
        groups=groups,
        scores={score.case: score.value for score in scores},
        answers={score.case: score.actual for score in scores if score.actual},
    )


def _misses(scores: Sequence[Score]) -> list[Miss]:
    return [
        Miss(s.case, s.prompt, s.expected, s.actual, s.reason, s.where, s.stage) for s in scores if s.missed
    ]


def _notes(scores: Sequence[Score]) -> list[str]:
    sources = [score.note for score in scores if score.note]
    if not sources:
        return []
    human = sources.count("human")
    if not human:
        return ["rated by the automatic rubric; no person has rated these answers"]
    return [f"{human} of {len(sources)} answers rated by people, the rest by the automatic rubric"]
