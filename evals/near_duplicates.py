"""Near duplicates: which of many known texts says nearly the same as a new one, without reading all of them.

Two texts are one if ROUGE-L F1 over their words (Lin 2004) is at least ``NEAR``. That holds only if they have
``required`` words in common, and then each has one of these among its rarest few: prefix filtering as in
PPJoin (Xiao et al. 2008, "Efficient similarity joins for near duplicate detection"), which loses no pair.
Only texts that share a rare word are compared, so 10,000 questions against 10,000 take seconds.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

NEAR = 0.85  # ROUGE-L F1 from which two questions are one: a changed word in seven
SHORT = 3  # words; below it only equal texts count as one

Word = tuple[int, int]  # a word's number and how often it stood before in its text: bags become sets


def words_of(text: str) -> list[str]:
    """The words of ``text``, without case and punctuation."""
    return re.findall(r"\w+", text.casefold())


def rouge_l(first: Sequence[str], second: Sequence[str]) -> float:
    """ROUGE-L F1 of two word lists (Lin 2004): twice the longest common subsequence over all words."""
    from rapidfuzz.distance import LCSseq

    return 2 * LCSseq.similarity(first, second) / (len(first) + len(second))


def required(first: int, second: int) -> int:
    """Fewest words in common, in order, with which texts of so many words can be near duplicates."""
    return -(-round(100 * NEAR) * (first + second) // 200)


class Index:
    """Known texts, to be asked whether one of them says nearly what a new text says."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._exact = {" ".join(words): text for text in texts if (words := words_of(text))}
        self._texts = list(self._exact.values())
        self._numbers: dict[str, int] = {}
        self._sequences = [self._numbered(words_of(text)) for text in self._texts]
        self._common = Counter(word for sequence in self._sequences for word in _bag(sequence))
        # By length and word: in which texts of that length the word stands, at which place of rarity.
        self._places: defaultdict[tuple[int, Word], list[tuple[int, int]]] = defaultdict(list)
        self._lengths: set[int] = set()
        for number, sequence in enumerate(self._sequences):
            length = len(sequence)
            self._lengths.add(length)
            most = length - required(length, _shortest_partner(length)) + 1
            for place, word in enumerate(self._rarest_first(sequence)[:most]):
                self._places[length, word].append((place, number))

    def twin(self, text: str) -> str | None:
        """The known text that ``text`` equals, or else the first one that it nearly equals."""
        from rapidfuzz.distance import LCSseq

        words = words_of(text)
        if (same := self._exact.get(" ".join(words))) is not None:
            return same
        if len(words) < SHORT:
            return None
        sequence = self._numbered(words)
        for number in sorted(set(self._candidates(sequence))):
            other = self._sequences[number]
            least = required(len(sequence), len(other))
            if LCSseq.similarity(sequence, other, score_cutoff=least) >= least:
                return self._texts[number]
        return None

    def _candidates(self, sequence: list[int]) -> Iterator[int]:
        length, rarest = len(sequence), self._rarest_first(sequence)
        for other in range(_shortest_partner(length), _longest_partner(length) + 1):
            if other not in self._lengths:
                continue
            least = required(length, other)
            for word in rarest[: length - least + 1]:
                for place, number in self._places.get((other, word), ()):
                    if place <= other - least:
                        yield number

    def _rarest_first(self, sequence: list[int]) -> list[Word]:
        return sorted(_bag(sequence), key=lambda word: (self._common[word], word))

    def _numbered(self, words: Sequence[str]) -> list[int]:
        return [self._numbers.setdefault(word, len(self._numbers)) for word in words]


def _bag(sequence: Sequence[int]) -> list[Word]:
    seen: Counter[int] = Counter()
    bag = []
    for word in sequence:
        bag.append((word, seen[word]))
        seen[word] += 1
    return bag


def _shortest_partner(length: int) -> int:
    """Fewest words of a text that can be nearly the same as one of ``length`` words."""
    return next(other for other in range(length // 2, length + 1) if required(length, other) <= other)


def _longest_partner(length: int) -> int:
    return next(other for other in range(2 * length, 0, -1) if required(length, other) <= length)
