"""The number type that this machine multiplies natively, found without importing torch.

A step's key must say in which type a model was trained, and keys are derived where torch is never imported.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from seatrial.training.errors import SeatrialError

BF16_CAPABILITY = 8.0  # CUDA compute capability of Ampere, the first that multiplies bfloat16 (a T4 has 7.5)
FP16_CAPABILITY = 7.0  # Volta, the first with tensor cores, which multiply float16 only
BF16_FLAGS = {"avx512_bf16", "amx_bf16"}
DTYPES = ("bfloat16", "float16", "float32")  # what a machine may choose
CPUINFO = Path("/proc/cpuinfo")


def resolve_dtype(wanted: str) -> str:
    """``auto`` → the 16-bit type that the hardware multiplies natively, else ``float32``; others stay.

    That is ``bfloat16`` on CUDA from Ampere on and on processors that have it, ``float16`` on CUDA before
    (a T4), where losses are scaled so that small gradients do not vanish (Micikevicius et al. 2018,
    arXiv:1710.03740).

    Raises:
        SeatrialError: ``float16`` is wanted and there is no CUDA device, without which nothing trains in it.
    """
    capability = cuda_capability()
    if wanted == "float16" and capability is None:
        raise SeatrialError(
            'compute_dtype = "float16" needs a CUDA device, and there is none here',
            where="recipe [trainer]",
            hint='"auto" takes what this machine multiplies natively',
        )
    if wanted != "auto":
        return wanted
    if capability is None:
        return "bfloat16" if BF16_FLAGS & cpu_flags() else "float32"
    return (
        "bfloat16"
        if capability >= BF16_CAPABILITY
        else "float16"
        if capability >= FP16_CAPABILITY
        else "float32"
    )


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


def cuda_devices() -> int:
    """How many CUDA devices there are, as far as CUDA_VISIBLE_DEVICES shows them."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    try:
        done = subprocess.run([tool, "--list-gpus"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    there = 0 if done.returncode else sum(line.startswith("GPU ") for line in done.stdout.splitlines())
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    return there if shown is None else min(there, len([each for each in shown.split(",") if each.strip()]))


def cpu_flags() -> set[str]:
    """Instruction sets that the processor says it has; empty where the system does not tell."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return {flag for line in lines if line.startswith("flags") for flag in line.partition(":")[2].split()}
