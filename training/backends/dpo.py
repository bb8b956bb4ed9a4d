"""The method ``dpo``: an adapter trained on by pairs of answers, with TRL's DPOTrainer.

The policy is the adapter that supervised fine-tuning left, and the reference is a frozen copy of it beside
the same base, so that one base is held in memory. The reference is asked anew at every step and not
beforehand: it then runs under the same casts as the policy, and both start from the same numbers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from peft.helpers import disable_input_dtype_casting
from transformers import AutoTokenizer, set_seed
from trl import DPOConfig, DPOTrainer

from seatrial.training import out_of_memory
from seatrial.training.backends.arguments import kept_by, preference_arguments, require_usable, tracked
from seatrial.training.backends.around import Tell, name_base, require_gradients
from seatrial.training.base_model import load_base
from seatrial.training.chat_date import stop_clock
from seatrial.training.errors import SeatrialError
from seatrial.training.recipe import Recipe

POLICY, REFERENCE = "default", "ref"  # the adapter that is trained, and TRL's name for its frozen copy
Row = Mapping[str, Sequence[int]]


def train(request: dict[str, Any], send: Callable[..., None]) -> dict[str, Any]:
    """See :class:`seatrial.training.backends.Backend`.

    ``request["adapter"]`` is trained on; the last ``validation_rows`` of the pairs are held out. The facts
    have ``held_out``, too: of each of those pairs, ``chosen`` and ``rejected``, the log-likelihood of that
    answer before and after (natural logarithm, summed), and ``tokens``, of the two answers.
    """
    recipe = Recipe.model_validate(request["recipe"])
    settings = recipe.trainer
    assert recipe.preference
    out, folder = Path(request["out"]), Path(request["base"])
    set_seed(settings.seed)
    dtype = getattr(torch, request["compute_dtype"])
    tracked(settings.report_to, Path(request["logs"]))
    require_usable(settings.optimizer)
    stop_clock()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    lines = Path(request["rows"]).read_text(encoding="utf-8").split("\n")
    rows = [json.loads(line) for line in lines if line]
    split = len(rows) - int(request["validation_rows"])
    base = load_base(folder, dtype, recipe.base.precision)
    model = PeftModel.from_pretrained(base, request["adapter"], is_trainable=True)
    model.peft_config[POLICY].base_model_name_or_path = str(folder)  # peft looks there when it saves
    own = {name: value for name, value in model.named_parameters() if _of(POLICY, name)}
    kept = {name: value.detach().clone().float() for name, value in own.items()}
    args: DPOConfig = preference_arguments(recipe, Path(request["checkpoints"]), dtype)
    trainer = DPOTrainer(
        model=model,
        args=args,
        train_dataset=Dataset.from_list(rows[:split]),
        eval_dataset=Dataset.from_list(rows[split:]),
        processing_class=tokenizer,
        callbacks=[Tell(send)],
    )
    _start_alike(trainer.model, kept)
    sizes = _sizes(trainer, settings.max_length, len(rows))
    halves = recipe.base.precision in ("bf16", "fp16") and dtype is torch.float32  # nothing casts back there
    casting = nullcontext() if halves else disable_input_dtype_casting(trainer.model)
    with casting, kept_by(recipe.trainer.report_to), out_of_memory.told(max(sizes)):
        result = trainer.train()
        held_out = _held_out(trainer.model, trainer.eval_dataset, settings.max_length)
    history = trainer.state.log_history
    require_gradients(history, "preference")
    parameters = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    trainer.model.delete_adapter(REFERENCE)
    trainer.model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    name_base(out, recipe.base.model)
    return {
        "history": history,
        "held_out": held_out,
        "train_rows": split,
        "validation_rows": len(held_out),
        "cut_rows": sum(size > settings.max_length for size in sizes),
        "tokens": int(max((entry.get("num_tokens", 0) for entry in history), default=0)),
        "train_loss": result.training_loss,
        "eval_loss": next((e["eval_loss"] for e in reversed(history) if "eval_loss" in e), None),
        "compute_dtype": str(dtype).removeprefix("torch."),
        "adapter_parameters": parameters,
    }


def _of(adapter: str, parameter: str) -> bool:
    return f".{adapter}." in parameter or parameter.endswith(f".{adapter}")


def _start_alike(model: Any, kept: Mapping[str, torch.Tensor]) -> None:
    """Give policy and reference the adapter's own numbers, float32: TRL rounds those of QLoRA to bf16."""
    found = dict(model.named_parameters())
    for name, value in kept.items():
        frozen = name.replace(f".{POLICY}", f".{REFERENCE}")
        for each in (name, frozen):
            found[each].data = value.clone().to(found[each].device)
        found[frozen].requires_grad_(False)


def _sizes(trainer: Any, longest: int, rows: int) -> list[int]:
    """Tokens of each pair's longer conversation.

    Raises:
        SeatrialError: TRL left a pair out because its prompt alone fills ``longest``.
    """
    datasets = (trainer.train_dataset, trainer.eval_dataset)
    sizes = [
        len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"]))
        for dataset in datasets
        for row in dataset
    ]
    if len(sizes) < rows:
        raise SeatrialError(
            f"the prompts of {rows - len(sizes)} pairs fill max_length = {longest}: no answer is left",
            where="recipe [preference]",
            hint="give a larger max_length, or take these pairs out",
        )
    return sizes


def _held_out(model: Any, rows: Any, longest: int) -> list[dict[str, list[float]]]:
    """Log-likelihoods of held-out answers under the reference and the policy, and the answers' tokens."""
    told: list[dict[str, list[float]]] = [{"chosen": [], "rejected": [], "tokens": []} for _ in rows]
    model.eval()
    for adapter in (REFERENCE, POLICY):
        with _with_adapter(model, adapter):
            for row, into in zip(rows, told, strict=True):
                for key in ("chosen", "rejected"):
                    value, tokens = _likelihood(model, row["prompt_ids"], row[f"{key}_ids"], longest)
                    into[key].append(value)
                    if adapter == REFERENCE:
                        into["tokens"].append(tokens)
    return told


@contextmanager
def _with_adapter(model: Any, adapter: str) -> Iterator[None]:
    model.set_adapter(adapter)
    try:
        with torch.inference_mode():
            yield
    finally:
        model.set_adapter(POLICY)


def _likelihood(model: Any, prompt: Sequence[int], answer: Sequence[int], longest: int) -> tuple[float, int]:
    """Summed log-probability of an answer's tokens, cut as training cuts them, and their number."""
    ids = torch.tensor([[*prompt, *answer][:longest]], device=model.device)
    last = ids.shape[1] - len(prompt)
    logits = model(input_ids=ids, use_cache=False).logits[0, -last - 1 : -1].float()
    found = torch.log_softmax(logits, dim=-1).gather(1, ids[0, -last:, None])
    return float(found.double().sum()), last
