"""The verdict as Markdown, short enough for a job's summary page (``GITHUB_STEP_SUMMARY``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from seatrial.evals.report.escaping import code, plain
from seatrial.evals.report.glance_markdown import glance
from seatrial.evals.report.view import headline, other_backend
from seatrial.evals.report.wording import amount, duration, interval, moment, size
from seatrial.evals.verdict import PASS

Json = Mapping[str, Any]
MOST = 1_000_000  # bytes: the runner refuses a summary above 1 MiB
MANY = 40  # reasons, or missed hard cases, that are told
SHORT = 160  # characters of a prompt or an answer


def summary(results: Json) -> str:
    """Verdict, file, one line a criterion, reasons, missed hard cases, waivers, models and failures."""
    parts = (
        *(_verdict(results), _backend(results), _criteria(results), _reasons(results)),
        *(_hard(results), _waivers(results)),
        glance(results),
    )
    return within_limit([line for part in parts for line in part])


def within_limit(lines: Sequence[str], most: int = MOST) -> str:
    """``lines`` as a text of at most ``most`` bytes; what is left out is said."""
    text = "\n".join(lines).rstrip() + "\n"
    if len(text.encode()) <= most:
        return text
    kept, used = 0, 200  # room for the word about the rest
    for line in lines:
        used += len(line.encode()) + 1
        if used > most:
            break
        kept += 1
    rest = len(lines) - kept
    return "\n".join([*lines[:kept], "", f"Cut here: {rest:,} more lines. The report holds them all.", ""])


def _verdict(results: Json) -> Iterator[str]:
    head, run, shipped = headline(results), results["run"], results["shipped"]
    yield f"## {plain(head['word'])}: {plain(results['task']['title'])}"
    yield ""
    yield f"{plain(head['because'])} (exit status {results['gate']['exit_status']})."
    yield ""
    if shipped:
        yield f"- File: {code(shipped['name'])}, {size(shipped['bytes'])}, SHA-256 {code(shipped['sha256'])}"
        if shipped["modelfile_sha256"]:
            yield f"- Modelfile: SHA-256 {code(shipped['modelfile_sha256'])}"
    elif results["program"]:
        yield f"- Program: {code(results['program'])}"
    else:
        yield "- File: none was judged"
    if git := run["git"]:
        yield f"- Commit: {code(git['commit'])}{' with uncommitted changes' if git['dirty'] else ''}"
    yield f"- Run: {code(run['id'])}, {plain(moment(run['started']))}, {duration(run['seconds'])}"
    for file in results["case_files"]:
        if not file["own"]:
            told = f"{file['cases']} cases of {code(file['path'])}, which is not the task's own file"
            yield f"- Case set {plain(file['case_set'])}: {told}"
    yield ""


def _criteria(results: Json) -> Iterator[str]:
    verdicts = results["verdicts"]
    required = [verdict for verdict in verdicts if verdict["required"]]
    passed = sum(verdict["status"] == PASS for verdict in required)
    yield f"### Required criteria: {passed} of {len(required)} passed"
    yield ""
    yield "| Status | Criterion | Measured | Required |"
    yield "|---|---|---|---|"
    for verdict in verdicts:
        status = verdict["status"] if verdict["status"] == PASS else f"**{verdict['status']}**"
        cells = (
            status if verdict["required"] else f"{status} (not required)",
            f"**{plain(verdict['criterion'])}** {plain(verdict['title'])}",
            _measured(verdict),
            plain(verdict["requirement"]),
        )
        yield f"| {' | '.join(cells)} |"
    yield ""


def _measured(verdict: Json) -> str:
    """The value that decided, with its interval; or why there is none."""
    unit, measured, against = verdict["unit"], verdict["measured"], verdict["against"]
    if measured is None:
        return plain(verdict["reason"] or "nothing was measured")
    told = amount(measured["value"], unit)
    if bounds := interval(measured["low"], measured["high"], unit):
        told += f" ({bounds})"
    if against is not None:
        told += f", {against['model']} {amount(against['value'], unit)}"
    return plain(f"{told}, n = {measured['n']}")


def _reasons(results: Json) -> Iterator[str]:
    reasons = [*headline(results)["doubts"], *results["gate"]["summary"]]
    if reasons:
        yield "### Against shipping"
        yield ""
        yield from _listed([plain(reason) for reason in reasons])


def _backend(results: Json) -> Iterator[str]:
    if told := other_backend(results):
        yield f"**{plain(told)}**"
        yield ""


def _hard(results: Json) -> Iterator[str]:
    hard = results["hard_cases"]
    if not hard["total"]:
        return
    yield f"### Hard cases: {hard['passed']} of {hard['total']} passed"
    yield ""
    seen = {each["case"]: each for each in results["observations"] if each["hard"] and each["missed"]}
    told = []
    for case in hard["missed"]:
        if each := seen.get(case):
            asked, answered = code(each["prompt"], SHORT), code(each["actual"], SHORT)
            told.append(f"{code(case)} asked {asked}, answered {answered}: {plain(each['reason'])}")
        else:
            told.append(f"{code(case)} was missed")
    told += [f"{code(case)} was not evaluated" for case in hard["not_evaluated"]]
    yield from _listed(told)


def _waivers(results: Json) -> Iterator[str]:
    if waivers := results["gate"]["waivers"]:
        yield "### Waived"
        yield ""
        yield from _listed([f"**{plain(each['name'])}**: {plain(each['why'])}" for each in waivers])


def _listed(items: Sequence[str]) -> Iterator[str]:
    yield from (f"- {item}" for item in items[:MANY])
    if len(items) > MANY:
        yield f"- and {len(items) - MANY:,} more; the report lists them all"
    yield ""
