"""``pytest --plan``: what would be built, what it takes by what was built before, and what cannot fit.

python -m pytest tests/test_plan.py
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from seatrial.evals.task import load_task
from seatrial.training import forecast
from seatrial.training.distributed import with_accelerate
from seatrial.training.errors import SeatrialError
from seatrial.training.footprint import known_shape
from seatrial.training.forecast import bits_of, forecasts, refusals, require_room
from seatrial.training.lengths import Lengths
from seatrial.training.plan import Planned, planned
from seatrial.training.recipe import load_recipe
from seatrial.training.store import Step, Store
from tests.conftest import PLUGIN, REPOSITORY, clean_environment

TASK = REPOSITORY / "golden/task_api"
RECIPE = load_recipe("smollm2-135m-cpu")
RECIPE = RECIPE.model_copy(update={"trainer": RECIPE.trainer.model_copy(update={"compute_dtype": "float32"})})
PARAMETERS = known_shape(RECIPE.base.model).parameters
# What a user who types the command sees where this machine has less memory than the model needs.
SMALL = """
import sys, pytest
from seatrial.training import forecast
forecast.main_memory = lambda: 5e7
sys.exit(pytest.main(sys.argv[1:]))
"""


def made(root, name, size, seconds=1.0, params=None, inputs=None, **facts):
    """An artifact of the step ``name`` with ``size`` bytes that took ``seconds``."""

    def build(out, progress):
        (out / "model").write_bytes(b"0" * size)
        return facts

    artifact = Store(root).build(Step(name, 1, params or {}, inputs or {}, build))
    path = artifact.path / "manifest.json"
    text = path.read_text().replace(f'"seconds": {artifact.manifest["seconds"]}', f'"seconds": {seconds}')
    path.write_text(text)
    return artifact


def to_build(name, kind=""):
    return Planned(name, f"the {name}", "", None, kind=kind)


def shown(folder, *options, python=("-m", "pytest")):
    """Exit status and output of ``pytest --plan`` for the shipped task, with an empty store."""
    words = [sys.executable, *python, *PLUGIN, "--plan", f"--task={TASK}", f"--store={folder / 'store'}"]
    done = subprocess.run(
        [*map(str, words), *options], cwd=folder, env=clean_environment(), capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr


def of(found, name):
    return next(each for each in found if each.step.name == name)


def test_with_an_empty_store_all_is_to_be_built_in_bytes_that_follow_from_the_model(tmp_path):
    found = forecasts(planned(load_task(TASK), RECIPE, tmp_path / "store"), RECIPE, tmp_path / "store")
    assert {each.step.artifact for each in found} == {None}
    assert of(found, "merged").disk == 4 * PARAMETERS
    assert of(found, "gguf").disk == 2 * PARAMETERS
    assert {each.seconds for each in found} == {None}, "nothing was built here, so no time is known"
    assert not (tmp_path / "store").exists()


def test_the_time_is_that_of_the_last_in_proportion_to_the_size(tmp_path):
    made(tmp_path, "quantized", PARAMETERS * 2 // 1000, 0.25, {"type": "f16"})
    (found,) = forecasts([to_build("quantized", "f16")], RECIPE, tmp_path)
    assert found.seconds == 0.25, "a link takes no longer for a larger file"
    made(tmp_path, "merged", PARAMETERS * 4 // 1000, seconds=0.5, peak_memory=7)
    (found,) = forecasts([to_build("merged")], RECIPE, tmp_path)
    assert found.seconds == pytest.approx(500, rel=0.01)
    assert "1e+03 times the size" in found.basis
    assert found.peak is None, "the memory of another size tells nothing"


def test_a_quantised_file_is_measured_by_the_last_of_its_type(tmp_path):
    f16 = made(tmp_path, "gguf", PARAMETERS * 2 // 1000)
    for kind, size in (("q4_k_m", 600), ("q8_0", 900)):
        made(tmp_path, "quantized", size, 2.0, {"type": kind}, {"f16": f16.digest})
    found = forecasts([to_build("quantized", "q4_k_m"), to_build("quantized", "f16")], RECIPE, tmp_path)
    assert found[0].disk == pytest.approx(600_000, rel=0.01)
    assert found[1].disk == 0, "16 bits are a link to the file that is there"


def test_the_time_of_training_follows_from_the_tokens_of_an_earlier_one(tmp_path):
    params = {
        "base_model": RECIPE.base.model,
        "backend": "trl",
        "trainer": {"compute_dtype": "float32", "batch_size": RECIPE.trainer.batch_size},
    }
    facts = {"tokens": 1000, "history": [{"train_runtime": 10.0}]}
    made(tmp_path, "adapter", 10, params=params, **facts)
    trainer = RECIPE.trainer.model_copy(update={"epochs": 2.0, "validation_rows": 5})
    recipe = RECIPE.model_copy(update={"trainer": trainer})
    (found,) = forecasts([to_build("adapter")], recipe, tmp_path, Lengths([100] * 15, [10] * 15))
    assert found.seconds == pytest.approx(2 * 10 * 100 / (1000 / 10.0))
    (unknown,) = forecasts([to_build("adapter")], recipe, tmp_path)
    assert unknown.seconds is None and found.memory < found.peak


@pytest.mark.parametrize(
    ("kind", "bits"),
    [("q8_0", 8.5), ("q4_k_m", 4.5), ("q4_0", 4.5), ("iq4_xs", 4.25), ("f32", 32), ("x", None)],
)
def test_bits_are_those_of_the_type(kind, bits):
    assert bits_of(kind) == bits


@pytest.mark.parametrize(
    ("written", "on_device", "share"),
    [
        ("distributed_type: MULTI_GPU", True, 1),
        ("distributed_type: FSDP", True, 1 / 2),
        ("distributed_type: FSDP\nfsdp_config:\n  fsdp_offload_params: true", False, 1),
        ("distributed_type: MULTI_GPU\nuse_cpu: true", False, 2),
    ],
)
def test_several_processes_hold_what_their_configuration_says(
    tmp_path, monkeypatch, written, on_device, share
):
    (tmp_path / "two.yaml").write_text(f"num_processes: 2\n{written}\n")
    base = RECIPE.base.model_copy(update={"precision": "nf4"})
    recipe = with_accelerate(RECIPE.model_copy(update={"base": base}), "two.yaml", tmp_path)
    (alone,) = forecasts([to_build("adapter")], recipe.model_copy(update={"accelerate": None}), tmp_path)
    (found,) = forecasts([to_build("adapter")], recipe, tmp_path)
    assert found.memory == alone.memory * share
    assert found.on_device == on_device
    assert found.peak - found.memory == pytest.approx((alone.peak - alone.memory) / 2), "half the rows"
    monkeypatch.setattr(forecast, "device_memory", lambda: (alone.memory * 0.6, "the CUDA device here"))
    monkeypatch.setattr(forecast, "main_memory", lambda: alone.memory * 1.9)
    assert bool(refusals([found], recipe, tmp_path)) == (share == 2 or (on_device and share == 1))


@pytest.mark.parametrize(("memory", "refused"), [(1e8, True), (1e10, False)])
def test_training_that_cannot_fit_is_refused(tmp_path, monkeypatch, memory, refused):
    monkeypatch.setattr(forecast, "device_memory", lambda: (memory, "the CUDA device here"))
    told = [
        str(error) for error in refusals(forecasts([to_build("adapter")], RECIPE, tmp_path), RECIPE, tmp_path)
    ]
    assert bool(told) == refused
    if refused:
        assert "at least 0.3 GB of memory, and the CUDA device here has 0.1 GB" in told[0]
        assert "seatrial preflight" in told[0]


def test_steps_that_go_tensor_by_tensor_need_the_memory_of_the_largest_one(tmp_path):
    shape = known_shape(RECIPE.base.model)
    for found in forecasts([to_build("base"), to_build("merged")], RECIPE, tmp_path):
        assert found.memory == 4 * shape.vocabulary * shape.hidden < 4 * PARAMETERS
    folder = RECIPE.base.model_copy(update={"source": "folder"})
    (linked,) = forecasts([to_build("base")], RECIPE.model_copy(update={"base": folder}), tmp_path)
    assert linked.memory is None, "files that are linked take none"


def test_a_disk_that_is_too_small_is_told_with_what_makes_room(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=int(5e8))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    plan = [to_build("merged"), to_build("gguf")]
    (error,) = refusals(forecasts(plan, RECIPE, tmp_path / "none"), RECIPE, tmp_path / "none")
    assert "fills 0.8 GB, and 0.5 GB are free" in str(error)
    assert "seatrial store prune" in str(error)
    there = [replace(each, artifact=made(tmp_path, each.name, 3), where="the store") for each in plan]
    assert not refusals(forecasts(there, RECIPE, tmp_path), RECIPE, tmp_path), "what is there needs no room"


def test_a_gate_that_cannot_end_does_not_begin(tmp_path, monkeypatch):
    monkeypatch.setattr(forecast, "main_memory", lambda: 5e7)
    with pytest.raises(SeatrialError, match="base weights cannot be built"):
        require_room(load_task(TASK), RECIPE, tmp_path)
    monkeypatch.setattr(forecast, "main_memory", lambda: 1e11)
    require_room(load_task(TASK), RECIPE, tmp_path)


def test_the_plan_is_printed_and_nothing_is_built(tmp_path):
    status, text = shown(tmp_path)
    assert status == 0, text
    assert re.search(r"^the trained adapter +build +\?", text, re.M)
    assert re.search(r"^\d+ steps to build: a time that is not known; .* of disk$", text, re.M)
    assert re.search(r"^judging: \d+ cases in \d sets; never judged here$", text, re.M)
    assert not (tmp_path / "store").exists()


def test_a_plan_that_cannot_fit_is_refused_with_what_to_do(tmp_path):
    status, text = shown(tmp_path, python=("-c", SMALL))
    assert status == pytest.ExitCode.USAGE_ERROR
    assert re.search(r"base weights cannot be built: it takes at least 0\.1 GB of memory", text)
    assert "--store-remote" in text


def test_nothing_is_trained_for_a_program(tmp_path):
    status, text = shown(tmp_path, "--program=python answer.py")
    assert status == 0, text
    assert "the program python answer.py is judged, nothing is trained" in text
