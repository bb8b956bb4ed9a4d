"""A user's repository and the commands that a user has, for the tests of what users type."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """A git repository with ``python``, ``pytest`` and ``seatrial`` of this environment, and nothing else."""
    programs, repository = tmp_path / "bin", tmp_path / "repository"
    programs.mkdir()
    repository.mkdir()
    for name, words in {"python": "", "pytest": "-m pytest", "seatrial": "-m seatrial"}.items():
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n', encoding="utf-8")
        (programs / name).chmod(0o755)
    for name in os.environ:
        if name.startswith(("PYTEST_", "SEATRIAL_", "GITHUB_", "CI_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SEATRIAL_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:anyio")  # it comes with the stack, and warns
    monkeypatch.setenv("COLUMNS", "400")
    subprocess.run(["git", "init", "-q", "."], cwd=repository, check=True)
    return repository
