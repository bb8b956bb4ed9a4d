"""Fixtures of the sabotage tests. They take hours, so they are collected only where ``-m`` names them.

The workers of ``-n`` share cores and evidence: much of a run of the gate keeps one core busy, no more.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from filelock import FileLock

from seatrial.evals.task import load_task
from seatrial.training import base as base_weights
from seatrial.training import steps, train_steps
from seatrial.training.recipe import load_recipe
from seatrial.training.store import Artifact, Store, default_root, file_digest
from tests.conftest import REPOSITORY
from tests.sabotage.table import Table
from tests.sabotage.task import write_small_task
from tests.sabotage.verdict import store_without_evidence
from tests.sabotage.workshop import Good

TASK = REPOSITORY / "golden" / "task_api"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "sabotage: the gate on faulty artefacts; takes hours.")
    if (worker := os.environ.get("PYTEST_XDIST_WORKER")) and hasattr(os, "sched_setaffinity"):
        # Threads of two workers on the same cores would wait for each other.
        cores, workers = sorted(os.sched_getaffinity(0)), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        own = int(worker.removeprefix("gw")) % min(workers, len(cores))
        os.sched_setaffinity(0, cores[own::workers])


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave these tests out unless ``-m`` names them."""
    return None if "sabotage" in (config.getoption("markexpr") or "") else True


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Good:
    """The example model from the user's store, built there if it is missing, and the task to judge it by."""
    task = load_task(TASK)
    recipe = load_recipe(task.recipe_name, task.folder)
    store = Store(default_root())
    base = store.build(steps.import_base(recipe))
    rows = store.build(steps.prepare_dataset(task.train_file, task.prompts.system, recipe))
    adapter = store.build(train_steps.train_adapter(recipe, base, rows))
    merged = store.build(steps.merge(base, adapter))
    converter = store.build(steps.fetch_converter())
    f16 = store.build(steps.convert(merged, converter, task.name))
    decoding = task.decoding.model_dump()
    shipped = store.build(steps.quantize(f16, recipe.export.ship, task.name, task.prompts.system, decoding))
    return Good(
        gguf=steps.gguf_file(shipped),
        f16=steps.gguf_file(f16),
        hf_model=merged.path,
        adapter=adapter.path,
        base=base.path,
        base_gguf=base_weights.locate(recipe.base, recipe.folder),
        converter=converter.path,
        modelfile=shipped.path / "Modelfile",
        task=write_small_task(TASK, tmp_path_factory.mktemp("small") / "task"),
        older=_older(shipped),
        compute_dtype=adapter.facts["compute_dtype"],
    )


@pytest.fixture(scope="session")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store for all faults: evidence is kept by digests, so what concerns the truth is made once."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with FileLock(folder / "evidence.lock"):
        store = folder / "evidence"
        return store if store.exists() else store_without_evidence(default_root(), store)


@pytest.fixture(scope="session")
def table(good: Good) -> Table:
    return Table(REPOSITORY / "reports" / "sabotage", file_digest(good.gguf))


def _older(shipped: Artifact) -> Path | None:
    """The newest other file that was shipped under the same name, if the store still has one."""
    name = steps.gguf_file(shipped).name
    manifests = [json.loads(path.read_text("utf-8")) for path in shipped.path.parent.glob("*/manifest.json")]
    own = shipped.manifest["files"][name]["sha256"]
    others = [m for m in manifests if m["files"].get(name, {"sha256": own})["sha256"] != own]
    newest = max(others, key=lambda manifest: manifest["built_at"], default=None)
    return shipped.path.parent / newest["key"] / name if newest else None
