"""An adapter in plain peft: base, ``PeftModel.from_pretrained``, greedy answers, in a process of its own.

Autoregressive generation in transformers is slow on a CPU, so that the adapter loads is shown by one answer,
and quality is measured on the exported file. As a model to compare with, it answers whole case sets.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from seatrial.evals.models import Generation, Message, Question, for_template, opened
from seatrial.evals.models.table import ModelTable, Surroundings
from seatrial.evals.provenance import decided_by
from seatrial.evals.verdict import NotEvaluated
from seatrial.training import extras
from seatrial.training.chat_date import stop_clock
from seatrial.training.errors import SeatrialError
from seatrial.training.process import JsonProcess, serve
from seatrial.training.progress import Progress
from seatrial.training.store import Artifact, Step, file_digest

if TYPE_CHECKING:
    from seatrial.evals.task import Task

MAX_TOKENS = 48
EACH = 120.0  # seconds that an answer may take in the mean
START = 600.0  # seconds until a model is loaded
BATCH = 8  # answers decoded together
PACKAGES = ("torch", "transformers", "tokenizers", "jinja2", "peft", "bitsandbytes", "safetensors")
CONFIG = "adapter_config.json"


def adapter_answer(base: Artifact, adapter: Artifact, system: str, question: Question) -> Step:
    """The step whose facts hold the adapter's answer to one question."""
    messages = for_template(opened(system, question.messages))

    def build(out: Path, progress: Progress) -> Mapping[str, Any]:
        log = out.parent.parent / "logs" / f"adapter-answer-{out.name}.log"
        ((answer,),) = _ask(base.path, adapter.path, [messages], MAX_TOKENS, log)
        return {"text": answer.text, "seconds": answer.seconds}

    inputs = {"base": base.digest, "adapter": adapter.digest}
    params = {"messages": messages, **decided_by(__name__, packages=PACKAGES)}
    return Step("adapter-answer", 3, params, inputs, build)


class AdapterModel:
    """An adapter's folder on the folder of its base, answering greedily in transformers and peft.

    Args:
        name: the model's role.
        folder: what peft saved; ``base``: a model folder of transformers.
        system: system prompt put before every question ("" for none).
    """

    def __init__(self, name: str, folder: Path, base: Path, system: str) -> None:
        self.name, self.folder, self.base, self.system = name, folder, base, system
        self.identity: Mapping[str, Any] = {
            "runtime": "peft",
            **decided_by(__name__, packages=PACKAGES),
            "adapter": _digest(folder),
            "base": _digest(base),
            "system": system,
        }

    def generate(self, questions: Sequence[Question], max_tokens: int, log: Path) -> list[Generation]:
        """Answers in the order of ``questions``.

        Raises:
            MissingExtra: torch or peft is not here.
            SeatrialError: the adapter or its base cannot be loaded.
        """
        return [answer for (answer,) in self._drawn(questions, max_tokens, log)]

    def sample(
        self,
        questions: Sequence[Question],
        max_tokens: int,
        log: Path,
        temperature: float,
        samples: int,
        seed: int,
    ) -> list[list[Generation]]:
        """``samples`` answers to each question, drawn from softmax(logits / temperature). The numbers drawn
        depend on the seed and the question alone. Raises as :meth:`generate`."""
        how = {"temperature": temperature, "samples": samples, "seed": seed}
        return self._drawn(questions, max_tokens, log, **how)

    def _drawn(
        self, questions: Sequence[Question], max_tokens: int, log: Path, **how: float
    ) -> list[list[Generation]]:
        extras.require(extras.FIDELITY)
        asked = [for_template(opened(self.system, question.messages)) for question in questions]
        return _ask(self.base, self.folder, asked, max_tokens, log, **how) if asked else []


