"""Downloads files of a commit into the hub's cache, and compares what lies there with what the hub lists."""

from __future__ import annotations

import glob
import hashlib
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatrial.training.errors import SeatrialError

ATTEMPTS = 3  # for a connection that breaks off where the client itself does not go on


@dataclass(frozen=True)
class Listed:
    """A file as the hub lists it; ``size`` in bytes, ``digest`` in hex: 64 digits SHA-256, 40 Git's SHA-1."""

    size: int | None
    digest: str | None


def cache_of(repository: str) -> str:
    """The folder of a repository in the hub's cache."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    return str(Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=repository, repo_type="model")))


def require_room(folder: Path, wanted: Mapping[str, Listed]) -> None:
    """Raise :class:`SeatrialError` if the disk cannot hold those of ``wanted`` that the snapshot lacks."""
    missing = sum(each.size or 0 for name, each in wanted.items() if not (folder / name).exists())
    there = next(each for each in folder.parents if each.exists())
    free = shutil.disk_usage(there).free
    if missing > free:
        raise SeatrialError(
            f"{missing / 1e9:.1f} GB are to be downloaded and {free / 1e9:.1f} GB are free in its cache",
            where=folder.parent.parent.parent,
            hint="free some space or name another folder with HF_HUB_CACHE=DIR",
        )


def download(
    repository: str, commit: str, wanted: Mapping[str, Listed], send: Callable[..., None], force: bool = False
) -> None:
    """Fetch those of ``wanted`` that the cache lacks, or with ``force`` all; sends ``done`` and ``total``.

    Raises:
        SeatrialError: some are still not there. What the client raises is left to :mod:`hub_errors`.
    """
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
    folder = Path(cache_of(repository)) / "snapshots" / commit
    missing = [name for name in wanted if not (folder / name).is_file()]
    if missing:  # the client hands out a folder of the cache as it is where the hub does not answer
        raise SeatrialError(
            f"{len(missing)} of {len(wanted)} files are not there, such as {missing[0]}",
            where=f"hub {repository} at {commit[:12]}",
            hint="run it again with a network: whole files are kept",
        )


def _there(repository: str, commit: str, wanted: Mapping[str, Listed]) -> int:
    folder = Path(cache_of(repository)) / "snapshots" / commit
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


def verify(
    repository: str, commit: str, folder: Path, wanted: Mapping[str, Listed], send: Callable[..., None]
) -> None:
    """Compare every file with what the hub lists; one that differs is fetched once more."""
    wrong = _differing(folder, wanted)
    if not wrong:
        return
    send(say=f"{', '.join(wrong)} in the hub's cache is not what the hub lists: fetching again")
    download(repository, commit, {name: wanted[name] for name in wrong}, send, force=True)
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
