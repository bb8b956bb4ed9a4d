"""A child process that speaks JSON lines: requests on its standard input, answers on its standard output.

Training steps and the llama.cpp runtime run in such processes, because both can abort the whole process,
and because the parent then needs neither torch nor its memory. A child whose parent dies sees the end of
its input and ends too. Everything the child writes to standard error goes to a log file.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from seatrial.training.errors import OutOfMemory, SeatrialError
from seatrial.training.extras import MissingExtra, broken_import

# Where the package lies in a checkout; in an installed one there is no such folder.
CHECKOUT = Path(__file__).resolve().parent.parent / "fixtures" / "seatrial"


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs ``module`` in a process of its own.

    ``-P`` keeps the folder where the user stands off its path: a ``torch.py`` there would be taken for torch.
    """
    return [sys.executable, "-P", "-m", module, *arguments]


def python_path() -> str:
    """PYTHONPATH of such a process: what the user gave, and before it the package of a checkout."""
    given = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    return os.pathsep.join([*([str(CHECKOUT.parent)] if CHECKOUT.is_dir() else []), *given])


class ChildDied(SeatrialError):
    """The child ended, or did not answer in time, while an answer was expected."""


class JsonProcess:
    """Runs ``python -m module`` and exchanges JSON lines with it.

    Args:
        module: the module to run; it calls :func:`serve`.
        log: file that receives the child's standard error (appended).
        what: what the child does, for error messages.
        online: whether it may ask the hub; else its libraries are told that there is none, so that they
            take what lies in the folder they are given.
    """

    def __init__(self, module: str, log: Path, what: str, online: bool = False) -> None:
        self.what, self.log = what, log
        log.parent.mkdir(parents=True, exist_ok=True)
        # OpenMP threads that spin while they wait halve the speed as soon as anything else runs.
        environment = {
            "OMP_WAIT_POLICY": "PASSIVE",
            "TOKENIZERS_PARALLELISM": "false",
            "PYTHONUNBUFFERED": "1",
            **os.environ,
            # Whatever the caller's says: a saved tokenizer tells whether it was loaded offline, and the same
            # weights must give the same files everywhere.
            **({} if online else {"HF_HUB_OFFLINE": "1"}),
            "PYTHONPATH": python_path(),
        }
        with log.open("ab") as stderr:
            self._process = subprocess.Popen(
                python(module),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=environment,
                text=True,
                encoding="utf-8",
            )
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def call(
        self,
        request: Mapping[str, Any],
        timeout: float,
        on_event: Callable[[dict[str, Any]], None] = lambda event: None,
    ) -> Any:
        """Send ``request`` and return its result; events before it go to ``on_event``.

        Raises:
            ChildDied: the child ended or was silent for ``timeout`` seconds.
            OutOfMemory: the child says that memory ran out.
            MissingExtra: the child could not import a package of an extra.
        SeatrialError: the child answered with an error.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._death() from None
        for message in self._messages(timeout):
            if "result" in message:
                return message["result"]
            if "error" in message:
                if extra := message.get("extra"):
                    raise MissingExtra(message["error"], extra)
                if message.get("memory"):
                    raise OutOfMemory(message["error"], longest=message["longest"])
                unexpected = f"the traceback is in {self.log}" if message["unexpected"] else ""
                raise SeatrialError(message["error"], hint=unexpected)
            on_event(message)
        raise self._death()

    def close(self) -> None:
        """End the child: politely by closing its input, then by process id."""
        if self._process.stdin and not self._process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> JsonProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _messages(self, timeout: float) -> Iterator[dict[str, Any]]:
        while True:
            deadline = time.monotonic() + timeout
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                self._process.kill()
                raise ChildDied(
                    f"{self.what} gave no sign of life for {timeout:.0f} s and was stopped",
                    where=self.log,
                    hint=self._tail(),
                ) from None
            if line is None:
                return
            if line.startswith("{"):  # libraries print to standard output, too: not ours
                try:
                    yield json.loads(line)
                except ValueError:
                    continue

    def _death(self) -> ChildDied:
        code = self._process.wait()
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        return ChildDied(f"{self.what}: the process ended with {how}", where=self.log, hint=self._tail())

    def _tail(self, lines: int = 8) -> str:
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        last = [line for line in text.splitlines() if line.strip()][-lines:]
        return "last lines of its log:\n    " + "\n    ".join(last) if last else "its log is empty"


def serve(handle: Callable[[dict[str, Any], Callable[..., None]], Any]) -> None:
    """The child's side: answer each request line with ``handle(request, send_event)`` until input ends."""
    # transformers imports scikit-learn where it finds it: two seconds, for a decoding that nobody asks for.
    sys.modules.setdefault("sklearn", None)  # type: ignore[arg-type]
    # The thread that watches tqdm's bars waits for ever where the garbage collector frees a bar in it, as it
    # did with those of the hub's client.
    with contextlib.suppress(ImportError):
        from tqdm.std import tqdm  # type: ignore[import-untyped]

        tqdm.monitor_interval = 0
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print goes to the log, not between our lines

    def send(**message: Any) -> None:
        output.write(json.dumps(message) + "\n")
        output.flush()

    requests: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            requests.put(line)
        os._exit(0)  # the parent closed our input or died

    threading.Thread(target=read, daemon=True).start()
    while True:
        request = json.loads(requests.get())
        try:
            send(result=handle(request, send))
        except OutOfMemory as error:
            traceback.print_exc()
            send(error=str(error), unexpected=False, memory=True, longest=error.longest)
        except SeatrialError as error:
            send(error=str(error), unexpected=False, extra=getattr(error, "extra", ""))
        except Exception as error:
            traceback.print_exc()
            if told := broken_import(error):
                send(error=str(told), unexpected=False, extra=told.extra)
                continue
            send(error=f"{type(error).__name__}: {error}", unexpected=True)
