"""Training in several processes: the same rows an update, the same losses, one error where one of them fails.

python -m pytest tests/test_distributed.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from seatrial.training import distributed, launcher, steps, train_steps
from seatrial.training.distributed import CONFIGURATIONS, divided, launch_of
from seatrial.training.errors import SeatrialError
from seatrial.training.recipe import load_recipe
from tests.conftest import REPOSITORY
from tests.trained_tiny import Tiny, losses

ARTIFACT = SimpleNamespace(digest="0" * 64, path=Path())
TWO = {"distributed_type": "MULTI_GPU", "use_cpu": True, "num_machines": 1, "num_processes": 2}
TRAINER = {"epochs": 10, "batch_size": 4, "gradient_accumulation": 2, "compute_dtype": "float32"}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    made = Tiny(tmp_path_factory.mktemp("distributed"))
    write(made.recipes, **TWO)
    return made


def write(folder, name="two.yaml", **changes):
    path = folder / name
    path.write_text(yaml.safe_dump({**TWO, "main_process_port": 0, **changes}), encoding="utf-8")
    return path


def recipe_in(folder, **changes):
    """The 8B recipe with an accelerate configuration that differs from two CPU processes by ``changes``."""
    write(folder, **changes)
    update = {"accelerate": "two.yaml", "folder": folder}
    return load_recipe("llama-3.1-8b-trl").model_copy(update=update)


# --- two processes, really started --------------------------------------------------------------------------
@pytest.fixture(scope="module")
def both(tiny):
    """The adapters of one process and of two, by the same recipe, and what was told meanwhile."""
    alone = tiny.recipe(trainer=TRAINER)
    _, _, one = tiny.train(alone)
    store, base, two = tiny.train(alone.model_copy(update={"accelerate": "two.yaml"}))
    return SimpleNamespace(one=one, two=two, base=base, store=store)


def test_two_processes_have_the_losses_of_one(both):
    one, two = losses(both.one), losses(both.two)
    assert len(one) == len(two) > 0
    assert two == pytest.approx(one, rel=1e-3)
    assert both.two.facts["train_loss"] == pytest.approx(both.one.facts["train_loss"], rel=1e-3)
    assert both.two.facts["eval_loss"] == pytest.approx(both.one.facts["eval_loss"], rel=1e-3)
    assert both.two.facts["history"][-1]["step"] == both.one.facts["history"][-1]["step"]


def test_what_each_process_did_is_on_record(both):
    facts = both.two.facts
    assert facts["processes"] == 2
    assert facts["each_process"] == {"batch_size": 4, "gradient_accumulation": 1}
    assert "processes" not in both.one.facts
    assert both.two.manifest["params"]["processes"] == 2


def test_the_adapter_of_two_processes_is_the_one_of_one_process_up_to_rounding(both):
    import torch
    from safetensors.torch import load_file

    one, two = (load_file(each.path / "adapter_model.safetensors") for each in (both.one, both.two))
    assert one.keys() == two.keys()
    apart = max(float((one[name] - two[name]).abs().max()) for name in one)
    largest = max(float(value.abs().max()) for value in one.values())
    assert apart < 0.01 * largest
    assert all(torch.isfinite(value).all() for value in two.values())


def test_the_adapter_of_two_processes_merges(both):
    merged = both.store.build(steps.merge(both.base, both.two))
    assert (merged.path / "model.safetensors").is_file()
    assert sorted(path.name for path in both.two.path.iterdir()) == sorted(
        path.name for path in both.one.path.iterdir()
    )


def test_an_error_in_the_processes_is_one_error(tiny):
    recipe = tiny.recipe(trainer={**TRAINER, "optimizer": "adam_of_nobody"})
    with pytest.raises(SeatrialError, match="optimizer = 'adam_of_nobody' is none") as error:
        tiny.train(recipe.model_copy(update={"accelerate": "two.yaml"}))
    assert str(error.value).count("adam_of_nobody") == 1
    assert not list((tiny.folder / "store/tmp").iterdir())


# --- a process that dies ------------------------------------------------------------------------------------
@pytest.fixture
def stubbed(tmp_path, monkeypatch):
    """Runs the launcher on a module that stands for the ranks, started by the real accelerate."""

    def run(body, told=()):
        package = tmp_path / "ranks"
        package.mkdir(exist_ok=True)
        (package / "stub_rank.py").write_text(body, encoding="utf-8")
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(package), os.environ["PYTHONPATH"]]))
        monkeypatch.setattr(launcher, "RANK", "stub_rank")
        launch = {"file": str(write(tmp_path)), "processes": 2, "sharded": False, "cpu": True}
        return launcher.train({"launch": launch, "checkpoints": str(tmp_path)}, lambda **event: None)

    return run


def test_a_process_that_is_killed_ends_the_others_and_is_one_error(stubbed):
    began = time.monotonic()
    with pytest.raises(launcher.ProcessFailed, match="a process of the training died"):
        stubbed(
            "import os, signal, time\n"
            "if os.environ['RANK'] == '1':\n    os.kill(os.getpid(), signal.SIGKILL)\n"
            "time.sleep(300)\n"
        )
    assert time.monotonic() - began < 90


def test_an_error_that_nobody_foresaw_names_its_process(stubbed):
    with pytest.raises(launcher.ProcessFailed, match="process 2 of 2: ValueError: odd"):
        stubbed(
            "import json, os, time\n"
            "if os.environ['RANK'] == '1':\n"
            "    print(json.dumps({'error': 'ValueError: odd', 'unexpected': True, 'rank': 1}), flush=True)\n"
            "    raise SystemExit(1)\n"
            "time.sleep(300)\n"
        )


def test_processes_end_with_the_one_that_started_them(tmp_path):
    """The ranks wait at the pipe of their parent, which is killed like everything that a user interrupts."""
    script = (
        "import json, sys, time, threading\n"
        "from seatrial.training.rank import _end_with_parent\n"
        f"open(r'{tmp_path}/started', 'w').write(str(__import__('os').getpid()))\n"
        "threading.Thread(target=_end_with_parent, daemon=True).start()\n"
        "time.sleep(300)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) as process:
        wait_for(lambda: (tmp_path / "started").exists())
        process.stdin.close()
        wait_for(lambda: process.poll() is not None)


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


# --- what may stand in the file -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("changes", "said", "hint"),
    [
        ({"num_machines": 2}, "num_machines: 2", "this machine only"),
        ({"distributed_type": "DEEPSPEED"}, "distributed_type: 'DEEPSPEED'", "FSDP"),
        ({"distributed_type": "MULTI_CPU"}, "distributed_type: 'MULTI_CPU'", "use_cpu: true"),
        ({"distributed_type": "NO"}, "distributed_type: 'NO'", "for 2 processes"),
        ({"num_processes": 0}, "num_processes: 0", "one for each GPU"),
        ({"num_processes": "two"}, "num_processes: 'two'", "one for each GPU"),
        ({"mixed_precision": "bf16"}, "mixed_precision: 'bf16'", "compute_dtype"),
        ({"gradient_accumulation_steps": 8}, "gradient_accumulation_steps: 8", "recipe"),
        ({"compute_environment": "AMAZON_SAGEMAKER"}, "AMAZON_SAGEMAKER", "LOCAL_MACHINE"),
        ({"num_processes": 3}, "16 rows an update", "2 or 4 or 8 or 16"),
    ],
)
def test_what_would_train_otherwise_than_the_recipe_is_refused(tmp_path, changes, said, hint):
    with pytest.raises(SeatrialError) as error:
        launch_of(recipe_in(tmp_path, **changes))
    assert said in str(error.value) and hint in str(error.value)


def test_a_file_that_is_none_is_one_error(tmp_path):
    recipe = recipe_in(tmp_path)
    for text in ("- a\n", "a: [", "\x00"):
        (tmp_path / "two.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(SeatrialError, match=r"two\.yaml"):
            launch_of(recipe)
    with pytest.raises(SeatrialError, match="no accelerate configuration 'none'") as error:
        launch_of(recipe.model_copy(update={"accelerate": "none"}))
    assert "ddp, fsdp-nf4" in str(error.value)


def test_more_processes_than_devices_is_told_before_anything_is_trained(tmp_path, monkeypatch):
    cpu = launch_of(recipe_in(tmp_path, num_processes=16))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    with pytest.raises(SeatrialError, match="num_processes: 16, and there are 2 cores here"):
        cpu.require_devices()
    gpu = launch_of(recipe_in(tmp_path, use_cpu=False))
    for there, said in ((0, "there are 0 CUDA devices"), (1, "there is 1 CUDA device ")):
        monkeypatch.setattr(distributed, "cuda_devices", lambda there=there: there)
        with pytest.raises(SeatrialError, match=said) as error:
            gpu.require_devices()
        assert "without --accelerate" in str(error.value)
    monkeypatch.setattr(distributed, "cuda_devices", lambda: 2)
    gpu.require_devices()


def test_an_adapter_in_the_store_needs_no_devices(tmp_path, monkeypatch):
    """What a machine with GPUs trained, one without them judges: only building asks for devices."""
    monkeypatch.setattr(distributed, "cuda_devices", lambda: 0)
    assert train_steps.train_adapter(recipe_in(tmp_path, use_cpu=False), ARTIFACT, ARTIFACT).key


# --- what is shared, and what a key says --------------------------------------------------------------------
@pytest.mark.parametrize("batch", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("accumulation", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("processes", [1, 2, 3, 4, 6, 8])
def test_the_rows_of_an_update_stay_the_recipes_or_it_is_refused(batch, accumulation, processes):
    asked = load_recipe("llama-3.1-8b-trl").trainer.model_copy(
        update={"batch_size": batch, "gradient_accumulation": accumulation}
    )
    if batch * accumulation % processes:
        with pytest.raises(SeatrialError, match="cannot be shared"):
            divided(asked, processes)
        return
    one = divided(asked, processes)
    assert one.batch_size * one.gradient_accumulation * processes == batch * accumulation
    assert one.model_dump(exclude={"batch_size", "gradient_accumulation"}) == asked.model_dump(
        exclude={"batch_size", "gradient_accumulation"}
    )


def test_a_key_says_how_many_processes_and_whether_the_model_was_spread_and_nothing_else(tmp_path):
    def key(**changes):
        return train_steps.train_adapter(recipe_in(tmp_path, **changes), ARTIFACT, ARTIFACT).key

    plain = replace(train_steps.train_adapter(load_recipe("llama-3.1-8b-trl"), ARTIFACT, ARTIFACT)).key
    assert key() != plain
    assert key(num_processes=4) not in (key(), plain)
    assert key(distributed_type="FSDP") not in (key(), plain)
    assert key(gpu_ids="0,1") == key(), "which GPUs they are decides nothing"
    assert key(num_processes=1) == plain, "one process is what trains without the file"


def test_a_backend_for_one_gpu_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(train_steps, "choose_backend", lambda recipe: ("unsloth", ""))
    with pytest.raises(SeatrialError, match="trains in one process"):
        train_steps.train_adapter(recipe_in(tmp_path), ARTIFACT, ARTIFACT)


# --- the files that ship ------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGURATIONS.glob("*.yaml")))
def test_a_shipped_configuration_is_one_of_accelerates_and_of_ours(name):
    from accelerate.commands.config.config_args import load_config_from_file

    theirs = load_config_from_file(str(CONFIGURATIONS / f"{name}.yaml"))
    launch = launch_of(load_recipe("llama-3.1-8b-trl").model_copy(update={"accelerate": name}))
    assert theirs.num_processes == launch.processes == 2
    assert launch.sharded == (name == "fsdp-nf4")


def test_every_setting_of_fsdp_is_one_that_accelerate_knows_and_says_why():
    from accelerate.commands.launch import launch_command_parser

    text = (CONFIGURATIONS / "fsdp-nf4.yaml").read_text(encoding="utf-8")
    known = {name for action in launch_command_parser()._actions for name in action.option_strings}
    for key in yaml.safe_load(text)["fsdp_config"]:
        assert f"--{key}" in known, key
    lines = [line for line in text.splitlines() if line.startswith("  ")]
    assert all("#" in line for line in lines), lines


def test_sharded_4_bit_weights_are_stored_in_the_compute_dtype_and_are_the_same_numbers(both):
    import torch

    from seatrial.training.base_model import load_base

    plain = load_base(both.base.path, torch.bfloat16, "nf4")
    stored = load_base(both.base.path, torch.bfloat16, "nf4", storage=torch.bfloat16)
    name = "model.layers.0.mlp.down_proj.weight"
    packed = dict(stored.named_parameters())[name]
    assert packed.dtype is torch.bfloat16
    assert dict(plain.named_parameters())[name].dtype is torch.uint8
    for model in (plain, stored):
        model.dequantize()
    assert torch.equal(dict(plain.named_parameters())[name], dict(stored.named_parameters())[name])


def test_the_option_takes_a_shipped_name_or_a_file_from_where_one_stands(tmp_path):
    recipe = load_recipe("llama-3.1-8b-trl")
    path = write(tmp_path)
    assert distributed.with_accelerate(recipe, "ddp", tmp_path).accelerate == str(CONFIGURATIONS / "ddp.yaml")
    assert distributed.with_accelerate(recipe, "two.yaml", tmp_path).accelerate == str(path)
    with pytest.raises(SeatrialError, match="no accelerate configuration"):
        distributed.with_accelerate(recipe, "three.yaml", tmp_path)


def test_the_command_that_trains_takes_the_option():
    done = subprocess.run(
        [sys.executable, "-m", "seatrial.training", "golden/task_api", "--accelerate", "nobody"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1 and "no accelerate configuration 'nobody'" in done.stderr
