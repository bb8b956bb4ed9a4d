"""The number type that this machine multiplies natively, found without importing torch.

A step's key must say in which type a model was trained, and keys are derived where torch is never imported.
"""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

BF16_CAPABILITY = 8.0  # CUDA compute capability of Ampere, the first that multiplies bfloat16 (a T4 has 7.5)
BF16_FLAGS = {"avx512_bf16", "amx_bf16"}
CPUINFO = Path("/proc/cpuinfo")


def resolve_dtype(wanted: str) -> str:
    """``auto`` → ``bfloat16`` where the hardware multiplies it natively, else ``float32``; others stay."""
    if wanted != "auto":
        return wanted
    capability = cuda_capability()
    native = bool(BF16_FLAGS & cpu_flags()) if capability is None else capability >= BF16_CAPABILITY
    return "bfloat16" if native else "float32"


@cache
def cuda_capability() -> float | None:
    """Compute capability of the weakest CUDA device, told by its driver's own tool; None without a device."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    command = [tool, "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        return min((float(line) for line in done.stdout.split()), default=None)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def cpu_flags() -> set[str]:
    """Instruction sets that the processor says it has; empty where the system does not tell."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return {flag for line in lines if line.startswith("flags") for flag in line.partition(":")[2].split()}
