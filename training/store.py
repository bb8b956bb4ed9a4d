"""The content-addressed store: everything dear is built once.

A step's key is the SHA-256 of its name and version, its parameters and the digests of its inputs. A step
builds into a temporary folder under a file lock; its manifest is written last and the folder is renamed
into place, so what has no manifest does not exist. A kill at any point loses at most the step in hand,
and several processes build a thing once.

Layout below the root: ``<step>/<key>/`` (files and manifest.json), ``tmp/``, ``locks/``, ``logs/``. A
manifest is touched whenever its artifact is used, and a run holds a lock below ``locks/runs/``, so that
``seatrial store prune`` knows what nobody needs.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.metadata
import json
import os
import shutil
import socket
import time
import uuid
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import BaseFileLock, FileLock

from seatrial.training.errors import SeatrialError
from seatrial.training.progress import Progress, Silent

if TYPE_CHECKING:
    from seatrial.training.exchange import Exchange

MANIFEST = "manifest.json"
FOLDERS = ("tmp", "locks", "logs")
SESSIONS = "locks/runs"
SEALED = ("key", "step", "version", "params", "inputs", "facts", "files", "packages")
PACKAGES = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "bitsandbytes",
    "datasets",
    "accelerate",
    "llama-cpp-python",
    "gguf",
)


@dataclass(frozen=True)
class Step:
    """One unit of work whose result is kept.

    Args:
        name: what is built, also the folder in the store.
        version: raised by hand when the code of the step changes its result.
        params: JSON values that decide the result.
        inputs: digest of each input by name.
        build: writes files into the folder it is given; returns facts for the manifest (JSON values).
        heavy: takes both cores or the GPU; heavy steps run one at a time on a machine.
        title: what progress and the report call it; the name if not given.
        shared: whether it goes to a remote store: not what is true of one machine only, nor a copy of a file
            that the user has given.
        others: the same thing as other machines make it; taken where a remote store is used and this one's
            own lies nowhere.
    """

    name: str
    version: int
    params: Mapping[str, Any]
    inputs: Mapping[str, str]
    build: Callable[[Path, Progress], Mapping[str, Any]] = field(repr=False)
    heavy: bool = True
    title: str = ""
    shared: bool = True
    others: Sequence[Step] = ()

    @cached_property
    def key(self) -> str:
        return _key([self.name, self.version, self.params, self.inputs])


@dataclass(frozen=True)
class Artifact:
    """A finished step: a folder with a manifest. ``built`` tells whether this process built it."""

    path: Path
    manifest: Mapping[str, Any]
    built: bool = False

    @property
    def key(self) -> str:
        return str(self.manifest["key"])

    @property
    def facts(self) -> Mapping[str, Any]:
        facts: Mapping[str, Any] = self.manifest["facts"]
        return facts

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the names and digests of the artifact's files."""
        files = {name: entry["sha256"] for name, entry in self.manifest["files"].items()}
        return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of all its files, as its manifest counts them."""
        return manifest_size(self.manifest)

    def read_json(self, name: str) -> Any:
        return json.loads((self.path / name).read_text(encoding="utf-8"))


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def kept(root: Path, step: Step) -> Artifact | None:
    """What a store at ``root`` holds of ``step`` by its manifest; the files' digests are not checked."""
    folder = root / step.name / step.key
    manifest = read_manifest(folder)
    return Artifact(folder, manifest) if manifest and manifest["key"] == step.key else None


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of an artifact's folder; None where there is none, or none that can be read."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return dict(manifest) if is_manifest(manifest) else None


