"""Can the caller use the answer at all?"""

from __future__ import annotations

from seatrial.evals.cases import Case
from seatrial.evals.criterion import Criterion
from seatrial.evals.evidence import Evidence
from seatrial.evals.metrics.base import Score, metric, scored
from seatrial.evals.models import Generation


@metric(always=True, covers="contract")
def json_parse(case: Case, generation: Generation, criterion: Criterion, evidence: Evidence) -> Score | None:
    """Share of answers that their caller can read: one JSON value with nothing around it, or some text.

    What the task's ``[answer]`` says decides: of free text and of labels only emptiness is wrong.

    Empty: wrong. Broken, refused: wrong where JSON is asked for.
    """
    _, problem = evidence.task.reader.parsed(generation.text)
    wanted = "text" if evidence.task.answer.type in ("text", "label") else "one JSON value, nothing around it"
    return scored(case, generation, not problem, problem, wanted)


@metric(always=True, covers="contract")
def schema_validity(
    case: Case, generation: Generation, criterion: Criterion, evidence: Evidence
) -> Score | None:
    """Share of answers that fulfil the contract: the JSON schema, one of the labels, or calls of known tools
    with arguments that their schemas allow.

    Empty: wrong. Broken, refused: wrong but for free text.
    """
    problem = evidence.task.reader.problem(generation.text)
    return scored(case, generation, not problem, problem, "an answer that fulfils the contract")
