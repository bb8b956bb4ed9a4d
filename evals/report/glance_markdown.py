"""The models at a glance and the failures by cause, as Markdown for a job's summary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from seatrial.evals.report.escaping import plain
from seatrial.evals.report.view import at_a_glance
from seatrial.evals.report.wording import amount, duration, role

Json = Mapping[str, Any]
MOST = 12  # models, and causes, that are told


def glance(results: Json) -> Iterator[str]:
    """A line a model, then a line a cause with what mends it."""
    found = at_a_glance(results)
    models, causes = found["rows"], found["failures"]
    if models:
        yield "### Models"
        yield ""
        yield from _told([f"**{plain(role(row['model']))}**: {_figures(row)}" for row in models])
    if causes:
        yield "### Failures by cause"
        yield ""
        yield from _told([_cause(each) for each in causes])


def _told(lines: list[str]) -> Iterator[str]:
    yield from (f"- {line}" for line in lines[:MOST])
    if len(lines) > MOST:
        yield f"- and {len(lines) - MOST} more; the report has them"
    yield ""


def _figures(row: Json) -> str:
    """Scores, speed, cost and broken answers, as far as they were measured."""
    told = [f"{plain(each['criterion'])} {amount(each['value'], each['unit'])}" for each in row["scores"]]
    if row["answer_seconds"] is not None:
        slowest = row["answer_seconds_p95"]
        tail = "" if slowest is None else f" (p95 {duration(slowest)})"
        told.append(f"an answer in {duration(row['answer_seconds'])}{tail}")
    if row["tokens_per_second"] is not None:
        told.append(f"{row['tokens_per_second']:.3g} tokens a second")
    if row["cost_per_1000"] is not None:
        told.append(f"{row['cost_per_1000']:.3g} dollars for 1,000 requests")
    if row["schema_error_rate"] is not None:
        told.append(f"{amount(row['schema_error_rate'], 'share')} of {row['schema_cases']} answers broken")
    if row["errors"]:
        told.append(f"{row['errors']} answers never came")
    return ", ".join(told) or "nothing was measured"


def _cause(each: Json) -> str:
    cases = f"{each['count']} case{'s' if each['count'] != 1 else ''}"
    return (
        f"**{plain(each['cause'])}**, {cases} ({plain(', '.join(each['criteria']))}): {plain(each['repair'])}"
    )
