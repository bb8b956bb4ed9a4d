"""Verdicts: what was measured for a criterion, and what follows from it.

A verdict is plain data that survives JSON, because it travels from xdist workers in report properties.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from seatrial.evals.criterion import Criterion
from seatrial.evals.visible import spelled_out

STATUSES = PASS, FAIL, INCONCLUSIVE, NOT_EVALUATED = "PASS", "FAIL", "INCONCLUSIVE", "NOT EVALUATED"


class NotEvaluated(Exception):
    """What a metric needs is not there; the reason goes into the verdict."""


@dataclass(frozen=True)
class Miss:
    """A case that counted against a criterion; ``stage``: where between data and user the fault came in."""

    case: str
    prompt: str
    expected: str
    actual: str
    reason: str
    where: str = ""
    stage: str = ""


@dataclass(frozen=True)
class Measured:
    """What one model scored: an estimate, its parts by group; score, answer and group of every case.

    ``picture``: what the report draws beside the value, such as a confusion matrix.
    """

    model: str
    value: float
    low: float | None
    high: float | None
    n: int
    method: str
    groups: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    answers: Mapping[str, str] = field(default_factory=dict)
    group_of: Mapping[str, str] = field(default_factory=dict)
    picture: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Verdict:
    """The decision on one criterion, with everything that a reader needs to check it."""

    criterion: str
    title: str
    status: str
    required: bool
    metric: str
    unit: str
    better: str
    rule: str
    requirement: str
    why: str
    threshold: float | None = None
    stages: Sequence[str] = ()
    advice: str = ""
    reason: str = ""
    measured: Measured | None = None
    against: Measured | None = None
    comparison: Mapping[str, Any] | None = None
    cases_needed: int | None = None
    misses: Sequence[Miss] = ()
    notes: Sequence[str] = ()
    artifacts: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            allowed = ", ".join(STATUSES)
            raise ValueError(f"the status of {self.criterion} is {self.status!r}, allowed: {allowed}")

    @property
    def acceptable(self) -> bool:
        """Whether a run may go on to SHIP with this verdict: passed, or not required."""
        return self.status == PASS or not self.required

    def __repr__(self) -> str:
        return f"<{self.criterion} {self.status}>"  # explain() says the rest

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def explain(self) -> str:
        """What a failing criterion prints: the requirement, the measurement, the misses, what to do next."""
        lines = [f"{self.criterion} {self.status}: {self.title}", f"  required: {self.requirement}"]
        lines.append(f"  because:  {self.why}")
        if self.reason:
            lines.append(f"  reason:   {self.reason}")
        if self.stages:
            lines.append(f"  at fault: {', '.join(self.stages)}")
        for measured in filter(None, (self.measured, self.against)):
            lines.append(f"  measured: {describe(measured, self.unit)}")
        if self.comparison:
            lines.append(f"  compared: {describe_comparison(self.comparison, self.unit)}")
        if self.cases_needed:
            lines.append(f"  to be sure at this rate: {self.cases_needed} cases")
        lines += [f"  note:     {note}" for note in self.notes]
        for miss in self.misses[:12]:
            lines.append(f"  missed {miss.case} ({miss.where}): {miss.reason}")
            lines.append(f"    asked:    {shorten(miss.prompt)}")
            lines.append(f"    expected: {shorten(miss.expected)}")
            lines.append(f"    answered: {shorten(miss.actual)}")
        if len(self.misses) > 12:
            lines.append(f"  and {len(self.misses) - 12} more; the report lists them all")
        if self.advice:
            lines.append(f"  next:     {self.advice}")
        return spelled_out("\n".join(lines))


def verdict_for(criterion: Criterion, status: str, unit: str, better: str, **more: Any) -> Verdict:
    """A verdict whose descriptive fields come from the criterion."""
    return Verdict(
        criterion=criterion.id,
        title=criterion.title,
        status=status,
        required=criterion.required,
        metric=criterion.metric,
        unit=unit,
        better=better,
        rule=criterion.rule,
        requirement=requirement(criterion, unit),
        why=criterion.why,
        threshold=_threshold(criterion, better),
        **{"advice": criterion.advice, **more},
    )


def requirement(criterion: Criterion, unit: str) -> str:
    """The requirement in words, such as ``accuracy >= 90 %``."""
    name = criterion.metric
    if criterion.rule == "superior":
        return f"{name} of {criterion.model} better than of {criterion.against}, surely ({_level(criterion)})"
    if criterion.rule == "within":
        margin = show(criterion.margin, unit)
        return f"{name} of {criterion.model} at most {margin} worse than {criterion.against}, as measured"
    if criterion.rule == "non_inferior":
        margin = show(criterion.margin, unit)
        worse = f"at most {margin} worse than {criterion.against}"
        return f"{name} of {criterion.model} {worse} ({_level(criterion)})"
    sign, bound = (">=", criterion.at_least) if criterion.at_least is not None else ("<=", criterion.at_most)
    assert bound is not None
    sure = f", surely ({_level(criterion)})" if criterion.rule == "confident" else ""
    return f"{name} {sign} {show(bound, unit)}{sure}"


def _threshold(criterion: Criterion, better: str) -> float | None:
    """The number that decides: a bound, or for a comparison the difference that is still acceptable."""
    if criterion.rule == "superior":
        return 0.0
    if criterion.rule in ("non_inferior", "within"):
        return criterion.margin if better == "lower" else -criterion.margin
    return criterion.at_least if criterion.at_least is not None else criterion.at_most


def _level(criterion: Criterion) -> str:
    return f"{criterion.confidence:.0%} confidence"


def show(value: float, unit: str) -> str:
    """A value with its unit: shares as percent, everything else with four digits."""
    if math.isinf(value):
        return "never" if unit == "s" else "infinite"
    if unit == "share":
        return f"{100 * value:.4g} %"
    return f"{value:.4g} {unit}".strip()


def describe(measured: Measured, unit: str) -> str:
    """One measurement in words, with its interval and n."""
    interval = _interval(measured.low, measured.high, unit)
    return f"{measured.model} {show(measured.value, unit)}{interval}, n = {measured.n}, {measured.method}"


def describe_comparison(comparison: Mapping[str, Any], unit: str) -> str:
    """A paired difference in words, with its interval, n and method."""
    interval = _interval(comparison["low"], comparison["high"], unit)
    p_value = comparison.get("p_value")
    exact = f", p = {p_value:.2g}" if p_value is not None else ""
    pairs = f", n = {comparison['n']}" if "n" in comparison else ""
    difference = show(comparison["difference"], unit)
    return f"difference {difference}{interval}{exact}{pairs}, {comparison['method']}"


def _interval(low: float | None, high: float | None, unit: str) -> str:
    if low is None and high is None:
        return ""
    ends = ["unknown" if bound is None else show(bound, unit) for bound in (low, high)]
    return f" [{' to '.join(ends)}]"


def shorten(text: str, width: int = 200) -> str:
    """``text`` on one line, cut at ``width`` characters."""
    line = text.replace("\r", "\\r").replace("\n", "\\n")
    return line if len(line) <= width else f"{line[: width - 1]}…"
