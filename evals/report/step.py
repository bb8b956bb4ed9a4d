"""One step of the chain from base model to runtime, as the report tells it: a verdict on two models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Step:
    """``model`` against the one that it was made from; ``beside``: a file of another size, not shipped.

    ``reason`` says why there is no difference, and is empty where there is one.
    """

    name: str
    model: str
    against: str
    beside: bool
    unit: str
    better: str
    verdict: Json | None
    reason: str

    @property
    def before(self) -> Json | None:
        return self.verdict["against"] if self.verdict else None

    @property
    def after(self) -> Json | None:
        return self.verdict["measured"] if self.verdict else None

    @property
    def comparison(self) -> Json:
        """The paired difference; empty where there is none."""
        return (self.verdict and self.verdict["comparison"]) or {}

    @property
    def difference(self) -> float | None:
        return self.comparison.get("difference")

    @property
    def advantage(self) -> float:
        """The difference, positive where it is for the better."""
        return (self.difference or 0.0) * (-1 if self.better == "lower" else 1)

    @property
    def cases(self) -> int:
        """How many cases both models were scored on."""
        return len(self._pairs)

    @property
    def won(self) -> list[str]:
        """Cases that only the later model has right; empty where scores are not right or wrong."""
        return [case for case, change in self._changes.items() if change > 0]

    @property
    def lost(self) -> list[str]:
        """Cases that only the earlier model has right."""
        return [case for case, change in self._changes.items() if change < 0]

    @cached_property
    def _pairs(self) -> dict[str, tuple[float, float]]:
        if not self.before or not self.after:
            return {}
        earlier, later = self.before["scores"], self.after["scores"]
        return {case: (earlier[case], score) for case, score in later.items() if case in earlier}

    @cached_property
    def _changes(self) -> dict[str, float]:
        if any(score not in (0, 1) for pair in self._pairs.values() for score in pair):
            return {}
        sign = -1 if self.better == "lower" else 1
        return {case: sign * (later - earlier) for case, (earlier, later) in self._pairs.items()}
