"""Checks of the data, before anything is spent on training: ``pytest -m data``.

The verdict here is part of the standard core: whatever its task says, a model that has seen its exam proves
nothing. What a model was trained on is known where it is trained in the run, or where ``--train`` says it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evals import stats
from evals.cases import Case
from evals.fidelity.stages import DATA
from evals.verdict import FAIL, NOT_EVALUATED, PASS, Measured, Miss, Verdict
from training.dataset import read_sharegpt

LEAKAGE = "DATA.leakage"
DATA_CRITERIA = (LEAKAGE,)
NEAR = 0.85  # ROUGE-L F1 from which two questions are one: a changed word in seven
SHORT = 3  # words; below it only equal texts count as one


def leakage(train: Path | None, cases: Mapping[str, Sequence[Case]], required: bool = True) -> Verdict:
    """FAIL if a case's question is, exactly or nearly, a question of the training rows in ``train``.

    NOT EVALUATED where nobody says what the model was trained on, and where there is nothing to look for:
    what was not checked did not pass.
    """
    if train is None:
        return absent_leakage(
            "what it was trained on is not known: give the rows with --train=FILE", required
        )
    questions = [m["content"] for messages in read_sharegpt(train) for m in messages if m["role"] == "user"]
    checked = [case for group in cases.values() for case in group if _words(case.prompt)]
    if not checked:
        return absent_leakage("no case has words in its question: there was nothing to look for", required)
    known = _Index(questions)
    misses = []
    for case in checked:
        twin = known.twin(case.prompt)
        if twin is not None:
            reason = f"the training data asks {twin!r}"
            misses.append(
                Miss(case.id, case.prompt, "an unseen question", twin, reason, case.where, stage=DATA)
            )
    missed = {miss.case for miss in misses}
    share = stats.counted([float(case.id not in missed) for case in checked])
    measured = Measured("training data", share.value, share.low, share.high, share.n, share.method)
    return _leakage_verdict(
        FAIL if misses else PASS,
        required,
        measured=measured,
        misses=misses,
        stages=[DATA] if misses else [],
        notes=[f"{len(questions)} questions of {train.name} were searched"],
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


class _Index:
    """Training questions by their words, so that only those with enough words in common are compared."""

    def __init__(self, questions: Iterable[str]) -> None:
        self._texts = {" ".join(_words(text)): text for text in questions if _words(text)}
        self._bags = [
            (text, words, frozenset(words)) for text in self._texts.values() for words in [_words(text)]
        ]

    def twin(self, prompt: str) -> str | None:
        words = _words(prompt)
        if exact := self._texts.get(" ".join(words)):
            return exact
        if len(words) < SHORT:
            return None
        bag = frozenset(words)
        for text, other, other_bag in self._bags:
            if len(bag & other_bag) * 2 < max(len(bag), len(other_bag)):
                continue
            if rouge_l(words, other) >= NEAR:
                return text
        return None


def rouge_l(first: Sequence[str], second: Sequence[str]) -> float:
    """ROUGE-L F1 of two word lists (Lin 2004), by rouge-score with words instead of its ASCII tokenizer."""
    from rouge_score.rouge_scorer import RougeScorer

    class Words:
        def tokenize(self, text: str) -> list[str]:
            return text.split()

    scorer = RougeScorer(["rougeL"], tokenizer=Words())
    return float(scorer.score(" ".join(first), " ".join(second))["rougeL"].fmeasure)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
