"""The score of one case or check: what every metric measures, and every estimator reads."""

from __future__ import annotations

from dataclasses import dataclass

from seatrial.evals.fidelity.findings import Finding


@dataclass(frozen=True)
class Score:
    """One case's score. ``weight`` is its number of tokens where a metric counts tokens; ``parts`` are the
    numbers that an estimator adds up instead of values, such as matching n-grams.

    ``missed`` says that the case counts against the criterion; ``group`` puts it into a breakdown; ``stage``
    says where between data and user the fault of a missed check came in. ``unanswered``: the answer did not
    come, or broke off with an error.
    """

    case: str
    value: float
    missed: bool = False
    reason: str = ""
    expected: str = ""
    actual: str = ""
    prompt: str = ""
    where: str = ""
    group: str = ""
    weight: float = 1.0
    note: str = ""
    stage: str = ""
    found: str = ""
    parts: tuple[float, ...] = ()
    unanswered: bool = False


def score_of(finding: Finding, reason: str, note: str = "") -> Score:
    """The score of one check of a file; a wrong one is a miss with ``reason`` that names its stage."""
    return Score(
        case=finding.check,
        value=float(finding.ok),
        missed=not finding.ok,
        reason="" if finding.ok else f"{reason} ({finding.stage})",
        expected=finding.expected,
        actual=finding.found,
        group=finding.stage,
        stage=finding.stage,
        note=note,
    )
