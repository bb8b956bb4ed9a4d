"""Jobs: merged model → GGUF f16 → quantised GGUF files; and where llama.cpp's converter comes from.

llama.cpp's ``convert_hf_to_gguf.py`` is not part of any wheel. It lies in the source distribution of
llama-cpp-python, so it is taken from there, in the version that is installed: converter and runtime
always match. A step of the store keeps it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from seatrial.training.errors import SeatrialError

WANTED = ("convert_hf_to_gguf.py", "convert_lora_to_gguf.py", "conversion/", "gguf-py/gguf/", "LICENSE")


def fetch_converter(out: Path) -> dict[str, Any]:
    """Unpack llama.cpp's converter scripts from llama-cpp-python's source distribution into ``out``.

    Raises:
        SeatrialError: pip could not download it.
    """
    release = version("llama-cpp-python")
    download = out / "sdist"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(download)]
    command += ["--no-binary", "llama-cpp-python", f"llama-cpp-python=={release}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    archives = list(download.glob("*.tar.gz"))
    if done.returncode or not archives:
        raise SeatrialError(
            f"pip could not download the source of llama-cpp-python {release}, which holds the converter",
            hint=f"pip said: {done.stderr.strip()[-400:]}",
        )
    with tarfile.open(archives[0]) as archive:
        for member in archive.getmembers():
            _, _, name = member.name.partition("/vendor/llama.cpp/")
            if member.isfile() and name.startswith(WANTED):
                member.name = name
                archive.extract(member, out, filter="data")
    archives[0].unlink()
    download.rmdir()
    return {"llama_cpp_python": release}


def convert(request: dict[str, Any], send: Callable[..., None]) -> dict[str, Any]:
    """Convert the Hugging Face folder ``request["model"]`` to an f16 GGUF file ``request["out"]``.

    The converter reads metadata out of the folder's name (``general.finetune`` and others), so it is given
    the folder by a link that is called ``request["name"]``: a key of the store would get into the file.
    """
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryDirectory(dir=Path(request["out"]).parent) as folder:
        model = Path(folder, request["name"])
        model.symlink_to(request["model"])
        command = [sys.executable, str(Path(request["converter"]) / "convert_hf_to_gguf.py"), str(model)]
        command += ["--outfile", request["out"], "--outtype", "f16", "--model-name", request["name"]]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
    print(done.stdout, done.stderr, file=sys.stderr)
    if done.returncode:
        raise SeatrialError(
            f"llama.cpp's converter ended with exit status {done.returncode}",
            where=request["model"],
            hint="\n    ".join(done.stderr.strip().splitlines()[-4:]),
        )
    return {"bytes": Path(request["out"]).stat().st_size}


def quantize(request: dict[str, Any], send: Callable[..., None]) -> dict[str, Any]:
    """Quantise the GGUF file ``request["model"]`` to ``request["type"]`` with llama.cpp."""
    import llama_cpp

    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = file_type(request["type"])
    params.nthread = os.cpu_count() or 1
    code = llama_cpp.llama_model_quantize(
        request["model"].encode(), request["out"].encode(), llama_cpp.ctypes.byref(params)
    )
    if code:
        raise SeatrialError(
            f"llama.cpp could not quantise to {request['type']} (code {code})",
            hint="some types need an importance matrix; the log of this step says which tensor",
        )
    return {"bytes": Path(request["out"]).stat().st_size}


def file_type(kind: str) -> int:
    """llama.cpp's number of a type such as ``q4_k_m`` or ``f32``.

    Raises:
        SeatrialError: this llama.cpp does not know it.
    """
    import llama_cpp

    for prefix in ("MOSTLY", "ALL"):
        if (found := getattr(llama_cpp, f"LLAMA_FTYPE_{prefix}_{kind.upper()}", None)) is not None:
            return int(found)
    raise SeatrialError(f"the installed llama.cpp knows no type {kind!r}")
