"""The trained model itself, before any export: adapter on its 4-bit base, and the merged model.

Both run in transformers, in one process, once: ``python -m seatrial.evals.fidelity.trained`` answers the
questions of the attribution, gives log-probabilities for held-out rows, token ids for texts and rendered
conversations. Without an adapter the merged folder alone is the truth.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from seatrial.evals.fidelity.runtime_limits import alternatives
from seatrial.evals.models import Generation, Likelihood, Message, Question, for_template, opened
from seatrial.evals.provenance import decided_by
from seatrial.training.base_model import held_as
from seatrial.training.chat_date import stop_clock
from seatrial.training.errors import SeatrialError
from seatrial.training.memory import peaks
from seatrial.training.process import JsonProcess, serve
from seatrial.training.progress import Progress
from seatrial.training.store import Artifact, Step

SILENCE = 1800.0  # seconds without a sign of life after which the process is taken for hung
ADAPTER, MERGED, SFT = "adapter", "merged", "sft"
PACKAGES = ("torch", "transformers", "tokenizers", "jinja2", "peft", "bitsandbytes", "safetensors", "numpy")
TRUTH = "truth.npy"  # log-probabilities of the truth, float32, shape (answer tokens, vocabulary)


@dataclass(frozen=True)
class Asked:
    """What the trained model is asked: questions to answer, rows with references, texts, conversations.

    ``further``: rows of which only the likelihood is asked, such as answers that are not wanted.
    """

    questions: Sequence[Question]
    rows: Sequence[Question]
    texts: Sequence[str]
    conversations: Sequence[Sequence[Message]]
    system: str
    max_tokens: int
    further: Sequence[Question] = ()

    def to_json(self) -> dict[str, Any]:
        further = [[self._messages(row), row.reference] for row in self.further]
        return {
            "questions": [self._messages(question) for question in self.questions],
            "rows": [[self._messages(row), row.reference] for row in self.rows],
            "texts": list(self.texts),
            "conversations": [[dict(m) for m in messages] for messages in self.conversations],
            "max_tokens": self.max_tokens,
            **({"further": further} if further else {}),
        }

    def _messages(self, question: Question) -> list[Message]:
        return [dict(m) for m in for_template(opened(self.system, question.messages))]


def trained(
    merged: Artifact,
    adapter: Artifact | None,
    base: Artifact | None,
    asked: Asked,
    sft: Artifact | None = None,
) -> Step:
    """The step that runs the trained model; see :class:`TrainedModel` for reading it.

    ``sft``: the adapter before a stage on pairs of answers, which is asked the same.

    Files: ``truth.npy``, ``models.json`` (answers and likelihoods by role, KL of merged against adapter),
    ``text.json`` (token ids of texts and prompts, rendered conversations, ids of the rows).
    """
    request = asked.to_json()
    inputs = {"merged": merged.digest}
    held = held_as(adapter) if adapter and base else {}
    if adapter and base:
        inputs |= {"adapter": adapter.digest, "base": base.digest}
        inputs |= {"sft": sft.digest} if sft else {}

    def build(out: Path, progress: Progress) -> Mapping[str, Any]:
        log = out.parent.parent / "logs" / f"trained-{out.name}.log"
        folders = {"merged": str(merged.path), "out": str(out)}
        if adapter and base:
            folders |= {"adapter": str(adapter.path), "base": str(base.path)}
            folders |= {"sft": str(sft.path)} if sft else {}
            folders |= held
        with JsonProcess(
            "seatrial.evals.fidelity.trained", log, "the trained model in transformers"
        ) as process:
            facts: Mapping[str, Any] = process.call(
                request | folders, SILENCE, lambda event: progress.update(**event)
            )
        return facts

    params = request | decided_by(__name__, packages=PACKAGES) | ({"held": held} if held else {})
    return Step("trained", 6, params, inputs, build, title="the trained model, before export")


class TrainedModel:
    """``adapter``, ``merged`` or ``sft`` as a model: its answers were given when the step was built."""

    def __init__(self, name: str, outcome: Callable[[], Artifact], asked: Asked) -> None:
        self.name, self._outcome, self._asked = name, outcome, asked

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"runtime": "transformers", "trained": self._outcome().key, "role": self.name}

    def generate(self, questions: Sequence[Question], max_tokens: int, log: Path) -> list[Generation]:
        rows = zip(self._asked.questions, self._rows("answers"), strict=True)
        known = {question.key: row for question, row in rows}
        return [Generation(**known[question.key]) for question in questions]

    def score(self, questions: Sequence[Question], log: Path) -> list[Likelihood]:
        asked = (*self._asked.rows, *self._asked.further)
        rows = zip(asked, self._rows("likelihoods"), strict=True)
        known = {question.key: row for question, row in rows}
        return [Likelihood(**known[question.key]) for question in questions]

    def _rows(self, what: str) -> list[dict[str, Any]]:
        models: dict[str, dict[str, list[dict[str, Any]]]] = self._outcome().read_json("models.json")
        return models[self.name][what]


# --- the process ---------------------------------------------------------------------------------------
def handle(request: dict[str, Any], send: Callable[..., None]) -> dict[str, Any]:
    """Run the models of a request, one after the other; writes the files that :func:`trained` names."""
    from transformers import AutoTokenizer

    out = Path(request["out"])
    stop_clock()
    tokenizer = AutoTokenizer.from_pretrained(request["merged"])
    text = _text(tokenizer, request)
    (out / "text.json").write_text(json.dumps(text, ensure_ascii=False), encoding="utf-8")
    models: dict[str, Any] = {}
    truth: Any = None
    answers: list[list[int]] | None = None
    settings: Any = None
    with TemporaryDirectory(dir=out, ignore_cleanup_errors=True) as place:
        loaders = _loaders(request, Path(place))
        for number, (role, load) in enumerate(loaders.items()):
            send(done=number, total=len(loaders))
            model = load()
            if truth is None:
                truth = _kept(out / TRUTH, model, text["rows"])
                predicted = _by_row(truth, text["rows"])
            else:
                predicted = _predicted(model, text["rows"])
            found = _scored(predicted, truth, text["rows"])
            found["likelihoods"] += _unwanted(model, text["further"])
            before, settings = settings, model.generation_config.to_dict()
            answers = _answered(model, tokenizer, request, answers if settings == before else None)
            models[role] = found | {"answers": [_generation(model, tokenizer, tokens) for tokens in answers]}
            del model
    (out / "models.json").write_text(json.dumps(models, ensure_ascii=False), encoding="utf-8")
    facts = {"truth": next(iter(loaders)), "tokens": len(truth), "vocabulary": int(truth.shape[1])}
    return facts | peaks()


def _loaders(request: Mapping[str, Any], place: Path) -> dict[str, Callable[[], Any]]:
    """How each role is loaded, the truth first. The base's weights as training held them are dequantised once
    (the same numbers, without doing it at every step) and lie in ``place``; an adapter is beside them."""
    from seatrial.training.mapped import mapped, write_held

    loaders: dict[str, Callable[[], Any]] = {}
    if "adapter" in request:
        how = request["compute_dtype"], request["precision"], request.get("skipped")
        held = write_held(Path(request["base"]), place / "held", *how)
        loaders[ADAPTER] = lambda: mapped(held, Path(request[ADAPTER]))
    loaders[MERGED] = lambda: mapped(Path(request["merged"]))
    if "sft" in request:
        loaders[SFT] = lambda: mapped(held, Path(request[SFT]))
    return loaders


def _text(tokenizer: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    def render(messages: Any, open_end: bool = True) -> str:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=open_end))

    def ids(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    limits = alternatives(tokenizer)
    rendered = [_rendered(render, messages) for messages in request["conversations"]]

    def row(messages: Any, reference: str) -> dict[str, Any]:
        prompt = _rendered(render, messages)
        if prompt is None:
            raise SeatrialError(
                "the model's chat template refuses the task's prompts",
                where=request["merged"],
                hint='if it knows no system role: [prompts] system = "" in task.toml, and train without one',
            )
        whole = render([*messages, {"role": "assistant", "content": reference}], False)
        answer = ids(whole[len(prompt) :].rstrip("\n"))
        return {"ids": ids(prompt) + answer, "answer": len(answer)}

    return {
        "tokenizer": {
            "eos": tokenizer.eos_token_id,
            "bos": tokenizer.bos_token_id,
            "pad": tokenizer.pad_token_id,
            "ends": _ends(request["merged"]),
            "template": tokenizer.chat_template,
        },
        "texts": [ids(text) for text in request["texts"]],
        "text_limits": [limits(text) for text in request["texts"]],
        "special": list(tokenizer("a")["input_ids"]),
        "rendered": rendered,
        "prompts": [None if prompt is None else ids(prompt) for prompt in rendered],
        "prompt_limits": [{} if prompt is None else limits(prompt) for prompt in rendered],
        "rows": [row(*each) for each in request["rows"]],
        "further": [row(*each) for each in request.get("further", ())],
    }


def _ends(folder: str) -> list[int]:
    """Ids that end generation by the model's own settings."""
    path = Path(folder) / "generation_config.json"
    if not path.is_file():
        return []
    ends = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id")
    return [] if ends is None else ends if isinstance(ends, list) else [ends]


