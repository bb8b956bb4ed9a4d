"""Two compared runs in Markdown, for a pull request or a job's summary."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.evals.compare import RunsCompared
from seatrial.evals.report import compared as words
from seatrial.evals.report.escaping import cell, code, plain
from seatrial.evals.report.summary import within_limit

ARROW = "→"
MOST_CASES = 20
SHORT = 160  # characters of a prompt or an answer
MOST_COMMENT = 60_000  # bytes: a comment on GitHub has at most 65,536 characters


def markdown(found: RunsCompared) -> str:
    """The comparison as Markdown that a comment has room for."""
    parts = (_head(found), _criteria(found), _hard(found), _cases(found), _only(found))
    return within_limit([line for part in parts for line in part], MOST_COMMENT)


def _head(found: RunsCompared) -> Iterator[str]:
    yield f"## {plain(found.after['task']['title'])}: {words.headline(found)}"
    yield ""
    yield plain(words.conclusion(found), 2000)
    yield ""
    yield "| | Decision | Run | Judged | Commit |"
    yield "|---|---|---|---|---|"
    for label, run in (("before", found.before), ("after", found.after)):
        cells = (
            plain(run["gate"]["spoken"]),
            cell(run["run"]["id"]),
            cell(words.judged(run)),
            plain(words.commit(run)),
        )
        yield f"| {label} | {' | '.join(cells)} |"
    yield ""
    yield from (f"- {plain(note)}" for note in (*found.notes, words.pairing(found)))
    yield ""


def _criteria(found: RunsCompared) -> Iterator[str]:
    yield "### Criteria"
    yield ""
    yield "| | Criterion | Verdict | Value | Difference |"
    yield "|---|---|---|---|---|"
    for change in words.ordered(found):
        facts = (words.difference(change), words.tally(change), words.within(change), *change.notes)
        mark = f"**{change.direction}**" if change.regressed else change.direction
        name = f"**{plain(change.criterion)}** {plain(change.verdict['title'])}"
        cells = (mark, name, plain(words.statuses(change, ARROW)), plain(words.values(change, ARROW)))
        yield f"| {' | '.join(cells)} | {plain('; '.join(filter(None, facts)))} |"
    yield ""


def _hard(found: RunsCompared) -> Iterator[str]:
    if found.hard:
        yield "### Hard cases"
        yield ""
        yield from _listed(
            [f"{e.direction}: {code(e.case)} {e.before} {ARROW} {e.after}" for e in found.hard]
        )


def _cases(found: RunsCompared) -> Iterator[str]:
    if found.cases:
        yield "### Cases"
        yield ""
    told = []
    for case in found.cases:
        of = "" if case.model == "shipped" else f" ({plain(case.model)})"
        answers = f"before {code(case.before, SHORT)}, after {code(case.after, SHORT)}"
        scores = plain(words.scores(case, ARROW))
        told.append(
            f"{case.direction}: {code(case.case)}{of}, {scores}. Asked {code(case.prompt, SHORT)}, {answers}"
        )
    yield from _listed(told)


def _only(found: RunsCompared) -> Iterator[str]:
    for what, cases in words.only(found):
        yield f"- {len(cases):,} {what}: {code(', '.join(cases))}"


def _listed(items: list[str]) -> Iterator[str]:
    yield from (f"- {item}" for item in items[:MOST_CASES])
    if len(items) > MOST_CASES:
        yield f"- and {len(items) - MOST_CASES:,} more; `--format html` shows them"
    yield ""
