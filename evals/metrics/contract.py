"""json_parse and schema_validity: can the caller use the answer at all?"""

from __future__ import annotations

from seatrial.evals.answer import parse_strict
from seatrial.evals.cases import Case
from seatrial.evals.evidence import Evidence
from seatrial.evals.metrics.base import Score, per_answer, scored
from seatrial.evals.models import Generation
from seatrial.training.task import Criterion


@per_answer()
def json_parse(case: Case, generation: Generation, criterion: Criterion, evidence: Evidence) -> Score | None:
    """Share of answers that are one JSON value with nothing around it."""
    _, problem = parse_strict(generation.text)
    return scored(case, generation, not problem, problem, "one JSON value, nothing around it")


@per_answer()
def schema_validity(
    case: Case, generation: Generation, criterion: Criterion, evidence: Evidence
) -> Score | None:
    """Share of answers that are JSON and fulfil the contract's schema."""
    value, problem = parse_strict(generation.text)
    if not problem:
        error = next(iter(evidence.contract.iter_errors(value)), None)
        problem = f"{error.json_path}: {error.message}" if error else ""
    return scored(case, generation, not problem, problem, "an object that fulfils the contract")
