"""Trackers for real: each writes the training's losses where the store keeps logs, and nowhere else.

python -m pip install tensorboard trackio mlflow wandb; python -m pytest tests/test_trackers.py
"""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from tests.trained_tiny import Tiny

# A tracker, and the file below the store's logs that it keeps a training in.
FILES = {"tensorboard": "events.out.tfevents.*", "trackio": "*.db", "mlflow": "mlflow.db", "wandb": "*.wandb"}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return Tiny(tmp_path_factory.mktemp("trackers"))


@pytest.mark.parametrize("name", FILES)
def test_a_tracker_keeps_the_training_in_the_store_s_logs(name, tiny, tmp_path, monkeypatch):
    if find_spec(name) is None:
        pytest.skip(f"python -m pip install {name}")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(tmp_path)
    recipe = tiny.recipe(trainer={"report_to": name, "epochs": 1, "seed": 40 + len(name)})
    store, _, adapter = tiny.train(recipe)
    kept = [path for path in (store.root / "logs").rglob(FILES[name]) if path.is_file()]
    assert any(b"loss" in path.read_bytes() for path in kept), f"{name} kept no losses"
    assert adapter.facts["history"]
    assert not list(tmp_path.iterdir()), "something was written where the user stands"
