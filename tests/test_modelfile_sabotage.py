"""The sabotage tables' Modelfile entries on a file of no weights: cheap enough for every run, no model needed.

python -m pytest tests/test_modelfile_sabotage.py
"""

import inspect
import shutil

import pytest

from seatrial.evals.built import Built
from seatrial.evals.criteria import judge
from seatrial.evals.evidence import Evidence
from seatrial.evals.modelfiles.parser import read_text
from seatrial.evals.verdict import FAIL, PASS
from seatrial.training.store import Artifact, file_digest
from tests.sabotage import faults_modelfile, harmless_modelfile
from tests.sabotage.faults import FAULTS
from tests.sabotage.harmless import HARMLESS
from tests.sabotage.workshop import Good
from tests.test_modelfile_parity import CRITERION, TASK, taken_in


def entries(table, module):
    """The entries of ``table`` that ``module`` wrote into it."""
    return [entry for entry in table.values() if inspect.getmodule(entry.make) is module]


@pytest.fixture
def good(tmp_path):
    artifact = taken_in(tmp_path / "good")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    base = tmp_path / "base.gguf"
    base.write_bytes(b"GGUF of the base")
    gguf = artifact.path / "lamp.gguf"
    modelfile = artifact.path / "Modelfile"
    return Good(gguf, gguf, tmp_path, adapter, tmp_path, base, tmp_path, modelfile, tmp_path, None, "float32")


@pytest.fixture
def verdict(good, tmp_path):
    """The verdict on what an entry makes of the good Modelfile."""

    def verdict(entry):
        out = tmp_path / "out"
        out.mkdir()
        artefact = entry.make(good, out)
        assert artefact.gguf == good.gguf, "the file itself is the good one"
        taken = tmp_path / "taken"
        taken.mkdir()
        shutil.copyfile(artefact.gguf, taken / artefact.gguf.name)
        (taken / "Modelfile").write_bytes(read_text(artefact.modelfile).encode())
        files = {artefact.gguf.name: {"sha256": file_digest(taken / artefact.gguf.name)}}
        shipped = Artifact(taken, {"key": "k", "step": "given-file", "files": files, "facts": {}})
        export = Built(shipped=shipped, modelfile=artefact.modelfile)
        absent = {"ollama": "no Ollama server answers"}
        evidence = Evidence(None, TASK, {name: [] for name in TASK.case_sets}, {}, export, {}, absent)
        return judge(CRITERION, evidence)

    return verdict


@pytest.mark.parametrize("fault", entries(FAULTS, faults_modelfile), ids=lambda fault: fault.name)
def test_a_faulty_modelfile_fails_and_its_stage_is_named(fault, verdict):
    found = verdict(fault)
    assert found.status == FAIL, found
    assert set(found.stages) & set(fault.accepted), found.stages


@pytest.mark.parametrize("change", entries(HARMLESS, harmless_modelfile), ids=lambda change: change.name)
def test_a_harmless_change_of_a_modelfile_passes(change, verdict):
    found = verdict(change)
    assert found.status == PASS, found.misses


def test_there_are_enough_of_both():
    assert len(entries(FAULTS, faults_modelfile)) >= 12
    assert len(entries(HARMLESS, harmless_modelfile)) >= 8
