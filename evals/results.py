"""The results of a run: verdicts, observations, hard cases, what failed without a verdict, and the decision.

Works on what the tests' reports carry, so that it is the same with and without xdist.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seatrial.evals.core import GROUP
from seatrial.evals.data import DATA_CRITERIA, absent_leakage
from seatrial.evals.gate import DO_NOT_SHIP, INCOMPLETE, UNRUN, Decision, Reason, decide
from seatrial.evals.hard import hard_cases
from seatrial.evals.metrics import METRICS
from seatrial.evals.settings import Settings
from seatrial.evals.verdict import NOT_EVALUATED, PASS, Verdict, verdict_for

AT_FAULT = "stage at fault:"


@dataclass
class Results:
    """The results of a run so far.

    ``own_tests``: tests of the user's own that belong to the gate, each with the criterion that it stands for
    ("" for none) and whether it is required; ``ran``: the tests that were run to an end, and ``skipped``: why
    others were not. ``shipped``: the manifest of the artifact with the file that was judged; ``chain``: those
    of all that it was made by.
    """

    settings: Settings
    started: float = field(default_factory=time.time)
    verdicts: dict[str, dict[str, Any]] = field(default_factory=dict)
    observations: list[dict[str, Any]] = field(default_factory=list)
    hard: dict[str, bool] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)
    unexplained: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    own_tests: dict[str, tuple[str, bool]] = field(default_factory=dict)
    ran: set[str] = field(default_factory=set)
    skipped: dict[str, str] = field(default_factory=dict)
    shipped: Mapping[str, Any] | None = None
    chain: Sequence[Mapping[str, Any]] = ()
    decision: Decision | None = None
    finished: dict[str, dict[str, Any]] | None = None

    # --- what a test said ------------------------------------------------------------------------------
    def add(self, nodeid: str, entry: Mapping[str, Any]) -> None:
        """Take in one thing that the test ``nodeid`` left; ``fixtures/carried.py`` names the kinds."""
        if entry["kind"] == "verdict":
            verdict = entry["verdict"]
            if entry["own"] and verdict["status"] == PASS and verdict["criterion"] in self._ours():
                return  # a test of one's own may find more against it, and stands in for no test of the gate
            held = self.verdicts.get(verdict["criterion"])
            if held is None or held["status"] == PASS:  # a second test may not mend what the first found
                self.verdicts[verdict["criterion"]] = verdict
        elif entry["kind"] == "observation":
            told = {key: value for key, value in entry.items() if key != "kind"}
            self.observations.append({"nodeid": nodeid, "test": nodeid.partition("[")[0], **told})
            if entry["hard"]:
                self.hard[entry["case"]] = self.hard.get(entry["case"], True) and not entry["missed"]
        elif entry["kind"] == "missed":
            self.missed.append(entry["text"])
        elif entry["kind"] == "made":
            self.shipped, self.chain = entry["shipped"], entry["chain"]

    def went_unjudged(self, nodeid: str, name: str | None, why: str, own: bool = False) -> None:
        """A test failed without a verdict: the criterion or hard case ``name`` that it stands for is absent;
        without one, or in a test of the user's ``own``, the failure itself stands against shipping."""
        unheard = bool(name) and name not in self.verdicts and name not in self.hard
        if name and unheard:
            self.absent[name] = f"error: {why}"
        if not unheard or own:
            self.unexplained[nodeid] = why

    def explains(self, criterion: str, hard_case: str) -> bool:
        """Whether the failure of a test is a verdict or a missed hard case that is on record already."""
        verdict = self.verdicts.get(criterion)
        return (verdict is not None and verdict["status"] != PASS) or self.hard.get(hard_case) is False

    @property
    def judged_folder(self) -> Path | None:
        """Where the judged file lies, with its Modelfile; None if a program was judged, or nothing was."""
        made = self.shipped
        return self.settings.store / made["step"] / made["key"] if made else None

    # --- what is required ------------------------------------------------------------------------------
    def required(self) -> list[str]:
        """Ids of the criteria without which nothing ships."""
        settings = self.settings
        own = [c.id for c in settings.task.criteria if settings.requires(c.id, c.required)]
        data = [name for name in DATA_CRITERIA if settings.leakage_required]
        users = [name for name, required in self._users().items() if required]
        return [*data, *own, *(_core_id(part.name) for part in settings.core.missing), *users]

    def hard_cases(self) -> dict[str, bool | None]:
        """Whether each hard case was right; None if it was not evaluated."""
        return {case.id: self.hard.get(case.id) for case in hard_cases(self.settings.cases)}

    def decide(self, pytest_status: int, left_out: str = "") -> Decision:
        """The gate's decision; the verdicts are complete from now on. ``left_out``: by what the run may have
        left out tests of the user's own, of which nothing is known then."""
        verdicts = {verdict["criterion"]: verdict for verdict in self._in_order()}
        self.finished = verdicts
        judged = self.settings.program or self.shipped
        self.decision = decide(
            statuses={name: verdict["status"] for name, verdict in verdicts.items()},
            required=self.required(),
            hard_cases=self.hard_cases(),
            other_failures=self.unexplained,
            reasons=self.absent | {name: why for name, verdict in verdicts.items() if (why := _why(verdict))},
            pytest_status=pytest_status,
            nothing_judged="" if judged else "no file was judged: no test that ran asked one anything",
            tests_not_run=self._not_run(),
            left_out=left_out,
        )
        return self.decision

    def without_report(self, problem: str) -> None:
        """The evidence could not be written down, so this run may not say SHIP."""
        assert self.decision is not None
        status = self.decision.exit_status or INCOMPLETE
        self.decision = Decision(DO_NOT_SHIP, status, (*self.decision.reasons, Reason(problem)))

    def in_order(self) -> list[dict[str, Any]]:
        """All verdicts: on the data, in the task's order, on the core, and the user's own."""
        return list((self.finished or {v["criterion"]: v for v in self._in_order()}).values())

    def _in_order(self) -> Iterable[dict[str, Any]]:
        settings, told = self.settings, dict(self.verdicts)
        for name in DATA_CRITERIA:
            if verdict := told.pop(name, None):
                yield verdict | {"required": settings.leakage_required}
            elif settings.leakage_required:
                yield absent_leakage(self.absent.get(name, UNRUN)).to_json()
        for criterion in settings.task.criteria:
            if verdict := told.pop(criterion.id, None):
                yield verdict
                continue
            metric = METRICS[criterion.metric]
            needed = settings.requires(criterion.id, criterion.required)
            yield verdict_for(
                criterion.model_copy(update={"required": needed}),
                NOT_EVALUATED,
                metric.unit,
                metric.better,
                reason=self.absent.get(criterion.id, UNRUN),
            ).to_json()
        for part in settings.core.missing:
            yield _unheard(_core_id(part.name), part.title, part.why, part.remedy)
        users = self._users()
        for name, verdict in told.items():
            if verdict["status"] != PASS or not (unrun := self._unrun(name)):
                yield verdict | {"required": users.get(name, verdict["required"])}
            else:
                reason = f"{unrun[0]}: {self._why_not(unrun[0])}"
                yield _unheard(name, verdict["title"], verdict["why"], reason)
        for name, required in users.items():
            if name not in told:
                reason = self.absent.get(name, "its test recorded no verdict, or did not run")
                yield _unheard(name, "A criterion of a test of one's own", "", reason, required)

    def _users(self) -> dict[str, bool]:
        """Criteria that tests of the user's own stand for, beyond those of the task, and whether required."""
        known, found = self._ours(), dict[str, bool]()
        for name, required in self.own_tests.values():
            if name and name not in known:
                found[name] = found.get(name, False) or required
        return found

    def _unrun(self, criterion: str) -> list[str]:
        """Required tests of the user's own for ``criterion`` that were not run to an end."""
        tests = self.own_tests.items()
        return [each for each, what in tests if what == (criterion, True) and each not in self.ran]

    def _not_run(self) -> dict[str, str]:
        """Those that stand for no criterion of their own, and why each was not run to an end."""
        names = {name for name, _ in self.own_tests.values()} - {*self._users()}
        return {each: self._why_not(each) for name in names for each in self._unrun(name)}

    def _why_not(self, test: str) -> str:
        return self.skipped.get(test, UNRUN)

    def _ours(self) -> set[str]:
        """What the gate judges by itself: the data, the task's criteria, parts of the core without one."""
        criteria = (criterion.id for criterion in self.settings.task.criteria)
        return {*DATA_CRITERIA, *criteria, *(_core_id(part.name) for part in self.settings.core.missing)}


def _core_id(part: str) -> str:
    return f"{GROUP}.{part}"


def _unheard(name: str, title: str, why: str, reason: str, required: bool = True) -> dict[str, Any]:
    """The verdict on a criterion of which no test said anything."""
    return Verdict(
        criterion=name,
        title=title,
        status=NOT_EVALUATED,
        required=required,
        metric="",
        unit="",
        better="higher",
        rule="point",
        requirement=title,
        why=why,
        reason=reason,
    ).to_json()


def _why(verdict: dict[str, Any]) -> str:
    """What the gate's reason says beside a verdict's status: why it has none, or the stages at fault."""
    if verdict["reason"] or not verdict["stages"]:
        return str(verdict["reason"])
    return f"{AT_FAULT} {', '.join(verdict['stages'])}"