class Table(ModelTable):
    """An adapter on its base, in transformers and peft: slow without a GPU."""

    folder: Path
    """What peft saved, from the task's folder."""
    base: Path | None = None
    """Folder of the base's weights, from the task's; by default the one that the adapter names."""

    def model(self, name: str, around: Surroundings) -> AdapterModel:
        folder = around.task.path(self.folder)
        if not (folder / CONFIG).is_file():
            raise NotEvaluated(f"the adapter of the model {name!r} is not here: {folder} holds no {CONFIG}")
        base = self._base(folder, around.task)
        if not (base / "config.json").is_file():
            raise NotEvaluated(
                f"the base of the adapter {name!r} is not here: {base} holds no config.json; "
                f"'base' in [models.{name}] names its folder"
            )
        return AdapterModel(name, folder, base, self.prompt(name, around.task))

    def _base(self, folder: Path, task: Task) -> Path:
        if self.base is not None:
            return task.path(self.base)
        try:
            config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            return Path(str(config["base_model_name_or_path"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SeatrialError(f"cannot be read: {error}", where=folder / CONFIG) from None


def _digest(folder: Path) -> str:
    files = {path.name: file_digest(path) for path in sorted(folder.iterdir()) if path.is_file()}
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()


def _ask(
    base: Path, adapter: Path, asked: Sequence[Sequence[Message]], max_tokens: int, log: Path, **how: float
) -> list[list[Generation]]:
    request = {"base": str(base), "adapter": str(adapter), "asked": asked, "max_tokens": max_tokens, **how}
    request["place"] = str(log.parent)  # beside the store: a system's temporary folder may lie in memory
    many = len(asked) * int(how.get("samples", 1))
    with JsonProcess("seatrial.evals.models.adapter", log, "peft with the adapter") as process:
        found = process.call(request, timeout=START + EACH * many)
    return [[Generation(**answer) for answer in answers] for answers in found["answers"]]


def handle(request: dict[str, Any], send: Callable[..., None]) -> dict[str, Any]:
    """Load base and adapter with transformers and peft and answer ``request["asked"]``: greedily, or with
    ``samples`` answers drawn at ``temperature``, a question at a time."""
    import torch
    from transformers import AutoTokenizer

    stop_clock()
    tokenizer = AutoTokenizer.from_pretrained(request["adapter"])
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model = _loaded(Path(request["base"]), Path(request["adapter"]), request["place"])
    ends = model.generation_config.eos_token_id
    ends = {*(ends if isinstance(ends, list) else [ends]), tokenizer.eos_token_id}
    prompts = [
        tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        for messages in request["asked"]
    ]
    temperature, samples = request.get("temperature", 0), request.get("samples", 1)
    how: dict[str, Any] = {"do_sample": False}
    if temperature:
        # What the model's own generation_config says of top_k and top_p must not narrow the choice.
        how = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
    answers: list[list[dict[str, Any]]] = []
    batch = 1 if temperature else BATCH
    for first in range(0, len(prompts), batch):
        some = prompts[first : first + batch]
        started = time.monotonic()
        inputs = tokenizer(some, return_tensors="pt", padding=True, add_special_tokens=False)
        if temperature:
            torch.manual_seed(_seed(request["seed"], some[0]))
        with torch.inference_mode():
            whole = model.generate(
                **inputs.to(model.device),
                max_new_tokens=request["max_tokens"],
                pad_token_id=tokenizer.pad_token_id,
                num_return_sequences=samples if temperature else 1,
                **how,
            )
        seconds = round(time.monotonic() - started, 3)  # of all that are decoded together
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        said = whole[:, inputs["input_ids"].shape[1] :].tolist()
        each = len(said) // len(some)
        for place, length in enumerate(lengths):
            rows = said[place * each : (place + 1) * each]
            answers.append([_answer(tokenizer, ends, row, length, seconds) for row in rows])
    return {"answers": answers if temperature else [rows * samples for rows in answers]}


def _loaded(base: Path, adapter: Path, place: str) -> Any:
    """Base and adapter in float32. A base of another type is written out in it first, because only weights
    that lie there as they are computed with need no memory of their own."""
    from seatrial.training.mapped import mapped, write_held

    with TemporaryDirectory(dir=place, ignore_cleanup_errors=True) as folder:
        return mapped(write_held(base, Path(folder, "base"), "float32", "fp32"), adapter)


def _seed(seed: int, prompt: str) -> int:
    digest = hashlib.sha256(json.dumps([seed, prompt]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1  # torch takes 63 bits


def _answer(
    tokenizer: Any, ends: set[int], tokens: Sequence[int], length: int, seconds: float
) -> dict[str, Any]:
    stop = next((place for place, token in enumerate(tokens) if token in ends), None)
    text = tokenizer.decode(tokens[:stop], skip_special_tokens=True)
    said = len(tokens) if stop is None else stop + 1
    return asdict(Generation(text, length, said, "length" if stop is None else "eos", seconds))


if __name__ == "__main__":
    serve(handle)
