"""What metrics of wording read a text as: words, phrases, sentences. Each is linear in the text's length."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

LONGEST_WORD = 100  # characters; normalisation of endless combining marks is not linear, and such is no word
MARKS = re.compile(r"[^\w\s]|_")
SENTENCE_END = re.compile(r"(?<=[.!?…。！？])[\"'”’)\]]{0,3}\s+|\n+")
APOSTROPHES = str.maketrans({"’": "'", "ʼ": "'", "‘": "'", "`": "'"})


def folded(text: str) -> str:
    """A text in one spelling of Unicode (NFC), without case, with single spaces and straight apostrophes."""
    words = text.translate(APOSTROPHES).casefold().split()
    return " ".join(
        unicodedata.normalize("NFC", word) if len(word) <= LONGEST_WORD else word for word in words
    )


def words_of(text: str, ignored: Iterable[str] = ()) -> list[str]:
    """The words of a text without case and marks, and without ``ignored`` ones: "Don't!" is ``dont``.

    This is the normalisation of SQuAD (Rajpurkar et al. 2016), which ignores the English articles; here the
    task says what is ignored.
    """
    without = frozenset(folded(word) for word in ignored)
    return [word for word in MARKS.sub("", folded(text)).split() if word not in without]


def sentences(text: str) -> Iterator[str]:
    """The sentences of a text: up to a full stop, question or exclamation mark before a space, or a line."""
    return (part for part in SENTENCE_END.split(text) if part.strip())


def phrases_in(text: str, phrases: Sequence[str]) -> list[str]:
    """Those of ``phrases`` that stand in the text as whole words, whatever their case."""
    haystack = folded(text)
    return [phrase for phrase in phrases if _stands(folded(phrase), haystack)]


def _stands(phrase: str, text: str) -> bool:
    """Whether ``phrase`` stands in ``text`` with no letter or digit right before or after it."""
    start = text.find(phrase) if phrase else -1
    while start >= 0:
        end = start + len(phrase)
        before = start == 0 or not (_letter(text[start - 1]) and _letter(phrase[0]))
        after = end == len(text) or not (_letter(text[end]) and _letter(phrase[-1]))
        if before and after:
            return True
        start = text.find(phrase, start + 1)
    return False


def _letter(character: str) -> bool:
    return character.isalnum() or character == "_"
