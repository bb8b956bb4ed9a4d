"""Faults and harmless changes on a model of two layers: what headers and tensors tell of them, in minutes.

``python -m pytest tests/sabotage/test_cheaply.py -m sabotage``. Faults that only prompts, answers or a Modelfile
show are left to ``test_sabotage.py``, which asks the whole gate about the example model.
"""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from seatrial.evals.fidelity import metadata, weights
from seatrial.evals.fidelity.header import read_header
from seatrial.evals.fidelity.parts import updates
from seatrial.evals.fidelity.strength import fit
from seatrial.evals.task import load_task
from seatrial.training import steps, train_steps
from seatrial.training.modelfile import quantization_of
from seatrial.training.recipe import load_recipe
from seatrial.training.store import Store, default_root
from tests.conftest import MINIATURE
from tests.sabotage import faults_header, faults_merge
from tests.sabotage.entries import FAULTS, HARMLESS
from tests.sabotage.workshop import Artefact, Good

pytestmark = pytest.mark.sabotage
MERGES = [f"merge-{name}" for name in faults_merge.WHY]
HEADERS = [*faults_header.SAID, "stale-head-beside-tied-embeddings", "bias-added", "rope-factors-added"]
HEADERS += [*faults_header.KINDS, "norms-in-16-bits", "tensors-not-aligned", "hole-before-the-last-tensor"]
HEADERS += ["queries-and-keys-not-reordered", "one-added-to-norms", "gate-and-up-exchanged"]
HEADERS += ["embeddings-scaled-by-the-root-of-their-size", "embedding-of-one-token-lost"]
HEADERS += ["embeddings-changed", "layers-swapped", "no-token-is-special", "last-merges-lost"]
# Faults of the first table that headers and tensors show; the norm's epsilon is right in this model as it is.
HEADERS += ["context-length-wrong", "eos-wrong", "eos-missing", "bos-added"]
MERGES += [
    "adapter-dropped",
    "adapter-merged-twice",
    "alpha-doubled",
    "alpha-halved",
    "merged-into-16-bit-base",
]


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Good:
    """The miniature, trained and exported, on a base with random weights."""
    folder = tmp_path_factory.mktemp("small")
    task_folder = shutil.copytree(MINIATURE, folder / "task", ignore=shutil.ignore_patterns("__pycache__"))
    tokenizer = Store(default_root()).build(steps.import_base(load_recipe("smollm2-135m-cpu"))).path
    out = task_folder / "recipes" / "tiny-llama"
    subprocess.run([sys.executable, str(MINIATURE / "make_base.py"), str(tokenizer), str(out)], check=True)
    task, store = load_task(task_folder), Store(folder / "store")
    recipe = load_recipe(task.recipe_name, task.folder)
    base = store.build(steps.import_base(recipe))
    rows = store.build(steps.prepare_dataset(task.train_file, task.prompts.system, recipe))
    adapter = store.build(train_steps.train_adapter(recipe, base, rows))
    merged = store.build(steps.merge(base, adapter))
    converter = store.build(steps.fetch_converter())
    f16 = store.build(steps.convert(merged, converter, task.name))
    decoding = task.decoding.model_dump()
    shipped = store.build(steps.quantize(f16, "q8_0", task.name, task.prompts.system, decoding))
    gguf = steps.gguf_file(shipped)
    return Good(
        gguf=gguf,
        f16=steps.gguf_file(f16),
        hf_model=merged.path,
        adapter=adapter.path,
        base=base.path,
        base_gguf=gguf,
        converter=converter.path,
        modelfile=shipped.path / "Modelfile",
        task=task_folder,
        older=None,
        compute_dtype=adapter.facts["compute_dtype"],
    )


def named(good: Good, artefact: Artefact) -> dict[str, list[str]]:
    """Stage -> the checks of headers and tensors that it is named for."""
    header = read_header(good.f16).fields
    ids = {name: header.get(f"tokenizer.ggml.{key}_token_id") for name, key in IDS.items()}
    tokenizer = {**ids, "ends": [], "template": header["tokenizer.chat_template"]}
    own = good.gguf if quantization_of(artefact.gguf) == "q8_0" else None
    found = metadata.compare(artefact.gguf, artefact.hf_model, tokenizer, good.f16, own)
    stages: dict[str, list[str]] = {}
    if [finding.check for finding in found] == ["readable"]:
        return {found[0].stage: [found[0].found]}
    added = {each.name: each for each in updates(good.adapter, good.f16)}
    tensors = weights.compare(artefact.gguf, good.f16, own, added)
    moved = {finding.check for finding in tensors if finding.found.endswith(weights.ELSEWHERE)}
    strength = fit(artefact.gguf, good.f16, own, good.adapter, good.base, moved=moved)
    for finding in (finding for finding in [*found, *tensors] if not finding.ok):
        merge = finding in tensors and strength and not strength.right
        stages.setdefault("merge" if merge else finding.stage, []).append(
            f"{finding.check}: {finding.expected} / {finding.found}"
        )
    if strength and not strength.right:
        stages.setdefault("merge", []).append(str(strength))
    return stages


IDS = {"eos": "eos", "bos": "bos", "pad": "padding"}


def test_the_good_file_is_right(small):
    assert named(small, small.artefact) == {}


@pytest.mark.parametrize("name", [*HEADERS, *MERGES])
def test_a_fault_is_found_at_its_stage(name, small, tmp_path):
    fault = FAULTS[name]
    stages = named(small, fault.make(small, tmp_path))
    assert set(stages) & set(fault.accepted), stages


@pytest.mark.parametrize("name", HARMLESS)
def test_a_harmless_change_is_not_found(name, small, tmp_path):
    change = HARMLESS[name]
    assert named(small, change.make(small, tmp_path)) == {}
