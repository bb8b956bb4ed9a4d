"""Metrics of export fidelity: is the shipped file the model that was trained? Cheap checks first."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean

from seatrial.evals.criterion import Criterion
from seatrial.evals.evidence import Evidence
from seatrial.evals.fidelity.chain import DIVERGENCES, OLLAMA
from seatrial.evals.fidelity.findings import Finding
from seatrial.evals.fidelity.strength import mistake
from seatrial.evals.fidelity.trained import MERGED
from seatrial.evals.metrics.base import Measure, Metric, Score, counted, only, register
from seatrial.evals.metrics.estimators import per_token
from seatrial.evals.metrics.scores import score_of
from seatrial.evals.verdict import NotEvaluated

TRAINED = "trained"


def _checks(name: str, about: str, read: Callable[[Evidence, Criterion, str], list[Finding]]) -> Metric:
    """A metric of findings: the share that are right, with every wrong one as a miss that names its stage."""

    def measure(evidence: Evidence, criterion: Criterion, model: str) -> list[Score]:
        found = read(evidence, criterion, model)
        return [score_of(finding, "differs from the trained model") for finding in found]

    return register(Metric(name, about, "share", "higher", measure, counted, needs_cases=False, of=TRAINED))


def _weights(evidence: Evidence, criterion: Criterion, model: str) -> list[Finding]:
    findings, _, artifact = evidence.chain.weights()
    if artifact:
        evidence.use(artifact)
    return findings


def _tokens(evidence: Evidence, criterion: Criterion, model: str) -> list[Finding]:
    evidence.use(evidence.chain.trained())
    evidence.use(evidence.chain.in_runtime("shipped"))
    return evidence.chain.tokens()


def _prompts(evidence: Evidence, criterion: Criterion, model: str) -> list[Finding]:
    if model == OLLAMA:
        evidence.model(model)  # says why there is none
    return evidence.chain.rendered(model)


def _strength(evidence: Evidence, criterion: Criterion, model: str) -> list[Score]:
    if evidence.built.adapter is None:
        raise NotEvaluated("the adapter is not here: give it with --adapter=DIR")
    findings, strength, artifact = evidence.chain.weights()
    if artifact is None:
        raise NotEvaluated(findings[0].found)
    evidence.use(artifact)
    if strength is None:
        raise NotEvaluated("how this architecture's tensors are laid out is not known here")
    off = max(strength.off)
    rounding = "unknown" if strength.rounding is None else f"{strength.rounding:.2f}"
    right, right_rounding = strength.expected
    wrong = criterion.at_most is not None and off > criterion.at_most
    reason = ""
    if wrong:
        what = mistake(strength)
        reason = "the adapter is not in the file once, on the base that it was trained on"
        reason += f": {what}" if what else ""
    expected = f"adapter {right:.2f}, rounding of the 4-bit base {right_rounding:.2f}"
    actual = f"adapter {strength.adapter:.2f}, rounding of the 4-bit base {rounding}"
    return [Score("adapter", off, wrong, reason, expected, actual, stage="merge")]


def _divergence(what: str, change: bool = False) -> Measure:
    """Mean per row of one of the divergence's figures; ``change``: less that of the trained model."""

    def measure(evidence: Evidence, criterion: Criterion, model: str) -> list[Score]:
        rows, artifact = evidence.chain.divergence(model)
        evidence.use(artifact)
        trained, _ = evidence.chain.divergence(_truth(evidence)) if change else (rows, None)
        scores, note = [], ""
        if model == MERGED and what == "kl" and (mistaken := evidence.chain.merge_mistake()):
            note = f"the merged model that was given: {mistaken}"
        for case, row, before in zip(evidence.chain.row_cases(), rows, trained, strict=True):
            value = fmean(row[what]) - (fmean(before[what]) if change else 0.0)
            scores.append(Score(case.id, value, weight=len(row[what]), group=case.label, note=note))
        if not scores:
            raise NotEvaluated(f"no case of {', '.join(criterion.cases)} has a 'reference' answer")
        return scores

    return measure


def _truth(evidence: Evidence) -> str:
    return str(evidence.chain.trained().facts["truth"])


metadata_parity = _checks(
    "metadata_parity",
    "Share of metadata, vocabulary and tensor descriptions that are those of the trained model",
    lambda evidence, criterion, model: evidence.chain.metadata(),
)
weights_parity = _checks(
    "weights_parity",
    "Share of tensors that are as close to the trained ones as their quantisation allows",
    _weights,
)
token_parity = _checks(
    "token_parity", "Share of texts with the training tokenizer's token ids in llama.cpp", _tokens
)
prompt_parity = _checks(
    "prompt_parity", "Share of conversations rendered as the trained chat template renders them", _prompts
)
adapter_strength_error = register(
    Metric(
        "adapter_strength_error",
        "How far the adapter's factor in the file (or that of its base's rounding) is from our own file's",
        "",
        "lower",
        _strength,
        only,
        needs_cases=False,
        of=TRAINED,
    )
)
kl_divergence, top1_agreement, nll_change = (
    register(Metric(name, about, unit, better, measure, estimator, of=TRAINED))
    for name, about, unit, better, measure, estimator in (
        (
            DIVERGENCES[0],
            "KL(trained || file) of next-token distributions on held-out answers, per token",
            "nats",
            "lower",
            _divergence("kl"),
            per_token(0.0),
        ),
        (
            DIVERGENCES[1],
            "Share of held-out answer tokens at which file and trained model agree on the likeliest",
            "share",
            "higher",
            _divergence("top1"),
            per_token(0.0, 1.0),
        ),
        (
            DIVERGENCES[2],
            "Negative log-likelihood of held-out answers per token, file minus trained model",
            "nats",
            "lower",
            _divergence("nll", change=True),
            per_token(),
        ),
    )
)
