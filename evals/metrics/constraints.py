"""What an answer must keep to, whatever it says: words, patterns, lengths, language, names and numbers.

All but ``must_not_contain`` read what a person reads of an answer. What a case expects goes before the
setting of the same meaning; phrases of both add up. A case without either is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

from seatrial.evals.cases import Case
from seatrial.evals.criterion import Criterion
from seatrial.evals.evidence import Evidence
from seatrial.evals.metrics.base import Score, average, metric, scored
from seatrial.evals.metrics.shapes import TEXT, TEXTS, WHOLE
from seatrial.evals.metrics.words import folded, phrases_in, sentences
from seatrial.evals.models import Generation
from seatrial.evals.verdict import NotEvaluated
from seatrial.training.extras import TEXT as EXTRA

SECONDS = 0.5  # that a pattern may search one answer
READ = 50_000  # characters by which language and reading level are told
LONGEST_WORD = 50  # characters of which syllables are counted: hyphenation is not linear
NAMED_WORD = re.compile(r"[^\W\d_]+(?:[-'’][^\W\d_]+)*")
NUMBER = re.compile(r"\d+(?:[.,'’\u00a0\u202f]\d+)*")
THOUSANDS = re.compile(r"(\d{1,3}([.,'’\u00a0\u202f])\d{3}(?:\2\d{3})*)(?:[.,](\d{1,2}|\d{4,}))?")


@metric(settings=("phrases",), expects={"contains": TEXTS}, optional=("contains",))
def must_contain(
    case: Case, generation: Generation, criterion: Criterion, evidence: Evidence
) -> Score | None:
    """Share of answers that contain every phrase of the case's ``contains`` and of the setting ``phrases``.

    As whole words, whatever their case.

    Empty: wrong. Broken, refused: by their words.
    """
    wanted = [*case.expect.get("contains", ()), *criterion.settings.get("phrases", ())]
    if not wanted:
        return None
    found = phrases_in(evidence.task.reader.prose(generation.text), wanted)
    lacking = [phrase for phrase in wanted if phrase not in found]
    return scored(case, generation, not lacking, f"lacks {_quoted(lacking)}", _quoted(wanted))


@metric(settings=("phrases",), expects={"not_contains": TEXTS}, optional=("not_contains",))
def must_not_contain(
    case: Case, generation: Generation, criterion: Criterion, evidence: Evidence
) -> Score | None:
    """Share of answers that contain no phrase of the case's ``not_contains`` or of the setting ``phrases``.

    As whole words, whatever their case; neither in what a person reads nor anywhere else in the answer.

    Empty: right. Broken, refused: by their words.
    """
    unwanted = [*case.expect.get("not_contains", ()), *criterion.settings.get("phrases", ())]
    if not unwanted:
        return None
    prose = evidence.task.reader.prose(generation.text)
    # Both, because JSON may spell a character by its number.
    found = {*phrases_in(prose, unwanted), *phrases_in(generation.text, unwanted)}
    reason = f"contains {_quoted(sorted(found))}"
    return scored(case, generation, not found, reason, f"nothing of {_quoted(unwanted)}")


@metric(settings=("pattern",), expects={"pattern": TEXT}, optional=("pattern",))
def pattern(case: Case, generation: Generation, criterion: Criterion, evidence: Evidence) -> Score | None:
    """Share of answers in which the regular expression of the case, or of the setting, is found anywhere.

    ``pattern`` is in the syntax of the package ``regex``, which knows that of Python and stops in time: a
    search that takes half a second is a miss.

    Empty: wrong, unless the pattern finds nothing in nothing. Broken, refused: by their text.
    Source: regex.search.

    Raises:
        NotEvaluated: it is no regular expression.
    """
    import regex

    wanted = case.expect.get("pattern", criterion.settings.get("pattern"))
    if wanted is None:
        return None
    text = evidence.task.reader.prose(generation.text)
    try:
        found = regex.search(wanted, text, timeout=SECONDS) is not None
        reason = "the pattern is not found"
    except TimeoutError:
        found, reason = False, f"the search took longer than {SECONDS} s"
    except regex.error as error:
        raise NotEvaluated(f"the pattern {wanted!r:.200} is no regular expression: {error}") from None
    return scored(case, generation, found, reason, f"a match of {wanted}")


@metric(
    settings=("max", "min"),
    expects={"max_words": WHOLE, "min_words": WHOLE},
    optional=("max_words", "min_words"),
)
def length_words(
    case: Case, generation: Generation, criterion: Criterion, evidence: Evidence
) -> Score | None:
    """Share of answers of at most ``max_words`` and at least ``min_words`` words, which spaces separate.

    The settings ``max`` and ``min`` hold where the case says nothing. In languages without spaces, use
    length_characters.

    Empty: by its 0 words. Broken, refused: by their length.
    """
    return _length(case, generation, criterion, evidence, "words", lambda text: len(text.split()))


@metric(
    settings=("max", "min"),
    expects={"max_characters": WHOLE, "min_characters": WHOLE},
    optional=("max_characters", "min_characters"),
)
def length_characters(
    case: Case, generation: Generation, criterion: Criterion, evidence: Evidence
) -> Score | None:
    """Share of answers of at most ``max_characters`` and at least ``min_characters`` Unicode code points.

    White space around an answer does not count. The settings ``max`` and ``min`` hold where the case says
    nothing.

    Empty: by its 0 characters. Broken, refused: by their length.
    """
    return _length(case, generation, criterion, evidence, "characters", lambda text: len(text.strip()))


def _length(
    case: Case,
    generation: Generation,
    criterion: Criterion,
    evidence: Evidence,
    unit: str,
    measure: Callable[[str], int],
) -> Score | None:
    most = case.expect.get(f"max_{unit}", criterion.settings.get("max"))
    least = case.expect.get(f"min_{unit}", criterion.settings.get("min"))
    if most is None and least is None:
        return None
    length = measure(evidence.task.reader.prose(generation.text))
    good = (most is None or length <= most) and (least is None or length >= least)
    bounds = [f"at least {least}"] * (least is not None) + [f"at most {most}"] * (most is not None)
    return scored(case, generation, good, f"{length} {unit}", f"{' and '.join(bounds)} {unit}")


@metric(
    settings=("language", "least_letters"),
    expects={"language": TEXT},
    optional=("language",),
    extra=EXTRA,
)
def language(case: Case, generation: Generation, criterion: Criterion, evidence: Evidence) -> Score | None:
    """Share of answers in the language that the case, or the setting ``language``, names by its ISO 639 code.

    Told by the first 50,000 characters. Nobody can tell the language of "OK": answers with letters, but fewer
    than the setting ``least_letters`` (20) asks for, are not scored.

    Empty: wrong. Broken, refused: by their words.
    Source: py3langid, after Lui and Baldwin 2012, ACL P12-3005.

    Raises:
        NotEvaluated: there is no language of that code.
    """
    from py3langid.langid import classify

    wanted = case.expect.get("language", criterion.settings.get("language"))
    if wanted is None:
        return None
    if wanted not in _codes():
        raise NotEvaluated(f"no language has the code {wanted!r}; known are {', '.join(sorted(_codes()))}")
    text = evidence.task.reader.prose(generation.text)[:READ]
    letters = sum(map(str.isalpha, text))
    if not letters:
        return scored(case, generation, False, "there is no letter", wanted)
    if letters < int(criterion.settings.get("least_letters", 20)):
        return None
    found = classify(text)[0]
    return scored(case, generation, found == wanted, f"is in {found!r}", wanted, group=wanted)


@cache
def _codes() -> frozenset[str]:
    """The codes of the languages that the library can tell."""
    from py3langid.langid import rank

    return frozenset(code for code, _ in rank("a"))


@metric(
    unit="grade",
    estimator=average(),
    better="lower",
    settings=("max_grade", "language"),
    hard=False,
    extra=EXTRA,
)
def reading_level(
    case: Case, generation: Generation, criterion: Criterion, evidence: Evidence
) -> Score | None:
    """Mean Flesch-Kincaid grade of the answers: the US school year in which they can be read.

    0.39 * words per sentence + 11.8 * syllables per word - 15.59. Syllables are where the hyphenation
    dictionary of the setting ``language`` (en_US) would part a word, which finds slightly fewer than a person
    does; the formula is made for English. Told by the first 50,000 characters. An answer above the setting
    ``max_grade`` is listed as a miss.

    Empty: not scored. Broken, refused: by their words.
    Source: Kincaid et al. 1975, Naval Technical Training Command, report 8-75.
    """
    import pyphen

    text = evidence.task.reader.prose(generation.text)[:READ]
    words = NAMED_WORD.findall(text)
    if not words:
        return None
    parts = pyphen.Pyphen(lang=str(criterion.settings.get("language", "en_US")))
    syllables = sum(len(parts.positions(word[:LONGEST_WORD])) + 1 for word in words)
    said = sum(1 for sentence in sentences(text) if NAMED_WORD.search(sentence))
    value = 0.39 * len(words) / said + 11.8 * syllables / len(words) - 15.59
    most = criterion.settings.get("max_grade")
    score = scored(case, generation, most is None or value <= most, f"grade {value:.1f}", f"grade {most}")
    return Score(**{**vars(score), "value": value})


@metric(settings=("ignore",))
def keeps_names(case: Case, generation: Generation, criterion: Criterion, evidence: Evidence) -> Score | None:
    """Share of answers in which every name of the question stands: its capitalised words within sentences.

    A capitalised word of two letters or more is a name, unless a sentence or a line begins with it: there
    every word has a capital. So names at the beginning are not looked for, languages that write all nouns
    with a capital ask for more than names, and those without capitals have none. Words of the setting
    ``ignore`` are no names. A question without a name is not scored.

    Empty: wrong. Broken, refused: by their words.
    """
    ignored = {folded(word) for word in criterion.settings.get("ignore", ())}
    names = [name for name in _names(case.prompt) if folded(name) not in ignored]
    if not names:
        return None
    found = phrases_in(evidence.task.reader.prose(generation.text), names)
    lacking = [name for name in names if name not in found]
    return scored(case, generation, not lacking, f"lacks {_quoted(lacking)}", _quoted(names))


def _names(text: str) -> list[str]:
    """The capitalised words of a text that begin no sentence, each once."""
    inner = [word for sentence in sentences(text) for word in NAMED_WORD.findall(sentence)[1:]]
    bare = [re.sub(r"['’]s$", "", word) for word in inner]  # Anna's
    return list(dict.fromkeys(word for word in bare if len(word) > 1 and word[0].isupper()))


@metric(settings=("ignore",))
def keeps_numbers(
    case: Case, generation: Generation, criterion: Criterion, evidence: Evidence
) -> Score | None:
    """Share of answers in which every number of the question stands, and no other number.

    Numbers are groups of digits: amounts, each part of a date or time, the digits of an order number. 1,000
    is 1.000 and 1000; 12,50 is 12.5; 05 is 5, but 00123 is not 123; a date in points needs its year, or is
    read as an amount. A number in words is none. No other number: than those of the whole conversation, and
    of the setting ``ignore`` (texts). What a number belongs to is not judged.

    Empty: wrong where the question has a number. Broken, refused: by their numbers.
    """
    wanted = _numbers(case.prompt)
    said = [str(message["content"]) for message in case.question.messages]
    allowed = set().union(*map(_numbers, [*said, *map(str, criterion.settings.get("ignore", ()))]))
    given = _numbers(evidence.task.reader.prose(generation.text))
    lacking, invented = sorted(wanted - given), sorted(given - allowed)
    reason = f"lacks {', '.join(lacking[:20]) or 'none'}; invents {', '.join(invented[:20]) or 'none'}"
    hit = not lacking and not invented
    return scored(case, generation, hit, reason, ", ".join(sorted(wanted)) or "no number")


def _numbers(text: str) -> set[str]:
    """The numbers of a text in one spelling."""
    return {number for match in NUMBER.findall(text) for number in _spelled(match)}


def _spelled(found: str) -> list[str]:
    """The one number that groups of digits are, or else each of the groups, such as the parts of a date."""
    digits = "".join(str(int(sign)) if sign.isdecimal() else sign for sign in found)
    if grouped := THOUSANDS.fullmatch(digits):
        whole, decimals = re.sub(r"\D", "", grouped[1]), grouped[3] or ""
    else:
        whole, *rest = re.split(r"\D", digits)
        if len(rest) > 1:
            return [_short(part) for part in (whole, *rest)]
        decimals = rest[0] if rest else ""
    decimals = decimals.rstrip("0")
    return [f"{whole.lstrip('0') or '0'}.{decimals}" if decimals else _short(whole)]


def _short(digits: str) -> str:
    """A number without the zero before it that days and hours have."""
    return (digits.lstrip("0") or "0") if len(digits) <= 2 else digits


def _quoted(phrases: list[str]) -> str:
    return ", ".join(map(repr, phrases[:20]))