def is_manifest(found: Any) -> bool:
    """Whether what was read has the form of a manifest."""
    try:
        for entry in found["files"].values():
            entry["sha256"], int(entry["bytes"])
        return bool(found["key"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return False


def seal_of(manifest: Mapping[str, Any]) -> str:
    """Digest of what a manifest says of its artifact: its facts are evidence, too, and in no file."""
    said = {name: manifest.get(name) for name in SEALED}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def is_edited(manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest is not what was written; one from before there were seals says nothing of it."""
    return "seal" in manifest and manifest["seal"] != seal_of(manifest)


def manifest_size(manifest: Mapping[str, Any]) -> int:
    """Bytes of all files of an artifact, as its manifest counts them."""
    return sum(int(entry["bytes"]) for entry in manifest["files"].values())


def key_of(manifest: Mapping[str, Any]) -> str:
    """The key of the step that a manifest tells of, "" where it does not tell."""
    try:
        return _key([manifest[name] for name in ("step", "version", "params", "inputs")])
    except KeyError:
        return ""


def _key(recipe: list[Any]) -> str:
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:32]


def default_root() -> Path:
    """``SEATRIAL_STORE``, else ``seatrial`` in the user's cache directory."""
    if given := os.environ.get("SEATRIAL_STORE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seatrial"


class Store:
    """Builds steps and hands out artifacts; safe for several processes on one machine."""

    def __init__(self, root: Path, progress: Progress | None = None) -> None:
        self.root = root.absolute()
        self.progress = progress or Silent()
        self.exchange: Exchange | None = None  # with a remote store
        self._verified: dict[str, Artifact] = {}
        self._failed: dict[str, SeatrialError] = {}
        self._announced = False
        with self._explained("prepare the store"):
            for name in (*FOLDERS, SESSIONS):
                (self.root / name).mkdir(parents=True, exist_ok=True)
            probe = self.root / "tmp" / f"probe-{os.getpid()}"
            probe.write_bytes(b"")
            probe.unlink()

    def build(self, step: Step) -> Artifact:
        """The artifact of ``step``: from the store if its files are whole, else built now.

        Its manifest has the step's title: two steps that differ in that alone share what was built.

        Raises:
            SeatrialError: the step failed, or the store cannot be written.
        """
        self._announce()
        artifact = self._find_or_build(step)
        return replace(artifact, manifest={**artifact.manifest, "title": step.title or step.name})

    def _announce(self) -> None:
        """Hold a lock that tells when this run began, for as long as it lives."""
        if not self._announced:
            self._announced = True
            name = f"{time.time_ns()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.lock"
            with self._explained("prepare the store"):
                lock = FileLock(self.root / SESSIONS / name, thread_local=False)
                lock.acquire(timeout=0)
            weakref.finalize(self, _end_run, lock)

    def _find_or_build(self, step: Step) -> Artifact:
        if step.key in self._verified:
            return self._verified[step.key]
        if step.key in self._failed:  # what failed a moment ago fails again, at once
            raise self._failed[step.key].with_traceback(None)  # else its traceback grows with every raise
        artifact = self._find(step) or self._find_elsewhere(step)
        if artifact is None:
            with self._lock(step):
                # another process may have built it while we waited
                artifact = self._find(step, tell=self.exchange is None or not step.shared)
                if artifact is None:
                    try:
                        with self._machine_for(step):
                            artifact = self._build(step)
                    except SeatrialError as error:
                        self._failed[step.key] = error
                        raise
        self._verified[step.key] = artifact
        if self.exchange and step.shared:
            self.exchange.offer(artifact, step.title or step.name)
        return artifact

    def _lock(self, step: Step) -> FileLock:
        return FileLock(self.root / "locks" / f"{step.key}.lock")

    def _find_elsewhere(self, step: Step) -> Artifact | None:
        """What another machine made: of this step, or else of one that stands for the same thing."""
        if self.exchange is None or not step.shared:
            return None
        for other in step.others:
            if found := self._find(other):
                return found
        for each in (step, *step.others):
            with self._lock(each):  # another process may fetch it
                if found := self._find(each, tell=True) or self._fetch(each, self.exchange):
                    return found
        return None

    def _fetch(self, step: Step, exchange: Exchange) -> Artifact | None:
        arriving = self.root / "tmp" / f"{step.key}-fetch"  # kept after a kill: the next one goes on with it
        with self._explained(f"fetch {step.name}"):
            if not exchange.fetch(step, arriving):
                return None
            folder = self._put_in_place(arriving, step)
        manifest = read_manifest(folder)
        return Artifact(folder, manifest) if manifest else None

    def _put_in_place(self, temporary: Path, step: Step) -> Path:
        folder = self.root / step.name / step.key
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(exist_ok=True)
        return temporary.rename(folder)

    def _find(self, step: Step, tell: bool = False) -> Artifact | None:
        folder = self.root / step.name / step.key
        manifest = read_manifest(folder)
        if manifest is None:
            return None
        with suppress(OSError):  # before its files are read: from now on it is in use
            os.utime(folder / MANIFEST)
        digests = {name: entry["sha256"] for name, entry in manifest["files"].items()}
        key = manifest["key"]
        if key != step.key:  # copied here from elsewhere, with its manifest
            if tell:
                self.progress.say(f"{folder} is damaged (it holds what {key} is): building {step.name} again")
            return None
        if is_edited(manifest):
            if tell:
                self.progress.say(
                    f"{folder / MANIFEST} is damaged (its seal is broken): building {step.name} again"
                )
            return None
        for name, digest in digests.items():
            path = folder / name
            if not path.is_file() or file_digest(path) != digest:
                if tell:
                    self.progress.say(f"{path} is damaged (its digest changed): building {step.name} again")
                return None
        return Artifact(folder, manifest)

    def _build(self, step: Step) -> Artifact:
        temporary = self.root / "tmp" / f"{step.key}-{uuid.uuid4().hex[:8]}"
        with self._explained(f"build {step.name}"):
            for leftover in (self.root / "tmp").glob(f"{step.key}-*"):
                shutil.rmtree(leftover, ignore_errors=True)  # its builder is dead: we hold its lock
            temporary.mkdir()
            started = time.monotonic()
            self.progress.start(step.title or step.name)
            try:
                facts = step.build(temporary, self.progress)
                seconds = time.monotonic() - started
                manifest = self._manifest(step, temporary, facts, seconds)
                (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
                folder = self._put_in_place(temporary, step)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
            self.progress.finish(step.title or step.name, seconds)
        return Artifact(folder, manifest, built=True)

    def _manifest(self, step: Step, folder: Path, facts: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        manifest = {
            "key": step.key,
            "step": step.name,
            **({} if step.shared else {"shared": False}),
            "version": step.version,
            "params": dict(step.params),
            "inputs": dict(step.inputs),
            "facts": dict(facts),
            "files": {
                path.relative_to(folder).as_posix(): {
                    "sha256": file_digest(path),
                    "bytes": path.stat().st_size,
                }
                for path in paths
            },
            "packages": package_versions(),
            "seconds": round(seconds, 2),
            "built_at": utc_now(),
        }
        written: dict[str, Any] = json.loads(json.dumps(manifest))  # the seal is of what will be read
        return {**written, "seal": seal_of(written)}

    @contextmanager
    def _machine_for(self, step: Step) -> Iterator[None]:
        if not step.heavy:
            yield
            return
        with FileLock(self.root / "locks" / f"machine-{socket.gethostname()}.lock"):
            yield

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        elsewhere = "name another folder with --store=DIR or the environment variable SEATRIAL_STORE"
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise SeatrialError(
                    f"no space left to {doing}; finished artifacts are untouched",
                    where=self.root,
                    hint=f"free some space or {elsewhere}",
                ) from error
            if error.errno in (errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EPERM, errno.EEXIST):
                raise SeatrialError(
                    f"cannot {doing}: {error.strerror}", where=self.root, hint=elsewhere
                ) from error
            raise


def _end_run(lock: BaseFileLock) -> None:
    with suppress(OSError):
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)


def made_with(artifact: Artifact) -> dict[str, tuple[str, str]]:
    """Packages whose version has changed since ``artifact`` was built: name -> (then, now).

    What training made stays valid when a package is upgraded; this says that it is judged with another one.
    """
    now, then = package_versions(), artifact.manifest.get("packages", {})
    return {name: (old, now.get(name, "absent")) for name, old in then.items() if now.get(name) != old}


def utc_now() -> str:
    """This moment, as manifests write it: 2026-11-27T18:09:40Z."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def package_versions(*more: str) -> dict[str, str]:
    """Versions of the installed packages that decide results, and of ``more``."""
    versions = {}
    for name in (*PACKAGES, *more):
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions
