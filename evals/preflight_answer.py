"""One answer of ``seatrial preflight``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

YES, NO, UNKNOWN = "yes", "no", "unknown"


@dataclass(frozen=True)
class Answer:
    """An answer to ``question``: ``state`` is yes (it can go on), no (it should not) or unknown; ``said`` the
    answer in words, ``reasons`` the numbers it rests on, ``measure`` what to type for those it lacks."""

    question: str
    state: str
    said: str
    reasons: Sequence[str] = ()
    measure: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "reasons": list(self.reasons), "figures": dict(self.figures)}
