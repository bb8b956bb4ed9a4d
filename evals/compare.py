"""Two runs of one task set side by side: what got better or worse, by criterion, by case and by hard case.

Scores are paired over the cases that both runs asked: the same id and the same question. Intervals are those
of ``evals.stats`` for paired scores, at 95 %. Where the record keeps no scores that could be paired (a
percentile, a figure per token) only the two values are set side by side, and it is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from seatrial.evals.pairing import Paired, pair_up
from seatrial.evals.record import Record
from seatrial.training.errors import SeatrialError

Json = Mapping[str, Any]
ROUNDING = 1e-9  # 0.9 - 0.95 is not quite -0.05
RIGHT, MISSED, UNASKED = "right", "missed", "not asked"  # what became of a hard case
WORSE, BETTER, SAME, UNKNOWN = "worse", "better", "same", "not comparable"


@dataclass(frozen=True)
class Change:
    """A criterion in both runs. ``before`` and ``after`` are its verdicts, one of them None where only one
    run has it; ``paired`` is None where nothing can be compared, and ``reason`` says why."""

    criterion: str
    before: Json | None
    after: Json | None
    paired: Paired | None
    reason: str
    margin: float
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Json:
        """The later verdict, or the one that there is."""
        found = self.after or self.before
        assert found is not None
        return found

    @property
    def advantage(self) -> float | None:
        """The difference, positive where it is for the better; None where there is none."""
        if self.paired is None or self.paired.difference is None:
            return None
        return self.paired.difference * (-1 if self.verdict["better"] == "lower" else 1)

    @property
    def direction(self) -> str:
        """WORSE, BETTER, SAME or UNKNOWN. What was measured and is no more, though required, is worse."""
        if self.paired is None:
            lost = self.before is not None and self.before["required"] and self.before["measured"]
            return WORSE if lost else UNKNOWN
        if self.advantage is None:
            return self.paired.broken
        if abs(self.advantage) <= ROUNDING:
            return SAME
        return BETTER if self.advantage > 0 else WORSE

    @property
    def regressed(self) -> bool:
        """Whether something that is, or was, required got worse by more than its margin."""
        required = any(side is not None and side["required"] for side in (self.before, self.after))
        if self.direction != WORSE or not required:
            return False
        return self.advantage is None or self.advantage < -self.margin - ROUNDING


@dataclass
class CaseChange:
    """A case that another score was given: by ``criteria``, with the scores before and after."""

    case: str
    model: str
    prompt: str
    expected: str
    before: str
    after: str
    scores: list[tuple[str, float | None, float | None, str]] = field(default_factory=list)

    @property
    def direction(self) -> str:
        """WORSE as soon as one criterion says so."""
        return WORSE if any(score[3] == WORSE for score in self.scores) else BETTER


@dataclass(frozen=True)
class HardCase:
    """A hard case whose outcome changed, in words (``right``, ``missed`` ...)."""

    case: str
    before: str
    after: str
    direction: str


@dataclass(frozen=True)
class RunsCompared:
    """What :func:`compare` found. ``only_before``, ``only_after``: cases that one run alone asked;
    ``changed``: ids under which something else was asked; ``by_id``: how many of the ``shared`` cases are
    the same by their id alone, because a record does not say what was asked."""

    before: Json
    after: Json
    criteria: list[Change]
    cases: list[CaseChange]
    hard: list[HardCase]
    only_before: list[str]
    only_after: list[str]
    changed: list[str]
    by_id: int
    shared: int
    notes: list[str]

    @property
    def regressions(self) -> list[str]:
        """Names of the criteria and hard cases that got worse beyond their margins."""
        criteria = [change.criterion for change in self.criteria if change.regressed]
        return criteria + [f"hard case {each.case}" for each in self.hard if each.direction == WORSE]


def compare(first: Record, second: Record, margin_of: Callable[[str], float] = lambda _: 0.0) -> RunsCompared:
    """Set ``second`` against ``first``. ``margin_of`` a criterion: how much worse is no regression.

    Raises:
        SeatrialError: both are one run, or they are of different tasks, or share no case.
    """
    before, after = first.document, second.document
    _require_comparable(first, second)
    asked = _Asked(before, after)
    if asked.both and not asked.shared:
        raise SeatrialError(
            f"no case was asked by both runs: {_few(asked.only_before + asked.changed)} by the first, "
            f"{_few(asked.only_after + asked.changed)} by the second",
            where=second.path,
            hint="compare runs that were asked the same case files",
        )
    verdicts = [{verdict["criterion"]: verdict for verdict in run["verdicts"]} for run in (before, after)]
    names = list(dict.fromkeys([*verdicts[1], *verdicts[0]]))
    pairs = {name: (verdicts[0].get(name), verdicts[1].get(name)) for name in names}
    criteria = [_change(name, *pair, asked, margin_of(name)) for name, pair in pairs.items()]
    return RunsCompared(
        before=before,
        after=after,
        criteria=criteria,
        cases=_cases(criteria, asked),
        hard=_hard_cases(before, after, asked),
        only_before=asked.only_before,
        only_after=asked.only_after,
        changed=asked.changed,
        by_id=asked.by_id,
        shared=len(asked.shared),
        notes=list(_notes(before, after)),
    )


def _require_comparable(first: Record, second: Record) -> None:
    if first.path.resolve() == second.path.resolve():
        raise SeatrialError(f"both are {first.path.resolve()}", where="RUN RUN", hint="name two runs")
    if first.name == second.name:
        raise SeatrialError(f"both are the run {first.name}", where="RUN RUN", hint="name two runs")
    names = [record.document["task"]["name"] for record in (first, second)]
    if names[0] != names[1]:
        problem = f"judged the task {names[1]!r}, and the other run judged {names[0]!r}"
        raise SeatrialError(problem, where=second.path, hint="name two runs of one task")


# --- which cases both runs asked -------------------------------------------------------------------------


class _Asked:
    """The cases of two runs: which both asked, which only one of them, which changed their question."""

    def __init__(self, before: Json, after: Json) -> None:
        self.told = [_told(run) for run in (before, after)]
        if "questions" in before and "questions" in after:
            first, second = before["questions"], after["questions"]
        else:  # an older record: what was asked is known from its tests alone
            first, second = _prompts(before, self.told[0]), _prompts(after, self.told[1])
        common = [case for case in first if case in second]
        self.changed = [c for c in common if None not in (first[c], second[c]) and first[c] != second[c]]
        self.only_before = [case for case in first if case not in second]
        self.only_after = [case for case in second if case not in first]
        self.shared = set(common) - set(self.changed)
        self.by_id = sum(first[case] is None or second[case] is None for case in self.shared)
        self.both = bool(first and second)
        self._cases = {*first, *second}

    def is_case(self, name: str) -> bool:
        """Whether ``name`` is a case; scores are also given to checks of a file."""
        return name in self._cases

    def pairs(self, name: str) -> bool:
        """Whether the score of ``name`` can be paired: a case that both asked, or a check."""
        return name in self.shared or not self.is_case(name)

    def prompt(self, case: str) -> tuple[str, str]:
        """What was asked and what was expected, as far as either record tells."""
        return next((told[case] for told in reversed(self.told) if case in told), ("", ""))


def _told(run: Json) -> dict[str, tuple[str, str]]:
    """By case: its prompt and what was expected of it, where a per-case test or a miss says so."""
    misses = (miss for verdict in run["verdicts"] for miss in verdict["misses"] if miss["prompt"])
    return {each["case"]: (each["prompt"], each["expected"]) for each in (*run["observations"], *misses)}


def _prompts(run: Json, told: Mapping[str, tuple[str, str]]) -> dict[str, str | None]:
    """By case: what was asked, None where it is not on record."""
    return dict.fromkeys(run.get("questions", ())) | {case: prompt for case, (prompt, _) in told.items()}


# --- criteria --------------------------------------------------------------------------------------------


def _change(name: str, before: Json | None, after: Json | None, asked: _Asked, margin: float) -> Change:
    reason = _incomparable(before, after)
    if reason or before is None or after is None:
        return Change(name, before, after, None, reason, margin)
    paired, reason = pair_up(before, after, asked.pairs)
    notes = []
    if before["requirement"] != after["requirement"]:
        notes.append(f"required before: {before['requirement']}; now: {after['requirement']}")
    if before["required"] != after["required"]:
        notes.append("is required now" if after["required"] else "is required no more")
    return Change(name, before, after, paired, reason, margin, tuple(notes))


def _incomparable(before: Json | None, after: Json | None) -> str:
    if before is None:
        return "only the later run has it"
    if after is None:
        return "only the earlier run has it"
    for key in ("metric", "unit", "better"):
        if before[key] != after[key]:
            return f"its {key} was {before[key] or 'none'} and is {after[key] or 'none'}"
    for when, verdict in (("before", before), ("after", after)):
        if not verdict["measured"]:
            return f"not evaluated {when}: {verdict['reason'] or 'no reason is on record'}"
    models = [verdict["measured"]["model"] for verdict in (before, after)]
    return f"it measured {models[0]} and measures {models[1]}" if models[0] != models[1] else ""


# --- cases -----------------------------------------------------------------------------------------------


def _cases(criteria: Sequence[Change], asked: _Asked) -> list[CaseChange]:
    """Cases whose score changed under a criterion that says how right an answer is; worse ones first."""
    found: dict[tuple[str, str], CaseChange] = {}
    for change in criteria:
        if change.paired is None or not change.paired.graded or not change.before or not change.after:
            continue
        first, second = change.before["measured"], change.after["measured"]
        for direction, cases in ((WORSE, change.paired.lost), (BETTER, change.paired.won)):
            for case in filter(asked.is_case, cases):
                prompt, expected = asked.prompt(case)
                old, new = (str(each["answers"].get(case, "")) for each in (first, second))
                entry = CaseChange(case, first["model"], prompt, expected, old, new)
                entry = found.setdefault((case, first["model"]), entry)
                scores = first["scores"].get(case), second["scores"].get(case)
                entry.scores.append((change.criterion, *scores, direction))
    return sorted(found.values(), key=lambda each: each.direction != WORSE)


def _hard_cases(before: Json, after: Json, asked: _Asked) -> list[HardCase]:
    """Hard cases whose outcome changed. One that was right and is asked no more, or is another question now,
    got worse: hard cases are added to, never replaced."""
    first, second = _hard_states(before), _hard_states(after)
    for case in asked.changed:
        if case in first and case in second:
            second[case] = f"{second[case]}, but asks something else now"
    states = {case: (first.get(case, UNASKED), second.get(case, UNASKED)) for case in (*first, *second)}
    found = [HardCase(case, *pair, _hard_direction(*pair)) for case, pair in states.items()]
    found = [each for each in found if each.direction != SAME]
    return sorted(found, key=lambda each: (WORSE, UNKNOWN, BETTER).index(each.direction))


def _hard_direction(was: str, now: str) -> str:
    if was == now or (was == UNASKED and now != MISSED):
        return SAME
    return WORSE if was == RIGHT else BETTER if now == RIGHT and was != UNASKED else UNKNOWN


def _hard_states(run: Json) -> dict[str, str]:
    states = {seen["case"]: RIGHT for seen in run["observations"] if seen["hard"]}
    states |= dict.fromkeys(run["hard_cases"]["missed"], MISSED)
    return states | dict.fromkeys(run["hard_cases"]["not_evaluated"], "not evaluated")


# --- what else differs -----------------------------------------------------------------------------------


def _notes(before: Json, after: Json) -> Iterable[str]:
    """What a reader must know about the two runs before believing a difference."""
    if before["run"]["started"] > after["run"]["started"]:
        yield "the first run is the later one: what is called before came after"
    if before["task"]["sha256"] != after["task"]["sha256"]:
        yield "task.toml differs between the runs"
    files = [{file["case_set"]: file["sha256"] for file in run["case_files"]} for run in (before, after)]
    if differ := [name for name in files[0] if name in files[1] and files[0][name] != files[1][name]]:
        yield f"case files differ: {_few(differ)}"
    shipped = [run["shipped"] and run["shipped"]["sha256"] for run in (before, after)]
    if shipped[0] and shipped[0] == shipped[1]:
        yield "both runs judged the same file"
    packages = [run["run"]["packages"] for run in (before, after)]
    changed = [name for name in packages[0] if packages[0][name] != packages[1].get(name)]
    if changed:
        told = [f"{name} {packages[0][name]} and {packages[1].get(name)}" for name in changed]
        yield f"package versions differ: {_few(told)}"


def _few(names: Sequence[str], most: int = 4) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return (", ".join(names[:most]) + more) or "none"
