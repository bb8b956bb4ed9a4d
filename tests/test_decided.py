"""What CI accepts of a release run on the example model: ``.ci/decided.py`` refuses all that the suite answers for.

python -m pytest tests/test_decided.py
"""

import json
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY


@pytest.fixture
def decided(tmp_path):
    """Runs decided.py on results with one verdict; gives its exit status."""

    def run(criterion="SC-1", status="PASS", required=True, exit_status=0, built=False, *arguments):
        folder = tmp_path / "reports" / "task_api" / "latest"
        folder.mkdir(parents=True, exist_ok=True)
        results = {
            "gate": {"decision": "SHIP", "exit_status": exit_status, "reasons": []},
            "verdicts": [{"criterion": criterion, "status": status, "required": required}],
            "artifacts": [{"step": "gguf", "built_now": built}],
        }
        (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
        command = [sys.executable, str(REPOSITORY / ".ci" / "decided.py"), *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60).returncode

    return run


@pytest.mark.parametrize("criterion", ["SC-1", "SC-1.create", "SC-4.ollama", "LOSS.operations.quantisation"])
def test_what_the_model_learnt_may_fail_but_not_be_missing(criterion, decided):
    assert decided(criterion, "FAIL", exit_status=1) == 0
    assert decided(criterion, "NOT EVALUATED", exit_status=1) == 1


@pytest.mark.parametrize(
    "criterion", ["SC-10", "SC-4", "SC-4.ollama_more", "EOSX", "FIDELITY.weights_parity"]
)
def test_what_the_suite_answers_for_may_not_fail_whatever_its_id_begins_with(criterion, decided):
    assert decided(criterion, "PASS") == 0
    assert decided(criterion, "FAIL", exit_status=1) == 1
    assert decided(criterion, "FAIL", required=False) == 0


def test_an_incomplete_run_and_a_warm_one_that_built_are_refused(decided):
    assert decided(exit_status=10) == 1
    assert decided("SC-1", "PASS", True, 0, True) == 0
    assert decided("SC-1", "PASS", True, 0, True, "--warm") == 1
    assert decided("SC-1", "PASS", True, 0, False, "--warm") == 0
