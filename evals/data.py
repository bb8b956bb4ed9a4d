"""Checks of the data, before anything is spent on training: ``pytest -m data``.

The verdicts here are required of every model that is trained in the run, whatever its task says: a model
that has seen its exam proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from evals import stats
from evals.cases import Case
from evals.fidelity.stages import DATA
from evals.verdict import FAIL, PASS, Measured, Miss, Verdict
from training.dataset import read_sharegpt
from training.task import Task

LEAKAGE = "DATA.leakage"
DATA_CRITERIA = (LEAKAGE,)
NEAR = 0.85  # ROUGE-L F1 from which two questions are one: a changed word in seven
SHORT = 3  # words; below it only equal texts count as one


def leakage(task: Task, cases: Mapping[str, Sequence[Case]]) -> Verdict:
    """FAIL if a case's question is, exactly or nearly, a question of the training data."""
    rows = read_sharegpt(task.path(task.train))
    questions = [m["content"] for messages in rows for m in messages if m["role"] == "user"]
    checked = [case for group in cases.values() for case in group if _words(case.prompt)]
    known = _Index(questions)
    misses = []
    for case in checked:
        twin = known.twin(case.prompt)
        if twin is not None:
            reason = f"the training data asks {twin!r}"
            misses.append(
                Miss(case.id, case.prompt, "an unseen question", twin, reason, case.where, stage=DATA)
            )
    hits = [0.0 if case.id in {miss.case for miss in misses} else 1.0 for case in checked]
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
