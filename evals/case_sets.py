"""The case sets of a run: the task's own, or files that stand in for some of them.

Hard cases may be added to, never replaced: whatever other file is asked in a set's place, the task's own hard
cases are asked as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from seatrial.evals.case_names import REGRESSIONS
from seatrial.evals.cases import Case, CaseFile, load_cases
from seatrial.evals.expectations import Expectations
from seatrial.evals.judged import judged_digest
from seatrial.evals.task import Task
from seatrial.training.errors import SeatrialError
from seatrial.training.store import file_digest

KEPT = "hard"  # the set of the task's own hard cases whose file another one stands in for: domain.hard


def load_case_sets(task: Task, instead: Mapping[str, Path] | None = None) -> dict[str, list[Case]]:
    """All case sets of a task by name; ``instead`` names other files for some of them.

    A file for ``regressions`` is asked beside the task's own. Of another set that a file stands in for, the
    task's critical cases are kept in a set of their own (``domain.hard``): they bind the release, and do not
    count among the locked questions.

    Raises:
        SeatrialError: a mistake in a file, or an id that two files share.
    """
    instead = instead or {}
    for name in instead:
        if name not in task.case_sets:
            raise SeatrialError(
                f"this task has no case set {name!r}",
                where="--cases",
                hint=f"case sets: {', '.join(task.case_sets)}",
            )
    sets: dict[str, list[Case]] = {}
    for name, case_set in task.case_sets.items():
        own = load_cases(task.path(case_set.file), name, task.reader.main, case_set.contract)
        if name not in instead:
            sets[name] = own
            continue
        given = load_cases(instead[name], name, task.reader.main, case_set.contract)
        known = {case.id: case for case in given}
        kept = [case for case in own if case.hard and not _same(case, known.get(case.id))]
        if name == REGRESSIONS:
            sets[name] = [*kept, *given]
        else:
            sets[name] = given
            if kept:
                sets[f"{name}.{KEPT}"] = [replace(case, case_set=f"{name}.{KEPT}") for case in kept]
    sets = {name: [_referred(case, task) for case in group] for name, group in sets.items()}
    seen: dict[str, Case] = {}
    for case in (case for group in sets.values() for case in group):
        if case.id in seen:
            raise SeatrialError(f"the id {case.id!r} is also used in {seen[case.id].where}", where=case.where)
        seen[case.id] = case
    expected = Expectations(task)
    for case in seen.values():
        expected.check(case)
    return sets


def case_files(
    task: Task, instead: Mapping[str, Path], cases: Mapping[str, Sequence[Case]]
) -> Iterator[CaseFile]:
    """The files that ``cases`` were read from, with their digests; a task's own one even if none of its
    cases were asked, because another stood in for it."""
    asked = Counter(case.where.rpartition(":")[0] for group in cases.values() for case in group)
    for name, case_set in task.case_sets.items():
        own = task.path(case_set.file)
        for path in dict.fromkeys([own, instead.get(name, own)]):
            digest, size = file_digest(path), path.stat().st_size
            yield CaseFile(name, str(path), digest, size, asked[str(path)], path == own, judged_digest(path))


def _referred(case: Case, task: Task) -> Case:
    """A case with the whole answer that it expects as its reference, where it has none of its own."""
    if case.question.reference is not None or not case.expect:
        return case
    reference = task.reader.whole(case.expect)
    return case if reference is None else replace(case, question=replace(case.question, reference=reference))


def _same(case: Case, other: Case | None) -> bool:
    """Whether another file asks the same of the same question."""
    return other is not None and replace(other, where=case.where) == case
