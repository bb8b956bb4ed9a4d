"""Runs a job of ``training/job.py`` in a process of its own and tells its progress."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seatrial.training.process import JsonProcess
from seatrial.training.progress import Progress

SILENCE = 1800.0  # seconds without a sign of life after which a job is taken for hung


def run_job(
    job: str, request: Mapping[str, Any], out: Path, progress: Progress, online: bool = False
) -> Mapping[str, Any]:
    """The facts that ``job`` returns; ``out`` is the folder that the store builds in.

    Raises:
        SeatrialError: what the job ended with.
    """
    # The log lies outside the artifact's folder: it must outlive a failed build.
    log = out.parent.parent / "logs" / f"{job}-{out.name}.log"

    def tell(event: dict[str, Any]) -> None:
        if "say" in event:
            progress.say(event["say"])
        else:
            progress.update(**event)

    with JsonProcess("seatrial.training.job", log, f"step {job!r}", online) as process:
        facts: Mapping[str, Any] = process.call({"job": job, **request}, SILENCE, tell)
    return facts
