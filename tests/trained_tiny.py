"""Trainings of the miniature's model in seconds, by its recipe with some settings changed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from seatrial.training import steps, train_steps
from seatrial.training.progress import Progress
from seatrial.training.recipe import Recipe, load_recipe
from seatrial.training.store import Artifact, Store, default_root
from tests.conftest import MINIATURE, REPOSITORY


class Tiny:
    """A folder with the miniature's base model, rows and recipe, and a store of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.recipes = folder / "recipes"
        shutil.copytree(MINIATURE / "recipes", self.recipes)
        self.rows = Path(shutil.copy(MINIATURE / "train.jsonl", folder))
        tokenizer = Store(default_root()).build(steps.import_base(load_recipe("smollm2-135m-cpu"))).path
        script = [sys.executable, str(MINIATURE / "make_base.py"), str(tokenizer)]
        subprocess.run([*script, str(self.recipes / "tiny-llama")], check=True, cwd=REPOSITORY)

    def recipe(self, **tables: dict) -> Recipe:
        """The recipe with keys of its tables changed; ``top`` stands for those before the first table."""
        data = load_recipe(self.recipes / "tiny-llama.toml").model_dump(mode="json", exclude_none=True)
        for table, keys in tables.items():
            place = data if table == "top" else data.setdefault(table, {})
            place |= keys
        return Recipe.model_validate(data).model_copy(update={"folder": self.recipes})

    def train(self, recipe: Recipe, progress: Progress | None = None) -> tuple[Store, Artifact, Artifact]:
        """The store, the base and the adapter that ``recipe`` makes of the rows."""
        store = Store(self.folder / "store", progress)
        base = store.build(steps.import_base(recipe))
        dataset = store.build(steps.prepare_dataset(self.rows, "", recipe))
        return store, base, store.build(train_steps.train_adapter(recipe, base, dataset))


def run_here(job: str, request: dict, out: Path, progress: Progress, online: bool = False) -> dict:
    """``run_job`` in this process: a child would import torch again for every training of a second."""
    from seatrial.training.job import handle

    return json.loads(json.dumps(handle({"job": job, **request}, lambda **event: None)))


def losses(adapter: Artifact) -> list[float]:
    return [entry["loss"] for entry in adapter.facts["history"] if "loss" in entry]
