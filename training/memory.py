"""How much memory there is, and how much a process has taken."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from seatrial.training.hardware import cuda_capability

STATUS = Path("/proc/self/status")


def device_memory() -> tuple[float | None, str]:
    """Bytes of the device that would train here, and what it is called: of the smallest CUDA device, else of
    the machine; None where nothing tells."""
    tool = shutil.which("nvidia-smi")
    if tool is not None and cuda_capability() is not None:
        command = [tool, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=20)
            mebibytes = [float(line) for line in done.stdout.split()]
        except (OSError, ValueError, subprocess.TimeoutExpired):
            mebibytes = []
        return (min(mebibytes) * 2**20 if mebibytes else None), "the CUDA device here"
    memory = main_memory()
    return memory, "this machine" if memory is None else "this machine (no GPU)"


def main_memory() -> float | None:
    """Bytes of the machine's own memory; None where the system does not tell."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return None


def peak_memory() -> int:
    """The largest resident size that this process has had, in bytes; mapped files count as far as they were
    read.

    On Linux ``getrusage`` carries the parent's peak over into what the parent starts: a run that has just
    trained made the runtime look as large as the trainer. ``VmHWM`` begins anew with the program.
    """
    try:
        status = STATUS.read_text(encoding="utf-8", errors="replace")
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return _largest()


def peaks() -> dict[str, int]:
    """``peak_memory`` of this process or the largest that it started and, where it used a GPU, the most that
    was held there, ``peak_gpu_memory``; both in bytes."""
    found = {"peak_memory": max(peak_memory(), _largest(of_children=True))}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        found["peak_gpu_memory"] = int(torch.cuda.max_memory_reserved())
    return found


def _largest(of_children: bool = False) -> int:
    import resource  # not on every system, and all that reads a plan imports this module

    who = resource.RUSAGE_CHILDREN if of_children else resource.RUSAGE_SELF
    return resource.getrusage(who).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
