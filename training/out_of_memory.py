"""Tells that memory ran out from other errors, wherever it is said: by torch, by Python, or by the kernel."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seatrial.training.errors import OutOfMemory

SAID = re.compile(
    r"out of memory|not enough memory|can(no|')t allocate memory|CUBLAS_STATUS_ALLOC_FAILED",
    re.IGNORECASE,
)
COUNTERS = (Path("/proc/vmstat"), Path("/sys/fs/cgroup/memory.events"))


def ran_out(error: BaseException) -> bool:
    """Whether ``error`` says that memory ran out. torch's is a RuntimeError; of others its text decides."""
    if isinstance(error, MemoryError | OutOfMemory):
        return True
    return isinstance(error, RuntimeError) and (
        type(error).__name__ == "OutOfMemoryError" or SAID.search(str(error)) is not None
    )


@contextmanager
def told(longest: int | None = None) -> Iterator[None]:
    """Turns an error that says so into :class:`OutOfMemory`; ``longest``: tokens of the longest row."""
    try:
        yield
    except Exception as error:
        if not ran_out(error):
            raise
        known = getattr(error, "longest", None)
        said = " ".join(str(error).split()).partition(". ")[0][:200]
        problem = said if isinstance(error, OutOfMemory) else f"{type(error).__name__}: {said}".rstrip(": ")
        raise OutOfMemory(problem, longest=longest or known) from error


def kernel_kills() -> int:
    """How many processes the kernel has killed for want of memory, as far as it tells."""
    found = [0]
    for path in COUNTERS:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except OSError:
            continue
        found += [int(line.split()[1]) for line in lines if line.startswith("oom_kill ")]
    return max(found)
