"""One of the processes of a training, started by ``accelerate launch`` as ``seatrial.training.rank REQUEST``.

Each trains its share of the rows of every update; the first one speaks (see ``launcher.py``).
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from seatrial.training import backends, out_of_memory
from seatrial.training.distributed import divided
from seatrial.training.errors import OutOfMemory, SeatrialError
from seatrial.training.recipe import Recipe


def main(path: Path) -> int:
    """Exit status of this process: 0 trained, 1 an error that was told."""
    request = json.loads(path.read_text(encoding="utf-8"))
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print goes to the log

    def tell(**message: Any) -> None:
        output.write(json.dumps(message) + "\n")
        output.flush()

    def send(**message: Any) -> None:
        if rank == 0:
            tell(**message)

    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        with out_of_memory.told():
            send(result=_train(request, rank, world, send))
        return 0
    except OutOfMemory as error:
        traceback.print_exc()
        tell(error=str(error), unexpected=False, memory=True, longest=error.longest, rank=rank)
    except SeatrialError as error:
        tell(error=str(error), unexpected=False, rank=rank)
    except Exception as error:
        traceback.print_exc()
        tell(error=f"{type(error).__name__}: {error}", unexpected=True, rank=rank)
    return 1


def _train(request: dict[str, Any], rank: int, world: int, send: Any) -> dict[str, Any]:
    import torch
    from accelerate import PartialState

    asked = request["launch"]["processes"]
    if world != asked:
        raise SeatrialError(
            f"num_processes: {asked}, and accelerate started {world}", where=request["launch"]["file"]
        )
    # Sets this process's device before the model is loaded onto it.
    state = PartialState(cpu=request["launch"]["cpu"] or not torch.cuda.is_available())
    recipe = Recipe.model_validate(request["recipe"])
    shared = recipe.model_copy(update={"trainer": divided(recipe.trainer, world)})
    facts = backends.load(request["backend"]).train(
        {**request, "recipe": shared.model_dump(mode="json")}, send
    )
    state.wait_for_everyone()
    state.destroy_process_group()
    trainer = shared.trainer
    return {
        **facts,
        "processes": world,
        "each_process": {
            "batch_size": trainer.batch_size,
            "gradient_accumulation": trainer.gradient_accumulation,
        },
    }


def _end_with_parent() -> None:
    sys.stdin.buffer.read()  # ends when the process that started the training does
    os._exit(1)


if __name__ == "__main__":
    status = main(Path(sys.argv[1]))
    sys.stderr.flush()
    os._exit(status)  # others may wait in a collective that this one has left
