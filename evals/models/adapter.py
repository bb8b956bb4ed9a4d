"""The adapter in plain peft: base, ``PeftModel.from_pretrained``, one answer. A job process, it needs torch.

Autoregressive generation in transformers is slow on a CPU, so this shows that the adapter works; quality is
measured on the exported file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from seatrial.evals.models import Question, opened
from seatrial.evals.provenance import decided_by
from seatrial.training.process import JsonProcess, serve
from seatrial.training.progress import Progress
from seatrial.training.store import Artifact, Step

MAX_TOKENS = 48
PACKAGES = ("torch", "transformers", "tokenizers", "jinja2", "peft", "safetensors")


def adapter_answer(base: Artifact, adapter: Artifact, system: str, question: Question) -> Step:
    """The step whose facts hold the adapter's answer to one question."""
    messages = opened(system, question.messages)

    def build(out: Path, progress: Progress) -> Mapping[str, Any]:
        log = out.parent.parent / "logs" / f"adapter-answer-{out.name}.log"
        request = {"base": str(base.path), "adapter": str(adapter.path), "messages": messages}
        with JsonProcess("seatrial.evals.models.adapter", log, "peft with the adapter") as process:
            facts: Mapping[str, Any] = process.call(request, timeout=600.0)
        return facts

    inputs = {"base": base.digest, "adapter": adapter.digest}
    params = {"messages": messages, **decided_by(__name__, packages=PACKAGES)}
    return Step("adapter-answer", 2, params, inputs, build)


def handle(request: dict[str, Any], send: Callable[..., None]) -> dict[str, Any]:
    """Load base and adapter with transformers and peft and answer ``request["messages"]`` greedily."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    started = time.monotonic()
    tokenizer = AutoTokenizer.from_pretrained(request["adapter"])
    base = AutoModelForCausalLM.from_pretrained(request["base"], dtype=torch.float32)
    model = PeftModel.from_pretrained(base, request["adapter"]).eval()
    tokens = tokenizer.apply_chat_template(
        request["messages"], add_generation_prompt=True, return_tensors="pt", return_dict=True
    ).to(model.device)
    with torch.inference_mode():
        answer = model.generate(**tokens, max_new_tokens=MAX_TOKENS, do_sample=False)
    text = tokenizer.decode(answer[0, tokens["input_ids"].shape[1] :], skip_special_tokens=True)
    return {"text": text, "seconds": round(time.monotonic() - started, 2)}


if __name__ == "__main__":
    serve(handle)
