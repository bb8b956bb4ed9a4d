"""What goes between a machine's store and a remote one, and what is told when it does not.

Nothing that was built is lost by a remote: a push that fails leaves the artifact in the store here and is
told with the line that sends it later; what cannot be fetched is built here. A remote that ended badly once
is not asked again in the same run, so that a lost connection is waited for once.

Every artifact goes there but those whose step says ``shared=False``: facts of one machine (timings, packages
that can be imported) and copies of files that the user has given.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from seatrial.training.errors import SeatrialError
from seatrial.training.inventory import Entry
from seatrial.training.progress import Progress
from seatrial.training.remote_place import OPTION, Damaged, Lost, RemoteError
from seatrial.training.remote_store import Moved, RemoteStore
from seatrial.training.store import Artifact, Step, Store, file_digest, utc_now

REMOTES = "remotes"  # below it, for each remote, an empty file for each key that is known to lie there
LOG = "remote.jsonl"


def open_store(root: Path, progress: Progress | None = None, remote: str = "") -> Store:
    """The store at ``root``, which looks for what it lacks at the URL ``remote`` ("" for none).

    Raises:
        SeatrialError: the store cannot be written, or ``remote`` is no URL that can be opened.
    """
    store = Store(root, progress)
    if remote:
        store.exchange = Exchange(RemoteStore(remote), store.root, store.progress)
    return store


class Exchange:
    """A remote as a run uses it; says what came and went, and what did not."""

    def __init__(self, remote: RemoteStore, root: Path, progress: Progress) -> None:
        self.remote, self.root, self.progress = remote, root, progress
        self._reads, self._writes = True, True

    def find(self, step: Step) -> Mapping[str, Any] | None:
        """The manifest of what the remote holds of ``step``; None where it holds nothing that can be used."""
        if not (self._reads and step.shared):
            return None
        try:
            return self.remote.manifest(step.name, step.key)
        except Damaged as error:
            self.progress.say(f"{error}: building {step.name} here")
        except RemoteError as error:
            self._stop_reading(step, error)
        return None

    def fetch(self, step: Step, folder: Path) -> bool:
        """Bring what the remote holds of ``step`` into ``folder``, whole; False where it is to be built."""
        manifest = self.find(step)
        if manifest is None:
            return False
        title, started = step.title or step.name, time.monotonic()
        self.progress.start(f"{title} from {self.remote.url}")
        try:
            came = self.remote.fetch(manifest, folder, self.progress)
        except Damaged as error:
            self.progress.say(f"{error}: building {step.name} here")
            self.remote.damaged.add(step.key)
            return False
        except RemoteError as error:
            self._stop_reading(step, error)
            return False
        self._seen(step.key).touch()
        seconds = time.monotonic() - started
        self._note("fetched", step.name, step.key, came, seconds)
        self.progress.say(f"{title} came from {self.remote.url}: {_told(came, seconds)}")
        return True

    def offer(self, artifact: Artifact, title: str) -> bool:
        """Send ``artifact`` unless it is known to lie there; whether it does now."""
        seen = self._seen(artifact.key)
        if not self._writes or (seen.exists() and artifact.key not in self.remote.damaged):
            return self._writes
        try:
            with FileLock(self.root / "locks" / f"push-{self.remote.id}-{artifact.key}.lock").acquire(
                timeout=0
            ):
                return self._push(artifact, title, seen)
        except Timeout:
            return True  # another process sends it

    def _push(self, artifact: Artifact, title: str, seen: Path) -> bool:
        started = time.monotonic()
        self.progress.start(f"{title} to {self.remote.url}")
        try:
            moved = self.remote.push(artifact.path, artifact.manifest, self.progress)
        except RemoteError as error:
            self._writes = False
            self._reads = self._reads and not isinstance(error, Lost)
            self.progress.say(
                f"NOT SENT: {title} could not be sent to {self.remote.url}: {error}. What was built lies in "
                f"the store here; nothing more is sent in this run. To send it later: {self.command()}"
            )
            return False
        self.remember(str(artifact.manifest["step"]), artifact.key, moved, time.monotonic() - started)
        if moved.kept:
            self.progress.say(
                f"{self.remote.url} holds another {title} of the same key, which was there first: ours stays "
                "here"
            )
        elif not moved.whole:
            seconds = time.monotonic() - started
            more = f", {_size(moved.there)} lay there already" if moved.there else ""
            self.progress.say(f"{title} was sent to {self.remote.url}: {_told(moved.sent, seconds)}{more}")
        return True

    def remember(self, step: str, key: str, moved: Moved, seconds: float) -> None:
        """That an artifact lies there now, and what went over the line for it."""
        self._seen(key).touch()
        if not moved.whole:
            self._note("sent", step, key, moved.sent, seconds)

    def _stop_reading(self, step: Step, error: RemoteError) -> None:
        self._reads = False
        self._writes = self._writes and not isinstance(error, Lost)
        self.progress.say(
            f"NOT FETCHED: {step.title or step.name} cannot be fetched from {self.remote.url}: {error}. It "
            "is built here, like all else that is not in the store here; the remote is not asked again in "
            "this run"
        )

    def command(self) -> str:
        """What to type to send what this store holds."""
        words = ["seatrial", "store", f"--store={self.root}", f"{OPTION}={self.remote.url}", "push"]
        return shlex.join(words)

    def _seen(self, key: str) -> Path:
        folder = self.root / REMOTES / self.remote.id
        folder.mkdir(parents=True, exist_ok=True)
        return folder / key

    def _note(self, what: str, step: str, key: str, count: int, seconds: float) -> None:
        row = {"at": utc_now(), "what": what, "step": step, "key": key, "bytes": count}
        row |= {"seconds": round(seconds, 3), "remote": self.remote.url}
        with (self.root / "logs" / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")


@dataclass
class Pushed:
    """What a push of a whole store came to; ``left``: a line for each artifact that was not sent."""

    artifacts: int = 0
    there: int = 0
    bytes: int = 0
    seconds: float = 0.0
    left: list[str] = field(default_factory=list)


def push_all(remote: RemoteStore, root: Path, entries: Sequence[Entry], progress: Progress) -> Pushed:
    """Send each of ``entries`` that ``remote`` lacks; what it holds is asked, not remembered.

    Raises:
        SeatrialError: the remote does not answer, or may not be written. What was sent until then stays.
    """
    exchange, pushed, started = Exchange(remote, root, progress), Pushed(), time.monotonic()
    for entry in entries:
        named = f"{entry.step} {entry.key[:12]}"
        damage = entry.damage or _changed(entry)
        if damage:
            pushed.left.append(f"not sent: {named} is damaged: {damage}")
            continue
        if entry.manifest.get("shared") is False:
            continue
        try:
            moved = remote.push(entry.path, entry.manifest, progress)
        except RemoteError as error:
            raise SeatrialError(
                f"{named} could not be sent: {error}",
                where=remote.url,
                hint=f"{pushed.artifacts} sent before it stay there; the same command goes on from here: "
                f"{exchange.command()}",
            ) from None
        exchange.remember(entry.step, entry.key, moved, time.monotonic() - started)
        if moved.kept:
            pushed.left.append(f"not sent: the remote holds another {named}, which was there first")
        pushed.there += moved.whole
        pushed.artifacts += not moved.whole
        pushed.bytes += moved.sent
    pushed.seconds = time.monotonic() - started
    return pushed


def _changed(entry: Entry) -> str:
    """The first file that is not what the manifest says, "" where all are."""
    files = entry.manifest["files"].items()
    wrong = (name for name, facts in files if file_digest(entry.path / name) != facts["sha256"])
    return next((f"{name} has another digest than when it was built" for name in wrong), "")


def _told(count: int, seconds: float) -> str:
    return f"{_size(count)} in {seconds:.1f} s"


def _size(count: float) -> str:
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.2f} GB"
