"""Writes a task's training set from its seeds, or checks that the written one is up to date.

    python -m seatrial.training.factory training/data/task_api
    python -m seatrial.training.factory training/data/task_api --check

Left out: training on it (`training/`).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from seatrial.training.errors import SeatrialError
from seatrial.training.factory.card import counts, data_card
from seatrial.training.factory.compose import Row, compose, to_jsonl
from seatrial.training.factory.seeds import load


def build(folder: Path) -> tuple[list[Row], dict[str, str]]:
    """The rows, and the text of every file that the folder should hold. Raises SeedError."""
    rows = compose(load(folder / "seeds"))
    jsonl = to_jsonl(rows)
    name = f"training/data/{folder.resolve().name}"
    return rows, {"train.jsonl": jsonl, "DATA_CARD.md": data_card(name, rows, jsonl)}


def differences(folder: Path, files: dict[str, str]) -> list[str]:
    """One message for each file that is missing or not what the seeds give."""
    messages = []
    for name, wanted in files.items():
        path = folder / name
        if not path.is_file():
            messages.append(f"{path}: missing")
            continue
        seen = path.read_bytes()
        if seen != wanted.encode():
            line = _first_difference(seen.decode(errors="replace"), wanted)
            messages.append(f"{path}:{line}: not what the seeds give")
    return messages


def _first_difference(seen: str, wanted: str) -> int:
    number = 1
    for left, right in zip(seen.split("\n"), wanted.split("\n"), strict=False):
        if left != right:
            break
        number += 1
    return number


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m seatrial.training.factory", description=__doc__)
    parser.add_argument("folder", type=Path, help="a folder with seeds/, such as training/data/X")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 on a difference")
    options = parser.parse_args(arguments)
    try:
        rows, files = build(options.folder)
    except SeatrialError as error:
        print(error, file=sys.stderr)
        return 2
    if options.check:
        messages = differences(options.folder, files)
        for message in messages:
            print(message, file=sys.stderr)
        if messages:
            print(f"Run: python -m seatrial.training.factory {options.folder}", file=sys.stderr)
        return 1 if messages else 0
    for name, text in files.items():
        (options.folder / name).write_bytes(text.encode())
    print(counts(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
