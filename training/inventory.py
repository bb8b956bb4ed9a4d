"""What a store holds, and what of it may go: for ``seatrial store list`` and ``seatrial store prune``.

Nothing in use is removed. A step that is being built holds its lock; a run that reads artifacts holds a lock
of its own for as long as it lives, and whatever was used since it began is taken for in use by it. An
artifact that goes is first renamed, under its step's lock: what has no manifest does not exist, so a kill at
any point leaves a whole store, and a build that waits for the lock builds anew.
"""

from __future__ import annotations

import calendar
import re
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from seatrial.training.errors import SeatrialError
from seatrial.training.store import FOLDERS, MANIFEST, SESSIONS, is_edited, read_manifest

KEY = re.compile(r"[0-9a-f]{32}")
CLOCKS = 1.0  # seconds that a file system's clock may be behind ours


@dataclass(frozen=True)
class Entry:
    """An artifact in a store; ``used`` and ``built`` are seconds since 1970, ``size`` is in bytes.

    ``damage``: what is wrong with it, "" for a whole one.
    ``in_use``: why it cannot be removed now, "" where nothing stands against it.
    """

    step: str
    key: str
    path: Path
    size: int
    built: float
    used: float
    manifest: dict[str, Any]
    damage: str
    in_use: str = ""


@dataclass(frozen=True)
class Leftover:
    """What a run that was killed left: a half-built step, a server's folder; nothing reads it."""

    path: Path
    size: int


def entries(root: Path) -> list[Entry]:
    """Every artifact of the store, by step, the last used first; a store that is not there holds none.

    Raises:
        SeatrialError: the folder is no store.
    """
    if not _is_there(root):
        return []
    since = _live_since(root)
    folders = [
        folder
        for step in sorted(_folders(root))
        if step.name not in FOLDERS
        for folder in _folders(step)
        if KEY.fullmatch(folder.name)
    ]
    found = [_entry(root, folder, since) for folder in folders]
    return sorted(found, key=lambda entry: (entry.step, -entry.used))


def leftovers(root: Path) -> list[Leftover]:
    """What lies in ``tmp`` and nobody is building, and folders of Ollama servers that are gone."""
    if not _is_there(root):
        return []
    idle = _live_since(root) is None
    here = [*(root / "tmp").iterdir(), *(root / "logs").glob("ollama-*")]
    here += (path for path in (root / SESSIONS).glob("*.lock") if _acquirable(path))
    gone = [path for path in here if (_is_free(root, key) if (key := _key_of(path)) else idle)]
    return [Leftover(path, disk_size([path])) for path in sorted(gone)]


def chosen(
    found: Sequence[Entry],
    steps: Sequence[str] = (),
    older_than: float | None = None,
    keep_latest: int | None = None,
    to_size: int | None = None,
    unneeded: bool = False,
) -> list[Entry]:
    """The artifacts that a prune is about: of ``steps`` (all if empty), not used for ``older_than`` seconds,
    and not among the ``keep_latest`` last used of their step; of those, the longest unused until the store
    holds ``to_size`` bytes. Damaged ones always; of the whole ones none where nothing is said.

    ``unneeded``: nothing more is said, and all of them are meant that may go.
    """
    if older_than is None and keep_latest is None and to_size is None and not steps and not unneeded:
        return [entry for entry in found if entry.damage]
    place: Counter[str] = Counter()
    wanted = []
    for entry in sorted(found, key=lambda entry: -entry.used):
        if steps and entry.step not in steps:
            continue
        place[entry.step] += not entry.damage
        old = older_than is None or time.time() - entry.used > older_than
        spare = keep_latest is None or place[entry.step] > keep_latest
        if entry.damage or (old and spare):
            wanted.append(entry)
    if to_size is not None:
        wanted = _down_to(to_size, found, wanted)
    return sorted(wanted, key=lambda entry: (entry.step, -entry.used))


def _down_to(size: int, found: Sequence[Entry], wanted: Sequence[Entry]) -> list[Entry]:
    """The longest unused of ``wanted``, as many as it takes until the whole store holds ``size`` bytes."""
    left = disk_size(entry.path for entry in found)
    going = []
    for entry in sorted(wanted, key=lambda entry: (not entry.damage, entry.used)):
        if entry.damage or left > size:
            going.append(entry)
            left -= 0 if entry.in_use else freed([entry.path])
    return going


def remove(root: Path, entry: Entry) -> str:
    """Remove an artifact; why it stays if it came into use in the meantime, else "".

    Raises:
        SeatrialError: its files cannot be removed.
    """
    lock = FileLock(root / "locks" / f"{entry.key}.lock")
    try:
        with lock.acquire(timeout=0):
            if told := _use(entry.path, _live_since(root)):
                return told
            aside = root / "tmp" / f"{entry.key}-pruned-{uuid.uuid4().hex[:8]}"
            entry.path.rename(aside)
            shutil.rmtree(aside)
    except Timeout:
        return BUILDING
    except FileNotFoundError:
        return ""  # somebody else removed it
    except OSError as error:
        raise SeatrialError(f"cannot be removed: {error.strerror}", where=entry.path) from None
    return ""


