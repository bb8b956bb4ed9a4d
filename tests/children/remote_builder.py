"""Builds one step in a process of its own: ``python -m tests.children.remote_builder ROOT URL TEXT SECONDS``.

With ``TEXT`` it is written into the artifact (after ``SECONDS``); with ``-`` it must come from the remote.
Prints one line of JSON: whether it was built here, and the digest of what there is.
"""

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seatrial.training.exchange import open_store
from seatrial.training.progress import Lines, Progress
from seatrial.training.store import Step
from tests.children import watchdog

FILES = 4
SIZE = 800_000  # bytes of each of them


def content(text: str, number: int) -> bytes:
    return f"{text} {number} ".encode() * (SIZE // (len(text) + 3))


def step(text: str, seconds: float = 0.0) -> Step:
    """The step that test and children agree about: the same key, whatever ``text`` is."""

    def build(out: Path, progress: Progress) -> Mapping[str, Any]:
        if text == "-":
            raise AssertionError("this step must come from the remote")
        time.sleep(seconds)
        for number in range(FILES):
            (out / f"part-{number}.bin").write_bytes(content(text, number))
        return {"text": text}

    return Step("weights", 1, {"number": 1}, {}, build, heavy=False)


def main(root: Path, url: str, text: str, seconds: float) -> None:
    artifact = open_store(root, Lines(), url).build(step(text, seconds))
    print(json.dumps({"built": artifact.built, "digest": artifact.digest}))


if __name__ == "__main__":
    watchdog.start()
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4]))
