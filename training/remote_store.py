"""A store that many machines share: what one of them built lies there for the others.

Layout below the URL::

    files/<sha256>                    every file once, by its content, whichever artifacts hold it
    artifacts/<step>/<key>.json       the manifest of an artifact, written when all of its files lie there

What has no manifest does not exist, so half a push is never seen. A file's name is its content, so two
writers of one key cannot mix: what the first manifest says stays, the second is dropped. What lies there is
not sent again, so a push that was ended goes on where it was. Everything that arrives is checked by its
digest before it is used.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from seatrial.training.errors import SeatrialError
from seatrial.training.progress import Progress
from seatrial.training.remote_place import OPTION, Absent, Damaged, Place, RemoteError, asking, open_place
from seatrial.training.store import MANIFEST, file_digest, is_edited, is_manifest, key_of, manifest_size

CHUNK = 32 * 1024 * 1024  # bytes asked for at a time: what a lost connection costs at most
SHA256 = re.compile(r"[0-9a-f]{64}")
Json = dict[str, Any]


@dataclass
class Moved:
    """Bytes that went over the line, and bytes that lay there already.

    ``whole``: whether the artifact lay there as a whole; ``kept``: whether what lies there is another one of
    this key, which was there first.
    """

    sent: int = 0
    there: int = 0
    whole: bool = False
    kept: bool = False


class RemoteStore:
    """Artifacts at a URL that fsspec opens. Every method may raise :class:`RemoteError`.

    Args:
        url: of a folder, such as ``s3://bucket/seatrial``; without credentials.

    Raises:
        SeatrialError: it is no URL, or what opens it is not installed.
    """

    def __init__(self, url: str) -> None:
        self.place: Place = open_place(url)
        self.damaged: set[str] = set()  # keys and digests that were seen damaged: the next push mends them

    @property
    def url(self) -> str:
        return self.place.url

    @property
    def id(self) -> str:
        """Names this remote in a local store."""
        return hashlib.sha256(self.url.encode()).hexdigest()[:12]

    def require(self) -> None:
        """Raise :class:`SeatrialError` unless it can be read: told at the start, before anything is built."""
        files, path = self.place.files, self.place.path
        hint = f"mend that, or leave {OPTION} out: what is not in the store here is then built here"
        try:
            if self.place.needs_folder:
                with asking():
                    if not files.isdir(path):
                        raise Absent(f"there is no such folder; is it mounted? mkdir -p {path}")
            with suppress(Absent), asking():
                files.cat_file(f"{path}/artifacts/none.json")  # an error of the place, or it is not there
        except RemoteError as error:
            raise SeatrialError(
                f"the remote store cannot be read: {error}", where=self.url, hint=hint
            ) from None

    def manifest(self, step: str, key: str) -> Json | None:
        """The manifest of an artifact, None where the remote holds none.

        Raises:
            Damaged: there is one, and it is not that of ``key``.
        """
        path = self._manifest(step, key)
        try:
            with asking():
                text = self.place.files.cat_file(path)
        except Absent:
            return None
        found = _read(text)
        if found is None or found["key"] != key or key_of(found) != key or is_edited(found):
            self.damaged.add(key)
            raise Damaged(f"{self._told(path)} is not the manifest of {step} {key}")
        return found

    def artifacts(self) -> Iterator[tuple[str, str]]:
        """Step and key of every artifact."""
        with asking():
            try:
                paths = self.place.files.find(f"{self.place.path}/artifacts")
            except FileNotFoundError:
                return
        for path in sorted(map(PurePosixPath, paths)):
            if path.suffix == ".json":
                yield path.parent.name, path.stem

    def fetch(self, manifest: Mapping[str, Any], folder: Path, progress: Progress) -> int:
        """Bring the files of ``manifest`` into ``folder`` and the manifest last; the bytes that came.

        What lies in ``folder`` whole is not asked for again, and half a file is gone on with.

        Raises:
            Damaged: a file is not there, or not what the manifest says.
        """
        files: Mapping[str, Mapping[str, Any]] = manifest["files"]
        total, came = manifest_size(manifest), 0
        folder.mkdir(parents=True, exist_ok=True)
        for name, entry in files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if not (target.is_file() and file_digest(target) == entry["sha256"]):
                for chunk in self._fetch_file(entry["sha256"], int(entry["bytes"]), target):
                    came += chunk
                    progress.update(came, total)
        for path in list(folder.rglob("*")):
            if path.is_file() and path.relative_to(folder).as_posix() not in files:
                path.unlink()  # of an earlier attempt, at another manifest
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        return came

    def push(self, folder: Path, manifest: Mapping[str, Any], progress: Progress) -> Moved:
        """Send the files of an artifact that are not there, and its manifest last."""
        step, key = str(manifest["step"]), str(manifest["key"])
        moved, mend = Moved(), key in self.damaged
        there = None if mend else self.whole(step, key)
        if there is not None:
            return Moved(whole=True, kept=there["files"] != manifest["files"])
        files: Mapping[str, Mapping[str, Any]] = manifest["files"]
        total = manifest_size(manifest)
        for name, entry in files.items():
            size = int(entry["bytes"])
            if self._send_file(folder / name, str(entry["sha256"]), size):
                moved.sent += size
            else:
                moved.there += size
            progress.update(moved.sent + moved.there, total)
        text = json.dumps(manifest, indent=1).encode()
        try:
            self._write(self._manifest(step, key), text, replace=mend or key in self.damaged)
            self.damaged.discard(key)
        except FileExistsError:  # another writer was first
            first = self.whole(step, key)
            moved.kept = first is not None and first["files"] != manifest["files"]
        return moved

    def whole(self, step: str, key: str) -> Json | None:
        """The manifest of an artifact; None where there is none, or a damaged one."""
        try:
            return self.manifest(step, key)
        except Damaged:
            return None  # the key is noted: what is written next takes its place

    def _fetch_file(self, digest: str, size: int, target: Path) -> Iterator[int]:
        path, part = self._file(digest), target.with_name(f"{target.name}.part")
        try:
            with asking():
                there = int(self.place.files.info(path)["size"])
        except Absent:
            raise self._damage(digest, path, "is gone") from None
        if there != size:
            raise self._damage(digest, path, f"has {there:,} bytes instead of {size:,}")
        done = part.stat().st_size if part.is_file() else 0
        with part.open("ab") as out:
            while done < size:
                with asking():
                    data = self.place.files.cat_file(path, start=done, end=min(done + CHUNK, size))
                if not data:
                    raise self._damage(digest, path, f"ends after {done:,} of {size:,} bytes")
                out.write(data)
                done += len(data)
                yield len(data)
        if file_digest(part) != digest:
            part.unlink()
            raise self._damage(digest, path, "has another digest than when it was sent")
        part.replace(target)

    def _damage(self, digest: str, path: str, what: str) -> Damaged:
        self.damaged.add(digest)
        return Damaged(f"{self._told(path)} {what}")

    def _send_file(self, source: Path, digest: str, size: int) -> bool:
        """Whether it had to be sent."""
        path, mend = self._file(digest), digest in self.damaged
        if not mend:
            with suppress(Absent), asking():
                if int(self.place.files.info(path)["size"]) == size:
                    return False
        with asking():
            if self.place.is_atomic:
                self.place.files.put_file(str(source), path)
            else:
                self._make_folder(path)
                aside = f"{path}.{uuid.uuid4().hex[:8]}.part"
                self.place.files.put_file(str(source), aside)
                self.place.files.mv(aside, path)
        self.damaged.discard(digest)
        return True

    def _write(self, path: str, data: bytes, replace: bool) -> None:
        """Write a small file as a whole; raises FileExistsError where there is one, unless ``replace``."""
        files = self.place.files
        with asking():
            if self.place.is_atomic:
                files.pipe_file(path, data, mode="overwrite" if replace else "create")
                return
            if not replace and files.exists(path):
                raise FileExistsError(path)
            self._make_folder(path)
            aside = f"{path}.{uuid.uuid4().hex[:8]}.part"
            files.pipe_file(aside, data)
            files.mv(aside, path)

    def _make_folder(self, path: str) -> None:
        self.place.files.makedirs(path.rpartition("/")[0], exist_ok=True)

    def _file(self, digest: str) -> str:
        return f"{self.place.path}/files/{digest}"

    def _manifest(self, step: str, key: str) -> str:
        return f"{self.place.path}/artifacts/{step}/{key}.json"

    def _told(self, path: str) -> str:
        return f"{self.url}{path.removeprefix(self.place.path)}"


def _read(text: bytes) -> Json | None:
    """A manifest whose files have digests and lie inside of their artifact; None for anything else."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    if not is_manifest(found):
        return None
    for name, entry in found["files"].items():
        parts = PurePosixPath(name).parts
        outside = not parts or ".." in parts or name.startswith("/") or "\\" in name or ":" in parts[0]
        if outside or name == MANIFEST or not SHA256.fullmatch(str(entry["sha256"])):
            return None
    return dict(found)