def remove_leftover(root: Path, leftover: Leftover) -> str:
    """Remove a leftover; why it stays if somebody builds there again, else ""."""
    key = _key_of(leftover.path)
    try:
        if key is None:
            _delete(leftover.path)
            return ""
        with FileLock(root / "locks" / f"{key}.lock").acquire(timeout=0):
            _delete(leftover.path)
    except Timeout:
        return BUILDING
    except OSError as error:
        raise SeatrialError(f"cannot be removed: {error.strerror}", where=leftover.path) from None
    return ""


def disk_size(paths: Iterable[Path]) -> int:
    """Bytes of all files below ``paths``, each once however many names it has."""
    return sum(size for size, _, _ in _files(paths).values())


def freed(paths: Iterable[Path]) -> int:
    """Bytes that removing ``paths`` frees: a file that has another name elsewhere stays."""
    return sum(size for size, links, names in _files(paths).values() if names == links)


BUILDING = "it is being built"


def _is_there(root: Path) -> bool:
    if not root.exists():
        return False
    if not all((root / name).is_dir() for name in FOLDERS):
        raise SeatrialError(
            f"is no store: it has no folders {', '.join(FOLDERS)}",
            where=root,
            hint="name one with --store=DIR or the environment variable SEATRIAL_STORE",
        )
    return True


def _folders(path: Path) -> Iterator[Path]:
    return (each for each in path.iterdir() if each.is_dir() and not each.is_symlink())


def _entry(root: Path, folder: Path, since: float | None) -> Entry:
    manifest = read_manifest(folder)
    damage = _damage(folder, manifest)
    in_use = _use(folder, since) or ("" if _is_free(root, folder.name) else BUILDING)
    used = _used(folder)
    return Entry(
        step=folder.parent.name,
        key=folder.name,
        path=folder,
        size=disk_size([folder]),
        built=_built(manifest) or used,
        used=used,
        manifest=manifest or {},
        damage=damage,
        in_use=in_use,
    )


def _damage(folder: Path, manifest: dict[str, Any] | None) -> str:
    if manifest is None:
        there = (folder / MANIFEST).is_file()
        return "its manifest cannot be read" if there else "it has no manifest"
    if manifest["key"] != folder.name:
        return f"it holds what {manifest['key']} is"
    if is_edited(manifest):
        return "its manifest is not what was written"
    for name, entry in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            return f"{name} is gone"
        if path.stat().st_size != entry["bytes"]:
            return f"{name} has another size than when it was built"
    return ""


def _used(folder: Path) -> float:
    """When it was last used: a store that finds an artifact touches its manifest."""
    for path in (folder / MANIFEST, folder):
        try:
            return path.stat().st_mtime
        except OSError:
            continue
    return 0.0


def _built(manifest: dict[str, Any] | None) -> float | None:
    try:
        told = time.strptime(str((manifest or {})["built_at"]), "%Y-%m-%dT%H:%M:%SZ")
    except (KeyError, ValueError):
        return None
    return float(calendar.timegm(told))


def _use(folder: Path, since: float | None) -> str:
    return "a run that is going on uses it" if since is not None and _used(folder) >= since else ""


def _live_since(root: Path) -> float | None:
    """When the oldest run began that is still going on with this store; None where there is none."""
    began = []
    for path in (root / SESSIONS).glob("*.lock"):
        start, _, _ = path.name.partition("-")
        if start.isdigit() and not _acquirable(path):
            began.append(int(start) / 1e9 - CLOCKS)
    return min(began, default=None)


def _acquirable(path: Path) -> bool:
    """Whether nobody holds the lock at ``path``."""
    if not path.exists():
        return True
    try:
        with FileLock(path).acquire(timeout=0):
            return True
    except Timeout:
        return False


def _is_free(root: Path, key: str) -> bool:
    """Whether nobody builds the step of this key."""
    return _acquirable(root / "locks" / f"{key}.lock")


def _key_of(path: Path) -> str | None:
    start = path.name.partition("-")[0]
    return start if KEY.fullmatch(start) else None


def _files(paths: Iterable[Path]) -> dict[tuple[int, int], tuple[int, int, int]]:
    """By device and inode: a file's size, how many names it has, and how many of them lie below ``paths``."""
    found: dict[tuple[int, int], tuple[int, int, int]] = {}
    for path in paths:
        for each in [path, *path.rglob("*")] if path.is_dir() else [path]:
            try:
                status = each.lstat()
            except OSError:
                continue
            if not each.is_dir() or each.is_symlink():
                place = (status.st_dev, status.st_ino)
                names = found[place][2] if place in found else 0
                found[place] = (status.st_size, status.st_nlink, names + 1)
    return found


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
