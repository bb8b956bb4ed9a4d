"""Starts a training in several processes by ``accelerate launch`` and speaks for them as one.

The first process tells progress and the result; any of them tells what it failed of. They hold the other end
of a pipe: when this process dies, so do they. When one of them dies, accelerate ends the others, and that is
one error here.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from seatrial.training.errors import OutOfMemory, SeatrialError
from seatrial.training.out_of_memory import kernel_kills
from seatrial.training.process import python

RANK = "seatrial.training.rank"


class ProcessFailed(RuntimeError):
    """An error in one of the processes that nobody foresaw; its traceback is in the log."""


def train(request: dict[str, Any], send: Callable[..., None]) -> dict[str, Any]:
    """The facts of a training by the accelerate configuration ``request["launch"]["file"]``.

    Raises:
        OutOfMemory: one of the processes says so, or the kernel killed it for that.
        SeatrialError: what else one of them ended with.
    """
    written = Path(request["checkpoints"]) / "request.json"
    written.write_text(json.dumps(request), encoding="utf-8")
    command = python("accelerate.commands.launch", "--config_file", request["launch"]["file"])
    command += ["--main_process_port", "0", "--module", RANK, str(written)]
    # Ranks are started without -P: this keeps the user's folder off their path, too.
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    killed = kernel_kills()
    messages: list[dict[str, Any]] = []
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            message = _message(line)
            if message.keys() & {"result", "error"}:
                messages.append(message)
            elif message:
                send(**message)
        status = process.wait()
    failed = next((each for each in messages if "error" in each), None)
    if failed:
        raise _error(failed, request["launch"]["processes"])
    if not messages or status:
        if kernel_kills() > killed:
            raise OutOfMemory("the kernel killed a process of the training")
        raise ProcessFailed(f"a process of the training died: accelerate ended with exit status {status}")
    facts: dict[str, Any] = messages[0]["result"]
    return facts


def _message(line: str) -> dict[str, Any]:
    """The message that a line is; nothing for what libraries print."""
    try:
        told = json.loads(line) if line.startswith("{") else {}
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _error(message: dict[str, Any], processes: int) -> Exception:
    who = f"process {message['rank'] + 1} of {processes}"
    if message.get("memory"):
        return OutOfMemory(f"{who}: {message['error']}", longest=message["longest"])
    if message["unexpected"]:
        return ProcessFailed(f"{who}: {message['error']}")
    return SeatrialError(message["error"])
