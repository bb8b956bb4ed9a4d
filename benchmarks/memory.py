"""Peak memory and seconds of each step from base weights to judged file, on a random Llama of any size.

``python -m benchmarks.memory --hidden 2048 --layers 22`` is TinyLlama's shape (1.1B parameters); the defaults
have 0.1B. Prints a table, with what the same steps would take at 8B: a straight line through this size and a
tiny model. Nothing is trained: the adapter is random, of rank 16 on all linear layers, beside an NF4 base.

Memory is the largest resident set of any one process of a step, as the kernel counts it: files that are
mapped count, too, as far as they were read, although the kernel takes those pages back where memory is short.
So ``--limit`` is the stricter measure: each step runs in a control group (Linux; needs the right to make one)
that has no more memory than the bound, all its processes and their page cache together, and is killed if it
takes more. Needs the extra ``train``; the tokenizer is that of the CPU recipe.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

TINY = (256, 2)
EIGHT_BILLION = 16.06  # GB in 16 bits of Llama 3.1 8B
DECODING = {"temperature": 0.0, "max_tokens": 16, "context": 512}
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hidden", type=int, default=768, help="a multiple of 256")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--folder", type=Path, help="where the files go (default: a temporary folder)")
    parser.add_argument("--limit", action="store_true", help="give each step the memory of the bound only")
    parser.add_argument("--only", nargs="*", default=list(STEPS), choices=list(STEPS), metavar="STEP")
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)  # a child: a step, and its folder
    asked = parser.parse_args()
    if asked.run:
        print(json.dumps(_measured(asked.run[0], Path(asked.run[1]), (asked.hidden, asked.layers))))
        return 0
    with TemporaryDirectory(dir=asked.folder) as place:
        tiny = _all(Path(place, "tiny"), TINY, asked.only)
        found = _all(Path(place, "model"), (asked.hidden, asked.layers), asked.only, asked.limit)
    small, size = tiny["make"]["gb"], found["make"]["gb"]
    print(f"random Llama, hidden {asked.hidden}, {asked.layers} layers: {size:.2f} GB in 16 bits")
    print(f"bound: {bound(size):.2f} GB (1.5 times that, and 1 GB)")
    print("each step had no more than that\n" if asked.limit else "")
    print(f"{'step':12} {'peak, GB':>9} {'of the bound':>13} {'seconds':>8} {'at 8B, GB':>10} {'seconds':>8}")
    for step in asked.only:
        one, other = tiny[step], found[step]
        slope = {name: (other[name] - one[name]) / (size - small) for name in ("peak", "seconds")}
        there = {name: other[name] + max(0.0, slope[name]) * (EIGHT_BILLION - size) for name in slope}
        share = other["peak"] / bound(size)
        print(
            f"{step:12} {other['peak']:9.2f} {share:13.0%} {other['seconds']:8.0f} {there['peak']:10.1f} "
            f"{there['seconds']:8.0f}"
        )
    return 0


def bound(size: float) -> float:
    """GB that a step may take of a model of ``size`` GB in 16 bits."""
    return 1.5 * size + 1


@contextmanager
def limited(size: float) -> Iterator[Callable[[], None]]:
    """What a child calls to be in a control group with ``size`` bytes of memory."""
    groups = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    first = next((path for _, names, path in groups if "memory" in names.split(",")), None)
    root = Path("/sys/fs/cgroup", "memory" if first else "")
    own = root / (first or groups[0][2]).lstrip("/") / f"seatrial-{os.getpid()}"

    def join() -> None:
        (own / "cgroup.procs").write_text(str(os.getpid()))

    own.mkdir()
    try:
        (own / ("memory.limit_in_bytes" if first else "memory.max")).write_text(str(int(size)))
        yield join
    finally:
        own.rmdir()


def _all(
    place: Path, shape: tuple[int, int], steps: Sequence[str], limit: bool = False
) -> dict[str, dict[str, float]]:
    """What each step took; a process each, which starts small, so that nothing is counted twice."""
    place.mkdir()
    found: dict[str, dict[str, float]] = {}
    for step in ("make", *STEPS):
        if step != "make" and step not in steps and not any(later in steps for later in _after(step)):
            continue
        command = [sys.executable, "-m", "benchmarks.memory", "--run", step, str(place)]
        command += ["--hidden", str(shape[0]), "--layers", str(shape[1])]
        group = limited(bound(found["make"]["gb"]) * 1e9) if limit and found else nullcontext()
        _forget(place)  # pages that an earlier step read would be on that step's account
        with group as join:
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, preexec_fn=join)
        if done.returncode:
            raise SystemExit(f"{step} ended with exit status {done.returncode}")
        found[step] = json.loads(done.stdout.strip().splitlines()[-1])
        print(f"  {place.name}: {step} {found[step]}", file=sys.stderr)
    return found


def _forget(place: Path) -> None:
    """Drop what the system keeps in memory of the files below ``place``."""
    for path in place.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _after(step: str) -> list[str]:
    names = list(STEPS)
    return names[names.index(step) + 1 :]


def _measured(step: str, place: Path, shape: tuple[int, int]) -> dict[str, float]:
    if step == "make":
        return {"gb": _make(place, *shape)}
    chain = _Chain(place)
    for name in STEPS:  # what lies before it is in the store
        began = time.perf_counter()
        STEPS[name](chain)
        seconds = time.perf_counter() - began
        if name == step:
            break
    usage = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {"peak": max(usage) / 1e6, "seconds": seconds}


class _Chain:
    """The artifacts of a run so far, in a store below ``place``."""

    def __init__(self, place: Path) -> None:
        from seatrial.training.store import Store

        self.place, self.store = place, Store(place / "store")

    def build_base(self) -> None:
        from seatrial.training import steps

        self.base = self.store.build(steps._import_folder(self.place / "base", None))
        self.adapter = self.store.build(steps.take_in_folder(self.place / "adapter", "adapter"))

    def build_merged(self) -> None:
        from seatrial.training import steps

        self.merged = self.store.build(steps.merge(self.base, self.adapter))

    def build_f16(self) -> None:
        from seatrial.training import steps
        from seatrial.training.store import Store, default_root

        converter = Store(default_root()).build(steps.fetch_converter())
        self.f16 = self.store.build(steps.convert(self.merged, converter, "random"))

    def build_quantised(self) -> None:
        from seatrial.training import steps

        self.quantised = self.store.build(steps.quantize(self.f16, "q4_k_m", "random", "", DECODING))

    def build_weights(self) -> None:
        from seatrial.evals.fidelity import weights
        from seatrial.training.gguf_file import open_gguf
        from seatrial.training.steps import gguf_file
        from seatrial.training.store import file_digest

        file = gguf_file(self.quantised)
        open_gguf(file)
        parts = self.f16, None, self.adapter, self.base
        self.store.build(weights.of_file(file, file_digest(file), *parts))

    def build_logits(self) -> None:
        from seatrial.evals.fidelity.trained import Asked, trained
        from seatrial.evals.models import Question

        rows = [Question(str(n), ({"role": "user", "content": f"row {n}"},), "answer " * 8) for n in range(4)]
        asked = Asked([], rows, ["a text"], [], "", 4)
        self.store.build(trained(self.merged, self.adapter, self.base, asked))


STEPS: dict[str, Callable[[_Chain], None]] = {
    "import": _Chain.build_base,
    "merge": _Chain.build_merged,
    "convert": _Chain.build_f16,
    "quantise": _Chain.build_quantised,
    "weights": _Chain.build_weights,
    "logits": _Chain.build_logits,
}


def _make(place: Path, hidden: int, layers: int) -> float:
    """A base and an adapter of random numbers; the base's size in GB, in 16 bits."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from seatrial.training import steps
    from seatrial.training.recipe import load_recipe
    from seatrial.training.store import Store, default_root

    source = Store(default_root()).build(steps.import_base(load_recipe("smollm2-135m-cpu"))).path
    tokenizer = AutoTokenizer.from_pretrained(source)
    torch.manual_seed(7)
    torch.set_default_dtype(torch.bfloat16)
    heads = max(4, hidden // 64)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=-(-hidden * 11 // 4 // 256) * 256,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=max(1, heads // 8),
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(place / "base")
    tokenizer.save_pretrained(place / "base")
    _adapter(model, place / "adapter")
    return float(sum(parameter.numel() for parameter in model.parameters()) * 2 / 1e9)


def _adapter(model: Any, folder: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(
        model, LoraConfig(r=16, lora_alpha=16, target_modules=list(MODULES), task_type="CAUSAL_LM")
    )
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.01)
    adapted.save_pretrained(folder)


if __name__ == "__main__":
    sys.exit(main())
