"""From results to what the page shows: order and grouping. It judges nothing and hides nothing.

One exception, on the safe side: the page says SHIP only if everything in the results agrees with it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from seatrial.evals.failures import failures
from seatrial.evals.fidelity.stages import STAGES
from seatrial.evals.overview import overview
from seatrial.evals.report.attribution import attributions, is_step
from seatrial.evals.report.confusion import matrices
from seatrial.evals.verdict import FAIL, INCONCLUSIVE, NOT_EVALUATED, PASS

Json = Mapping[str, Any]
MODELS = ("base", "prompted_base", "shipped")  # left to right, worst to best hoped for
EXIT = {
    0: ("ship", "Every required criterion passed"),
    1: ("fail", "Something required failed"),
    2: ("none", "Incomplete: the run was interrupted"),
    3: ("none", "Incomplete: pytest had an internal error"),
    4: ("none", "Incomplete: pytest was called with an option it does not know"),
    10: ("none", "Incomplete: something required was not evaluated"),
    11: ("open", "Inconclusive: the cases are too few to decide"),
}
MOST_MISSES = 20  # of one criterion that are shown; the others are folded
MOST_CARDS = 1000  # cases that are shown on the whole page, folded or not: a browser must open it at once
FEWEST_CARDS = 2 * MOST_MISSES  # of one list, however many lists there are
MOST_ROWS = 6  # models, or causes of failures, that stand open; the others are folded
MOST_REASONS = 40  # against shipping that are told; a run may miss ten thousand hard cases
LONGEST, SHORTER = 20_000, 1_000  # characters of an answer that are shown where few, or many, are
LINE = 60  # characters of a value that a table has room for
KINDS = {PASS: "ship", FAIL: "fail", INCONCLUSIVE: "open", NOT_EVALUATED: "none"}


def page(results: Json) -> dict[str, Any]:
    """Everything the template reads."""
    verdicts = [dict(verdict, bar=bar(verdict)) for verdict in results["verdicts"]]
    artifacts = [dict(a, anchor=f"artifact-{i}") for i, a in enumerate(results.get("artifacts") or [], 1)]
    known = {artifact["key"]: artifact for artifact in artifacts}
    numbered = [
        dict(
            verdict,
            anchor=f"criterion-{i}",
            rests_on=[known[k] for k in verdict["artifacts"] if k in known],
            short_checks=all(map(_short_check, verdict["misses"])),
            folded=is_step(verdict) and (verdict["status"] == PASS or not verdict["required"]),
        )
        for i, verdict in enumerate(verdicts, 1)
    ]
    optional: dict[str, Any] = {
        "shipped": None,
        "recipe": None,
        "modelfile": None,
        "adapter_history": [],
        "preference_history": [],
        "timings": [],
    }
    compared = side_by_side([v for v in verdicts if not is_step(v)], results["observations"])
    chains = attributions(numbered)
    missed = [seen for seen in results["observations"] if seen["missed"]]
    missed.sort(key=lambda seen: not seen["hard"])
    lists = [
        *(verdict["misses"] for verdict in verdicts),
        *(step.lost + step.won for chain in chains for step in chain.changed),
        compared["cases"],
        missed,
        results.get("regressions") or [],
    ]
    return {
        **optional,
        **results,
        **bounds([len(each) for each in lists if each]),
        "headline": headline(results),
        "at_a_glance": at_a_glance(results),
        "other_backend": other_backend(results),
        "most_rows": MOST_ROWS,
        "kinds": KINDS,
        "most_misses": MOST_MISSES,
        "required": [verdict for verdict in numbered if verdict["required"]],
        "faults": faults(numbered),
        "groups": grouped(numbered),
        "compared": compared,
        "confusions": matrices(numbered),
        "attributions": chains,
        "missed": missed,
        "regressions": sorted(results.get("regressions") or [], key=_held),
        "artifacts": artifacts,
        "dataset": next((a for step in ("dataset", "adapter") for a in artifacts if a["step"] == step), None),
        "trained": any(each["step"] == "adapter" for each in artifacts),
    }


def at_a_glance(results: Json) -> dict[str, Any]:
    """The overview and the failures by cause; from the verdicts, where a record is older than they are."""
    rows = results["overview"] if "overview" in results else overview(results)
    if "failures" in results:
        found = results["failures"]
    else:
        found = [each.to_json() for each in failures(results["verdicts"], results["observations"])]
    scores = {score["criterion"]: score for row in rows for score in row["scores"]}
    return {
        "rows": [dict(row, by_criterion={each["criterion"]: each for each in row["scores"]}) for row in rows],
        "scores": list(scores.values()),
        "failures": found,
        "priced": bool(results.get("prices")),
    }


def other_backend(results: Json) -> str:
    """What is said where another backend trained than the recipe asks for; "" where none did."""
    recipe = results.get("recipe")
    facts = [each["facts"] for each in results.get("artifacts") or () if each["step"] == "adapter"]
    backend = facts[0].get("backend") if facts else None  # a given adapter does not say
    if recipe is None or backend in (None, recipe["backend"]):
        return ""
    asked = recipe["backend"]
    return f"Trained by {backend}: the recipe {recipe['name']} asks for {asked}, which was not to be had."


def bounds(lengths: Sequence[int]) -> dict[str, int]:
    """How many cases of a list the page shows, and how much of an answer, given how long its lists are."""
    many = sum(lengths) > MOST_CARDS
    cards = max(FEWEST_CARDS, MOST_CARDS // len(lengths)) if many else max(lengths, default=0)
    return {
        "most_cards": max(cards, MOST_MISSES),
        "longest": SHORTER if many else LONGEST,
        "most_reasons": MOST_REASONS,
    }


def headline(results: Json) -> dict[str, Any]:
    """The decision in large letters, its kind, and what speaks against a SHIP that nothing else bears out."""
    gate, hard = results["gate"], results["hard_cases"]
    kind, because = EXIT.get(gate["exit_status"], ("none", "Incomplete: the run ended in an unknown way"))
    doubts = [
        f"{verdict['criterion']} is required and {verdict['status']}"
        for verdict in results["verdicts"]
        if verdict["required"] and verdict["status"] != PASS
    ]
    doubts += [f"the hard case {case} was missed" for case in hard["missed"]]
    doubts += [f"the hard case {case} was not evaluated" for case in hard["not_evaluated"]]
    if gate["exit_status"] != 0:
        doubts.append(f"the exit status is {gate['exit_status']}")
    if gate["decision"] != "SHIP":
        if kind == "ship":
            kind, because = "fail", "The gate said no"
        return {"word": "DO NOT SHIP", "kind": kind, "because": because, "doubts": []}
    if doubts:
        because = "The gate said SHIP, but its own results contradict it"
        return {"word": "DO NOT SHIP", "kind": "fail", "because": because, "doubts": doubts}
    return {"word": gate["spoken"], "kind": "ship", "because": because, "doubts": []}


def _held(regression: Json) -> int:
    """Those that were missed come first, then those that were not asked; else as they came."""
    held = regression["held"]
    return 2 if held else 1 if held is None else 0


def _short_check(miss: Json) -> bool:
    """Whether a miss is a check of a file whose two values fit into a line of a table."""
    values = (miss["expected"], miss["actual"])
    short = all(len(value) <= LINE and "\n" not in value for value in values)
    return short and bool(miss["stage"]) and not miss["prompt"]


def faults(verdicts: Iterable[Json]) -> list[tuple[str, list[Json]]]:
    """Stages at fault of required criteria that failed, from data to runtime, with those criteria."""
    found: dict[str, list[Json]] = {}
    for verdict in verdicts:
        if verdict["required"] and verdict["status"] == FAIL:
            for stage in verdict["stages"]:
                found.setdefault(stage, []).append(verdict)
    order = {stage: number for number, stage in enumerate(STAGES)}
    return sorted(found.items(), key=lambda fault: order.get(fault[0], len(order)))


def grouped(verdicts: Sequence[Json]) -> list[tuple[str, list[Json]]]:
    """Verdicts by the part of their id before the first dot, in the order of the task."""
    groups: dict[str, list[Json]] = {}
    for verdict in verdicts:
        groups.setdefault(verdict["criterion"].partition(".")[0], []).append(verdict)
    return list(groups.items())


def bar(verdict: Json) -> dict[str, Any] | None:
    """Where estimate, interval and threshold lie on a line from 0 to 100; None where nothing was sampled.

    A comparison is drawn as its difference against zero (superior) or the margin (non-inferior, within).
    """
    subject = verdict["comparison"] or verdict["measured"]
    mark = verdict["threshold"]
    if not subject or mark is None:
        return None
    compared = verdict["comparison"] is not None
    value, low, high = (
        subject["difference" if compared else "value"],
        subject["low"],
        subject["high"],
    )
    if value is None or low is None or high is None:
        return None
    share = verdict["unit"] == "share"
    start, end = _ends(min(value, low, mark), max(value, high, mark), compared, share)
    upward = verdict["better"] != "lower"

    def at(position: float) -> float:
        return round(min(max(100 * (position - start) / (end - start), 0.0), 100.0), 2)

    good = (at(mark), 100.0) if upward else (0.0, at(mark))
    return {
        "value": at(value),
        "low": at(low),
        "high": at(high),
        "mark": at(mark),
        "good": {"from": good[0], "width": round(good[1] - good[0], 2)},
        "ends": (start, end),
        "threshold": mark,
        "difference": compared,
    }


def _ends(least: float, most: float, compared: bool, share: bool) -> tuple[float, float]:
    """Round numbers between which a drawing lies, with some room on both sides."""
    if share and not compared:
        return (0.9 if least >= 0.925 else 0.5 if least >= 0.6 else 0.0), 1.0
    if not compared:
        least = min(least, 0.0)
    room = 0.02 * (most - least) or 0.5
    step = 10.0 ** math.floor(math.log10(most - least + room)) / 2
    start = least if least == 0 and not compared else math.floor((least - room) / step) * step
    return start, math.ceil((most + room) / step) * step


def side_by_side(verdicts: Iterable[Json], observations: Iterable[Json]) -> dict[str, Any]:
    """Every metric by which models were compared, with one measurement a model, and their answers by case."""
    rows: dict[tuple[str, tuple[str, ...]], dict[str, Any]] = {}
    verdicts = list(verdicts)
    for verdict in verdicts:
        if verdict["measured"] and verdict["against"]:
            key = (verdict["metric"], tuple(sorted(verdict["measured"]["scores"])))
            facts = {name: verdict[name] for name in ("metric", "unit", "better")}
            row = rows.setdefault(key, {**facts, "models": {}, "criteria": []})
            row["criteria"].append(verdict["criterion"])
            for measured in (verdict["measured"], verdict["against"]):
                row["models"].setdefault(measured["model"], measured)
    seen = dict.fromkeys(name for row in rows.values() for name in row["models"])
    models = [name for name in MODELS if name in seen] + [name for name in seen if name not in MODELS]
    for row in rows.values():
        parts = dict.fromkeys(part for each in row["models"].values() for part in each["groups"])
        row["parts"] = list(parts)
    return {
        "rows": list(rows.values()),
        "models": models,
        "cases": _answers(list(rows.values()), models, verdicts, observations),
    }


def _answers(
    rows: Sequence[Json],
    models: Sequence[str],
    verdicts: Iterable[Json],
    observations: Iterable[Json],
) -> list[dict[str, Any]]:
    asked = _asked({row["metric"] for row in rows}, verdicts, observations)
    cases: dict[str, dict[str, Any]] = {}
    for row in rows:
        for model in models:
            measured = row["models"].get(model) or {"answers": {}, "scores": {}}
            for case, answer in measured["answers"].items():
                entry = cases.setdefault(case, {"id": case, "asked": asked.get(case), "models": {}})
                given = entry["models"].setdefault(model, {"answer": answer, "scores": {}})
                if case in measured["scores"]:
                    given["scores"][row["metric"]] = measured["scores"][case]
    return sorted(cases.values(), key=lambda case: not _differs(case, models))  # stable: else as they came


def _asked(
    metrics: Collection[str], verdicts: Iterable[Json], observations: Iterable[Json]
) -> dict[str, dict[str, Any]]:
    """By case: what was asked, and what each of ``metrics`` expected of the answer."""
    asked: dict[str, dict[str, Any]] = {}
    told = [(seen["metric"], seen) for seen in observations]
    told += [(verdict["metric"], miss) for verdict in verdicts for miss in verdict["misses"]]
    for metric, each in told:
        entry = asked.setdefault(each["case"], {"prompt": each["prompt"], "expected": {}})
        if metric in metrics:
            entry["expected"][metric] = each["expected"]
    return asked


def _differs(case: Json, models: Sequence[str]) -> bool:
    """Whether a case tells models apart, or the last of them did not get it right."""
    scores = [case["models"][model]["scores"] for model in models if model in case["models"]]
    return any(each != scores[0] for each in scores) or any(
        score is not None and score < 1 for score in scores[-1].values()
    )
