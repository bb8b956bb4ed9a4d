"""The records of runs as pandas data frames: for trends over releases, and for questions that no report asks.

    from seatrial.evals.frames import read_runs
    frames = read_runs("reports/tickets/latest", "old/results.json")

Needs ``pip install 'seatrial[frames]'``; nothing else in Seatrial imports pandas. A record is checked as
every other command checks it (:mod:`seatrial.evals.record`) before a cell is filled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seatrial.evals.record import Record, intact, read_record
from seatrial.training import extras
from seatrial.training.errors import SeatrialError

if TYPE_CHECKING:
    from pandas import DataFrame

Json = Mapping[str, Any]
Row = dict[str, Any]

# What a column holds, and its dtype, which is the same for a frame without rows. Text is `object` under every
# pandas from 2.2 on, so that what JSON calls null is NaN in it, as it is among the numbers.
TEXT, NUMBER, COUNT, YES, MAYBE, TIME = "object", "float64", "int64", "bool", "boolean", "datetime64[ns, UTC]"

RUNS: Mapping[str, str] = {
    "run": TEXT,
    "task": TEXT,
    "decision": TEXT,
    "exit_status": COUNT,
    "started": TIME,
    "seconds": NUMBER,
    "waivers": COUNT,
    "shipped": TEXT,
    "sha256": TEXT,
    "bytes": NUMBER,
    "program": TEXT,
    "recipe": TEXT,
    "command": TEXT,
    "python": TEXT,
    "platform": TEXT,
    "cpu": TEXT,
    "cores": NUMBER,
    "memory_gb": NUMBER,
    "commit": TEXT,
    "dirty": MAYBE,
    "path": TEXT,
}
PACKAGES: Mapping[str, str] = {"run": TEXT, "package": TEXT, "version": TEXT}
VERDICTS: Mapping[str, str] = {
    "run": TEXT,
    "task": TEXT,
    "started": TIME,
    "decision": TEXT,
    "criterion": TEXT,
    "group": TEXT,
    "title": TEXT,
    "status": TEXT,
    "required": YES,
    "metric": TEXT,
    "unit": TEXT,
    "better": TEXT,
    "rule": TEXT,
    "requirement": TEXT,
    "threshold": NUMBER,
    "model": TEXT,
    "value": NUMBER,
    "low": NUMBER,
    "high": NUMBER,
    "n": NUMBER,
    "method": TEXT,
    "against": TEXT,
    "against_value": NUMBER,
    "difference": NUMBER,
    "difference_low": NUMBER,
    "difference_high": NUMBER,
    "p_value": NUMBER,
    "cases_needed": NUMBER,
    "misses": COUNT,
    "stages": TEXT,
    "reason": TEXT,
}
SCORES: Mapping[str, str] = {
    "run": TEXT,
    "criterion": TEXT,
    "metric": TEXT,
    "model": TEXT,
    "case": TEXT,
    "group": TEXT,
    "score": NUMBER,
    "missed": MAYBE,
    "answer": TEXT,
}
MISSES: Mapping[str, str] = {
    "run": TEXT,
    "criterion": TEXT,
    "metric": TEXT,
    "model": TEXT,
    "case": TEXT,
    "prompt": TEXT,
    "expected": TEXT,
    "actual": TEXT,
    "reason": TEXT,
    "where": TEXT,
    "stage": TEXT,
}
CASES: Mapping[str, str] = {
    "run": TEXT,
    "case": TEXT,
    "test": TEXT,
    "metric": TEXT,
    "hard": YES,
    "missed": MAYBE,
    "prompt": TEXT,
    "expected": TEXT,
    "actual": TEXT,
    "reason": TEXT,
    "where": TEXT,
}
ARTIFACTS: Mapping[str, str] = {
    "run": TEXT,
    "key": TEXT,
    "step": TEXT,
    "title": TEXT,
    "seconds": NUMBER,
    "built_at": TIME,
    "built_now": YES,
    "files": COUNT,
    "bytes": COUNT,
}


@dataclass(frozen=True)
class Frames:
    """Tidy frames that join on ``run``, the id of a run. A share is 0 to 1, times are seconds, sizes bytes.

    ========== ================================================== =====================================
    frame      one row for each                                   columns
    ========== ================================================== =====================================
    runs       run                                                ``RUNS``; ``sha256`` of the shipped file
    packages   run and package                                    ``PACKAGES``; NaN: is not installed
    verdicts   run and criterion                                  ``VERDICTS``; NaN: was not measured
    scores     run, criterion, model and case                     ``SCORES``
    misses     run, criterion and case (or check) that counted    ``MISSES``
               against it
    cases      run, case and per-case test; a hard case that no   ``CASES``
               test looked at has a row, and NA for ``missed``
    artifacts  run and artifact                                   ``ARTIFACTS``
    ========== ================================================== =====================================

    ``scores.missed`` is NA for the model that a criterion compares with: a record lists the misses of the
    model that is judged. ``scores.group`` is NaN in records that do not say a case's group (before 0.2).
    """

    runs: DataFrame
    packages: DataFrame
    verdicts: DataFrame
    scores: DataFrame
    misses: DataFrame
    cases: DataFrame
    artifacts: DataFrame


def read_runs(*paths: str | PathLike[str]) -> Frames:
    """The records of runs as data frames, in the order in which they are named.

    Each of ``paths`` is a results.json, the folder of a run, or the report.html in it. A run that is named
    twice, such as by the link ``latest``, counts once. Without paths the frames are empty and have their
    columns.

    Raises:
        MissingExtra: pandas is not installed; the message says what to type.
        SeatrialError: a path names no record, or two records of one run say different things.
    """
    pandas = _pandas()
    records = _once(read_record(Path(path)) for path in paths)

    def frame(rows: Callable[[Record], Iterable[Row]], columns: Mapping[str, str]) -> DataFrame:
        found = [row for record in records for row in rows(record)]
        return pandas.DataFrame(
            {name: _column(pandas, [row[name] for row in found], dtype) for name, dtype in columns.items()}
        )

    with intact(*records):
        return Frames(
            runs=frame(_run, RUNS),
            packages=frame(_packages, PACKAGES),
            verdicts=frame(_verdicts, VERDICTS),
            scores=frame(_scores, SCORES),
            misses=frame(_misses, MISSES),
            cases=frame(_cases, CASES),
            artifacts=frame(_artifacts, ARTIFACTS),
        )


def _pandas() -> Any:
    extras.require(extras.FRAMES)
    try:
        import pandas
    except ImportError as error:
        if told := extras.broken_import(error):
            raise told from None
        raise
    return pandas


def _once(records: Iterable[Record]) -> list[Record]:
    """One record a run: a second one would count all its rows twice."""
    known: dict[str, Record] = {}
    for record in records:
        first = known.setdefault(record.name, record)
        if first is not record and first.document != record.document:
            raise SeatrialError(
                f"is another record of the run {record.name}, and says something else than {first.path}",
                where=record.path,
                hint="name the one that the run wrote",
            )
    return list(known.values())


def _column(pandas: Any, values: list[Any], dtype: str) -> Any:
    """A column of its kind; what is null in JSON is NaN, or NA where a truth value may be missing."""
    if dtype == TIME:
        return pandas.to_datetime(
            pandas.Series(values, dtype=TEXT), utc=True, format="ISO8601", errors="coerce"
        ).astype(TIME)
    if dtype == TEXT:
        values = [float("nan") if value is None else value for value in values]
    return pandas.Series(values, dtype=dtype)


# --- the rows of one record ------------------------------------------------------------------------------


def _run(record: Record) -> Iterator[Row]:
    document = record.document
    run, gate = document["run"], document["gate"]
    shipped, git, recipe = document["shipped"] or {}, run["git"] or {}, document["recipe"] or {}
    told = {name: run[name] for name in RUNS if name in run}
    yield told | {
        "run": run["id"],
        "task": document["task"]["name"],
        "decision": gate["decision"],
        "exit_status": gate["exit_status"],
        "waivers": len(gate["waivers"]),
        "shipped": shipped.get("name"),
        "sha256": shipped.get("sha256"),
        "bytes": shipped.get("bytes"),
        "program": document["program"],
        "recipe": recipe.get("name"),
        "commit": git.get("commit"),
        "dirty": git.get("dirty"),
        "path": str(record.path),
    }


def _packages(record: Record) -> Iterator[Row]:
    for package, version in record.document["run"]["packages"].items():
        yield {"run": record.name, "package": package, "version": version}


def _verdicts(record: Record) -> Iterator[Row]:
    document = record.document
    for verdict in document["verdicts"]:
        measured, against = verdict["measured"] or {}, verdict["against"] or {}
        compared = verdict["comparison"] or {}
        told = {name: verdict[name] for name in VERDICTS if name in verdict}
        yield told | {
            "run": record.name,
            "task": document["task"]["name"],
            "started": document["run"]["started"],
            "decision": document["gate"]["decision"],
            "group": verdict["criterion"].partition(".")[0],
            **{name: measured.get(name) for name in ("model", "value", "low", "high", "n", "method")},
            "against": against.get("model"),
            "against_value": against.get("value"),
            "difference": compared.get("difference"),
            "difference_low": compared.get("low"),
            "difference_high": compared.get("high"),
            "p_value": compared.get("p_value"),
            "misses": len(verdict["misses"]),
            "stages": ", ".join(verdict["stages"]),
        }


def _scores(record: Record) -> Iterator[Row]:
    for verdict in record.document["verdicts"]:
        missed = {miss["case"] for miss in verdict["misses"]}
        for measured, judged in ((verdict["measured"], True), (verdict["against"], False)):
            if measured is None:
                continue
            group_of = measured.get("group_of") or {}
            for case, score in measured["scores"].items():
                yield {
                    "run": record.name,
                    "criterion": verdict["criterion"],
                    "metric": verdict["metric"],
                    "model": measured["model"],
                    "case": case,
                    "group": group_of.get(case),
                    "score": score,
                    "missed": case in missed if judged else None,
                    "answer": measured["answers"].get(case),
                }


def _misses(record: Record) -> Iterator[Row]:
    for verdict in record.document["verdicts"]:
        for miss in verdict["misses"]:
            told = {name: miss[name] for name in MISSES if name in miss}
            yield told | {
                "run": record.name,
                "criterion": verdict["criterion"],
                "metric": verdict["metric"],
                "model": (verdict["measured"] or {}).get("model"),
            }


def _cases(record: Record) -> Iterator[Row]:
    document = record.document
    looked_at = set()
    for seen in document["observations"]:
        looked_at.add(seen["case"])
        yield {"run": record.name} | {name: seen[name] for name in CASES if name in seen}
    hard = document["hard_cases"]
    for names, missed in ((hard["missed"], True), (hard["not_evaluated"], None)):
        for case in names:
            if case not in looked_at:
                yield dict.fromkeys(CASES) | {
                    "run": record.name,
                    "case": case,
                    "hard": True,
                    "missed": missed,
                }


def _artifacts(record: Record) -> Iterator[Row]:
    for artifact in record.document["artifacts"]:
        told = {name: artifact[name] for name in ARTIFACTS if name in artifact}
        files = artifact["files"].values()
        yield told | {
            "run": record.name,
            "files": len(files),
            "bytes": sum(file["bytes"] for file in files),
        }
