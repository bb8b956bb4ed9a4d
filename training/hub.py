"""Jobs: a model repository of the Hugging Face hub, resolved to a commit and fetched into the hub's cache.

Both run in a process of their own: the client reads its settings (``HF_HUB_OFFLINE``, ``HF_ENDPOINT``,
``HF_HOME``, ``HF_HUB_CACHE``, ``HF_TOKEN``) when it is imported. A whole file that was fetched stays in the
cache, so a download that was killed goes on with the file that it was at. Every file is compared with the
digest that the hub lists for its commit: SHA-256 for large files, Git's own SHA-1 for small ones.
"""

from __future__ import annotations

import glob
import hashlib
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatrial.training import model_files
from seatrial.training.errors import SeatrialError

COMMIT = re.compile(r"[0-9a-f]{40}")
ATTEMPTS = 3  # for a connection that breaks off where the client itself does not go on
REQUEST_SECONDS = 20.0  # until the hub must have answered what it is asked beside files


@dataclass(frozen=True)
class Listed:
    """A file as the hub lists it; ``size`` in bytes, ``digest`` in hex: 64 digits SHA-256, 40 Git's SHA-1."""

    size: int | None
    digest: str | None


def look(request: dict[str, Any], send: Callable[..., None]) -> dict[str, Any]:
    """The commit that ``request["revision"]`` of ``request["repository"]`` is now, and who says so.

    ``request["pinned"]``: the commit that the store took it for last, or None; asked for when offline.

    Raises:
        SeatrialError: the hub does not tell, with what to do.
    """
    from huggingface_hub import HfApi, constants

    repository, revision = request["repository"], request["revision"]
    if COMMIT.fullmatch(revision):
        return {"commit": revision, "by": "the recipe"}
    if constants.HF_HUB_OFFLINE:
        noted = Path(_cache_of(repository)) / "refs" / revision
        if request["pinned"]:
            return {"commit": request["pinned"], "by": "the store, offline"}
        if noted.is_file() and COMMIT.fullmatch(commit := noted.read_text(encoding="utf-8").strip()):
            return {"commit": commit, "by": "the hub's cache, offline"}
        raise SeatrialError(
            f"offline (HF_HUB_OFFLINE is set), and nobody here knows which commit {revision!r} is",
            where=f"hub {repository}",
            hint='run once with a network, or name a commit that is in the cache: revision = "COMMIT"',
        )
    try:
        with _told(repository, revision):
            found = HfApi().model_info(repository, revision=revision, timeout=REQUEST_SECONDS)
    except SeatrialError as error:
        if request["pinned"] and "no connection" in error.problem:
            hint = (
                f"HF_HUB_OFFLINE=1 takes commit {request['pinned']}, which {revision!r} was when last asked"
            )
            raise SeatrialError(error.problem, where=error.where, hint=hint) from None
        raise
    if not COMMIT.fullmatch(str(found.sha)):
        raise SeatrialError(f"the hub names no commit for {revision!r}", where=f"hub {repository}")
    return {"commit": found.sha, "by": "the hub"}


def fetch(request: dict[str, Any], send: Callable[..., None]) -> dict[str, Any]:
    """Fetch the model's files at ``request["commit"]``; returns the path of each in the hub's cache by name.

    Events: ``done`` and ``total`` in bytes while it downloads, ``say`` for what a reader should know.

    Raises:
        SeatrialError: it cannot be had, with what to do.
    """
    repository, commit = request["repository"], request["commit"]
    with _told(repository, request["revision"]):
        folder = Path(_cache_of(repository)) / "snapshots" / commit
        listed = _listing(repository, commit, folder, send)
        where = f"hub {repository} at {commit[:12]}"
        small = model_files.beside(listed)
        if "config.json" in listed:  # else the error is told below
            _download(repository, commit, {name: listed[name] for name in small}, lambda **event: None)
        found = model_files.weights(listed, lambda name: (folder / name).read_text(encoding="utf-8"), where)
        wanted = {name: listed[name] for name in sorted({*small, *found})}
        _require_room(folder, wanted)
        _download(repository, commit, wanted, send)
        _verify(repository, commit, folder, wanted, send)
    return {"files": {name: str(folder / name) for name in wanted}}


def _cache_of(repository: str) -> str:
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    return str(Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=repository, repo_type="model")))


@contextmanager
def _told(repository: str, revision: str) -> Iterator[None]:
    from seatrial.training.hub_errors import explain

    try:
        yield
    except Exception as error:
        told = explain(error, repository, revision)
        if told is None:
            raise
        raise told from None


