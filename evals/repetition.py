"""Repetition: does a text say the same thing again and again? In time linear in its length.

A loop is 8 to 1000 characters three times in a row, a stutter something short ten times in a row. A regular
expression finds both, but tries a thousand lengths at every place of a text without a loop: seconds for an
answer of 300,000 characters. So long texts are first compared with themselves, moved by each length.
"""

from __future__ import annotations

import re

SHORTEST, LONGEST = 8, 1000
LOOP = re.compile(rf"(\S.{{{SHORTEST - 1},{LONGEST - 1}}}?)\1{{2,}}", re.DOTALL)
STUTTER = re.compile(r"(\S{1,7}\s?)\1{9,}", re.DOTALL)
LONG = 4000  # characters from which comparing is faster than the expression


def repetition(text: str) -> re.Match[str] | None:
    """The first loop of ``text``, else its first stutter: group 0 is all of it, group 1 what is repeated."""
    if len(text) < LONG:
        loop = LOOP.search(text)
    else:
        start = _first_loop(text)
        loop = None if start is None else LOOP.match(text, start)
    return loop or STUTTER.search(text)


def _first_loop(text: str) -> int | None:
    """Where the first loop of ``text`` starts: a character that is no space, and is the same as the one
    ``length`` further on, as are all that follow it, for twice ``length`` characters."""
    import numpy as np

    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    visible = np.flatnonzero([not character.isspace() for character in text])
    first: int | None = None
    for length in range(SHORTEST, min(LONGEST, len(codes) // 3) + 1):
        if not _may_repeat(codes, length):
            continue
        differs = np.flatnonzero(codes[:-length] != codes[length:])
        edges = np.concatenate(([-1], differs, [len(codes) - length]))
        for run in np.flatnonzero(np.diff(edges) > 2 * length):
            place = np.searchsorted(visible, edges[run] + 1)
            if place < len(visible) and visible[place] <= edges[run + 1] - 2 * length:
                start = int(visible[place])
                first = start if first is None else min(first, start)
                codes = codes[: first + 3 * LONGEST]  # what starts earlier ends before
                break
    return first


def _may_repeat(codes: object, length: int) -> bool:
    """Whether a stretch of ``length`` characters, one of those that divide the text, equals the next one: a
    loop covers such a stretch wherever it starts. Stretches' first letters rule most lengths out."""
    import numpy as np

    assert isinstance(codes, np.ndarray)
    heads = codes[::length]
    same = heads[:-1] == heads[1:]
    for stretch in np.flatnonzero(same[:-1] & same[1:]):
        start = int(stretch) * length
        if np.array_equal(codes[start : start + length], codes[start + length : start + 2 * length]):
            return True
    return False
