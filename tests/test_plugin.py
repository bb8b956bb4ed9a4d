"""Seatrial as a plugin in somebody's repository: what it brings, what it leaves alone.

python -m pytest tests/test_plugin.py
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import MINIATURE, PLUGIN, QUIET, REPOSITORY, answers, clean_environment

USAGE, INCOMPLETE = 4, 10
LOADED = """
def test_unit():
    import sys
    print("loaded:", *sorted(name for name in sys.modules if name.startswith(("seatrial.", "pydantic"))))
"""


@pytest.fixture
def repository(tmp_path):
    """A repository without a task; ``run`` starts pytest in it, with the plugin."""

    class Repository:
        folder = tmp_path

        def write(self, name: str, text: str) -> None:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

        def run(self, *arguments: str, below: str = ".", plugin=PLUGIN, **environment: str):
            return subprocess.run(
                [sys.executable, "-m", "pytest", *plugin, *QUIET, *arguments],
                cwd=tmp_path / below,
                env={**clean_environment(), **environment},
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )

    return Repository()


# --- a session that is not ours ----------------------------------------------------------------------------
def test_an_unrelated_session_keeps_its_own_names(repository):
    repository.write(
        "conftest.py",
        "import pytest\n\n"
        "def pytest_addoption(parser):\n"
        "    parser.addoption('--task', default='theirs')\n    parser.addoption('--store')\n\n"
        "@pytest.fixture\ndef settings(): return 'theirs'\n\n@pytest.fixture\ndef store(): return 'theirs'\n",
    )
    repository.write(
        "evals/test_theirs.py",
        LOADED + "\n\ndef test_theirs(settings, store, pytestconfig):\n"
        "    assert settings == store == 'theirs'\n    assert pytestconfig.getoption('task') == 'some/folder'\n",
    )
    repository.write("fixtures/__init__.py", "")
    done = repository.run("-s", "--task=some/folder", "--store=there")
    assert done.returncode == 0, done.stdout
    assert "loaded: \n" in done.stdout or "loaded:\n" in done.stdout
    assert "2 passed" in done.stdout


def test_an_unrelated_session_has_one_ini_option_of_ours(repository):
    text = repository.run("--help").stdout
    assert "seatrial_task (string)" in text
    assert "--gguf" not in text


def test_a_task_that_is_not_there_is_told_beside_what_pytest_says(repository):
    done = repository.run("--task=golden/tickts", "-m", "release")
    assert done.returncode == USAGE
    assert "unrecognized arguments: --task=golden/tickts" in done.stderr
    assert "--task=golden/tickts: no task.toml there" in done.stderr


# --- unit tests in a repository that has a task ------------------------------------------------------------
@pytest.fixture
def with_task(repository):
    repository.write("pyproject.toml", f'[tool.pytest.ini_options]\nseatrial_task = "{MINIATURE}"\n')
    return repository


def test_unit_tests_load_the_options_and_nothing_else(with_task):
    with_task.write("tests/test_unit.py", LOADED)
    done = with_task.run("-s")
    assert done.returncode == 0, done.stdout
    assert "loaded: seatrial.fixtures seatrial.fixtures.options\n" in done.stdout


def test_a_mistake_in_the_task_stops_no_unit_test(with_task):
    with_task.write("broken/task.toml", "name = broken\n")
    with_task.write("pyproject.toml", '[tool.pytest.ini_options]\nseatrial_task = "broken"\n')
    with_task.write("test_unit.py", LOADED)
    assert with_task.run().returncode == 0
    done = with_task.run("-m", "release")
    assert done.returncode == USAGE
    assert "broken/task.toml:1: not valid TOML" in done.stderr


def test_a_test_that_uses_our_fixtures_has_them_without_the_gate(with_task):
    with_task.write(
        "test_own.py", "def test_own(seatrial_settings):\n    assert seatrial_settings.task.name == 'lamp'\n"
    )
    done = with_task.run()
    assert done.returncode == 0, done.stdout
    assert "SHIP" not in done.stdout


def test_without_a_task_our_fixtures_say_what_to_type(repository):
    repository.write("test_own.py", "def test_own(seatrial_settings):\n    pass\n")
    done = repository.run("-o", "seatrial_task=nowhere")
    assert done.returncode == 1
    assert "nowhere/task.toml: no task here" in done.stdout


def test_criteria_of_ones_own_module_are_asked_when_it_is_named(with_task):
    with_task.write(
        "test_own.py",
        "import pytest\n\n@pytest.mark.criteria('LAMP')\ndef test_mine(criterion):\n"
        "    assert criterion.id == 'LAMP'\n",
    )
    done = with_task.run("test_own.py", "-v")
    assert "test_own.py::test_mine[LAMP] PASSED" in done.stdout, done.stdout


def test_options_of_the_repository_s_own_stay_theirs(with_task):
    with_task.write(
        "conftest.py",
        "def pytest_addoption(parser):\n"
        "    parser.addoption('--store', type=int)\n    parser.addoption('--train', action='store_true')\n",
    )
    with_task.write(
        "test_own.py", "def test_own(pytestconfig):\n    assert pytestconfig.getoption('store') == 7\n"
    )
    done = with_task.run("--store=7", "--train")
    assert done.returncode == 0, done.stdout + done.stderr
    help_text = with_task.run("--help").stdout
    assert "--seatrial-store=DIR" in help_text
    assert "  --task=DIR" in help_text
    done = with_task.run("--store=7", *GATE[:-1], "--seatrial-store=store")
    assert "SHIP (exit status 0)" in done.stdout, done.stdout + done.stderr
    assert (with_task.folder / "store" / "generations").is_dir()


# --- the gate ------------------------------------------------------------------------------------------------
GATE = ("-m", "release", f"--program={answers('none')}", f"--base-program={answers('wrong-operation')}")
GATE = (*GATE, "--store=store")


def test_a_gate_from_a_folder_below_is_refused(with_task):
    with_task.write("tests/test_unit.py", LOADED)
    done = with_task.run(*GATE, below="tests")
    assert done.returncode == USAGE
    assert f"cd {with_task.folder} and run it there" in done.stderr
    assert not (with_task.folder / "reports").exists()


def test_a_gate_with_a_path_lacks_the_shipped_tests_and_does_not_ship(with_task):
    with_task.write("evals/test_own.py", "import pytest\n\n@pytest.mark.release\ndef test_own():\n    pass\n")
    done = with_task.run("evals", *GATE)
    assert done.returncode == INCOMPLETE
    assert "DO NOT SHIP" in done.stdout


@pytest.mark.parametrize("where", ["conftest.py", "test_own.py"])
def test_a_fixture_by_the_name_of_one_of_ours_is_refused(with_task, where):
    with_task.write(where, "import pytest\n\n@pytest.fixture\ndef seatrial_evidence():\n    return 'kind'\n")
    with_task.write("test_more.py", "def test_more():\n    pass\n")
    done = with_task.run(*GATE)
    if where == "test_own.py":  # a module's fixture is seen by its own tests alone
        assert "SHIP (exit status 0)" in done.stdout
        return
    assert done.returncode == USAGE
    assert f"{where}:3: a fixture called 'seatrial_evidence'" in done.stderr
    assert "Seatrial's" in done.stderr


def test_fixtures_of_the_user_do_not_stand_in_for_ours(with_task):
    names = ("settings", "store", "evidence", "models", "judge", "built")
    text = "\n\n".join(f"@pytest.fixture\ndef {name}():\n    raise RuntimeError('theirs')" for name in names)
    with_task.write("conftest.py", f"import pytest\n\n{text}\n")
    done = with_task.run(*GATE)
    assert "SHIP (exit status 0)" in done.stdout, done.stdout


def test_folders_and_modules_of_the_user_are_not_taken_for_libraries(with_task):
    for name in (
        "torch.py",
        "numpy/__init__.py",
        "evals/__init__.py",
        "training/__init__.py",
        "seatrial/x.txt",
    ):
        with_task.write(name, "raise RuntimeError('imported what lies in the working folder')\n")
    # As the script ``pytest`` starts: ``python -m pytest`` would put the working folder on pytest's own path.
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", *PLUGIN, *QUIET, *GATE],
        cwd=with_task.folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "SHIP (exit status 0)" in done.stdout, done.stdout + done.stderr


METRIC = """
from seatrial.evals.metrics import Score, metric


