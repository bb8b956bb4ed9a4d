"""perplexity: how surprised a model is by the reference answers of held-out rows."""

from __future__ import annotations

from seatrial.evals.criterion import Criterion
from seatrial.evals.evidence import Evidence
from seatrial.evals.metrics.base import Metric, Score, register
from seatrial.evals.metrics.estimators import perplexity_over_rows
from seatrial.evals.verdict import NotEvaluated


def _measure(evidence: Evidence, criterion: Criterion, model: str) -> list[Score]:
    scores = []
    for case_set in criterion.cases:
        likelihoods = evidence.likelihoods(model, case_set)
        for case in evidence.cases[case_set]:
            if case.id in likelihoods:
                found = likelihoods[case.id]
                scores.append(Score(case.id, found.nll, weight=found.tokens, group=case.label))
    if not scores:
        raise NotEvaluated(f"no case of {', '.join(criterion.cases)} has a 'reference' answer")
    return scores


perplexity = register(
    Metric(
        "perplexity",
        "exp(negative log-likelihood per token) of reference answers, teacher-forced in the runtime",
        unit="",
        better="lower",
        measure=_measure,
        estimator=perplexity_over_rows,
        of="file",
    )
)
