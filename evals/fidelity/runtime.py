"""What the runtime makes of a GGUF file: how it tokenises, how it renders, how far its distributions are
from the trained model's. One step of the store for each file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seatrial.evals.fidelity.trained import TRUTH, Asked
from seatrial.evals.models import Message
from seatrial.evals.models.llama_cpp import LlamaCppModel
from seatrial.evals.provenance import decided_by
from seatrial.training.progress import Progress
from seatrial.training.store import Artifact, Step

if TYPE_CHECKING:
    from seatrial.evals.models.ollama import OllamaModel


def in_runtime(model: LlamaCppModel, truth: Artifact, asked: Asked, inspect: bool) -> Step:
    """The step whose files are ``divergence.json`` (per row: kl, top1, nll by token) and, if wanted,
    ``inspect.json`` (token ids and rendered conversations)."""
    spoken = asked.to_json()
    texts = {name: spoken[name] for name in ("texts", "conversations")} if inspect else {}

    def build(out: Path, progress: Progress) -> Mapping[str, Any]:
        log = out.parent.parent / "logs" / f"fidelity-{out.name}.log"
        rows = truth.read_json("text.json")["rows"]
        if texts:
            _write(out / "inspect.json", model.inspect(texts["texts"], texts["conversations"], log))
        _write(out / "divergence.json", model.diverge(rows, truth.path / TRUTH, log))
        return {"rows": len(rows)}

    params = {**texts, "rows": spoken["rows"], "model": dict(model.identity), **decided_by(__name__)}
    return Step("fidelity", 3, params, {"trained": truth.digest}, build, title=f"fidelity of {model.name}")


def rendered_in_llama_cpp(model: LlamaCppModel, conversations: Sequence[Sequence[Message]]) -> Step:
    """The step whose ``rendered.json`` holds the prompts that the file's own template makes of conversations,
    None where it refuses one."""
    spoken = [[dict(message) for message in messages] for messages in conversations]

    def build(out: Path, progress: Progress) -> Mapping[str, Any]:
        log = out.parent.parent / "logs" / f"prompts-{out.name}.log"
        _write(out / "rendered.json", model.inspect([], spoken, log)["rendered"])
        return {"conversations": len(spoken)}

    params = {"conversations": spoken, "model": dict(model.identity), **decided_by(__name__)}
    return Step("file-prompts", 1, params, {}, build, title=f"prompts rendered by {model.name}")


def rendered_in_ollama(model: OllamaModel, conversations: Sequence[Sequence[Message]]) -> Step:
    """The step whose ``rendered.json`` holds the prompts that Ollama makes of conversations."""
    spoken = [[dict(message) for message in messages] for messages in conversations]

    def build(out: Path, progress: Progress) -> Mapping[str, Any]:
        log = out.parent.parent / "logs" / f"ollama-{out.name}.log"
        _write(out / "rendered.json", model.render(spoken, log))
        return {"conversations": len(spoken)}

    params = {"conversations": spoken, "model": dict(model.identity), **decided_by(__name__)}
    return Step("ollama-prompts", 2, params, {}, build, title="prompts rendered by Ollama")


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
