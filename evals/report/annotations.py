"""The verdict as annotations of GitHub's runner: what failed, at its line of task.toml or of a case file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from seatrial.evals.gate import MISSED, Reason
from seatrial.evals.report.escaping import command, one_line
from seatrial.evals.report.view import headline
from seatrial.evals.report.wording import amount
from seatrial.evals.verdict import FAIL, NOT_EVALUATED, PASS

Json = Mapping[str, Any]
SHOWN = 10  # errors, and as many warnings, that GitHub shows of one step; the others it drops in silence


def commands(results: Json) -> str:
    """Lines of workflow commands: errors for what stands against shipping, warnings for what else failed."""
    head = headline(results)
    if head["word"] != "DO NOT SHIP":
        told = [command("notice", _judged(results), title=head["word"])]
    else:
        told = _shown(list(_errors(results)), "error") + _shown(list(_warnings(results)), "warning")
    return "\n".join(told) + "\n"


def _errors(results: Json) -> Iterator[str]:
    """Required criteria that did not pass and hard cases that were not right, then whatever else is said."""
    verdicts = [v for v in results["verdicts"] if v["required"] and v["status"] != PASS]
    yield from (_criterion(results, verdict, "error") for verdict in verdicts)
    hard = results["hard_cases"]
    seen = {each["case"]: each for each in results["observations"] if each["hard"]}
    for state, cases in (("missed", hard["missed"]), ("not evaluated", hard["not_evaluated"])):
        yield from (_hard_case(results, case, state, seen.get(case)) for case in cases)
    explained = {f"{v['criterion']} {v['status']}" for v in verdicts}
    explained |= {str(Reason(f"hard case {case}", MISSED)) for case in hard["missed"]}
    explained |= {str(Reason(f"hard case {case}", NOT_EVALUATED)) for case in hard["not_evaluated"]}
    for reason in results["gate"]["reasons"]:
        if reason.partition(": ")[0] not in explained:
            yield command("error", reason, title="DO NOT SHIP")
    if headline(results)["doubts"] and not (verdicts or hard["missed"] or hard["not_evaluated"]):
        yield command("error", "; ".join(headline(results)["doubts"]), title="DO NOT SHIP")


def _warnings(results: Json) -> Iterator[str]:
    for verdict in results["verdicts"]:
        if not verdict["required"] and verdict["status"] == FAIL:
            yield _criterion(results, verdict, "warning")


def _criterion(results: Json, verdict: Json, level: str) -> str:
    unit, measured = verdict["unit"], verdict["measured"]
    lines = [verdict["title"], f"required: {verdict['requirement']}"]
    if measured:
        lines.append(f"measured: {amount(measured['value'], unit)}, n = {measured['n']}")
    lines += [f"{label}: {text}" for label, text in (("reason", verdict["reason"]), ("why", verdict["why"]))]
    if verdict["misses"]:
        lines.append(f"missed: {', '.join(one_line(miss['case'], 80) for miss in verdict['misses'][:5])}")
    if verdict["advice"]:
        lines.append(f"next: {verdict['advice']}")
    title = f"{verdict['criterion']} {verdict['status']}"
    where = results["task"].get("criteria", {}).get(verdict["criterion"], "")
    told = [one_line(line) for line in lines if not line.endswith(": ")]
    return _at(results, where, level, title, told)


def _hard_case(results: Json, case: str, state: str, seen: Json | None) -> str:
    told = ["one miss of a hard case stops the release"]
    if seen:
        told += [f"asked: {one_line(seen['prompt'])}", f"expected: {one_line(seen['expected'])}"]
        told += [f"answered: {one_line(seen['actual'])}", f"because: {one_line(seen['reason'])}"]
    return _at(results, seen["where"] if seen else "", "error", f"hard case {case} {state}", told)


def _at(results: Json, where: str, level: str, title: str, told: list[str]) -> str:
    """A command at ``file:line``; of a file outside of the repository only the text can tell."""
    path, _, line = where.rpartition(":")
    top, file = results["run"].get("root"), PurePath(path)
    if top and file.is_relative_to(top):
        file = file.relative_to(top)
    if not path or not line.isdecimal() or file.is_absolute() or ".." in file.parts:
        return command(level, "\n".join([*told, *([f"at {where}"] if where else [])]), title=title)
    return command(level, "\n".join(told), file=file.as_posix(), line=line, title=title)


def _shown(told: list[str], level: str) -> list[str]:
    """What GitHub will show; where it would drop some, the last place says how many."""
    if len(told) <= SHOWN:
        return told
    rest = len(told) - SHOWN + 1
    return [*told[: SHOWN - 1], command(level, f"{rest} more like these: the report lists them all")]


def _judged(results: Json) -> str:
    shipped = results["shipped"]
    if shipped:
        return f"{shipped['name']}, SHA-256 {shipped['sha256']}"
    return f"judged: the program {results['program']}"
