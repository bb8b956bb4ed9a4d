"""A hub on loopback: the part of the Hugging Face hub's file API that its client asks for a model.

What ``huggingface_hub`` 1.21 sends was read from its source: ``GET /api/models/REPO/revision/REV?blobs=true``,
``HEAD`` and ``GET /REPO/resolve/COMMIT/FILE`` (large files by a redirect that carries ``X-Linked-Etag`` and
``X-Linked-Size``), byte ranges, and errors by ``X-Error-Code``. :class:`Hub` can refuse, break off, be slow and
lie, each as a real one has been seen to.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE = 1000  # bytes from which a file is "large": SHA-256 and a redirect
CHUNK = 1 << 16


@dataclass
class Repository:
    """Files by commit, commits by branch or tag; ``token`` opens it, ``gated`` needs ``granted`` as well."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    revisions: dict[str, str] = field(default_factory=dict)
    token: str | None = None
    gated: bool = False
    granted: bool = False

    def push(self, files: dict[str, bytes], branch: str = "main") -> str:
        """Commit ``files`` to a branch; returns the commit."""
        told = "".join(f"{name}{hashlib.sha1(data).hexdigest()}" for name, data in sorted(files.items()))
        commit = hashlib.sha1(told.encode()).hexdigest()
        self.commits[commit] = dict(files)
        self.revisions[branch] = commit
        return commit


@dataclass
class Hub:
    """The hub's repositories, what it does wrong, and what it was asked.

    ``cut``: bytes of a file after which the connection breaks off, for each time that it should.
    ``swap``: what it sends in place of a file's bytes. ``claim``: the size that it lists. ``status``: what it
    answers to everything. ``slow``: seconds before each block of a file.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    url: str = ""
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    cut: dict[str, list[int]] = field(default_factory=dict)
    swap: dict[str, bytes] = field(default_factory=dict)
    claim: dict[str, int] = field(default_factory=dict)
    status: int | None = None
    slow: dict[str, float] = field(default_factory=dict)

    def sent(self, name: str) -> list[str | None]:
        """The byte ranges that a file was asked for, None for the whole."""
        return [span for method, path, span in self.asked if method == "GET" and path.endswith("/" + name)]


def folder_files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve ``hub`` on loopback until the block ends."""
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None: ...  # whoever asked was killed, which is what is tested


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, *_: Any) -> None: ...

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append((self.command, path, self.headers.get("Range")))
        if self.hub.status is not None:
            self._send(self.hub.status, b"")
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/(.+)", path):
            self._info(*found.groups())
        elif found := re.fullmatch(r"/(?:cdn/)?([^/]+/[^/]+)/resolve/([0-9a-f]{40})/(.+)", path):
            self._file(*found.groups())
        else:
            self._error(404, "RepoNotFound")

    def _open(self, name: str, listing: bool = False) -> Repository | None:
        """The repository, if whoever asks may read it; answers like the hub where not. What a gated one holds
        is listed for everybody."""
        given = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        repository = self.hub.repositories.get(name)
        known = {each.token for each in self.hub.repositories.values()}
        if given and given not in known:
            self._send(401, b"", {"X-Error-Message": "Invalid credentials in Authorization header"})
        elif repository is None or (repository.token and not repository.gated and given != repository.token):
            self._error(404 if given else 401, "RepoNotFound")
        elif repository.gated and not listing and not (given and repository.granted):
            self._error(403 if given else 401, "GatedRepo")
        else:
            return repository
        return None

    def _info(self, name: str, revision: str) -> None:
        if (repository := self._open(name, listing=True)) is None:
            return
        commit = revision if revision in repository.commits else repository.revisions.get(revision)
        if commit is None:
            self._error(404, "RevisionNotFound")
            return
        siblings = []
        for file, data in repository.commits[commit].items():
            size = self.hub.claim.get(file, len(data))
            entry: dict[str, Any] = {"rfilename": file, "size": size, "blobId": _git(data)}
            if len(data) >= LARGE:
                entry["lfs"] = {"sha256": _sha256(data), "size": size, "pointerSize": 134}
            siblings.append(entry)
        told = {"id": name, "sha": commit, "siblings": siblings}
        self._send(200, json.dumps(told).encode(), {"Content-Type": "application/json"})

    def _file(self, name: str, commit: str, file: str) -> None:
        linked = self.path.startswith("/cdn/")
        repository = self.hub.repositories[name] if linked else self._open(name)
        if repository is None:
            return
        data = repository.commits.get(commit, {}).get(file)
        if data is None:
            self._error(404, "EntryNotFound", {"X-Repo-Commit": commit})
            return
        large = len(data) >= LARGE
        headers = {"X-Repo-Commit": commit, "ETag": f'"{_sha256(data) if large else _git(data)}"'}
        if large and not linked:
            headers |= {"X-Linked-Etag": headers["ETag"], "X-Linked-Size": str(len(data))}
            location = f"{self.hub.url}/cdn/{name}/resolve/{commit}/{file}"
            self._send(302, b"", headers | {"Location": location})
            return
        self._bytes(file, self.hub.swap.get(file, data), headers)

    def _bytes(self, file: str, data: bytes, headers: dict[str, str]) -> None:
        start, status = 0, 200
        if span := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or ""):
            start, status = int(span[1]), 206
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(data) - start)}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        cuts = self.hub.cut.get(file)
        end = start + cuts.pop(0) if cuts else len(data)
        for position in range(start, min(end, len(data)), CHUNK):
            time.sleep(self.hub.slow.get(file, 0))
            try:
                self.wfile.write(data[position : min(position + CHUNK, end)])
            except OSError:  # whoever asked is gone
                self.close_connection = True
                return
        if end < len(data):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    def _error(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        self._send(status, b"", {"X-Error-Code": code, **(headers or {})})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _git(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
