"""determinism: are greedy answers the same every time, however the runtime is set up?

Who is answered alone and who is answered in a full batch should be told the same, and what a gate has judged
should be what is served on a machine with other threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, product, zip_longest
from typing import cast

from seatrial.evals.cases import Case
from seatrial.evals.criterion import Criterion
from seatrial.evals.evidence import Evidence
from seatrial.evals.metrics.base import Metric, Score, register, scored, share
from seatrial.evals.models import Generation, SetModel
from seatrial.evals.verdict import NotEvaluated

RUNS, SLOTS, THREADS, BUDGET = 2, (1, 8), (1, 2), 20
AROUND = 30  # characters shown from where two answers part


def _measure(evidence: Evidence, criterion: Criterion, model: str) -> list[Score]:
    chosen = evidence.model(model)
    if not hasattr(chosen, "variant"):
        raise NotEvaluated(f"slots and threads of the runtime of {model!r} cannot be set")
    cases = _asked(evidence, criterion)
    answers: dict[str, Sequence[Generation]] = {}
    for (slots, threads), run in product(_variants(criterion), range(1, _whole(criterion, "runs", RUNS) + 1)):
        variant = cast(SetModel, chosen).variant(slots, threads)
        name = f"slots {slots}, threads {threads}, run {run}"
        answers[name] = evidence.answers_of(variant, [case.question for case in cases], run)
    if len(answers) < 2:
        raise NotEvaluated(f"the settings of {criterion.id} leave one run, which nothing can differ from")
    return [_score(case, {name: each[i] for name, each in answers.items()}) for i, case in enumerate(cases)]


def _asked(evidence: Evidence, criterion: Criterion) -> list[Case]:
    """The first cases of each set in turn, at most as many as the budget."""
    turns = zip_longest(*(evidence.cases[name] for name in criterion.cases))
    cases = [case for case in chain.from_iterable(turns) if case is not None]
    return cases[: _whole(criterion, "budget", BUDGET)]


def _variants(criterion: Criterion) -> Iterator[tuple[int, int]]:
    return product(_numbers(criterion, "slots", SLOTS), _numbers(criterion, "threads", THREADS))


def _numbers(criterion: Criterion, key: str, default: Sequence[int]) -> list[int]:
    given = criterion.settings.get(key, default)
    if not isinstance(given, list | tuple) or not given or not all(map(_counts, given)):
        raise NotEvaluated(
            f"{key} = {given!r} in the settings of {criterion.id}: give a list of whole numbers from 1"
        )
    return list(dict.fromkeys(given))


def _whole(criterion: Criterion, key: str, default: int) -> int:
    given = criterion.settings.get(key, default)
    if not _counts(given):
        raise NotEvaluated(f"{key} = {given!r} in the settings of {criterion.id}: give a whole number from 1")
    return int(given)


def _counts(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _score(case: Case, answers: dict[str, Generation]) -> Score:
    """The first answer against all others; a miss tells the first that differs, and where."""
    (first_name, first), *others = answers.items()
    for name, other in others:
        if difference := _difference(first, other):
            reason = f"{name}: {difference} of {first_name}"
            return scored(case, other, False, reason, first.text or first.error)
    return scored(case, first, True, "", first.text)


def _difference(first: Generation, other: Generation) -> str:
    """Where ``other`` parts from ``first``, in words that end before its name; "" where it does not."""
    if first.text != other.text:
        pairs = zip_longest(first.text, other.text)
        at = next(number for number, (one, two) in enumerate(pairs) if one != two)
        one, two = (text[at : at + AROUND] for text in (first.text, other.text))
        return f"{two!r} from character {at + 1} on, where {one!r} is the answer"
    if (first.stop_reason, first.error) != (other.stop_reason, other.error):
        one, two = (answer.error or answer.stop_reason for answer in (first, other))
        return f"ended by {two!r}, where {one!r} is the end"
    return ""


determinism = register(
    Metric(
        "determinism",
        """Share of questions whose greedy answers are the same in several runs, slots and threads.

        Each question is asked ``runs`` times (2) in a runtime with each of the ``slots`` ([1, 8]) and each of
        the ``threads`` ([1, 2]); ``budget`` is the most questions asked (20), the first of each case set in
        turn. Texts must be equal, and how they ended. Only for files in a runtime that can be set so.

        Empty, broken, refused: as good as any other, if it is the same each time.""",
        unit="share",
        better="higher",
        measure=_measure,
        estimator=share,
        settings=("runs", "slots", "threads", "budget"),
        hard=False,
        of="file",
    )
)
