"""The proof that a row can fail: it is red on the answer that was seen, by the metrics that will judge it.

The same function judges here and in the gate (:func:`seatrial.evals.hard.judge_hard`); only the answer comes
from production instead of a model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from seatrial.evals.cases import Case
from seatrial.evals.evidence import Evidence
from seatrial.evals.hard import Unjudged, judge_hard
from seatrial.evals.metrics import Score
from seatrial.evals.models import UNKNOWN, Generation
from seatrial.evals.near_duplicates import Index, words_of
from seatrial.evals.task import Task
from seatrial.training.dataset import read_jsonl, read_sharegpt
from seatrial.training.errors import SeatrialError, at


class Recorded(Evidence):
    """Evidence that consists of one answer that was given elsewhere; no model, no store."""

    def __init__(self, task: Task, case: Case, answer: Generation) -> None:
        self.task, self.cases = task, {case.case_set: [case]}
        self._answers = {case.id: answer}

    def generations(self, model: str, case_set: str) -> Mapping[str, Generation]:
        return self._answers


def scores(task: Task, case: Case, answer: str, stop_reason: str | None = None) -> list[Score]:
    """How the metrics of a hard case judge ``answer``; how it ended counts only where that is known."""
    generation = Generation(answer, stop_reason=stop_reason or UNKNOWN)
    try:
        return judge_hard(case, Recorded(task, case, generation))
    except Unjudged:
        return []


def require_red(task: Task, case: Case) -> list[Score]:
    """The scores by which the answer in the case's history is a miss.

    Raises:
        SeatrialError: it is none: the answer that was seen would pass. Or the row's own reference, the answer
            that is said to be right, would not.
    """
    history = case.history
    assert history.answer is not None
    found = scores(task, case, history.answer, history.stop_reason)
    missed = [score for score in found if score.missed]
    if not missed:
        raise SeatrialError(
            "this row would be green on the answer that was seen, so it could not have caught it",
            where=case.where,
            hint="say in 'expect' what that answer gets wrong; it was judged by what it expects, "
            + ("by the output contract" if case.contract else "not by the output contract")
            + (" and by how it ended" if history.stop_reason else ", not by how it ended: no stop_reason"),
        )
    if case.question.reference is not None:
        wrong = [score for score in scores(task, case, case.question.reference) if score.missed]
        if wrong:
            raise SeatrialError(
                f"no answer could please this row: its own 'reference' misses it: {wrong[0].reason}",
                where=case.where,
                hint="make 'expect' and 'reference' say the same",
            )
    return missed


def still_red(task: Task, case: Case) -> bool:
    """Whether a row still catches the answer that it was made for; True where that was not kept."""
    history = case.history
    if history.answer is None:
        return True
    return any(score.missed for score in scores(task, case, history.answer, history.stop_reason))


def only_by_form(task: Task, case: Case) -> bool:
    """Whether only the form of the answer is wrong: perhaps a log keeps another text than the model gave."""
    if not case.contract or not case.expect or case.history.answer is None:
        return False
    free = replace(case, contract=False)
    return not any(s.missed for s in scores(task, free, case.history.answer, case.history.stop_reason))


def trained_on(train: Path, prompts: Iterable[str]) -> dict[str, str]:
    """Of ``prompts``, those that a training row asks, exactly or nearly, and the place and text of that row.

    It is the comparison of ``DATA.leakage``, so that no row is added which would fail the next gate there.
    """
    places: dict[str, str] = {}
    for (line, _), messages in zip(read_jsonl(train), read_sharegpt(train), strict=True):
        for message in messages:
            if message["role"] == "user" and words_of(message["content"]):
                places.setdefault(message["content"], at(train, line))
    known = Index(places)
    found = {}
    for prompt in prompts:
        twin = known.twin(prompt) if words_of(prompt) else None
        if twin is not None:
            found[prompt] = f"{places[twin]} asks {twin!r}"
    return found
