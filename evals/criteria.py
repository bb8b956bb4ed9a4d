"""Decides criteria: measure, estimate, compare, apply the rule. Returns verdicts; asserts nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from seatrial.evals import stats
from seatrial.evals.criterion import SHIPPED, Criterion
from seatrial.evals.declared import MODELS, check_criteria
from seatrial.evals.evidence import Evidence
from seatrial.evals.fidelity.stages import ADVICE
from seatrial.evals.metrics import METRICS, Metric, Score
from seatrial.evals.metrics.confusion import NOTHING
from seatrial.evals.stats import Comparison, Estimate
from seatrial.evals.verdict import (
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
from seatrial.training.extras import MissingExtra

__all__ = ["MODELS", "check_criteria", "judge"]
ROUNDING = 1e-9  # 0.9 - 0.95 is not quite -0.05


def judge(criterion: Criterion, evidence: Evidence) -> Verdict:
    """The verdict on ``criterion``; NOT EVALUATED with the reason where something needed is missing."""
    metric = METRICS[criterion.metric]
    evidence.used.clear()
    if criterion.absent:
        reason = criterion.absent
        return verdict_for(criterion, NOT_EVALUATED, metric.unit, metric.better, reason=reason)
    try:
        return _judge(criterion, metric, evidence)
    except (NotEvaluated, MissingExtra) as missing:
        return verdict_for(criterion, NOT_EVALUATED, metric.unit, metric.better, reason=str(missing))


def _judge(criterion: Criterion, metric: Metric, evidence: Evidence) -> Verdict:
    scores = _scores(criterion, metric, criterion.model, evidence)
    rival = _scores(criterion, metric, criterion.against, evidence) if criterion.against else None
    details: dict[str, Any] = {
        "misses": _misses(scores),
        "stages": [],
        "notes": _notes(scores),
        "artifacts": evidence.manifests(),
    }
    broken = [score.case for score in scores if math.isnan(score.value)]
    if broken:
        status = FAIL
        details["measured"] = _unmeasurable(criterion.model, scores)
        details["reason"] = f"{len(broken)} of {len(scores)} scores are not a number, such as {broken[0]}"
    elif rival is not None and criterion.against:
        comparison = _compare(criterion, metric, scores, rival)
        status = _decide_comparison(criterion, metric, comparison)
        details["measured"] = _measured(metric, criterion, criterion.model, scores)
        details["against"] = _measured(metric, criterion, criterion.against, rival)
        details["comparison"] = asdict(comparison)
    else:
        _enough(criterion, metric, len(scores))
        estimate = metric.estimate(scores, criterion)
        if estimate.method == NOTHING:  # such as false alarms where every case has the one label
            raise NotEvaluated(NOTHING)
        status = _decide(criterion, estimate)
        details["measured"] = _measured(metric, criterion, criterion.model, scores, estimate)
        if metric.unit == "share" and criterion.at_least is not None and status != FAIL and estimate.sampled:
            needed = stats.cases_needed(estimate.value, criterion.at_least, criterion.confidence)
            details["cases_needed"] = needed if needed and needed > estimate.n else None
    if status == FAIL:
        details["stages"] = stages = list(_stages(criterion, scores, evidence))
        if stages and not criterion.advice:
            details["advice"] = "; ".join(ADVICE[stage] for stage in stages if stage in ADVICE)
    return verdict_for(criterion, status, metric.unit, metric.better, **details)


def _scores(criterion: Criterion, metric: Metric, model: str, evidence: Evidence) -> list[Score]:
    for case_set in criterion.cases:
        if not evidence.cases[case_set]:
            raise NotEvaluated(f"the case set {case_set!r} is empty")
    scores = metric.measure(evidence, criterion, model)
    if not scores:
        raise NotEvaluated(f"no case of {', '.join(criterion.cases)} can be scored by {metric.name}")
    return scores


def _enough(criterion: Criterion, metric: Metric, n: int) -> None:
    """Raise :class:`NotEvaluated` if ``n`` cases are fewer than the criterion needs. What was counted whole
    or measured once needs none, unless the criterion itself says so."""
    if criterion.least_cases:
        wanted, because = criterion.least_cases, "as its least_cases says"
    elif metric.estimator.least:
        least = metric.estimator.least(criterion, metric.better)
        wanted, because = least.cases, f"because {least.because}"
    else:
        return
    if n >= wanted:
        return
    raise NotEvaluated(
        f"{n} {'case' if n == 1 else 'cases'} can be scored and {wanted} are needed, {because}. Add cases, "
        f"or set least_cases = {n} in criterion {criterion.id} and say in its 'why' what so few can prove"
    )


def _compare(
    criterion: Criterion, metric: Metric, scores: Sequence[Score], rival: Sequence[Score]
) -> Comparison:
    """The paired difference in the cases that the rival answered; raises :class:`NotEvaluated` where there is
    nothing to compare with, because a rival that did not answer would let anything win."""
    came = [score for score in rival if not score.unanswered]
    if rival and not came:
        raise NotEvaluated(f"{criterion.against} answered nothing, and anything would be better than that")
    rival = came
    broken = [score.case for score in rival if math.isnan(score.value)]
    if broken:
        problem = f"{len(broken)} of {len(rival)} scores of {criterion.against} are not a number"
        raise NotEvaluated(f"{problem}, such as {broken[0]}")
    if not math.isfinite(metric.estimator.value(rival, criterion)):
        raise NotEvaluated(f"too many answers of {criterion.against} did not come to compare with")
    comparison = metric.compare(scores, rival, criterion)
    _enough(criterion, metric, comparison.n)
    return comparison


def _stages(criterion: Criterion, scores: Sequence[Score], evidence: Evidence) -> tuple[str, ...]:
    """The stages at fault: those that the missed checks name, else the one that the criterion watches; a
    loss of the shipped file is put down to what else is wrong with that file."""
    named = tuple(dict.fromkeys(score.stage for score in scores if score.missed and score.stage))
    if named or not criterion.stage:
        return named
    if criterion.model == SHIPPED:
        return evidence.chain.stages(otherwise=criterion.stage)
    return (criterion.stage,)


def _decide(criterion: Criterion, estimate: Estimate) -> str:
    """Rules ``point`` and ``confident``: the estimate, or the bound on its bad side, meets the threshold.

    Where all there is was counted, the value is the truth and decides under both. A bound that is unknown
    meets nothing.
    """
    at_least, at_most = criterion.at_least, criterion.at_most

    def meets(value: float) -> bool:
        return value >= at_least if at_least is not None else at_most is not None and value <= at_most

    if not meets(estimate.value):
        return FAIL
    if criterion.rule == "point" or not estimate.sampled:
        return PASS
    bound = estimate.low if at_least is not None else estimate.high
    return PASS if bound is not None and meets(bound) else INCONCLUSIVE


def _decide_comparison(criterion: Criterion, metric: Metric, found: Comparison) -> str:
    """Rules ``superior``, ``non_inferior`` and ``within``, each with what it asks of the difference.

    Where both models' scores are 0 or 1, McNemar's exact test decides about superiority, because it holds for
    any number of pairs. A difference of what was counted whole is the truth; an unknown bound meets nothing.
    """
    sign = 1.0 if metric.better == "higher" else -1.0
    advantage = sign * found.difference
    allowed = 0.0 if criterion.rule == "superior" else -criterion.margin - ROUNDING
    if not (advantage > 0 if criterion.rule == "superior" else advantage >= allowed):
        return FAIL
    if criterion.rule == "within" or not found.sampled:
        return PASS
    if criterion.rule == "superior" and found.p_value is not None:
        return PASS if found.p_value < 1 - criterion.confidence else INCONCLUSIVE
    bound = found.low if metric.better == "higher" else found.high
    if bound is None:
        return INCONCLUSIVE
    surely = sign * bound > 0 if criterion.rule == "superior" else sign * bound >= allowed
    return PASS if surely else INCONCLUSIVE


def _measured(
    metric: Metric,
    criterion: Criterion,
    model: str,
    scores: Sequence[Score],
    estimate: Estimate | None = None,
) -> Measured:
    estimate = estimate or metric.estimate(scores, criterion)
    estimator = metric.estimator
    groups: dict[str, list[Score]] = {}
    for score in scores:
        if score.group:
            groups.setdefault(score.group, []).append(score)
    if estimator.each_group:
        each = estimator.each_group(scores, criterion)
    else:
        each = {group: estimator.value(members, criterion) for group, members in groups.items()}
    return Measured(
        model=model,
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        n=estimate.n,
        method=estimate.method,
        groups={group: {"value": each[group], "n": len(members)} for group, members in groups.items()},
        scores={score.case: score.value for score in scores},
        answers={score.case: score.actual for score in scores if score.actual},
        picture=metric.picture(scores) if metric.picture else None,
        group_of={score.case: score.group for score in scores if score.group},
    )


def _unmeasurable(model: str, scores: Sequence[Score]) -> Measured:
    return Measured(
        model,
        math.nan,
        None,
        None,
        len(scores),
        "not a number",
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
    if told := [note for note in dict.fromkeys(sources) if note not in ("human", "rubric")]:
        return told
    human = sources.count("human")
    if not human:
        return ["rated by the automatic rubric; no person has rated these answers"]
    return [f"{human} of {len(sources)} answers rated by people, the rest by the automatic rubric"]
