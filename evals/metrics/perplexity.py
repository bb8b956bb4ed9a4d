"""perplexity: how surprised a model is by the reference answers of held-out rows."""

from __future__ import annotations

from collections.abc import Sequence

from evals import stats
from evals.evidence import Evidence
from evals.metrics.base import Metric, Score
from evals.stats import Estimate
from evals.verdict import NotEvaluated
from training.task import Criterion


def _measure(evidence: Evidence, criterion: Criterion, model: str) -> list[Score]:
    scores = []
    for case_set in criterion.cases:
        likelihoods = evidence.likelihoods(model, case_set)
        for case in evidence.cases[case_set]:
            if case.id in likelihoods:
                found = likelihoods[case.id]
                group = case.operation or ""
                scores.append(Score(case.id, found.nll, weight=found.tokens, group=group))
    if not scores:
        raise NotEvaluated(f"no case of {', '.join(criterion.cases)} has a 'reference' answer")
    return scores


def _estimate(scores: Sequence[Score], criterion: Criterion) -> Estimate:
    nll, tokens = [score.value for score in scores], [score.weight for score in scores]
    return stats.perplexity(nll, tokens, criterion.confidence)


perplexity = Metric(
    "perplexity",
    "exp(negative log-likelihood per token) of reference answers, teacher-forced in the runtime",
    unit="",
    better="lower",
    measure=_measure,
    estimate=_estimate,
)
