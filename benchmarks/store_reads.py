"""A pytest plugin that counts how often a run asks the store, for ``benchmarks/cases.py``.

``-p benchmarks.store_reads``, with the environment variable SEATRIAL_STORE_READS naming a file: every
process of the run appends one line of JSON to it when it ends.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import Any

from seatrial.training.store import Artifact, Store

COUNTS: Counter[str] = Counter()


def _counted(owner: type, name: str) -> None:
    method = getattr(owner, name)

    def counting(self: Any, *args: Any) -> Any:
        COUNTS[name] += 1
        return method(self, *args)

    setattr(owner, name, counting)


def pytest_configure() -> None:
    _counted(Store, "build")
    _counted(Artifact, "read_json")


def pytest_unconfigure() -> None:
    with open(os.environ["SEATRIAL_STORE_READS"], "a", encoding="utf-8") as file:
        file.write(json.dumps(COUNTS) + "\n")
