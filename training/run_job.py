"""Runs a job of ``training/job.py`` in a process of its own and tells its progress."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seatrial.training.errors import OutOfMemory
from seatrial.training.out_of_memory import kernel_kills
from seatrial.training.process import ChildDied, JsonProcess
from seatrial.training.progress import Progress

SILENCE = 1800.0  # seconds without a sign of life after which a job is taken for hung


def run_job(
    job: str, request: Mapping[str, Any], out: Path, progress: Progress, online: bool = False
) -> Mapping[str, Any]:
    """The facts that ``job`` returns; ``out`` is the folder that the store builds in.

    Raises:
        OutOfMemory: memory ran out, as the job says or the kernel, which kills without a word.
        SeatrialError: what else the job ended with.
    """
    # The log lies outside the artifact's folder: it must outlive a failed build.
    log = out.parent.parent / "logs" / f"{job}-{out.name}.log"

    def tell(event: dict[str, Any]) -> None:
        if "say" in event:
            progress.say(event["say"])
        else:
            progress.update(**event)

    killed = kernel_kills()
    try:
        with JsonProcess("seatrial.training.job", log, f"step {job!r}", online) as process:
            facts: Mapping[str, Any] = process.call({"job": job, **request}, SILENCE, tell)
    except ChildDied as error:
        if "SIGKILL" in error.problem and kernel_kills() > killed:
            raise OutOfMemory(f"the kernel killed the process of the step {job!r}", where=log) from error
        raise
    return facts
