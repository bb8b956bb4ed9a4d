"""The number type that training computes in is part of the key: another machine's ``auto`` is another model.

python -m pytest tests/test_hardware.py
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from seatrial.training import hardware, train_steps
from seatrial.training.errors import SeatrialError
from seatrial.training.recipe import load_recipe

ARTIFACT = SimpleNamespace(digest="0" * 64, path=Path())


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Pretends to be a machine with these processor flags and this CUDA capability."""

    def pretend(flags: str, capability: float | None = None) -> None:
        cpuinfo = tmp_path / "cpuinfo"
        cpuinfo.write_text(f"processor\t: 0\nvmx flags\t: ept\nflags\t\t: fpu {flags}\n", encoding="utf-8")
        monkeypatch.setattr(hardware, "CPUINFO", cpuinfo)
        monkeypatch.setattr(hardware, "cuda_capability", lambda: capability)

    return pretend


@pytest.mark.parametrize(
    ("flags", "capability", "dtype"),
    [
        ("avx2", None, "float32"),
        ("avx512f avx512_bf16", None, "bfloat16"),
        ("amx_bf16", None, "bfloat16"),
        ("avx512_bf16", 7.5, "float16"),  # a T4 emulates bfloat16: the device decides, not the processor
        ("avx512_bf16", 6.1, "float32"),  # Pascal has no fast 16-bit type
        ("avx2", 8.0, "bfloat16"),
    ],
)
def test_auto_is_what_the_hardware_multiplies_natively(machine, flags, capability, dtype):
    machine(flags, capability)
    assert hardware.resolve_dtype("auto") == dtype
    assert hardware.resolve_dtype("float32") == "float32"


def test_a_machine_that_tells_nothing_computes_in_float32(monkeypatch, tmp_path):
    monkeypatch.setattr(hardware, "CPUINFO", tmp_path / "nothing")
    monkeypatch.setattr(hardware, "cuda_capability", lambda: None)
    assert hardware.resolve_dtype("auto") == "float32"


@pytest.mark.parametrize(("said", "expected"), [("7.5\n8.6\n", 7.5), ("", None), ("no devices", None)])
def test_the_weakest_device_decides_and_a_tool_that_knows_none_is_no_device(
    monkeypatch, tmp_path, said, expected
):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!{sys.executable}\nprint({said!r}, end='')\n", encoding="utf-8")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    hardware.cuda_capability.cache_clear()
    try:
        assert hardware.cuda_capability() == expected
    finally:
        hardware.cuda_capability.cache_clear()


def test_the_adapter_s_key_holds_the_type_and_not_the_word_auto(machine):
    recipe = load_recipe("smollm2-135m-cpu")
    assert recipe.trainer.compute_dtype == "auto"
    keys = {}
    for flags, dtype in (("avx2", "float32"), ("avx512_bf16", "bfloat16")):
        machine(flags)
        step = train_steps.train_adapter(recipe, ARTIFACT, ARTIFACT)
        assert step.params["trainer"]["compute_dtype"] == dtype
        keys[dtype] = step.key
    assert len(set(keys.values())) == 2


def test_float16_is_for_devices_that_have_it(machine):
    machine("avx2", 7.5)
    assert hardware.resolve_dtype("float16") == "float16"
    machine("avx2")
    with pytest.raises(SeatrialError, match="needs a CUDA device"):
        hardware.resolve_dtype("float16")
