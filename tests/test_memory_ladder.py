"""When memory runs out, training takes less at a time, says so, and keeps the rows of an update.

python -m pytest tests/test_memory_ladder.py
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from seatrial.training import out_of_memory, run_job
from seatrial.training.errors import OutOfMemory, SeatrialError
from seatrial.training.memory_ladder import ladder, train_within_memory
from seatrial.training.process import ChildDied
from seatrial.training.recipe import load_recipe

RECIPE = load_recipe("llama-3.1-8b-trl")
FAKE = """
import json
from pathlib import Path


def train(request, send):
    settings = request["recipe"]["trainer"]
    with Path(request["base"]).open("a") as file:
        file.write(json.dumps(settings) + "\\n")
    if {fails}:
        {error}
    return {{"history": []}}
"""
TORCH = 'import torch; raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ...")'
ALLOCATOR = 'raise RuntimeError("[enforce fail] DefaultCPUAllocator: can\'t allocate memory: you tried ...")'
PYTHON = "raise MemoryError"


class Heard(list):
    def start(self, step): ...

    def update(self, done, total, **facts): ...

    def say(self, message):
        self.append(message)

    def finish(self, step, seconds): ...


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Train in real processes by a backend that fails while an expression about its settings holds."""
    (tmp_path / "path").mkdir()
    (tmp_path / "store" / "tmp" / "out").mkdir(parents=True)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"))
    start = "from seatrial.training import backends; backends.BACKENDS['trl'] = 'backend_of_a_test'"
    (tmp_path / "path" / "sitecustomize.py").write_text(start, encoding="utf-8")

    def train(fails: str, error: str, recipe=RECIPE):
        source = FAKE.format(fails=fails, error=error)
        (tmp_path / "path" / "backend_of_a_test.py").write_text(source, encoding="utf-8")
        request, heard = {"backend": "trl", "base": str(tmp_path / "tried")}, Heard()
        return train_within_memory(recipe, request, tmp_path / "store" / "tmp" / "out", heard), heard

    train.tried = lambda: (tmp_path / "tried").read_text(encoding="utf-8").splitlines()
    return train


@pytest.mark.parametrize("error", [TORCH, ALLOCATOR, PYTHON])
def test_the_batch_is_halved_until_it_fits_and_the_rows_of_an_update_stay(fake, error):
    facts, heard = fake("settings['batch_size'] > 1", error)
    found = facts["memory_ladder"]
    assert found["asked"] == {"batch_size": 4, "gradient_accumulation": 4}
    assert found["used"] == {"batch_size": 1, "gradient_accumulation": 16}
    assert len(found["steps"]) == len(heard) == 2
    assert "batch_size = 2 and gradient_accumulation = 8 (still 16 rows an update)" in heard[0]
    assert len(fake.tried()) == 3


def test_what_fits_at_once_is_not_changed_and_says_nothing(fake):
    facts, heard = fake("False", PYTHON)
    assert facts.keys() == {"history", "peak_memory"}
    assert heard == []


def test_the_last_rung_cuts_rows_and_says_so_and_then_it_is_over(fake):
    with pytest.raises(OutOfMemory, match="after 4 steps to need less") as caught:
        fake("True", TORCH, RECIPE.model_copy(update={"trainer": NO_CHECKPOINTS}))
    assert "[base] precision" in caught.value.hint
    assert len(fake.tried()) == len(set(fake.tried())) == 5


def test_another_error_takes_no_rung(fake):
    with pytest.raises(SeatrialError, match="RuntimeError: the loss is broken"):
        fake("True", 'raise RuntimeError("the loss is broken")')
    assert len(fake.tried()) == 1


NO_CHECKPOINTS = RECIPE.trainer.model_copy(update={"gradient_checkpointing": False})


def test_the_rungs_come_in_their_order_each_once():
    told = [change.partition(" =")[0] for change, _ in ladder(NO_CHECKPOINTS)]
    assert told == ["batch_size", "batch_size", "gradient_checkpointing", "max_length"]


@pytest.mark.parametrize(("batch", "more"), [(4, 4), (3, 1), (6, 1), (5, 2), (1, 8)])
def test_no_rung_changes_how_many_rows_make_an_update(batch, more):
    asked = NO_CHECKPOINTS.model_copy(update={"batch_size": batch, "gradient_accumulation": more})
    for _, settings in ladder(asked):
        assert settings.batch_size * settings.gradient_accumulation == batch * more


@pytest.mark.parametrize(("longest", "length"), [(None, 1024), (300, 150), (5000, 1024), (100, None)])
def test_the_length_is_halved_from_the_longest_row_because_less_than_that_saves_nothing(longest, length):
    lengths = [s.max_length for _, s in ladder(NO_CHECKPOINTS, longest) if s.max_length != 2048]
    assert lengths == ([length] if length else [])


def test_a_process_that_the_kernel_killed_for_memory_ran_out_of_it(monkeypatch, tmp_path):
    counter = tmp_path / "vmstat"
    counter.write_text("pgfree 7\noom_kill 3\n", encoding="utf-8")
    monkeypatch.setattr(out_of_memory, "COUNTERS", (counter,))

    def killed(kills: int):
        def process(*arguments):
            counter.write_text(f"oom_kill {3 + kills}\n", encoding="utf-8")
            raise ChildDied("step 'train': the process ended with signal SIGKILL")

        counter.write_text("oom_kill 3\n", encoding="utf-8")
        monkeypatch.setattr(run_job, "JsonProcess", process)
        return run_job.run_job("train", {}, tmp_path / "tmp" / "out", SimpleNamespace())

    with pytest.raises(OutOfMemory, match="the kernel killed"):
        killed(1)
    with pytest.raises(ChildDied):
        killed(0)
