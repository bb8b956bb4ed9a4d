"""Jobs: a model repository of the Hugging Face hub, resolved to a commit and fetched into the hub's cache.

Both run in a process of their own: the client reads its settings (``HF_HUB_OFFLINE``, ``HF_ENDPOINT``,
``HF_HOME``, ``HF_HUB_CACHE``, ``HF_TOKEN``) when it is imported. A whole file that was fetched stays in the
cache, so a download that was killed goes on with the file that it was at. Every file is compared with the
digest that the hub lists for its commit: SHA-256 for large files, Git's own SHA-1 for small ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seatrial.training import model_files
from seatrial.training.errors import SeatrialError
from seatrial.training.hub_download import Listed, cache_of, download, require_room, verify

COMMIT = re.compile(r"[0-9a-f]{40}")
REQUEST_SECONDS = 20.0  # until the hub must have answered what it is asked beside files


def look(request: dict[str, Any], send: Callable[..., None]) -> dict[str, Any]:
    """The commit that ``request["revision"]`` of ``request["repository"]`` is now, and who says so.

    ``request["pinned"]``: the commit that the store took it for last, or None; asked for when offline.

    Raises:
        SeatrialError: the hub does not tell, with what to do.
    """
    from huggingface_hub import HfApi, constants

    repository, revision = request["repository"], request["revision"]
    if constants.HF_HUB_OFFLINE:
        noted = Path(cache_of(repository)) / "refs" / revision
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
        folder = Path(cache_of(repository)) / "snapshots" / commit
        listed = _listing(repository, commit, folder, send)
        where = f"hub {repository} at {commit[:12]}"
        small = model_files.beside(listed)
        if "config.json" in listed:  # else the error is told below
            download(repository, commit, {name: listed[name] for name in small}, lambda **event: None)
        found = model_files.weights(listed, lambda name: (folder / name).read_text(encoding="utf-8"), where)
        wanted = {name: listed[name] for name in sorted({*small, *found})}
        require_room(folder, wanted)
        download(repository, commit, wanted, send)
        verify(repository, commit, folder, wanted, send)
    return {"files": {name: str(folder / name) for name in wanted}}


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
