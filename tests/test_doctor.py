"""``seatrial doctor``: what it finds on a machine and of a task, and when it says that something is missing."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from seatrial import machine
from seatrial.training import extras
from seatrial.training.errors import SeatrialError
from seatrial.training.store import FOLDERS, MANIFEST, Step, Store
from seatrial.verbs.doctor import command
from tests.test_extras import BLOCKER

REPOSITORY = Path(__file__).resolve().parents[1]
MINIATURE = REPOSITORY / "tests" / "miniature"
FIDELITY = """
[waivers]
fidelity = "a lamp"
export = "a lamp"
"""


@pytest.fixture
def user(tmp_path, monkeypatch):
    """A user's repository, entered, whose task lacks nothing to judge a program; all extras are there, and
    nothing is imported."""
    shutil.copytree(MINIATURE, tmp_path / "mini", ignore=shutil.ignore_patterns("__pycache__"))
    text = (tmp_path / "mini" / "task.toml").read_text()
    (tmp_path / "mini" / "task.toml").write_text(text + FIDELITY)
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\nseatrial_task = "mini"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEATRIAL_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("SEATRIAL_OLLAMA", str(tmp_path / "no-ollama"))
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    monkeypatch.setattr(machine, "imports", lambda modules: {})
    monkeypatch.setattr(extras, "find_spec", lambda name: SimpleNamespace(origin=name))
    monkeypatch.setattr(extras, "_version", lambda name: "1.0")
    monkeypatch.setattr(extras, "_ranges", dict)
    return tmp_path


def doctor(*words, status=0):
    """The findings by name, and what was printed."""
    plain = CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=False)
    assert plain.exit_code == status, plain.output
    told = json.loads(
        CliRunner().invoke(command, [*map(str, words), "--json"], catch_exceptions=False).output
    )
    assert told["ready"] == (status == 0)
    return {(each["area"], each["name"]): each for each in told["findings"]}, plain.output, told["task"]


PROGRAM = "--program=python mini/program.py none"


# --- the task ------------------------------------------------------------------------------------------
def test_all_is_there_to_judge_a_program(user):
    found, text, task = doctor(PROGRAM)
    assert found["task", "judged"]["text"] == "the program python mini/program.py none"
    assert found["task", "asked: shipped"]["text"] == "13 questions of domain, heldout"
    assert found["task", "cases: domain"]["text"] == "10"
    assert "all that a run needs is here: pytest -m release" in text
    assert task["case_sets"] == {"domain": 10, "heldout": 3, "regressions": 0}
    assert task["asked"]["base"] == ["domain", "heldout"]


def test_weights_that_are_not_there_are_missing(user):
    found, text, _ = doctor(status=1)
    assert "no base weights at" in found["task", "training"]["text"]
    assert text.rstrip().endswith("missing: training")


def weights(user):
    folder = user / "mini" / "recipes" / "tiny-llama"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"")


def test_steps_are_in_the_store_or_would_be_built(user):
    from seatrial.evals.task import load_task
    from seatrial.training import steps
    from seatrial.training.recipe import load_recipe

    weights(user)
    found, _, task = doctor()
    assert {each["there"] for each in task["steps"]} == {False}
    assert found["task", "step: adapter"]["text"] == "the trained adapter: would be built"
    here = load_task(user / "mini")
    recipe = load_recipe(here.recipe, here.folder)
    rows = steps.prepare_dataset(here.path(here.train), here.prompts.system, recipe)
    size = Store(user / "store").build(rows).size
    found, _, task = doctor()
    assert "in the store" in found["task", "step: dataset"]["text"]
    dataset = next(each for each in task["steps"] if each["name"] == "dataset")
    assert dataset == {"name": "dataset", "title": "training rows", "there": True, "bytes": size}
    assert found["task", "step: adapter"]["text"] == "the trained adapter: would be built"


@pytest.mark.parametrize(
    ("said", "status", "text"),
    [
        ((), 1, "nothing says in which precision the base was held"),
        (("--trained-on=nf4",), 0, "the adapter was trained on nf4: --trained-on says so"),
        (("--trained-on=nf5",), 1, "there is no 'nf5'"),
    ],
)
def test_what_a_given_adapter_was_trained_on_is_told(user, said, status, text):
    weights(user)
    adapter = user / "adapter"
    adapter.mkdir()
    config = {"peft_type": "LORA", "base_model_name_or_path": str(user / "mini" / "recipes" / "tiny-llama")}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    (user / "model.gguf").write_bytes(b"GGUF")
    found, _, _ = doctor("--gguf=model.gguf", f"--adapter={adapter}", *said, status=status)
    told = found["task", "--trained-on"]
    assert text in told["text"]
    assert (told["status"] == "missing") == bool(status)


def test_nothing_is_built_and_no_store_is_made(user):
    weights(user)
    doctor()
    assert not (user / "store").exists()


def test_training_without_its_extra_is_missing_with_the_line(user, monkeypatch):
    weights(user)
    gone(monkeypatch, "train")
    found, text, _ = doctor(status=1)
    assert found["task", "extra 'train'"]["text"] == "needs trl, datasets, huggingface-hub"
    assert found["task", "extra 'train'"]["fix"] == "python -m pip install 'seatrial[train]'"
    assert text.rstrip().endswith("missing: extra 'train'")


def test_judging_a_file_needs_no_extra(user, monkeypatch):
    (user / "model.gguf").write_bytes(b"GGUF")
    gone(monkeypatch, "train", "fidelity", "example", "plots")
    found, _, _ = doctor("--gguf=model.gguf")
    assert found["extras", "fidelity"]["status"] == "note"
    assert found["extras", "fidelity"]["fix"] == "python -m pip install 'seatrial[fidelity]'"
    found, _, _ = doctor("--gguf=model.gguf", "--hf-model=.", status=1)
    assert found["task", "extra 'fidelity'"]["status"] == "missing"


def test_a_file_that_is_not_there_is_missing(user):
    assert "does not exist" in doctor("--gguf=model.gguf", status=1)[0]["task", "--gguf"]["text"]


def test_what_every_run_is_given_by_the_configuration_counts(user):
    (user / "pytest.ini").write_text(f"[pytest]\nseatrial_task = mini\naddopts = -q '{PROGRAM}'\n")
    assert doctor()[0]["task", "judged"]["text"].startswith("the program")


def test_a_required_criterion_in_ollama_needs_one(user):
    path = user / "mini" / "task.toml"
    path.write_text(path.read_text().replace('id = "LAMP"', 'id = "LAMP"\nmodel = "ollama"'))
    (user / "model.gguf").write_bytes(b"GGUF")
    found, _, _ = doctor("--gguf=model.gguf", status=1)
    assert found["task", "ollama"]["text"].startswith("LAMP: no Ollama server answers")
    path.write_text(path.read_text().replace('model = "ollama"', 'model = "ollama"\nrequired = false'))
    doctor("--gguf=model.gguf")


def test_a_part_of_the_core_that_nothing_covers_is_missing(user):
    path = user / "mini" / "task.toml"
    path.write_text(path.read_text().replace(FIDELITY, ""))
    (user / "model.gguf").write_bytes(b"GGUF")
    found, _, _ = doctor("--gguf=model.gguf", status=1)
    assert "gguf_answers" in found["task", "core: export"]["fix"]


def test_a_mistake_in_the_task_is_told_beside_the_machine(user):
    path = user / "mini" / "task.toml"
    path.write_text(path.read_text().replace("at_least = 0.9\n", "at_lest = 0.9\n"))
    found, text, _ = doctor(status=1)
    assert "did you mean 'at_least'?" in text
    assert found["machine", "python"]["status"] == "ok"


def test_no_task_is_missing_and_the_machine_is_told(user):
    (user / "pyproject.toml").unlink()
    found, _, task = doctor(status=1)
    assert "seatrial new NAME" in found["task", "task"]["fix"]
    assert task is None


def test_a_task_that_was_named_and_is_not_there_cannot_be_used(user):
    done = subprocess.run(
        [sys.executable, "-m", "seatrial", "doctor", "--task=nowhere"], capture_output=True, text=True
    )
    assert done.returncode == 3
    assert "no task here" in done.stderr


# --- the machine ---------------------------------------------------------------------------------------
def gone(monkeypatch, *names):
    modules = {module: name for extra in names for module, name in extras.EXTRAS[extra].items()}
    seen, versions = extras.find_spec, extras._version
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name in modules else seen(name))
    monkeypatch.setattr(extras, "_version", lambda name: None if name in modules.values() else versions(name))


def test_an_import_that_fails_is_told_and_one_that_crashes_ends_nobody_else(tmp_path, monkeypatch):
    (tmp_path / "fails.py").write_text("print('[noise'); import not_a_module_anywhere")
    (tmp_path / "crashes.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    (tmp_path / "leaves.py").write_text("import os; os._exit(3)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    broken = machine.imports(["json", "fails", "crashes", "leaves", "csv"])
    assert broken == {
        "fails": "ModuleNotFoundError: No module named 'not_a_module_anywhere'",
        "crashes": "the process ended with SIGILL",
        "leaves": "the process ended with exit status 3",
    }


def test_an_import_that_hangs_is_given_up(tmp_path, monkeypatch):
    (tmp_path / "hangs.py").write_text("import time; time.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(machine, "IMPORT_SECONDS", 1.0)
    assert machine.imports(["hangs"]) == {"hangs": "no end within 1 s"}


def test_llama_cpp_that_cannot_be_imported_is_missing(user, monkeypatch):
    monkeypatch.setattr(machine, "imports", lambda modules: dict.fromkeys(modules, "ended with SIGILL"))
    found, _, _ = doctor(PROGRAM, status=1)
    assert "cannot be imported: ended with SIGILL" in found["packages", "llama-cpp-python"]["text"]
    assert "--force-reinstall" in found["packages", "llama-cpp-python"]["fix"]
    assert "half there" in found["extras", "fidelity"]["text"]


def test_half_an_extra_names_the_other_half(user, monkeypatch):
    versions = extras._version
    seen = extras.find_spec
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "peft" else seen(name))
    monkeypatch.setattr(extras, "_version", lambda name: None if name == "peft" else versions(name))
    found, _, _ = doctor(PROGRAM)
    assert found["extras", "fidelity"]["text"] == "half there: peft is missing"
    assert found["extras", "fidelity"]["fix"] == "python -m pip install 'seatrial[fidelity]'"


def fake_install(folder, version, requires=""):
    info = folder / f"seatrial-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: seatrial\nVersion: {version}\n{requires}")
    return folder


def only(monkeypatch, *folders):
    monkeypatch.setattr(
        machine.importlib.metadata,
        "distributions",
        lambda name: importlib.metadata.MetadataPathFinder.find_distributions(
            importlib.metadata.DistributionFinder.Context(name=name, path=[str(each) for each in folders])
        ),
    )


def test_two_versions_installed_are_told_with_their_places(user, tmp_path, monkeypatch):
    first, second = fake_install(tmp_path / "a", "0.1.0"), fake_install(tmp_path / "b", "0.2.0")
    only(monkeypatch, first, second)
    finding = doctor(PROGRAM)[0]["packages", "seatrial"]
    assert finding["status"] == "note"
    assert f"installed 2 times: 0.1.0 in {first.resolve()}, 0.2.0 in {second.resolve()}" in finding["text"]
    assert "pip uninstall seatrial" in finding["fix"]


def test_another_version_than_pip_installed_is_told(user, tmp_path, monkeypatch):
    only(monkeypatch, fake_install(tmp_path / "a", "0.0.1"))
    finding = doctor(PROGRAM)[0]["packages", "seatrial"]
    assert (finding["status"], "0.0.1 is what pip installed" in finding["text"]) == ("note", True)


def test_a_checkout_that_is_not_installed_is_told(user, monkeypatch):
    only(monkeypatch)
    assert "a checkout that is not installed" in doctor(PROGRAM)[0]["packages", "seatrial"]["text"]


def test_a_base_package_of_the_wrong_version_is_missing(user, tmp_path, monkeypatch):
    import seatrial

    lines = (
        "Requires-Dist: click<1\nRequires-Dist: not-there-at-all>=2\nRequires-Dist: trl<1; extra == 'train'\n"
    )
    only(monkeypatch, fake_install(tmp_path / "a", seatrial.__version__, lines))
    found, _, _ = doctor(PROGRAM, status=1)
    assert "where <1 is needed" in found["packages", "click"]["text"]
    assert found["packages", "not-there-at-all"]["fix"] == "python -m pip install 'not-there-at-all>=2'"
    assert ("packages", "trl") not in found


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("echo 'NVIDIA T4, 15360 MiB'", "NVIDIA T4, 15360 MiB"),
        ("echo 'no devices were found'; exit 6", "nvidia-smi finds none: no devices were found"),
    ],
)
def test_a_gpu_is_what_its_driver_says(user, script, text, monkeypatch):
    (user / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    (user / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{user}{os.pathsep}{os.environ['PATH']}")
    assert doctor(PROGRAM)[0]["machine", "gpu"]["text"] == text


def test_no_gpu_is_fine(user, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    finding = doctor(PROGRAM)[0]["machine", "gpu"]
    assert (finding["status"], finding["text"][:4]) == ("ok", "none")


# --- the store -----------------------------------------------------------------------------------------
def test_a_store_that_cannot_be_written_is_missing(user):
    (user / "store").write_text("a file")
    found, _, _ = doctor(PROGRAM, status=1)
    assert "cannot be written" in found["store", "path"]["text"]
    assert "--store=DIR" in found["store", "path"]["fix"]


def test_a_store_with_damage_is_told(user):
    path = Store(user / "store").build(Step("gguf", 1, {}, {}, lambda out, _: {}, heavy=False)).path
    assert "1 artifact," in doctor(PROGRAM)[0]["store", "path"]["text"]
    (path / MANIFEST).write_text("{")
    assert "seatrial store prune" in doctor(PROGRAM)[0]["store", "damaged"]["fix"]


def test_a_folder_that_is_no_store_is_told(user):
    (user / "store").mkdir()
    assert doctor(PROGRAM)[0]["store", "path"]["text"].endswith("empty")
    (user / "store" / "thesis.txt").write_text("precious")
    finding = doctor(PROGRAM)[0]["store", "path"]
    assert "is no store" in finding["text"]
    assert not any((user / "store" / name).exists() for name in FOLDERS)


def test_the_real_machine_without_the_extras(user, monkeypatch):
    monkeypatch.undo()
    (user / "site").mkdir()
    (user / "site" / "sitecustomize.py").write_text(BLOCKER)
    words = [sys.executable, "-m", "seatrial", "doctor", PROGRAM, f"--store={user / 'store'}"]
    environment = {**os.environ, "PYTHONPATH": str(user / "site"), "BLOCKED": str(user / "tried")}
    done = subprocess.run(words, cwd=user, env=environment, capture_output=True, text=True)
    assert not (user / "tried").exists()
    assert "imports" in next(line for line in done.stdout.splitlines() if "llama-cpp-python" in line)
    assert done.returncode == 0, done.stdout + done.stderr
    for title in ("This machine", "Packages", "Extras", "Store", "The task"):
        assert title in done.stdout.splitlines()


def test_options_in_the_configuration_that_cannot_be_split_are_told(user):
    (user / "pyproject.toml").write_text(
        '[tool.pytest.ini_options]\nseatrial_task = "mini"\naddopts = "--program=\'python"\n'
    )
    said = CliRunner().invoke(command, [])
    assert isinstance(said.exception, SeatrialError)
    assert "No closing quotation" in str(said.exception)
