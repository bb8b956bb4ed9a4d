"""What merges cost, by way of training and by tool: the table of docs/adapters.md.

``python -m benchmarks.adapters [WAY ...]`` trains a random Llama of two layers in each way of
``tests/adapters.py``, by plain peft, merges it by our own route, as LLaMA-Factory, Unsloth and peft's usual
script do (their arithmetic, ``tests/other_merges.py``), and with up to four faults. The numbers are
KL(trained || merged) in nats per token, on the lines that were learnt; a random model hardly tells its words
apart, so a real one loses more. A star: the check of the adapter's strength said that something is wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from seatrial.evals.fidelity.strength import fit, mistake
from tests.adapters import WAYS, Trained, changed, gguf, made
from tests.other_merges import TOOLS, merged_by

FAULTS: dict[str, Callable[[Trained], Path]] = {
    "scale 1.3": lambda one: one.merged("stronger", adapter=changed(one, "strong", lora_alpha=1.3 * 16)),
    "left out": lambda one: one.merged("bare", adapter=""),
    "twice": lambda one: one.merged("twice", base=one.place / "merged", precision="fp32"),
    "published base": lambda one: one.merged("published", precision="fp32"),
}


def main() -> int:
    torch.set_num_threads(1)
    heads = ["trained", "Seatrial", *TOOLS, "faults seen"]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    named = sys.argv[1:]  # beginnings of names of ways; none: all
    for name, way in WAYS.items():
        if named and not name.startswith(tuple(named)):
            continue
        with TemporaryDirectory() as folder:
            one = made(way, Path(folder))
            cells = {who: _cell(one, merged) for who, merged in _merges(one)}
            faults = [_told(one, make(one)) for make in _faults(one)]
        row = [
            name,
            *(cells.get(who, "") for who in heads[1:-1]),
            f"{sum(map(bool, faults))} of {len(faults)}",
        ]
        print(f"| {' | '.join(row)} |", flush=True)
    return 0


def _cell(one: Trained, merged: Path) -> str:
    return f"{abs(one.divergence(merged)):.4f}{' *' if _told(one, merged) else ''}"


def _told(one: Trained, merged: Path) -> str:
    file = gguf(merged, one.place)
    found = fit(file, file, None, one.adapter, one.base, one.held)
    return mistake(found, merge=True) if found else "not laid out as is known here"


def _merges(one: Trained) -> Iterator[tuple[str, Path]]:
    way = one.way
    yield "Seatrial", one.merged()
    for tool in TOOLS:
        applies = way.checkpoint is None if tool == "LLaMA-Factory" else _quantised(one)
        if applies and not way.added:
            dtype = "bfloat16" if way.precision == "bf16" else "float16"
            yield tool, merged_by(tool, one, one.place / tool, dtype)


def _faults(one: Trained) -> Iterator[Callable[[Trained], Path]]:
    """Those that are faults for this way of training: the rounding of 8 bits is next to none."""
    way, four_bits = one.way, one.way.precision.startswith("nf4")
    for name, make in FAULTS.items():
        if name == "twice" and (way.lora.get("use_dora") or way.added):
            continue
        if name == "published base" and (not four_bits or way.checkpoint is not None):
            continue
        yield make


def _quantised(one: Trained) -> bool:
    return one.way.precision.startswith("nf4") or one.way.precision == "int8"


if __name__ == "__main__":
    sys.exit(main())
