"""Labels: is it the right one, overall and for every label, and as often as the answers are sure of it?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from seatrial.evals.answer import WORDS
from seatrial.evals.cases import Case
from seatrial.evals.criterion import Criterion
from seatrial.evals.evidence import Evidence
from seatrial.evals.metrics.base import LABEL, Score, metric, scored
from seatrial.evals.metrics.confusion import confusion, of_labels
from seatrial.evals.metrics.shapes import TEXT
from seatrial.evals.metrics.sums import of_sums
from seatrial.evals.models import Generation
from seatrial.evals.verdict import NotEvaluated

MOST_BINS, IN_A_BIN = 10, 10


def picture(scores: Sequence[Score]) -> Mapping[str, Any] | None:
    """The confusion matrix of the scores."""
    return confusion([score.group for score in scores], [score.found for score in scores])


def _right(case: Case, generation: Generation, criterion: Criterion, evidence: Evidence) -> Score:
    """The score of a label: its field read from the answer, or from its words where the task says how."""
    reader = evidence.task.reader
    name = str(criterion.settings.get("field", reader.main))
    wanted = str(case.expect[name])
    if name == reader.main:
        found, source = reader.label(generation.text)
    else:
        value = reader.field(generation.text, name)
        found, source = (value.strip() if isinstance(value, str) else ""), name
    told = f"{found!r:.80}" if found else "missing"
    where = " (read from its words)" if source == WORDS else ""
    reason = f"{name} {told}{where} where {wanted!r} is right"
    return scored(case, generation, found == wanted, reason, wanted, found=found, group=wanted)


@metric(settings=("field",), expects={LABEL: TEXT}, picture=picture)
def accuracy(case: Case, generation: Generation, criterion: Criterion, evidence: Evidence) -> Score | None:
    """Share of answers with the expected label.

    The label is that of the setting ``field``, by default the task's. It is read from its field, or from the
    words of the answer where the task says how.

    Empty, broken: wrong, unless the task says which label such an answer has.
    Refused: wrong, unless its words say a label.
    """
    return _right(case, generation, criterion, evidence)


@metric(
    unit="F1",
    settings=("field",),
    expects={LABEL: TEXT},
    estimator=of_labels("f1"),
    hard=False,
    picture=picture,
)
def macro_f1(case: Case, generation: Generation, criterion: Criterion, evidence: Evidence) -> Score | None:
    """Mean over the expected labels of F1, the harmonic mean of precision and recall.

    A label counts as much as any other, however rare it is. It is that of the setting ``field``, by default
    the task's. The interval is a bootstrap within labels.

    Empty, broken, refused: a miss of the expected label, and a false alarm for none.
    Source: sklearn.metrics.f1_score(average="macro", labels=the expected ones).
    """
    return _right(case, generation, criterion, evidence)


@metric(
    settings=("field", "label"),
    expects={LABEL: TEXT},
    estimator=of_labels("false_positive_rate"),
    better="lower",
    hard=False,
    picture=picture,
)
def false_positive_rate(
    case: Case, generation: Generation, criterion: Criterion, evidence: Evidence
) -> Score | None:
    """Share of the cases of other labels that are given a label: the setting ``label``, or the mean over all.

    The label is that of the setting ``field``, by default the task's.

    Empty, broken, refused: no false alarm.
    Source: 1 - specificity, one label against the rest.
    """
    return _right(case, generation, criterion, evidence)


@metric(
    settings=("field", "label"),
    expects={LABEL: TEXT},
    estimator=of_labels("false_negative_rate"),
    better="lower",
    hard=False,
    picture=picture,
)
def false_negative_rate(
    case: Case, generation: Generation, criterion: Criterion, evidence: Evidence
) -> Score | None:
    """Share of the cases of a label that are not given it: the setting ``label``, or the mean over all.

    The label is that of the setting ``field``, by default the task's.

    Empty, broken, refused: a miss of the expected label.
    Source: 1 - recall, one label against the rest.
    """
    return _right(case, generation, criterion, evidence)


def _gaps(scores: Sequence[Score], criterion: Criterion) -> Any:
    """By how much each answer is surer than right, in the column of its bin: (cases, bins).

    Bins of equal mass, in which equal confidences lie together.
    """
    import numpy as np

    if not any(score.parts for score in scores):
        name = criterion.settings.get("confidence", "confidence")
        raise NotEvaluated(f"the answers give no confidence: none has a number from 0 to 1 in {name!r}")
    # An answer that gives none is taken for as wrong as can be: sure, and wrong.
    sure = np.array([score.parts[0] if score.parts else 1.0 for score in scores])
    right = np.array([score.value if score.parts else 0.0 for score in scores])
    _, place, copies = np.unique(sure, return_inverse=True, return_counts=True)
    bins = int(criterion.settings.get("bins", min(MOST_BINS, max(1, len(scores) // IN_A_BIN))))
    middles = (np.cumsum(copies) - copies / 2) / len(scores)
    table = np.zeros((len(scores), bins))
    table[np.arange(len(scores)), np.minimum(middles * bins, bins - 1).astype(int)[place]] = sure - right
    return table


def _error(sums: Any) -> Any:
    """Expected calibration error of the sums of each bin and, last, the number of cases: (..., bins + 1)."""
    import numpy as np

    return np.abs(sums[..., :-1]).sum(axis=-1) / sums[..., -1]


@metric(
    unit="ECE",
    estimator=of_sums(_gaps, _error, (0.0, 1.0), biased=True),
    better="lower",
    settings=("field", "confidence", "bins"),
    expects={LABEL: TEXT},
    hard=False,
)
def calibration(case: Case, generation: Generation, criterion: Criterion, evidence: Evidence) -> Score | None:
    """Expected calibration error: by how much the answers' confidence differs from how often they are right.

    The mean over bins of |confidence - accuracy|, weighted by their cases. The confidence is a number from 0
    to 1 in the field that the setting ``confidence`` names ("confidence"). Bins hold equally many cases, as
    many as ``bins`` says; by default one for every 10 cases, at most 10, because with fewer in a bin chance
    alone looks like a bad calibration. Few cases make it look worse than it is, never better. The label is
    that of ``field``, by default the task's.

    Empty, broken, refused: sure and wrong, unless no answer gives a confidence: then nothing is evaluated.
    Source: Naeini, Cooper and Hauskrecht 2015, AAAI, "Obtaining well calibrated probabilities using Bayesian
    binning".
    """
    score = _right(case, generation, criterion, evidence)
    given = evidence.task.reader.field(
        generation.text, str(criterion.settings.get("confidence", "confidence"))
    )
    if isinstance(given, int | float) and not isinstance(given, bool) and 0 <= given <= 1:
        return replace(score, parts=(float(given),))
    return replace(score, value=0.0, missed=True, reason=f"gives no confidence; {score.reason}".rstrip("; "))
