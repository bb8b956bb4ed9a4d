"""Answers to questions: are they right, do their sources say so, do they say it where nothing is known?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Any

from seatrial.evals.cases import Case
from seatrial.evals.criterion import Criterion
from seatrial.evals.evidence import Evidence
from seatrial.evals.metrics.base import Score, average, metric, scored
from seatrial.evals.metrics.shapes import TEXT_OR_TEXTS, TEXTS, TRUTH
from seatrial.evals.metrics.words import phrases_in, sentences, words_of
from seatrial.evals.models import Generation
from seatrial.evals.verdict import NotEvaluated

MOST_SENTENCES = 5_000  # each is compared with each source
UNKNOWN = (
    "I don't know",
    "I do not know",
    "I'm not sure",
    "I am not sure",
    "I can't tell",
    "I cannot tell",
    "no information",
    "not enough information",
    "does not say",
    "doesn't say",
    "not mentioned",
    "unknown",
)


def accepted(case: Case) -> list[str]:
    """The answers that a case accepts: one text, or any of several."""
    wanted = case.expect["answer"]
    return [wanted] if isinstance(wanted, str) else list(wanted)


def chosen(settings: Any, name: str, allowed: Sequence[str]) -> str:
    """The value of a setting that is one of a few; the first is its default.

    Raises:
        NotEvaluated: it is something else.
    """
    value = settings.get(name, allowed[0])
    if value not in allowed:
        raise NotEvaluated(f"the setting {name} is {value!r}; it may be {' or '.join(map(repr, allowed))}")
    return str(value)


@metric(settings=("match", "ignore_words"), expects={"answer": TEXT_OR_TEXTS})
def answer_correctness(
    case: Case, generation: Generation, criterion: Criterion, evidence: Evidence
) -> Score | None:
    """Share of answers that are one of the accepted ones, or contain it, without case and marks.

    The setting ``match`` is ``exact`` (the default) or ``contains``: the accepted words stand in the answer,
    side by side. Words of ``ignore_words`` (none), such as articles, count nowhere.

    Empty: wrong. Broken, refused: by their words.
    Source: Rajpurkar et al. 2016, arXiv:1606.05250, whose normalisation also drops English articles.
    """
    ignored = criterion.settings.get("ignore_words", ())
    whole = chosen(criterion.settings, "match", ("exact", "contains")) == "exact"
    given = " ".join(words_of(evidence.task.reader.prose(generation.text), ignored))
    wanted = [" ".join(words_of(text, ignored)) for text in accepted(case)]
    hit = any(text == given if whole else f" {text} " in f" {given} " for text in wanted if text)
    reason = f"{'is' if whole else 'contains'} none of the accepted answers"
    return scored(case, generation, hit, reason, " or ".join(accepted(case)))


@metric(
    unit="token F1",
    estimator=average(0.0, 1.0),
    settings=("ignore_words", "miss_below"),
    expects={"answer": TEXT_OR_TEXTS},
    hard=False,
)
def token_f1(case: Case, generation: Generation, criterion: Criterion, evidence: Evidence) -> Score | None:
    """Mean F1 of the words that answer and accepted answer have in common, as bags; the best accepted counts.

    Words without case and marks, without those of ``ignore_words`` (none). An answer below ``miss_below``
    (0.5) is listed as a miss.

    Empty: 0. Broken, refused: by their words.
    Source: Rajpurkar et al. 2016, arXiv:1606.05250, section 6.
    """
    ignored = criterion.settings.get("ignore_words", ())
    given = Counter(words_of(evidence.task.reader.prose(generation.text), ignored))
    value = max(_bag_f1(given, Counter(words_of(text, ignored))) for text in accepted(case))
    floor = float(criterion.settings.get("miss_below", 0.5))
    return scored(case, generation, value, f"F1 {value:.2f}", " or ".join(accepted(case)), full=floor)


def _bag_f1(given: Counter[str], wanted: Counter[str]) -> float:
    """2 * common / all words; of two bags without a word 1, as in SQuAD's own script."""
    total = given.total() + wanted.total()
    return 2 * (given & wanted).total() / total if total else 1.0


@metric(unit="of sentences", estimator=average(0.0, 1.0), settings=("overlap",), expects={"sources": TEXTS})
def citation_support(
    case: Case, generation: Generation, criterion: Criterion, evidence: Evidence
) -> Score | None:
    """Mean share of an answer's sentences that one of the case's sources supports by its words.

    A sentence is supported if at least ``overlap`` (0.6) of its different words stand in one source. That
    finds sentences from nowhere; it does not find a negation, or two sources mixed up. Sentences without a
    letter or digit do not count. Of a longer answer, the first 5,000 sentences are read.

    Empty: 0. Broken: by their words. Refused: 0, unless a source says so.
    """
    least = float(criterion.settings.get("overlap", 0.6))
    sources = [frozenset(words_of(source)) for source in case.expect["sources"]]
    said = [
        (sentence, words)
        for sentence in islice(sentences(evidence.task.reader.prose(generation.text)), MOST_SENTENCES)
        if (words := frozenset(words_of(sentence)))
    ]
    alone = [
        sentence
        for sentence, words in said
        if not any(len(words & source) >= least * len(words) for source in sources)
    ]
    value = 1 - len(alone) / len(said) if said else 0.0
    reason = f"no source says {alone[0].strip()!r:.200}" if alone else "no sentence"
    return scored(case, generation, value, reason, "sentences that a source supports")


@metric(settings=("phrases",), expects={"unknown": TRUTH})
def says_unknown(
    case: Case, generation: Generation, criterion: Criterion, evidence: Evidence
) -> Score | None:
    """Share of answers that say that they do not know exactly where the case's ``unknown`` is true.

    It is said by one of the setting ``phrases``, as whole words: by default "I don't know", "I do not know",
    "I'm not sure", "I am not sure", "I can't tell", "I cannot tell", "no information", "not enough
    information", "does not say", "doesn't say", "not mentioned", "unknown". A task in another language
    brings its own.

    Empty: wrong. Broken, refused: by their words.
    """
    text = evidence.task.reader.prose(generation.text)
    said = phrases_in(text, criterion.settings.get("phrases", UNKNOWN))
    wanted = case.expect["unknown"]
    hit = bool(text.strip()) and bool(said) == wanted
    reason = f"says {said[0]!r}" if said else "does not say that it does not know" if wanted else "is empty"
    expected = "an answer that says that it does not know" if wanted else "an answer"
    return scored(case, generation, hit, reason, expected)
