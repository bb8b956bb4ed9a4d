"""The results document of a run, results.json: what was judged, how, by whom, and what came of it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shlex
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seatrial.evals import repository
from seatrial.evals.case_names import REGRESSIONS
from seatrial.evals.cases import Case
from seatrial.evals.failures import failures
from seatrial.evals.gate import spoken, told_once
from seatrial.evals.metrics.own import FILE as OWN_METRICS
from seatrial.evals.modelfiles.parser import read_text
from seatrial.evals.overview import overview
from seatrial.evals.prices import read_prices
from seatrial.evals.regressions.private_data import without_secrets
from seatrial.evals.report.regressions import regressions
from seatrial.evals.results import Results
from seatrial.evals.task import Task
from seatrial.training.store import Artifact, file_digest, made_with, package_versions


@dataclass(frozen=True)
class Invocation:
    """How a run was started: its id, the words of the command, and the folder that it was started in."""

    id: str
    command: Sequence[str]
    folder: Path


def results_document(results: Results, run: Invocation) -> dict[str, Any]:
    """The content of results.json; ``results.schema.json`` beside this documents it."""
    settings, decision = results.settings, results.decision
    assert decision is not None
    verdicts = results.in_order()
    answered = {
        (sums["model"], sums["case_set"], sums["drawn"]): sums
        for verdict in verdicts
        for artifact in verdict["artifacts"]
        for sums in artifact.pop("answered", ())
    }
    artifacts = {made["key"]: dict(made) for made in results.chain}
    artifacts |= {a["key"]: a for verdict in verdicts for a in verdict["artifacts"]}
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(results.started))
    for artifact in artifacts.values():  # whichever worker built it
        artifact["built_now"] = artifact["built_at"] >= started
    for verdict in verdicts:  # once, below; verdicts keep the keys
        verdict["artifacts"] = [artifact["key"] for artifact in verdict["artifacts"]]
    hard = results.hard_cases()
    shipped = results.judged_folder
    adapter = next((a for a in artifacts.values() if a["step"] == "adapter"), None)
    stage = next((a for a in artifacts.values() if a["step"] == "preference"), None)
    task, top = settings.task, repository.root(run.folder)
    tags = {case.id: case.tags for cases in settings.cases.values() for case in cases}
    document = {
        "schema_version": 1,
        "task": {
            "name": task.name,
            "title": task.title,
            "intent": task.intent,
            "non_goals": list(task.non_goals),
            "constraints": list(task.constraints),
            "path": repository.inside(task.folder, top),
            "criteria": repository.places(task, top),
            "sha256": file_digest(task.folder / "task.toml"),
            "files": {name.as_posix(): file_digest(task.path(name)) for name in _beside(task)},
        },
        "gate": {
            "decision": decision.decision,
            "exit_status": decision.exit_status,
            "spoken": spoken(decision.decision, len(settings.core.waivers)),
            "reasons": [str(reason) for reason in decision.reasons],
            "summary": told_once(decision.reasons),
            "waivers": [asdict(waiver) for waiver in settings.core.waivers],
        },
        "run": {**_run_facts(results, run), "root": str(top)},
        "shipped": _shipped(results),
        "program": without_secrets(settings.program),
        "case_files": [asdict(file) for file in settings.case_files],
        "questions": {case.id: _question(case) for cases in settings.cases.values() for case in cases},
        "recipe": None
        if settings.program or settings.made_by is None
        else settings.made_by.model_dump(mode="json"),
        "verdicts": verdicts,
        "observations": sorted(results.observations, key=lambda entry: str(entry["nodeid"])),
        "hard_cases": {
            "total": len(hard),
            "passed": sum(right is True for right in hard.values()),
            "missed": [name for name, right in hard.items() if right is False],
            "not_evaluated": [name for name, right in hard.items() if right is None],
        },
        "regressions": regressions(settings.cases.get(REGRESSIONS, ()), hard),
        "tests": {name: results.counts[name] for name in ("passed", "failed", "missed", "skipped", "errors")},
        "artifacts": [_without_texts(artifact) for artifact in artifacts.values()],
        "adapter_history": adapter["facts"]["history"] if adapter else [],
        "preference_history": stage["facts"]["history"] if stage else [],
        "timings": _timings(verdicts),
        "modelfile": _modelfile(shipped),
        "answered": [answered[asked] for asked in sorted(answered)],  # whichever worker said it first
        "prices": read_prices(task.folder),
    }
    return document | {
        "overview": overview(document),
        "failures": [each.to_json() for each in failures(verdicts, document["observations"], tags)],
    }


def _run_facts(results: Results, run: Invocation) -> dict[str, Any]:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(results.started))
    return {
        "id": run.id,
        "started": started,
        "seconds": round(time.time() - results.started, 1),
        "command": without_secrets(shlex.join(run.command)),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gb": round(pages / 1e9, 1),
        "upgraded": _upgraded(results),
        "packages": package_versions("ollama", "pytest", "pytest-xdist", "scipy"),
        "git": repository.checkout(run.folder, results.settings.reports),
    }


MADE_BY = ("adapter", "preference", "merged", "gguf", "quantized")


def _upgraded(results: Results) -> dict[str, dict[str, str]]:
    """Packages of which the shipped file was made with another version than judges it: at its first step, for
    what trained is not asked again when a file is exported anew."""
    made = results.shipped or {}
    if made.get("step") == "given-file":  # taken in, not made
        return {}
    changed: dict[str, dict[str, str]] = {}
    for manifest in [*results.chain, *([made] if made else [])]:
        if manifest["step"] in MADE_BY:
            for name, (then, now) in made_with(Artifact(Path(), manifest)).items():
                changed.setdefault(name, {"made": then, "judged": now})
    return changed


def _shipped(results: Results) -> dict[str, Any] | None:
    if results.shipped is None:
        return None
    files = results.shipped["files"]
    name = next(name for name in files if name.endswith(".gguf"))
    modelfile = files["Modelfile"]["sha256"] if "Modelfile" in files else None
    return {"name": name, **files[name], "runtime": "llama.cpp", "modelfile_sha256": modelfile}


def _modelfile(folder: Path | None) -> str | None:
    path = folder / "Modelfile" if folder else None
    return read_text(path) if path and path.is_file() else None


def _beside(task: Task) -> list[Path]:
    """What task.toml names and judging reads, its case files apart."""
    answer = task.answer
    named = (answer.schema_file, answer.tools, task.prompts.prompted_base, task.ratings, Path(OWN_METRICS))
    return [name for name in named if name and task.path(name).is_file()]


def _question(case: Case) -> str:
    """Short digest of what a case asks and expects: another expectation makes another score of it."""
    said = json.dumps([case.question.messages, dict(case.expect)], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _timings(verdicts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per case, from the latency verdicts: seconds to the first token and to the end."""
    measured = {v["metric"]: v["measured"]["scores"] for v in verdicts if v["measured"]}
    first, whole = measured.get("first_token_seconds", {}), measured.get("answer_seconds", {})
    return [
        {"case": case, "seconds": seconds, "first_token_seconds": first.get(case)}
        for case, seconds in whole.items()
    ]


def _without_texts(artifact: dict[str, Any]) -> dict[str, Any]:
    """A manifest for the report: what was asked and the loss history stand elsewhere in the document, and the
    store's seal is of the whole."""
    params = {name: value for name, value in artifact["params"].items() if name != "asked"}
    params = without_secrets(params)  # the command of a program may hold a key
    facts = {name: value for name, value in artifact["facts"].items() if name != "history"}
    kept = {name: value for name, value in artifact.items() if name != "seal"}
    return {**kept, "params": params, "facts": facts}


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()
