"""Checks of the data, before anything is spent on training: ``pytest -m data``.

The verdict here is part of the standard core: whatever its task says, a model that has seen its exam proves
nothing. What a model was trained on is known where it is trained in the run, or where ``--train`` says it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seatrial.evals import stats
from seatrial.evals.cases import Case
from seatrial.evals.fidelity.stages import DATA
from seatrial.evals.near_duplicates import Index, words_of
from seatrial.evals.verdict import FAIL, NOT_EVALUATED, PASS, Measured, Miss, Verdict
from seatrial.training.dataset import read_sharegpt
from seatrial.training.pairs import read_pairs

LEAKAGE = "DATA.leakage"
DATA_CRITERIA = (LEAKAGE,)


def leakage(
    train: Path | None,
    cases: Mapping[str, Sequence[Case]],
    required: bool = True,
    pairs: Path | None = None,
    mix: Path | None = None,
) -> Verdict:
    """FAIL if a case's question is, exactly or nearly, a question of the training rows in ``train``, of the
    preference ``pairs``, or of the general rows in ``mix``, drawn from it or not.

    NOT EVALUATED where nobody says what the model was trained on, and where there is nothing to look for:
    what was not checked did not pass.
    """
    if train is None:
        return absent_leakage(
            "what it was trained on is not known: give the rows with --train=FILE", required
        )
    conversations = read_sharegpt(train) + (read_sharegpt(mix) if mix else [])
    conversations += [pair["prompt"] for pair in read_pairs(pairs)] if pairs else []
    turns = (message for messages in conversations for message in messages)
    questions = [turn["content"] for turn in turns if turn["role"] == "user" and words_of(turn["content"])]
    checked = [case for group in cases.values() for case in group if words_of(case.prompt)]
    for what, there in (("case", checked), ("training row", questions)):
        if not there:
            return absent_leakage(f"no {what} has words in its question: nothing was compared", required)
    known = Index(questions)
    misses = []
    for case in checked:
        twin = known.twin(case.prompt)
        if twin is not None:
            reason = f"the training data asks {twin!r}"
            misses.append(
                Miss(case.id, case.prompt, "an unseen question", twin, reason, case.where, stage=DATA)
            )
    searched = " and ".join(path.name for path in (train, mix, pairs) if path)
    missed = {miss.case for miss in misses}
    share = stats.counted([float(case.id not in missed) for case in checked])
    measured = Measured("training data", share.value, share.low, share.high, share.n, share.method)
    return _leakage_verdict(
        FAIL if misses else PASS,
        required,
        measured=measured,
        misses=misses,
        stages=[DATA] if misses else [],
        notes=[f"{len(questions)} questions of {searched} were searched"],
    )


def absent_leakage(reason: str, required: bool = True) -> Verdict:
    """The verdict where the training data was not searched."""
    return _leakage_verdict(NOT_EVALUATED, required, reason=reason)


def _leakage_verdict(status: str, required: bool, **more: Any) -> Verdict:
    return Verdict(
        criterion=LEAKAGE,
        title="No case was in the training data",
        status=status,
        required=required,
        metric="unseen_cases",
        unit="share",
        better="higher",
        rule="point",
        requirement="unseen_cases >= 100 %",
        why="A model that was trained on its exam proves nothing.",
        threshold=1.0,
        advice="take the row out of the training data; never change the case",
        **more,
    )
