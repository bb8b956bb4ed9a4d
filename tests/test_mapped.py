"""Models that are computed from their files: the numbers of training, no copy of them in memory, the device.

python -m pytest tests/test_mapped.py
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from seatrial.training import steps
from seatrial.training.recipe import load_recipe
from seatrial.training.store import Store, default_root
from tests.conftest import MINIATURE

MAPS = Path("/proc/self/maps")


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A model of two layers with random weights."""
    folder = tmp_path_factory.mktemp("mapped") / "base"
    tokenizer = Store(default_root()).build(steps.import_base(load_recipe("smollm2-135m-cpu"))).path
    subprocess.run([sys.executable, str(MINIATURE / "make_base.py"), str(tokenizer), str(folder)], check=True)
    return folder


@pytest.mark.parametrize("precision", ["nf4", "int8", "fp32"])
def test_what_is_written_is_what_training_computes_with(base, tmp_path, precision):
    import torch

    from seatrial.training.base_model import load_dequantised
    from seatrial.training.mapped import mapped, write_held

    model = mapped(write_held(base, tmp_path / "held", "float32", precision))
    expected = load_dequantised(base, torch.float32, precision).state_dict()
    found = model.state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.skipif(not MAPS.exists(), reason="the system does not tell what is mapped")
def test_its_weights_stay_in_their_file(base, tmp_path):
    from seatrial.training.mapped import mapped, write_held

    held = write_held(base, tmp_path / "held", "float32", "fp32")
    assert str(held) not in MAPS.read_text()
    model = mapped(held)
    assert f"{held}/model.safetensors" in MAPS.read_text()
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}


@pytest.mark.parametrize(
    ("cuda", "mps", "device"),
    [
        (None, None, "cpu"),
        (10, None, "cuda"),
        (9, None, "cpu"),
        (None, 10, "mps"),
        (9, 10, "mps"),
        (9, 9, "cpu"),
    ],
)
def test_a_model_is_computed_where_all_of_it_fits(monkeypatch, cuda, mps, device):
    import torch

    from seatrial.training.device import placed

    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda is not None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (cuda, 80))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps is not None)
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: mps)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 0)
    assert placed(10) == device
