"""Train and export without pytest: ``python -m seatrial.training golden/task_api [--recipe NAME]``.

Builds what is not in the store yet and prints where everything lies. Judging is ``pytest -m release``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from seatrial.training import steps, train_steps
from seatrial.training.distributed import with_accelerate
from seatrial.training.errors import SeatrialError
from seatrial.training.exchange import open_store
from seatrial.training.forecast import require_room
from seatrial.training.pairs import read_pairs
from seatrial.training.plan import require_training
from seatrial.training.progress import Lines
from seatrial.training.recipe import load_recipe
from seatrial.training.remote_place import OPTION, default_remote
from seatrial.training.source import load_source
from seatrial.training.store import default_root


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m seatrial.training", description=__doc__)
    parser.add_argument("task", type=Path, help="folder with a task.toml")
    parser.add_argument("--recipe", help="name or path of a recipe (default: the task's)")
    parser.add_argument("--accelerate", help="an accelerate configuration: a name, such as ddp, or a file")
    parser.add_argument("--store", type=Path, default=default_root(), help="where artifacts are kept")
    parser.add_argument(OPTION, default=default_remote(), metavar="URL", help="a store that machines share")
    options = parser.parse_args()
    try:
        task = load_source(options.task)
        recipe = load_recipe(options.recipe or task.recipe_name, task.folder)
        if options.accelerate:
            recipe = with_accelerate(recipe, options.accelerate, Path.cwd())
        rows = task.train_file  # what is missing is told before anything is built
        if recipe.preference:
            read_pairs(task.preference_file)
        store = open_store(options.store, Lines(), options.store_remote)
        if store.exchange:
            store.exchange.remote.require()
        require_training(task, recipe, store.root, store.exchange)
        require_room(task, recipe, store.root, store.exchange)
        base = store.build(steps.import_base(recipe, store.root, store.progress.say))
        dataset = store.build(steps.prepare_dataset(rows, task.prompts.system, recipe))
        adapter = train_steps.adapter_of(store, recipe, base, dataset)
        if recipe.preference:
            pairs = store.build(train_steps.prepare_pairs(task.preference_file, task.prompts.system, recipe))
            adapter = train_steps.preferred_of(store, recipe, base, adapter, pairs)
        merged = store.build(steps.merge(base, adapter))
        f16 = store.build(steps.convert(merged, store.build(steps.fetch_converter()), task.name))
        print(f"adapter {adapter.path}\nmerged {merged.path}")
        for kind in recipe.export.quantizations:
            step = steps.quantize(f16, kind, task.name, task.prompts.system, task.decoding.model_dump())
            print(f"{kind} {steps.gguf_file(store.build(step))}")
    except SeatrialError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
