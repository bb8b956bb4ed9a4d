"""One sentence on one metric: what training won, and what each step after it cost.

Composed from the numbers alone. Steps in a row of which the same can be said share a clause, and a step
without a number is named with its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from seatrial.evals.report.step import Step
from seatrial.evals.report.wording import amount, role
from seatrial.evals.verdict import FAIL

NAMES = {
    "preference": "preference optimisation",
    "quantisation": "quantisation to the shipped file",
    "ollama": "Ollama",
}
CHANCE = 0.05  # a p-value from which on a difference may be chance: the intervals are 95 % ones


def sentence(title: str, steps: Sequence[Step]) -> str:
    """Such as ``Training raised answers understood from 30 % to 95 %; merge changed nothing.``"""
    along = [step for step in steps if not step.beside]
    beside = [step for step in steps if step.beside]
    clauses = []
    first = along[0]
    if not first.reason:
        clauses.append(_training(first, _inside(title)))
        along = along[1:]
    clauses += _clauses(along)
    compared = " and ".join(_clauses(beside))
    clauses += [f"for comparison, {compared}"] if compared else []
    text = "; ".join(clauses)
    text = text[:1].upper() + text[1:] if not first.reason else f"{title}: {text}"
    return f"{text}."


def _clauses(steps: Sequence[Step]) -> list[str]:
    told = []
    for predicate, group in groupby(steps, key=_predicate):
        same = list(group)
        names = [NAMES.get(step.name, role(step.name)) for step in same]
        subject = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
        many = len(names) > 1
        if same[0].reason:
            told.append(f"{subject} {'were' if many else 'was'} {predicate}")
        else:
            told.append(f"{subject} {'each ' if many and not _tied(same[0]) else ''}{predicate}")
    return told


def _predicate(step: Step) -> str:
    if step.reason:
        return f"not {'asked' if step.name == 'ollama' else 'evaluated'} ({step.reason.rstrip('.')})"
    if _tied(step):
        word = "nothing" if not step.difference else "next to nothing"
        cases = _cases(step)
        return f"changed {word}{f' in sum{cases}' if cases else ''}"
    verb = "won" if step.advantage > 0 else "cost"
    return f"{verb} {_size(step.difference, step.unit)}{_cases(step)}{_beyond(step)}"


def _training(step: Step, subject: str) -> str:
    before, after = _values(step)
    if _tied(step):
        return f"training left {subject} at {after}{_cases(step)}"
    verb = "worsened" if step.advantage < 0 else "lowered" if step.better == "lower" else "raised"
    return f"training {verb} {subject} from {before} to {after}{_cases(step)}{_beyond(step)}"


def _tied(step: Step) -> bool:
    """No difference, or one too small to show in the two values, unless it decided the verdict."""
    assert step.verdict
    before, after = _values(step)
    return not step.difference or (before == after and step.verdict["status"] != FAIL)


def _values(step: Step) -> tuple[str, str]:
    """The two values as they are shown."""
    assert step.before and step.after
    return amount(step.before["value"], step.unit), amount(step.after["value"], step.unit)


def _cases(step: Step) -> str:
    """The cases behind a difference, or the two values; and whether chance can explain it."""
    won, lost = len(step.won), len(step.lost)
    parts = []
    if won and lost:
        more, fewer = ((won, "won"), (lost, "lost"))[:: 1 if step.advantage > 0 else -1]
        parts.append(f"{more[0]} of {step.cases} cases {more[1]}, {fewer[0]} {fewer[1]}")
    elif won or lost:
        parts.append(f"{won + lost} of {step.cases} cases")
    elif step.difference and step.name != "training" and not _tied(step):
        before, after = _values(step)
        parts += [f"{before} to {after}"] if before != after else []
    if step.difference and not _tied(step) and _perhaps_chance(step):
        parts.append("perhaps chance")
    return f" ({', '.join(parts)})" if parts else ""


def _perhaps_chance(step: Step) -> bool:
    p_value, low, high = (step.comparison[name] for name in ("p_value", "low", "high"))
    if p_value is not None:
        return bool(p_value >= CHANCE)
    return low is not None and high is not None and bool(low <= 0 <= high)


def _beyond(step: Step) -> str:
    assert step.verdict
    if step.verdict["status"] != FAIL or step.verdict["threshold"] is None:
        return ""
    return f", more than the {_size(step.verdict['threshold'], step.unit)} allowed"


def _size(value: float | None, unit: str) -> str:
    """The size of a difference: 5 points, 0.05."""
    assert value is not None
    if unit != "share":
        return amount(abs(value), unit)
    number = amount(abs(value), unit).removesuffix(" %")
    return f"{number} point{'' if number == '1' else 's'}"


def _inside(title: str) -> str:
    """A title as the words of a sentence: a small first letter, unless it begins with an abbreviation."""
    return title[:1].lower() + title[1:] if title[1:2].islower() else title
