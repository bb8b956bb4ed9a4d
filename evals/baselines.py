"""What a finished run says about models that need no training: which of them reach the thresholds already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]
JUDGED = "shipped"
MADE = {"tuned", "adapter", "merged", "f16", "q8_0", "q5_k_m", "q4_k_m", "ollama"}  # what training makes


@dataclass(frozen=True)
class Measured:
    """A model's value where a required criterion has a threshold."""

    criterion: str
    metric: str
    unit: str
    threshold: float
    value: float
    low: float | None
    high: float | None
    n: int
    better: str

    @property
    def met(self) -> bool:
        return self._beyond(self.value)

    @property
    def surely(self) -> bool:
        """Whether the bound of the interval meets the threshold, too."""
        bound = self.low if self.better == "higher" else self.high
        return self.met and (bound is None or self._beyond(bound))

    def _beyond(self, value: float) -> bool:
        return value >= self.threshold if self.better == "higher" else value <= self.threshold


def baselines(results: Json) -> dict[str, list[Measured]]:
    """By model, its values by each required criterion on answers that has a threshold: those of the judged
    model, and those of any other that was asked the same cases by the same metric.

    Models that only training makes are left out, but for the judged one.
    """
    wanted = list(_thresholds(results["verdicts"]))
    found: dict[str, list[Measured]] = {}
    for metric, cases, verdict in wanted:
        seen: set[str] = set()
        for other, measured in _measurements(results["verdicts"]):
            model = str(measured["model"])
            same = other["metric"] == metric and frozenset(measured["scores"]) == cases
            if same and model not in MADE and model not in seen:
                seen.add(model)
                found.setdefault(model, []).append(_made(verdict, measured))
    return found


def _thresholds(verdicts: Sequence[Json]) -> Iterator[tuple[str, frozenset[str], Json]]:
    for verdict in verdicts:
        measured = verdict["measured"]
        absolute = verdict["rule"] in ("point", "confident") and verdict["threshold"] is not None
        if verdict["required"] and absolute and measured and measured["n"] > 1 and measured.get("scores"):
            if measured["model"] == JUDGED:
                yield verdict["metric"], frozenset(measured["scores"]), verdict


def _measurements(verdicts: Sequence[Json]) -> Iterator[tuple[Json, Json]]:
    for verdict in verdicts:
        for measured in (verdict["measured"], verdict["against"]):
            if measured and measured.get("scores"):
                yield verdict, measured


def _made(verdict: Json, measured: Json) -> Measured:
    return Measured(
        criterion=str(verdict["criterion"]),
        metric=str(verdict["metric"]),
        unit=str(verdict["unit"]),
        threshold=float(verdict["threshold"]),
        value=float(measured["value"]),
        low=measured["low"],
        high=measured["high"],
        n=int(measured["n"]),
        better=str(verdict["better"]),
    )
