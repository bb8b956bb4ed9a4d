"""Text of a model or a user as a person may see it: what is hidden, or acts on a terminal, is spelled out.

An answer with ``ESC[2J`` would clear the screen of whoever runs the gate, and the point of bidirectional and
invisible characters is to look harmless: they are shown as ``\\x1b`` and ``\\u202e``.
"""

from __future__ import annotations

import re
import unicodedata

HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # Unicode categories that a reader cannot see
_SUSPECTS = re.compile(r"[^\n\t\x20-\x7e]+")


def spelled_out(text: str) -> str:
    """``text`` with its control, bidirectional, invisible and unassigned characters as escapes.

    Line feeds and tabs stay. Linear in the text.
    """
    if text.isascii() and text.isprintable():
        return text
    return _SUSPECTS.sub(lambda found: "".join(map(_spelled, found[0])), text)


def _spelled(character: str) -> str:
    if unicodedata.category(character) not in HIDDEN:
        return character
    return character.encode("unicode_escape", "surrogatepass").decode()
