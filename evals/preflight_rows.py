"""What the training rows are, and whether they are enough to begin: counted, never guessed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seatrial.evals.cases import Case
from seatrial.evals.near_duplicates import Index, words_of
from seatrial.evals.preflight_answer import NO, UNKNOWN, YES, Answer
from seatrial.evals.task import Task
from seatrial.training.lengths import Lengths
from seatrial.training.recipe import Recipe
from seatrial.training.rules import rule

SHOWN = 5


@dataclass(frozen=True)
class Rows:
    """``count`` rows, of which ``distinct`` have different questions and ``repeated`` say nearly what one
    before them says; ``labels``: rows by what they teach; ``unseen``: labels that cases expect and no row
    teaches; ``leaked``: cases that are training questions; ``lengths``: tokens, if they could be counted."""

    count: int
    distinct: int
    repeated: int
    labels: Mapping[str, int]
    unseen: Sequence[str]
    leaked: Sequence[str]
    lengths: Lengths | None


def look_at_rows(
    task: Task,
    cases: Mapping[str, Sequence[Case]],
    conversations: Sequence[Sequence[Mapping[str, str]]],
    lengths: Lengths | None,
) -> Rows:
    """Count what ``conversations`` hold."""
    questions = [_question(messages) for messages in conversations]
    kinds = list(dict.fromkeys(" ".join(words_of(text)) or text for text in questions))
    labels: Counter[str] = Counter()
    if task.reader.main:
        labels.update(task.reader.label(messages[-1]["content"])[0] for messages in conversations)
    expected = {case.label for group in cases.values() for case in group if case.label}
    known = Index(questions)
    asked = {case.id: case.prompt for group in cases.values() for case in group if words_of(case.prompt)}
    return Rows(
        count=len(conversations),
        distinct=len(kinds),
        repeated=_repeated(kinds),
        labels=dict(labels),
        unseen=sorted(expected - set(labels)) if labels else [],
        leaked=[name for name, prompt in asked.items() if known.twin(prompt) is not None],
        lengths=lengths,
    )


def _question(messages: Sequence[Mapping[str, str]]) -> str:
    return next((turn["content"] for turn in reversed(messages) if turn["role"] == "user"), "")


def _repeated(texts: Sequence[str]) -> int:
    """How many of ``texts``, all different, say nearly what an earlier one says: the later half is sought in
    the earlier one, and each half in itself."""
    found: set[int] = set()

    def search(start: int, end: int) -> None:
        if end - start < 2:
            return
        middle = (start + end) // 2
        search(start, middle)
        search(middle, end)
        known = Index(texts[start:middle])
        found.update(n for n in range(middle, end) if n not in found and known.twin(texts[n]) is not None)

    search(0, len(texts))
    return len(found)


def rows_answer(task: Task, rows: Rows, recipe: Recipe) -> Answer:
    """How many rows: enough to begin, or what is wrong with them."""
    least, repeated = rule("least_rows"), rule("repeated_share")
    share = rows.repeated / rows.count
    reasons = [
        f"{rows.count:,} rows, {rows.distinct:,} different questions, {rows.repeated:,} of which nearly "
        "repeat another",
        *([_by_label(rows)] if rows.labels else []),
        *_lengths(rows, recipe),
    ]
    wrong = []
    held_out = recipe.trainer.validation_rows
    if rows.count <= held_out:
        wrong.append(f"{rows.count} rows, of which validation_rows = {held_out} would leave none to train on")
    if rows.leaked:
        shown = ", ".join(rows.leaked[:SHOWN])
        wrong.append(f"{len(rows.leaked)} cases are training questions ({shown}): take the rows out")
    if rows.unseen:
        wrong.append(f"no row teaches {', '.join(rows.unseen)}, which cases expect")
    cut = _cut(rows, recipe)
    if cut:
        wrong.append(
            f"{cut} rows are longer than max_length = {recipe.trainer.max_length}: their ends are cut"
        )
    if rows.distinct < least.value:
        wrong.append(f"{rows.distinct} different questions are few")
        reasons.append(f"rule of thumb: at least {least.told()}")
    if share > repeated.value:
        wrong.append(f"{share:.0%} of the rows nearly repeat another")
        reasons.append(f"rule of thumb: at most {repeated.told()}")
    measure = "train on half of the rows and on all, then seatrial compare: still rising means more rows help"
    figures = {"rows": rows.count, "distinct": rows.distinct, "repeated": rows.repeated, "cut": cut}
    if wrong:
        hard = rows.leaked or rows.unseen or cut or rows.count <= held_out
        return Answer(
            "how many rows", NO if hard else UNKNOWN, "; ".join(wrong), reasons, "pytest -m data", figures
        )
    said = f"{rows.count:,} are enough to begin; how many are enough to ship only a run can tell"
    return Answer("how many rows", YES, said, reasons, measure, figures)


def _by_label(rows: Rows) -> str:
    few = sorted(rows.labels.items(), key=lambda each: (each[1], each[0]))
    return "rows by label: " + ", ".join(f"{name or '(none)'} {count}" for name, count in few[:12])


def _lengths(rows: Rows, recipe: Recipe) -> list[str]:
    if rows.lengths is None:
        return ["tokens are not known: the base, whose tokenizer counts them, is not in the store"]
    ordered = sorted(rows.lengths.rows)
    middle, longest = ordered[len(ordered) // 2], ordered[-1]
    return [
        f"{sum(ordered):,} tokens, {sum(rows.lengths.answers):,} of them answers; a row has {middle} in the "
        f"median and {longest} at most, max_length is {recipe.trainer.max_length}"
    ]


def _cut(rows: Rows, recipe: Recipe) -> int:
    lengths = rows.lengths.rows if rows.lengths else ()
    return sum(1 for each in lengths if each > recipe.trainer.max_length)
