"""determinism and batch_invariance: are greedy answers the same every time, and however a runtime is set up?

Two questions with two answers. Asked again in the same way, a runtime must say the same, or no verdict on it
can be repeated: the share is 1, and anything less is a fault. Set up otherwise, with more answers decoded
together or with other threads, numbers are summed in another order, and near ties of a quantised file tip
over: how often is a fact about the file and its runtime, whose budget is the task's to say
(``benchmarks/determinism.py`` measures both).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain, product, zip_longest
from typing import cast

from seatrial.evals.cases import Case
from seatrial.evals.criterion import Criterion
from seatrial.evals.evidence import Evidence
from seatrial.evals.metrics.base import Metric, Score, register, scored, share
from seatrial.evals.models import ERROR, Generation, Model, SetModel
from seatrial.evals.verdict import NotEvaluated

RUNS, SLOTS, THREADS, BUDGET = 2, (1, 8), (1, 2), 20
AROUND = 30  # characters shown from where two answers part

Ways = Mapping[str, tuple[Model, int]]  # by the name of a run: what is asked, and the run's number


def _metric(name: str, about: str, ways: Callable[..., Ways], settings: tuple[str, ...], of: str) -> Metric:
    def measure(evidence: Evidence, criterion: Criterion, model: str) -> list[Score]:
        cases = _asked(evidence, criterion)
        answers: dict[str, Sequence[Generation]] = {}
        for way, (chosen, run) in ways(evidence.model(model), criterion, model).items():
            answers[way] = evidence.answers_of(chosen, [case.question for case in cases], run)
        if len(answers) < 2:
            raise NotEvaluated(f"the settings of {criterion.id} leave one run, which nothing can differ from")
        return [_score(case, {way: each[i] for way, each in answers.items()}) for i, case in enumerate(cases)]

    return register(
        Metric(name, about, "share", "higher", measure, share, settings=settings, hard=False, of=of)
    )


def _repeated(chosen: Model, criterion: Criterion, name: str) -> Ways:
    """The model as it is, several times."""
    runs = range(1, _whole(criterion, "runs", RUNS) + 1)
    return {f"run {run}": (chosen, run) for run in runs}


def _set_up(chosen: Model, criterion: Criterion, name: str) -> Ways:
    """The model in a runtime with each number of slots and of threads, once."""
    if not hasattr(chosen, "variant"):
        raise NotEvaluated(f"slots and threads of the runtime of {name!r} cannot be set")
    variant = cast(SetModel, chosen).variant
    ways = product(_numbers(criterion, "slots", SLOTS), _numbers(criterion, "threads", THREADS))
    return {f"slots {slots}, threads {threads}": (variant(slots, threads), 1) for slots, threads in ways}


def _asked(evidence: Evidence, criterion: Criterion) -> list[Case]:
    """The first cases of each set in turn, at most as many as the budget."""
    turns = zip_longest(*(evidence.cases[name] for name in criterion.cases))
    cases = [case for case in chain.from_iterable(turns) if case is not None]
    return cases[: _whole(criterion, "budget", BUDGET)]


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
    for way, answer in answers.items():
        if answer.error or answer.stop_reason == ERROR:  # what never came is equal to nothing
            problem = answer.error or "it ended in an error"
            return scored(case, answer, False, f"{way}: no answer came ({problem})", "an answer")
    (first_way, first), *others = answers.items()
    for way, other in others:
        if difference := _difference(first, other):
            return scored(case, other, False, f"{way}: {difference} of {first_way}", first.text)
    return scored(case, first, True, "", first.text)


def _difference(first: Generation, other: Generation) -> str:
    """Where ``other`` parts from ``first``, in words that end before its name; "" where it does not."""
    if first.text != other.text:
        pairs = zip_longest(first.text, other.text)
        at = next(number for number, (one, two) in enumerate(pairs) if one != two)
        one, two = (text[at : at + AROUND] for text in (first.text, other.text))
        return f"{two!r} from character {at + 1} on, where {one!r} is the answer"
    if first.stop_reason != other.stop_reason:
        return f"ended by {other.stop_reason!r}, where {first.stop_reason!r} is the end"
    return ""


determinism = _metric(
    "determinism",
    """Share of questions whose answers are the same each time, asked again as they were asked.

    Each question is asked ``runs`` times (2), together with the same others and by the same settings;
    ``budget`` is the most questions asked (20), the first of each case set in turn. Texts must be equal, and
    how they ended. Anything below 1 is a fault of the runtime: no verdict on it can be repeated.

    Empty, broken, refused: as good as any other, if it is the same each time; an error is wrong.""",
    _repeated,
    ("runs", "budget"),
    of="answers",
)
batch_invariance = _metric(
    "batch_invariance",
    """Share of questions whose greedy answers are the same with other slots and threads of the runtime.

    Each question is asked once in a runtime with each of the ``slots`` ([1, 8]), the answers that are decoded
    together, and each of the ``threads`` ([1, 2]); ``budget`` is the most questions asked (20), the first of
    each case set in turn. Texts must be equal, and how they ended. A quantised file is far from 1 where its
    answers are long or unsure; what is right of its answers is for other metrics. Only for files in a runtime
    that can be set so.

    Empty, broken, refused: as good as any other, if it is the same each time; an error is wrong.""",
    _set_up,
    ("slots", "threads", "budget"),
    of="file",
)
