"""Where a command stands: the same root and task as pytest would use.

python -m pytest tests/test_place.py
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from seatrial.place import find_root, find_task
from seatrial.training.errors import SeatrialError

WRITTEN = {
    "pytest.toml": '[pytest]\nseatrial_task = "mini"\n',
    ".pytest.toml": '[pytest]\nseatrial_task = "mini"\n',
    "pytest.ini": "[pytest]\nseatrial_task = mini\n",
    ".pytest.ini": "[pytest]\nseatrial_task = mini\n",
    "pyproject.toml": '[tool.pytest.ini_options]\nseatrial_task = "mini"\n',
    "tox.ini": "[tox]\nenv = 100%\n[pytest]\nseatrial_task = mini\n",
    "setup.cfg": "[tool:pytest]\nseatrial_task = mini\n",
}


@pytest.fixture
def user(tmp_path: Path) -> Path:
    (tmp_path / "mini").mkdir()
    (tmp_path / "mini" / "task.toml").write_text("", encoding="utf-8")
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    return tmp_path


# Which files pytest itself reads in the version that is installed; pytest.toml came with pytest 9.
BY_PYTEST = [name for name in WRITTEN if pytest.version_tuple >= (9,) or not name.endswith("pytest.toml")]


@pytest.mark.parametrize("name", BY_PYTEST)
def test_the_task_of_every_kind_of_configuration_is_found_from_below_as_by_pytest(user, name, pytester):
    (user / name).write_text(WRITTEN[name], encoding="utf-8")
    below = user / "sub" / "deep"
    assert find_task(None, below) == user / "mini"
    assert find_root(below) == user
    config = pytester.parseconfigure("--rootdir", str(user), "-c", str(user / name))
    assert config.getini("seatrial_task") == "mini"


def test_the_native_table_of_pytest_9_is_read(user):
    (user / "pyproject.toml").write_text('[tool.pytest]\nseatrial_task = "mini"\n', encoding="utf-8")
    assert find_task(None, user) == user / "mini"


def test_the_option_starts_where_the_user_stands_and_wins(user):
    (user / "pyproject.toml").write_text(WRITTEN["pyproject.toml"], encoding="utf-8")
    other = user / "sub" / "other"
    other.mkdir()
    (other / "task.toml").write_text("", encoding="utf-8")
    assert find_task(Path("other"), user / "sub") == other
    assert find_task(Path("other/task.toml"), user / "sub") == other


def test_the_nearest_configuration_decides_even_if_it_names_no_task(user):
    (user / "pyproject.toml").write_text(WRITTEN["pyproject.toml"], encoding="utf-8")
    (user / "sub" / "pytest.ini").write_text("", encoding="utf-8")
    with pytest.raises(SeatrialError, match=r"which task\? .*pytest.ini names no task\n.*--task=DIR"):
        find_task(None, user / "sub" / "deep")


def test_a_pyproject_without_pytest_is_no_configuration_but_may_be_the_root(user):
    (user / "sub" / "pyproject.toml").write_text("[project]\n", encoding="utf-8")
    assert find_root(user / "sub" / "deep") == user / "sub"
    (user / "tox.ini").write_text(WRITTEN["tox.ini"], encoding="utf-8")
    assert find_root(user / "sub" / "deep") == user
    assert find_task(None, user / "sub" / "deep") == user / "mini"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "pyproject.toml",
            '[tool.pytest.ini_options]\nseatrial_task = "absent"\n',
            "no task.toml in .*absent",
        ),
        ("pyproject.toml", "[tool.pytest\n", "pyproject.toml: cannot be read"),
        ("tox.ini", "x\n", "tox.ini: cannot be read"),
        ("README", "", "which task"),
    ],
)
def test_what_cannot_be_read_or_names_nothing_is_told(user, name, text, said):
    (user / name).write_text(text, encoding="utf-8")
    with pytest.raises(SeatrialError, match=said):
        find_task(None, user)
    if name != "README":
        with pytest.raises(SeatrialError, match=re.escape("--task=nowhere: no task.toml")):
            find_task(Path("nowhere"), user)