def _rendered(render: Callable[[Any], str], messages: Any) -> str | None:
    """A rendered conversation, or None where the template refuses it (some know no system role)."""
    try:
        return render(messages)
    except Exception as error:
        print(f"the template refuses {messages}: {error}", file=sys.stderr)
        return None


def _predicted(model: Any, rows: Sequence[Mapping[str, Any]]) -> Iterator[Any]:
    """Per row the log-probabilities before every answer token: float32, (answer tokens, vocabulary)."""
    import torch

    with torch.inference_mode():
        for row in rows:
            ids, last = torch.tensor([row["ids"]], device=model.device), row["answer"]
            logits = model(input_ids=ids, logits_to_keep=last + 1).logits
            yield torch.log_softmax(logits[0, -last - 1 : -1].float(), dim=-1).cpu().numpy()


def _kept(path: Path, model: Any, rows: Sequence[Mapping[str, Any]]) -> Any:
    """The log-probabilities of all rows as the file ``path``, mapped: 2,000 tokens of a vocabulary of 128,000
    are a gigabyte, of which memory holds a row."""
    import numpy as np

    shape = sum(row["answer"] for row in rows), model.config.get_text_config().vocab_size
    if not shape[0]:  # nothing can be mapped that is empty
        np.save(path, np.empty(shape, dtype=np.float32))
        return np.load(path)
    kept = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    for place, logs in zip(_by_row(kept, rows), _predicted(model, rows), strict=True):
        place[:] = logs
    kept.flush()
    return np.load(path, mmap_mode="r")


