"""Builds steps in a process of its own: ``python -m tests.children.builder ROOT MODE NAME [OTHERS]``.

Processes and their test meet in the folder ``ROOT.signs``: a file there says how far somebody is.
"""

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from seatrial.training.progress import Progress
from seatrial.training.store import Step, Store
from tests.children import watchdog

Build = Callable[[Path, Progress], Mapping[str, Any]]
PATIENCE = 20.0


def step(name: str, build: Build, **changes: Any) -> Step:
    """The step that test and children agree about."""
    return Step(**{"name": name, "version": 1, "params": {}, "inputs": {}, "build": build} | changes)


def signs(root: Path) -> Path:
    folder = root.with_name(f"{root.name}.signs")
    folder.mkdir(exist_ok=True)
    return folder


def wait_for(*paths: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not all(path.exists() for path in paths):
        if time.monotonic() > deadline:
            raise TimeoutError(f"none of {paths} after {PATIENCE:.0f} s")
        time.sleep(0.01)


def note(root: Path, word: str) -> None:
    with (signs(root) / "diary").open("a", encoding="utf-8") as diary:
        diary.write(f"{word}\n")


def main(root: Path, mode: str, name: str, others: list[str]) -> None:
    everyone = [signs(root) / f"{other}.ready" for other in [name, *others]]
    inside = [signs(root) / f"{other}.inside" for other in [name, *others]]

    def build(out: Path, progress: Progress) -> Mapping[str, Any]:
        (out / "half.txt").write_text("half", encoding="utf-8")
        inside[0].touch()
        wait_for(*everyone)
        if mode == "meet":
            wait_for(*inside)
        note(root, f"begin {name}")
        time.sleep(60 if mode == "hang" else 0.2)
        note(root, f"end {name}")
        (out / "whole.txt").write_text("whole", encoding="utf-8")
        return {}

    store = Store(root)
    everyone[0].touch()
    if mode == "same":
        store.build(step("same", build))
    elif mode == "hang":
        store.build(step("before", lambda out, progress: {}))
        store.build(step(name, build))
    else:
        store.build(step(name, build, heavy=mode == "heavy"))


if __name__ == "__main__":
    watchdog.start()
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:])
