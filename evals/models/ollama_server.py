"""The Ollama server to ask: one that runs already, else one of our own that lives as long as it is needed.

Our own is the ``ollama`` binary on a free loopback port, with a home and a model folder of its own. Between
it and us stands a keeper, this module run as a program, which waits for the end of its input. That comes
when we are done and when we die, however we die; then the keeper ends the server with all its children and
removes the folder.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from seatrial.training.errors import SeatrialError
from seatrial.training.process import python, python_path

if TYPE_CHECKING:
    from ollama import Client

BINARY = "SEATRIAL_OLLAMA"  # environment variable: the binary to start instead of the one on PATH
NOBODY = "127.0.0.1:9"  # the discard port: no Ollama listens there
# Both begin by reading a program of some 40 MB: right after a training, 10 s were once too few.
VERSION_SECONDS = 60.0  # until a binary must have told its version
START_SECONDS = 120.0  # until a server that was started must answer
ANSWER_SECONDS = 600.0  # silence after which a server is taken for hung
STOP_SECONDS = 5.0  # for a polite end


@dataclass(frozen=True)
class Server:
    """Who answers: the server that runs already (``binary`` is None), or a binary that can be started."""

    version: str
    binary: str | None = None

    @contextlib.contextmanager
    def client(self, log: Path) -> Iterator[Client]:
        """A client of the server; one that was started for it writes to ``log`` and is stopped afterwards."""
        from ollama import Client

        if self.binary is None:
            with Client(timeout=ANSWER_SECONDS) as client:
                yield client
        else:
            with _started(self.binary, log) as client:
                yield client


def find() -> tuple[Server | None, str]:
    """The server that would answer, or None and why there is none. Starts nothing that lasts."""
    from httpx import InvalidURL
    from ollama import Client

    with contextlib.suppress(ValueError, InvalidURL):  # an OLLAMA_HOST that is no address: nobody is there
        with Client() as client:
            if running := version_of(client):
                return Server(running), ""
    named = os.environ.get(BINARY, "")
    binary = shutil.which(named or "ollama")
    if binary:
        try:
            return Server(_version_of_binary(binary), binary), ""
        except SeatrialError as error:
            return None, str(error)
    problem = f"{BINARY} names {named!r}, which is no executable file" if named else "no 'ollama' is on PATH"
    return None, (
        f"no Ollama server answers (OLLAMA_HOST, else 127.0.0.1:11434), and {problem}; "
        f"start one with 'ollama serve' or set {BINARY} to the binary"
    )


def version_of(client: Client, seconds: float = 2.0) -> str | None:
    """The version that a server tells, or None if none answers within about ``seconds``."""
    from httpx import HTTPError

    try:
        # The official client has no call for it; what it is built on has.
        return str(client._client.get("/api/version", timeout=seconds).json()["version"])
    except (HTTPError, ValueError, KeyError, TypeError):
        return None


def last_lines(log: Path, lines: int = 5) -> str:
    """The end of a server's log, without the requests that it served, as a hint of an error."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    said = [line[:300] for line in text.splitlines() if line.strip() and not line.startswith("[GIN")]
    return "\n    ".join(["the server's last words:", *said[-lines:]]) if said else ""


def _version_of_binary(binary: str) -> str:
    hint = f"set {BINARY} to an Ollama binary that works, or install Ollama again"
    try:
        process = subprocess.Popen(
            [binary, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_environment(OLLAMA_HOST=NOBODY),
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise SeatrialError(f"cannot be run: {error.strerror}", where=binary, hint=hint) from None
    with process:
        try:
            said, _ = process.communicate(timeout=VERSION_SECONDS)
        except subprocess.TimeoutExpired:
            raise SeatrialError(
                f"'--version' gave no answer within {VERSION_SECONDS:g} s", where=binary, hint=hint
            ) from None
        finally:
            _end_group(process)
    if found := re.search(r"version is (\S+)", said):
        return found[1]
    raise SeatrialError(f"'--version' told no version: {said.strip()[:200]!r}", where=binary, hint=hint)


@contextlib.contextmanager
def _started(binary: str, log: Path) -> Iterator[Client]:
    from ollama import Client

    log.parent.mkdir(parents=True, exist_ok=True)
    # Beside the log: Ollama copies the file, and where it was written there is room for another.
    folder = Path(tempfile.mkdtemp(prefix="ollama-", dir=log.parent.resolve()))
    host = f"127.0.0.1:{_free_port()}"
    environment = _environment(
        HOME=str(folder),  # Ollama writes a key there
        OLLAMA_HOST=host,
        OLLAMA_MODELS=str(folder / "models"),
        OLLAMA_KEEP_ALIVE="10m",
        OLLAMA_NO_CLOUD="1",
        PYTHONPATH=python_path(),
    )
    command = python("seatrial.evals.models.ollama_server", binary, str(folder))
    try:
        with log.open("ab") as output:
            keeper = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )
        try:
            # A proxy that the environment names is not for a server on this machine.
            with Client(host=f"http://{host}", timeout=ANSWER_SECONDS, trust_env=False) as client:
                _wait_for(client, keeper, log)
                yield client
        finally:
            _stop(keeper)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(client: Client, keeper: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if keeper.poll() is not None:
            raise SeatrialError("'ollama serve' ended at once", where=log, hint=last_lines(log))
        if version_of(client, seconds=1.0):
            return
        time.sleep(0.05)
    raise SeatrialError(
        f"'ollama serve' did not answer within {START_SECONDS:g} s and was stopped",
        where=log,
        hint=last_lines(log),
    )


def _stop(keeper: subprocess.Popen[bytes]) -> None:
    assert keeper.stdin is not None
    keeper.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        keeper.wait(timeout=2 * STOP_SECONDS)  # it is polite for half of that
    _end_group(keeper)


def _end_group(leader: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    """Kill whatever is left of the session that ``leader`` began."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader.pid, signal.SIGKILL)
    leader.wait()


def _environment(**settings: str) -> dict[str, str]:
    """Ours with ``settings``, without those of the user's own server.

    They can change answers (OLLAMA_KV_CACHE_TYPE), and answers are kept by the server's version only.
    """
    ours = {name: value for name, value in os.environ.items() if not name.startswith("OLLAMA_")}
    return {**ours, **settings}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _keep(binary: str, folder: str) -> None:
    """The keeper: run the server until our input or the server ends, then leave nothing of either."""
    server = subprocess.Popen([binary, "serve"], stdin=subprocess.DEVNULL)
    while server.poll() is None and not select.select([sys.stdin], [], [], 0.2)[0]:
        pass
    if server.poll() is None:
        server.terminate()  # Ollama ends its runners itself
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(STOP_SECONDS)
        server.kill()
    else:
        print(f"'ollama serve' ended with status {server.returncode}", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)  # runners that outlived the server, and ourselves


if __name__ == "__main__":
    _keep(sys.argv[1], sys.argv[2])