def _by_row(kept: Any, rows: Sequence[Mapping[str, Any]]) -> Iterator[Any]:
    """Views of a row's log-probabilities each."""
    at = 0
    for row in rows:
        yield kept[at : at + row["answer"]]
        at += row["answer"]


def _scored(predicted: Iterable[Any], truth: Any, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Likelihood of each row's answer, and its divergence from the truth (zero for the truth itself), over
    the whole vocabulary; ``predicted`` gives a row's log-probabilities at a time."""
    import numpy as np

    likelihoods, divergence = [], []
    for row, logs, known in zip(rows, predicted, _by_row(truth, rows), strict=True):
        answer = row["ids"][-row["answer"] :]
        nll = -logs[np.arange(len(answer)), answer].astype(np.float64)
        kl = (np.exp(known) * (known - logs)).sum(-1, dtype=np.float64)
        top = known.argmax(-1) == logs.argmax(-1)
        likelihoods.append(asdict(Likelihood(float(nll.sum()), len(answer))))
        divergence.append(
            {
                "kl": np.maximum(kl, 0).tolist(),
                "top1": top.astype(float).tolist(),
                "nll": nll.tolist(),
            }
        )
    return {"likelihoods": likelihoods, "divergence": divergence}


def _unwanted(model: Any, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Likelihoods alone, a row at a time: the distributions of these rows are not kept."""
    found = zip(rows, _predicted(model, rows), strict=True)
    return [_scored([logs], logs, [row])["likelihoods"][0] for row, logs in found]


def _answered(
    model: Any, tokenizer: Any, request: Mapping[str, Any], before: list[list[int]] | None
) -> list[list[int]]:
    """Tokens of the greedy answers to all questions, with their end, decoded together, padded on the left.

    The answers ``before``, of a model that generates by the same settings, are this one's, too, if every
    token of them all is its most likely one: that takes a pass for each answer, not for each token.
    """
    import torch

    if not request["questions"]:
        return []
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    prompts = [
        tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        for messages in request["questions"]
    ]
    if before is not None:
        ids = tokenizer(prompts, add_special_tokens=False)["input_ids"]
        rows = [
            {"ids": prompt + answer, "answer": len(answer)}
            for prompt, answer in zip(ids, before, strict=True)
        ]
        if all(
            (logs.argmax(-1) == answer).all()
            for logs, answer in zip(_predicted(model, rows), before, strict=True)
        ):
            return before
    batch = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False).to(model.device)
    with torch.inference_mode():
        whole = model.generate(
            **batch,
            max_new_tokens=request["max_tokens"],
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            pad_token_id=tokenizer.pad_token_id,
        )
    ending = _ending(model, tokenizer)
    answers = []
    for row in whole[:, batch["input_ids"].shape[1] :].tolist():
        stop = next((i for i, token in enumerate(row) if token in ending), len(row))
        answers.append(row[: stop + 1])
    return answers


def _ending(model: Any, tokenizer: Any) -> set[int]:
    ends = model.generation_config.eos_token_id
    return {*(ends if isinstance(ends, list) else [ends]), tokenizer.eos_token_id}


def _generation(model: Any, tokenizer: Any, tokens: list[int]) -> dict[str, Any]:
    ended = tokens[-1] in _ending(model, tokenizer)
    return asdict(
        Generation(
            text=tokenizer.decode(tokens[:-1] if ended else tokens, skip_special_tokens=True),
            completion_tokens=len(tokens),
            stop_reason="eos" if ended else "length",
        )
    )


if __name__ == "__main__":
    serve(handle)
