"""Base weights from the Hugging Face hub as a step: ``[base] source = "hub"``.

The step's key holds the commit. A recipe that names one (40 digits) asks the hub for nothing once the store
holds it. A branch or tag can move: it is asked for in every run, the answer is pinned in the step's
parameters, and a branch that moved makes another artifact. Offline (``HF_HUB_OFFLINE=1``) it is what it was
when last asked, and that is said.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from seatrial.training.errors import SeatrialError
from seatrial.training.hub import COMMIT
from seatrial.training.process import JsonProcess
from seatrial.training.progress import Progress
from seatrial.training.recipe import Base
from seatrial.training.run_job import run_job
from seatrial.training.store import MANIFEST, Step, read_manifest

LOOK_SECONDS = 120.0  # until the hub must have told a commit, retries and all


def import_base(base: Base, root: Path | None, say: Callable[[str], None]) -> Step:
    """The step that fetches ``base``; asks the hub which commit its revision is now.

    Raises:
        SeatrialError: the hub does not tell, and what to do.
    """
    named = {"repository": str(base.repository), "revision": str(base.revision)}
    commit = _commit(named, root, say)

    def build(out: Path, progress: Progress) -> Mapping[str, Any]:
        progress.say(f"{named['repository']} at commit {commit[:12]} comes from the hub")
        found = run_job("hub_fetch", {**named, "commit": commit}, out, progress, online=True)
        request = {"files": found["files"], "out": str(out), "where": f"hub {named['repository']}"}
        return {**run_job("import_weights", request, out, progress), **named, "commit": commit}

    params = {"tokenizer_repair": base.tokenizer_repair, **named}
    return Step("base", 2, params, {"weights": f"commit {commit}"}, build)


def pinned(root: Path | None, named: Mapping[str, str]) -> str | None:
    """The commit that the store took a revision for when it was last used; None if it never did."""
    found: list[tuple[float, str]] = []
    for path in (root / "base").glob(f"*/{MANIFEST}") if root else ():
        manifest = read_manifest(path.parent) or {}
        params, facts = manifest.get("params", {}), manifest.get("facts", {})
        if all(params.get(key) == value for key, value in named.items()) and facts.get("commit"):
            found.append((path.stat().st_mtime, str(facts["commit"])))
    return max(found)[1] if found else None


def _commit(named: Mapping[str, str], root: Path | None, say: Callable[[str], None]) -> str:
    if COMMIT.fullmatch(named["revision"]):
        return named["revision"]
    before = pinned(root, named)
    found = _look({"job": "hub_look", **named, "pinned": before})
    commit, by = str(found["commit"]), str(found["by"])
    what = f"{named['repository']} at {named['revision']!r}"
    if "offline" in by:
        say(f"{what} is taken for commit {commit}, as {by.partition(',')[0]} has it: HF_HUB_OFFLINE is set")
    elif before and before != commit:
        say(
            f"{what} moved: it was commit {before[:12]} and is {commit[:12]} now, so its models are made anew"
        )
    return commit


def _look(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the hub tells; the log stays where an error names it."""
    logs = Path(tempfile.mkdtemp(prefix="seatrial-hub-"))
    try:
        with JsonProcess("seatrial.training.job", logs / "log", "the look at the hub", online=True) as child:
            found: Mapping[str, Any] = child.call(request, LOOK_SECONDS)
    except SeatrialError as error:
        if str(logs) not in str(error):
            shutil.rmtree(logs, ignore_errors=True)
        raise
    shutil.rmtree(logs, ignore_errors=True)
    return found
