"""What CI starts (``python -P -m seatrial.ci``): green only with a SHIP of this very run.

python -m pytest tests/newcomer/test_gate_job.py
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import MINIATURE, answers, clean_environment

SHIPS = f"--program='{answers('none')}' --base-program='{answers('wrong-operation')}' -p no:cacheprovider"
FAILED, USAGE, INCOMPLETE = 1, 4, 10


@pytest.fixture
def job(tmp_path):
    """Runs the gate as a job does, in a repository with a task and a release test of its own."""
    (tmp_path / "pyproject.toml").write_text(f'[tool.pytest.ini_options]\nseatrial_task = "{MINIATURE}"\n')
    (tmp_path / "test_own.py").write_text(
        "import pytest\n\n@pytest.mark.release\ndef test_own():\n    pass\n"
    )

    def run(given: str, *options: str) -> tuple[int, str]:
        done = subprocess.run(
            [
                sys.executable,
                "-P",
                "-m",
                "seatrial.ci",
                "reports",
                "--store=store",
                "-p",
                "seatrial",
                *options,
            ],
            cwd=tmp_path,
            env={**clean_environment(), "GATE": given},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    return run


def test_ship_is_green_and_a_later_run_needs_a_ship_of_its_own(job):
    assert job(SHIPS)[0] == 0
    status, said = job(f"{SHIPS} --collect-only -q")
    assert status == INCOMPLETE
    assert "no gate said SHIP" in said


@pytest.mark.parametrize("given", ["-m 'not slow'", "-m data"])
def test_nothing_that_is_given_selects_something_else(job, given):
    status, said = job(f"{SHIPS} {given}")
    assert status == 0
    assert "SHIP (exit status 0)" in said


@pytest.mark.parametrize("given", ["-p no:seatrial", "--help", "-o seatrial_task= -k test_own"])
def test_green_without_a_gate_is_not_green(job, given):
    status, said = job(given)
    assert status not in (0, FAILED)
    assert "SHIP (exit status 0)" not in said


def test_a_quote_that_is_not_closed_drops_nothing_in_silence(job):
    status, said = job(f'{SHIPS} --require="perplexity')
    assert status == USAGE
    assert "error: GATE: No closing quotation" in said


def test_what_fails_keeps_its_status(job):
    assert job(f"--program='{answers('never-stops')}'")[0] == FAILED
