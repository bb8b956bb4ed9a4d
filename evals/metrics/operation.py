"""operation_accuracy: did the model understand what is asked?"""

from __future__ import annotations

from seatrial.evals.answer import detect_operation
from seatrial.evals.cases import Case
from seatrial.evals.evidence import Evidence
from seatrial.evals.metrics.base import Score, per_answer, scored
from seatrial.evals.models import Generation
from seatrial.training.task import Criterion


@per_answer()
def operation_accuracy(
    case: Case, generation: Generation, criterion: Criterion, evidence: Evidence
) -> Score | None:
    """Share of answers with the expected operation, read from the JSON or else from the words."""
    if case.operation is None:
        return None
    contract = evidence.task.contract
    found, source = detect_operation(generation.text, contract.operations, contract.no_operation)
    reason = f"operation {found!r} (read from its {source}) where {case.operation!r} is right"
    return scored(case, generation, found == case.operation, reason, case.operation)
