"""Wheel, sdist, git URL, editable and plain checkout are one suite: the same ids and the same verdicts.

python -m pytest tests/test_install.py

Everything is built from a copy of this repository, without the network, and run in environments that see the
packages of this one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.conftest import MINIATURE, QUIET, REPOSITORY, answers, clean_environment
from tests.test_xdist import stable

WAYS = ("wheel", "sdist", "git", "editable", "checkout")
LIMIT = 300
# What a wheel may hold besides modules: data that they read, the example and what a new task is made from.
DATA = {".toml", ".html", ".json", ".jsonl", ".txt", ".md", ".in", ".yml", ".py", ".csv", ".yaml"}


def call(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """The repository as it would be committed, committed."""
    folder = tmp_path_factory.mktemp("install") / "copy"
    listed = call("git", "ls-files", "-co", "--exclude-standard", cwd=REPOSITORY)
    for name in listed.splitlines():
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
    for words in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a"],
    ):
        call("git", *words, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def built(copy) -> dict[str, Path]:
    """A wheel and an sdist."""
    made = copy.parent / "made"
    build = "import sys; from setuptools import build_meta; print(build_meta.build_{}(sys.argv[1]))"
    for kind in ("sdist", "wheel"):
        call(sys.executable, "-c", build.format(kind), made, cwd=copy)
    return {"sdist": next(made.glob("*.tar.gz")), "wheel": next(made.glob("*.whl"))}


@pytest.fixture(scope="module", params=WAYS)
def way(request, copy, built) -> tuple[str, Path, Path]:
    """One way of installing: its name, its Python, and a user's repository to run it in."""
    folder = copy.parent / request.param
    python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    venv.create(folder / "venv", with_pip=False)
    packages = Path(
        call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    )
    outer = {sysconfig.get_path("purelib"), *(path for path in sys.path if path.endswith("site-packages"))}
    (packages / "outer.pth").write_text("\n".join(sorted(outer)) + "\n", encoding="utf-8")
    source = {"git": f"git+file://{copy}", **{kind: str(path) for kind, path in built.items()}}
    if request.param != "checkout":
        what = ["-e", str(copy)] if request.param == "editable" else [source[request.param]]
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps"]
        call(*pip, "--no-build-isolation", "--ignore-installed", *what, cwd=folder)
    user = folder / "user"
    shutil.copytree(MINIATURE, user / "lamp")
    (user / "pyproject.toml").write_text(
        '[tool.pytest.ini_options]\nseatrial_task = "lamp"\n', encoding="utf-8"
    )
    return request.param, python, user


def gate(way: tuple[str, Path, Path], copy: Path, workers: int) -> dict:
    """What a run of the gate left in results.json, without what differs between any two runs."""
    name, python, user = way
    reports = user / f"reports-{workers}"
    command = [python, "-m", "pytest", *QUIET, "-m", "release", f"--store={user / 'store'}"]
    command += [f"--program={answers('wrong-arguments')}", f"--base-program={answers('wrong-operation')}"]
    command += [f"--report-dir={reports}", *(["-n", str(workers)] if workers else [])]
    environment = {**clean_environment(), "PYTHONPATH": ""}
    if name == "checkout":
        environment["PYTHONPATH"] = str(copy / "fixtures")
        environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        command += ["-p", "seatrial", "-p", "xdist"]
    done = subprocess.run(
        [str(word) for word in command],
        cwd=user,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    where = f"{copy}{os.sep}" if name in ("editable", "checkout") else f"{user.parent}{os.sep}venv"
    imported = subprocess.run(
        [str(python), "-P", "-c", "import seatrial.evals as e; print(e.__file__)"],
        cwd=user,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert imported.startswith(where), "another Seatrial was judged with"
    results = json.loads(next(reports.glob("lamp/[0-9]*/results.json")).read_text(encoding="utf-8"))
    said = {name: results[name] for name in ("gate", "verdicts", "observations", "hard_cases", "tests")}
    return stable(json.loads(json.dumps(said).replace(str(user), "USER")))


@pytest.fixture(scope="module")
def first() -> list[dict]:
    """What the first way gave; the others must give the same."""
    return []


@pytest.mark.parametrize("workers", [0, 2])
def test_every_way_gives_the_same_suite_and_the_same_verdicts(way, copy, first, workers):
    found = gate(way, copy, workers)
    first.append(found)
    assert found == first[0]
    assert [verdict["status"] for verdict in found["verdicts"]].count("FAIL") == 1
    ids = {seen["nodeid"].partition("::")[0] for seen in found["observations"]}
    assert "seatrial/evals/suite/test_criteria.py" in ids


def test_a_wheel_holds_the_rooms_and_their_data_and_nothing_else(built):
    with zipfile.ZipFile(built["wheel"]) as wheel:
        names = [name for name in wheel.namelist() if ".dist-info/" not in name]
    assert all(name.startswith("seatrial/") for name in names), "nothing of ours at the top of site-packages"
    assert {Path(name).suffix for name in names} <= DATA
    modules = {name for name in names if name.endswith(".py")}
    rooms = {"evals": "evals", "fixtures": "fixtures", "training": "training", "fixtures/seatrial": ""}
    for room, package in rooms.items():
        for path in (REPOSITORY / room).rglob("*.py"):
            inside = path.relative_to(REPOSITORY / room)
            if room == "fixtures" and inside.parts[0] == "seatrial":
                continue
            assert Path("seatrial", package, inside).as_posix() in modules
    for name in (
        "golden/task_api/task.toml",
        "evals/report/template.html",
        "training/data/task_api/train.jsonl",
    ):
        assert f"seatrial/{name}" in names