@metric()
def {name}(case, answer, criterion, evidence):
    there = "lamp" in answer.text
    return Score(case.id, float(there), missed=not there, expected="a word about the lamp", actual=answer.text)
"""


def test_a_criterion_may_name_a_metric_of_the_repository_s_own(gate):
    gate.write("conftest.py", METRIC.format(name="speaks_of_the_lamp"))
    gate.edit(
        'id = "LAMP"\n',
        'id = "OWN"\ntitle = "Lamp"\nmetric = "speaks_of_the_lamp"\ncases = "domain"\n'
        'at_least = 0.5\nwhy = "Mine."\n\n[[criteria]]\nid = "LAMP"\n',
    )
    assert gate().verdicts["OWN"]["status"] == "PASS"
    assert gate(fault="empty").verdicts["OWN"]["status"] == "FAIL"


def test_a_metric_may_not_take_the_name_of_one_of_ours(gate):
    gate.write("conftest.py", METRIC.format(name="json_parse"))
    run = gate()
    assert run.status == USAGE
    assert "there is a metric 'json_parse' already" in run.output


def test_an_id_that_was_printed_can_be_typed(with_task):
    wanted = "seatrial/evals/suite/test_criteria.py::test_case[SC-1-domain-on-2]"
    done = with_task.run(wanted, "-v", *GATE[2:])
    assert done.returncode == 0
    assert f"{wanted} PASSED" in done.stdout
    assert "1 passed" in done.stdout


def test_an_id_can_be_typed_with_workers_too(with_task):
    wanted = "seatrial/evals/suite/test_criteria.py"
    done = with_task.run(wanted, "-n", "2", *GATE[2:])
    assert done.returncode == 0
    assert "90 passed, 1 skipped" in done.stdout


@pytest.mark.parametrize("room", ["evals", "fixtures", "training"])
def test_a_room_imported_by_its_bare_name_is_refused(room):
    done = subprocess.run(
        [sys.executable, "-c", f"import {room}"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert f"import seatrial.{room}" in done.stderr


def test_what_pytest_keeps_private_and_the_suite_uses_is_there():
    """Two private names; where pytest changes them, fixtures/suite.py has to change."""
    from _pytest.fixtures import FuncFixtureInfo

    assert "_getobj" in vars(pytest.Module)
    assert "name2fixturedefs" in FuncFixtureInfo.__slots__


def test_the_checkout_works_uninstalled(tmp_path):
    """``pytest -m release`` in a clone, with nothing of Seatrial installed."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *GATE[:-1], f"--task={MINIATURE}"]
    command += [f"--store={tmp_path / 'store'}", f"--report-dir={tmp_path / 'reports'}"]
    environment = {**clean_environment(), "PYTHONPATH": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert "SHIP (exit status 0)" in done.stdout, done.stdout + done.stderr
    assert "seatrial/evals/suite/test_criteria.py ..." in done.stdout


def test_an_id_that_no_shipped_test_has_is_told(with_task):
    done = with_task.run("seatrial/evals/suite/test_criterai.py", *GATE[2:])
    assert done.returncode == USAGE
    assert "not found: seatrial/evals/suite/test_criterai.py" in done.stderr + done.stdout
    assert "did you mean seatrial/evals/suite/test_criteria.py?" in done.stderr + done.stdout


def test_a_key_on_the_command_line_of_a_program_is_not_kept(gate):
    key = "sk-" + "a1B2c3D4e5F6g7H8i9J0"
    run = gate(program=f"{answers('none')} --api-key={key}")
    assert key not in run.output
    assert "SECRET-1" in run.results["program"]
    for name in ("results.json", "report.html", "junit.xml"):
        assert key not in (run.folder / name).read_text(encoding="utf-8"), name
