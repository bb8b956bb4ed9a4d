"""Families of models from training to the verdict: a tiny model of each shape, with real tokenizers where a
package brings them, is trained, merged, exported, quantised and judged, and is green in every check.

python -m pytest tests/test_families.py -m families     (without -m: Mistral)
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from seatrial.training.store import default_root
from tests.conftest import MINIATURE, REPOSITORY, clean_environment
from tests.families.table import FAMILIES

MAKE = REPOSITORY / "tests" / "families" / "make.py"
CRITERIA = """
[[criteria]]
id = "FIDELITY.metadata"
title = "Metadata"
metric = "metadata_parity"
at_least = 1.0
why = "test"

[[criteria]]
id = "FIDELITY.weights"
title = "Weights"
metric = "weights_parity"
at_least = 1.0
why = "test"

[[criteria]]
id = "FIDELITY.tokens"
title = "Tokens"
metric = "token_parity"
at_least = 1.0
why = "test"

[[criteria]]
id = "FIDELITY.prompt"
title = "Prompts"
metric = "prompt_parity"
at_least = 1.0
why = "test"

[[criteria]]
id = "FIDELITY.kl"
title = "Divergence"
metric = "kl_divergence"
cases = "heldout"
at_most = 0.005
least_cases = 3
why = "test"

[[criteria]]
id = "FIDELITY.adapter"
title = "Adapter"
metric = "adapter_strength_error"
at_most = 0.1
why = "test"

[waivers]
contract = "test"
stopping = "test"
base = "test"
export = "test"
"""
# SentencePiece; test_fidelity.py has Llama 3 and Qwen 2. The others take a minute or two each.
ALWAYS = ("mistral",)


@pytest.fixture
def family_task(tmp_path):
    """The miniature, trained on a model of a family and judged by its fidelity alone."""

    def make(name: str) -> Path:
        task = tmp_path / "lamp"
        shutil.copytree(MINIATURE, task, ignore=shutil.ignore_patterns("__pycache__"))
        subprocess.run([sys.executable, str(MAKE), name, str(task / "recipes" / "model")], check=True)
        text = (task / "task.toml").read_text(encoding="utf-8").partition("[[criteria]]")[0] + CRITERIA
        if FAMILIES[name].tokenizer == "gemma":  # its template refuses a system prompt
            text = text.replace('system = "Answer with one JSON object."', 'system = ""')
        (task / "task.toml").write_text(text.replace('"tiny-llama"', '"tiny"'), encoding="utf-8")
        recipe = (task / "recipes" / "tiny-llama.toml").read_text(encoding="utf-8")
        recipe = recipe.replace('name = "tiny-llama"', 'name = "tiny"').replace("epochs = 6", "epochs = 1")
        (task / "recipes" / "tiny.toml").write_text(recipe.replace('path = "tiny-llama"', 'path = "model"'))
        for cases in task.glob("cases/*.jsonl"):  # no criterion here reads an expectation, so there is none
            rows = [json.loads(line) for line in cases.read_text(encoding="utf-8").splitlines()]
            lines = [json.dumps({k: v for k, v in row.items() if k != "expect"}) + "\n" for row in rows]
            cases.write_text("".join(lines))
        return task

    return make


@pytest.mark.families
@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_green_from_training_to_the_verdict(name, family_task, tmp_path, pytestconfig):
    if name not in ALWAYS and "families" not in (pytestconfig.getoption("markexpr") or ""):
        pytest.skip("the whole matrix is judged by: tox -e families")
    task = family_task(name)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-m", "release", "-p", "no:cacheprovider", f"--task={task}"]
        + [f"--report-dir={tmp_path / 'reports'}"],
        cwd=REPOSITORY,
        env={**clean_environment(), "SEATRIAL_STORE": str(default_root())},
        capture_output=True,
        text=True,
        timeout=600,
    )
    found = next((tmp_path / "reports").glob("lamp/[0-9]*/results.json"), None)
    assert found is not None, done.stdout + done.stderr
    verdicts = {v["criterion"]: v for v in json.loads(found.read_text(encoding="utf-8"))["verdicts"]}
    told = {
        k: (v["status"], v["reason"], v["misses"][:3]) for k, v in verdicts.items() if v["status"] != "PASS"
    }
    assert told == {}, done.stdout
    assert done.returncode == 0