def _listing(repository: str, commit: str, folder: Path, send: Callable[..., None]) -> dict[str, Listed]:
    """Every file of the commit; where the hub cannot be asked, those of it that the cache holds."""
    import httpx
    from huggingface_hub import HfApi, errors

    try:
        found = HfApi().model_info(repository, revision=commit, files_metadata=True, timeout=REQUEST_SECONDS)
    except (httpx.TransportError, errors.OfflineModeIsEnabled) as error:
        if isinstance(error, httpx.ProxyError) or not folder.is_dir():
            raise
        send(say=f"no connection to the hub: {repository} at {commit[:12]} is taken from its cache, {folder}")
        paths = [path for path in folder.rglob("*") if path.is_file()]
        return {path.relative_to(folder).as_posix(): _cached(path) for path in paths}
    if found.sha != commit:
        raise SeatrialError(
            f"the hub answers with commit {found.sha} for {commit}", where=f"hub {repository}"
        )
    return {
        each.rfilename: Listed(each.size, each.lfs.sha256 if each.lfs else each.blob_id)
        for each in found.siblings or []
    }


def _cached(path: Path) -> Listed:
    """What the cache says of a file: it is a link to one that is called by its digest."""
    name = path.resolve().name
    digest = name if re.fullmatch(r"[0-9a-f]{64}|[0-9a-f]{40}", name) else None
    return Listed(path.stat().st_size, digest if path.is_symlink() else None)


def _require_room(folder: Path, wanted: Mapping[str, Listed]) -> None:
    missing = sum(each.size or 0 for name, each in wanted.items() if not (folder / name).exists())
    there = next(each for each in folder.parents if each.exists())
    free = shutil.disk_usage(there).free
    if missing > free:
        raise SeatrialError(
            f"{missing / 1e9:.1f} GB are to be downloaded and {free / 1e9:.1f} GB are free in its cache",
            where=folder.parent.parent.parent,
            hint="free some space or name another folder with HF_HUB_CACHE=DIR",
        )


def _download(
    repository: str, commit: str, wanted: Mapping[str, Listed], send: Callable[..., None], force: bool = False
) -> None:
    import httpx
    from huggingface_hub import snapshot_download

    total = sum(each.size or 0 for each in wanted.values())
    names = [glob.escape(name) for name in wanted]
    for attempt in range(1, ATTEMPTS + 1):
        bar = _bar(total, _there(repository, commit, wanted) if not force else 0, send)
        try:
            snapshot_download(
                repository, revision=commit, allow_patterns=names, force_download=force, tqdm_class=bar
            )
            break
        except (httpx.ReadError, httpx.RemoteProtocolError, httpx.ReadTimeout):
            if attempt == ATTEMPTS:
                raise
            time.sleep(attempt)
    folder = Path(_cache_of(repository)) / "snapshots" / commit
    missing = [name for name in wanted if not (folder / name).is_file()]
    if missing:  # the client hands out a folder of the cache as it is where the hub does not answer
        raise SeatrialError(
            f"{len(missing)} of {len(wanted)} files are not there, such as {missing[0]}",
            where=f"hub {repository} at {commit[:12]}",
            hint="run it again with a network: whole files are kept",
        )


def _there(repository: str, commit: str, wanted: Mapping[str, Listed]) -> int:
    folder = Path(_cache_of(repository)) / "snapshots" / commit
    return sum(each.size or 0 for name, each in wanted.items() if (folder / name).exists())


def _bar(total: int, there: int, send: Callable[..., None]) -> type[Any]:
    """What the client takes for a progress bar; bytes are sent at most twice a second, nothing is printed."""
    from tqdm.std import tqdm  # type: ignore[import-untyped]

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            self.sent = 0.0
            super().__init__(*arguments, **{**settings, "disable": False, "file": _Nowhere()})

        def update(self, n: float | None = 1) -> bool | None:
            moved: bool | None = super().update(n)
            now = time.monotonic()
            if self.unit == "B" and now - self.sent > 0.5:
                self.sent = now
                done = min(there + self.n, total)
                send(done=done, total=total, GB=f"{done / 1e9:.2f}/{total / 1e9:.2f}")
            return moved

    return Bar


class _Nowhere:
    def write(self, text: str) -> None: ...

    def flush(self) -> None: ...


def _verify(
    repository: str, commit: str, folder: Path, wanted: Mapping[str, Listed], send: Callable[..., None]
) -> None:
    """Compare every file with what the hub lists; one that differs is fetched once more."""
    wrong = _differing(folder, wanted)
    if not wrong:
        return
    send(say=f"{', '.join(wrong)} in the hub's cache is not what the hub lists: fetching again")
    _download(repository, commit, {name: wanted[name] for name in wrong}, send, force=True)
    if wrong := _differing(folder, {name: wanted[name] for name in wrong}):
        raise SeatrialError(
            f"{wrong[0]} is not what the hub lists for this commit: its digest differs, twice",
            where=f"hub {repository} at {commit[:12]}",
            hint=f"remove it and try another network or mirror (HF_ENDPOINT): rm {folder / wrong[0]}",
        )


def _differing(folder: Path, wanted: Mapping[str, Listed]) -> Sequence[str]:
    return [name for name, listed in wanted.items() if not _is(folder / name, listed)]


def _is(path: Path, listed: Listed) -> bool:
    size = path.stat().st_size
    if listed.size is not None and size != listed.size:
        return False
    if listed.digest is None:
        return True
    total = hashlib.sha256() if len(listed.digest) == 64 else hashlib.sha1(f"blob {size}\0".encode())
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            total.update(block)
    return total.hexdigest() == listed.digest
