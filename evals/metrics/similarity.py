"""How close the wording of an answer is to that of its reference."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from seatrial.evals.cases import Case
from seatrial.evals.criterion import Criterion
from seatrial.evals.evidence import Evidence
from seatrial.evals.metrics.base import Score, average, metric, scored
from seatrial.evals.metrics.sums import of_sums
from seatrial.evals.models import Generation
from seatrial.evals.near_duplicates import rouge_l as rouge
from seatrial.training.extras import TEXT

READ = 50_000  # characters of an answer whose n-grams are counted
ORDERS = 4  # lengths of BLEU's n-grams
TINY = 1e-16  # what chrF++ has instead of a precision of 0 / 0


@metric(unit="ROUGE-L F1", estimator=average(0.0, 1.0), settings=("miss_below",))
def rouge_l(case: Case, generation: Generation, criterion: Criterion, evidence: Evidence) -> Score | None:
    """Mean ROUGE-L F1 between what a person reads of the answer and of the reference.

    Words are those of rouge-score's tokenizer without a stemmer. An answer below ``miss_below`` (0.3) is
    listed as a miss.

    Empty: 0. Broken, refused: by their words.
    Source: Lin 2004, ACL W04-1013; rouge_score.rouge_scorer.
    """
    if case.question.reference is None:
        return None
    reader = evidence.task.reader
    reference, reply = reader.prose(case.question.reference), reader.prose(generation.text)
    first, second = _words(reference), _words(reply)
    value = rouge(first, second) if first and second else 0.0
    floor = float(criterion.settings.get("miss_below", 0.3))
    return scored(case, generation, value, f"ROUGE-L {value:.2f}", reference, full=floor)


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def _parts(scores: Sequence[Score], criterion: Criterion) -> Any:
    import numpy as np

    return np.array([score.parts for score in scores], float)


def bleu_of(sums: Any) -> Any:
    """BLEU of sums (..., 10): words of answers and of references, matching n-grams and all, for n = 1 to 4.

    An order of which nothing matches counts as if 1/2 (then 1/4, ...) of one n-gram did, which is
    sacrebleu's default ("exp").
    """
    import numpy as np

    sums = np.asarray(sums, float)[..., : 2 + 2 * ORDERS]
    given, wanted, hits, total = sums[..., 0], sums[..., 1], sums[..., 2:6], sums[..., 6:10]
    none = (hits <= 0) & (total > 0)
    smoothed = np.where(none, 0.5 ** np.cumsum(none, axis=-1), hits)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.where(total > 0, smoothed / total, 0.0)).mean(axis=-1)
        brevity = np.where(given < wanted, np.exp(np.minimum(0.0, 1 - wanted / given)), 1.0)
    return np.where((hits.sum(axis=-1) > 0) & (given > 0), 100 * brevity * np.exp(logs), 0.0)


def chrf_of(sums: Any) -> Any:
    """chrF of sums (..., 18): character n-grams of answers, of references and matching, for n = 1 to 6.

    Recall weighs twice as much as precision, and orders longer than all texts are left out."""
    import numpy as np

    sums = np.asarray(sums, float)[..., :18]
    given, wanted, hits = sums[..., 0::3], sums[..., 1::3], sums[..., 2::3]
    there = (given > 0) & (wanted > 0)
    orders = np.maximum(there.sum(axis=-1), 1)
    precision = (hits / np.where(given > 0, given, 1) * there).sum(axis=-1) / orders
    recall = (hits / np.where(wanted > 0, wanted, 1) * there).sum(axis=-1) / orders
    return 100 * 5 * precision * recall / np.maximum(4 * precision + recall, TINY)


@metric(unit="BLEU", estimator=of_sums(_parts, bleu_of, (0.0, 100.0)), settings=("miss_below",), extra=TEXT)
def bleu(case: Case, generation: Generation, criterion: Criterion, evidence: Evidence) -> Score | None:
    """BLEU of all answers together against their references, 0 to 100; each answer is shown with its own.

    The value is that of the corpus, of words of sacrebleu's tokenizer 13a; that of one answer leaves out
    orders of n-grams that it is too short for. Of an answer, the first 50,000 characters count. An answer
    whose own BLEU is below ``miss_below`` (10) is listed as a miss.

    Empty: 0. Broken, refused: by their words.
    Source: Papineni et al. 2002, ACL P02-1040; Post 2018, ACL W18-6319: sacrebleu.corpus_bleu.
    """
    return _matched(case, generation, criterion, evidence, "BLEU", 10.0)


@metric(unit="chrF", estimator=of_sums(_parts, chrf_of, (0.0, 100.0)), settings=("miss_below",), extra=TEXT)
def chrf(case: Case, generation: Generation, criterion: Criterion, evidence: Evidence) -> Score | None:
    """chrF2 of all answers together against their references, 0 to 100; each answer is shown with its own.

    The value is that of the corpus, of n-grams of 1 to 6 characters without spaces. Of an answer, the first
    50,000 characters count. An answer whose own chrF is below ``miss_below`` (30) is listed as a miss.

    Empty: 0. Broken, refused: by their characters.
    Source: Popović 2015, ACL W15-3049: sacrebleu.corpus_chrf.
    """
    return _matched(case, generation, criterion, evidence, "CHRF", 30.0)


def _matched(
    case: Case, generation: Generation, criterion: Criterion, evidence: Evidence, name: str, low: float
) -> Score | None:
    if case.question.reference is None:
        return None
    reader = evidence.task.reader
    reference, reply = reader.prose(case.question.reference), reader.prose(generation.text)[:READ]
    # No part of sacrebleu's public interface; the tests compare what is made of it with what is.
    (parts,) = _scorer(name)._extract_corpus_statistics([reply], [[reference]])
    value = float(_scorer(name)._compute_score_from_stats(list(parts)).score)
    floor = float(criterion.settings.get("miss_below", low))
    score = scored(case, generation, value, f"{name} {value:.1f}", reference, full=floor)
    return replace(score, parts=tuple(map(float, parts)))


@cache
def _scorer(name: str) -> Any:
    from sacrebleu import metrics

    return metrics.BLEU(effective_order=True) if name == "BLEU" else metrics.CHRF()
