"""The data card: what is in the training file, in numbers that come from the rows themselves.

    text = data_card("training/data/task_api", rows, train_jsonl)

Left out: quality. Whether the data teaches anything is for the gate to say.
"""

from __future__ import annotations

import hashlib
from collections import Counter

from seatrial.training.factory.answer import ARGUMENTS
from seatrial.training.factory.compose import Row

CHARACTERS_PER_TOKEN = 3.7
NAMED = ("title", "task")


def counts(rows: list[Row]) -> str:
    """A Markdown table of the rows of each operation."""
    lines = [
        "| operation | rows | distinct phrasings | with due date | with priority | by number |",
        "|---|---|---|---|---|---|",
    ]
    for operation in ARGUMENTS:
        lines.append(_count_row(operation, [r for r in rows if r.line.operation == operation]))
    lines.append(_count_row("all", rows))
    return "\n".join(lines)


def data_card(folder: str, rows: list[Row], jsonl: str) -> str:
    """The whole card in Markdown, with '\\n' line ends."""
    kinds = Counter(row.line.kind for row in rows)
    manners = Counter(tag for row in rows for tag in row.tags[2:])
    return CARD.format(
        folder=folder,
        counts=counts(rows),
        kinds=", ".join(f"{kind} {kinds[kind]}" for kind in sorted(kinds)),
        manners=", ".join(f"{manner} {manners[manner]}" for manner in sorted(manners)),
        names=len({row.arguments[key].lower() for row in rows for key in NAMED if _named(row, key)}),
        total=len(rows),
        request=_tokens(rows, "request"),
        answer=_tokens(rows, "answer"),
        per_token=CHARACTERS_PER_TOKEN,
        sha256=hashlib.sha256(jsonl.encode()).hexdigest(),
    )


def _count_row(name: str, rows: list[Row]) -> str:
    given = Counter(argument for row in rows for argument in row.arguments)
    cells = [
        len(rows),
        len({(row.line.operation, row.line.text) for row in rows}),
        given["due"],
        given["priority"],
        sum(row.arguments.get("task", "").isdigit() for row in rows),
    ]
    return f"| {name} | " + " | ".join(map(str, cells)) + " |"


def _named(row: Row, key: str) -> bool:
    return not row.arguments.get(key, "0").isdigit()


def _tokens(rows: list[Row], part: str) -> str:
    characters = sum(len(getattr(row, part)) for row in rows)
    return f"{characters / CHARACTERS_PER_TOKEN / len(rows):.0f}"


CARD = """\
# Data card: {folder}/train.jsonl

Written by `python -m seatrial.training.factory {folder}`; changes belong in `seeds/`.
With `--check` the same command exits 1 if the committed files are not what the seeds give.

- {total} rows in ShareGPT form: one request, one answer. The system prompt is the task's, not here.
- Licence: Apache-2.0. Language: English, with a few requests in other languages.
- SHA-256 of train.jsonl: `{sha256}`
- Names of tasks: {names} different ones, dealt to the operations in turn.
- Length, at about {per_token} characters a token: request {request}, answer {answer} tokens a row.

{counts}

Kinds: {kinds}.
Manners: {manners}.

`none` rows must not act: small talk, questions about the world, empty messages, other work,
injected instructions, fragments of code, requests that name no task. `near_miss` rows say words
of one operation and mean another; `told` rows tell that something happened and leave the command
to be understood. The closing question of an answer follows from its operation and arguments.

Names, titles and dates are copied from the request. What JSON must escape is replaced: double quotes by
single ones, backslashes by slashes.

## What it is not
- Not collected from users: an AI assistant wrote every line for this set, one by one; values are
  dealt to the slots by chance with a fixed seed.
- Not a sample of real traffic: the shares of operations and kinds are chosen for training.
- Not for judging: the evaluation cases in `golden/` were written apart from it.
  The seeds were then revised several times after a trained model was examined: at first its misses
  were known by kind only, later with the missed questions in view. None was copied, and a test
  keeps near copies out, but a result on the same questions, the development cases above all, is
  flattered by it.
- Not multi-turn, and not fit for requests that name several tasks at once.
"""
