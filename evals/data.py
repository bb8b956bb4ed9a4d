"""Checks of the data, before anything is spent on training: ``pytest -m data``.

The verdicts here are required of every model that is trained in the run, whatever its task says: a model
that has seen its exam proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evals import stats
from evals.cases import Case
from evals.fidelity.stages import DATA
from evals.near_duplicates import Index, words_of
from evals.verdict import FAIL, PASS, Measured, Miss, Verdict
from training.dataset import read_sharegpt
from training.task import Task

LEAKAGE = "DATA.leakage"
DATA_CRITERIA = (LEAKAGE,)


def leakage(task: Task, cases: Mapping[str, Sequence[Case]]) -> Verdict:
    """FAIL if a case's question is, exactly or nearly, a question of the training data."""
    rows = read_sharegpt(task.path(task.train))
    questions = [m["content"] for messages in rows for m in messages if m["role"] == "user"]
    checked = [case for group in cases.values() for case in group if words_of(case.prompt)]
    known = Index(questions)
    misses = []
    for case in checked:
        twin = known.twin(case.prompt)
        if twin is not None:
            reason = f"the training data asks {twin!r}"
            misses.append(
                Miss(case.id, case.prompt, "an unseen question", twin, reason, case.where, stage=DATA)
            )
    seen = {miss.case for miss in misses}
    hits = [0.0 if case.id in seen else 1.0 for case in checked]
    measured = None
    if hits:
        share = stats.counted(hits)
        measured = Measured("training data", share.value, share.low, share.high, share.n, share.method)
    return Verdict(
        criterion=LEAKAGE,
        title="No case was in the training data",
        status=FAIL if misses else PASS,
        required=True,
        metric="unseen_cases",
        unit="share",
        better="higher",
        rule="point",
        requirement="unseen_cases >= 100 %",
        why="A model that was trained on its exam proves nothing.",
        advice="take the row out of the training data; never change the case",
        measured=measured,
        misses=misses,
        stages=[DATA] if misses else [],
    )
