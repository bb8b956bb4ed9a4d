"""How many tokens each training row has, by the base's own tokenizer and chat template.

Runs in a process of its own, because transformers takes seconds to import: ``python -m
seatrial.training.lengths`` reads one request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from seatrial.training.chat_date import stop_clock
from seatrial.training.process import JsonProcess, serve

LONGEST_WAIT = 600.0  # seconds


@dataclass(frozen=True)
class Lengths:
    """Tokens of each row, whole and of its answer alone, in the rows' order."""

    rows: Sequence[int]
    answers: Sequence[int]


def lengths_of(base: Path, conversations: Sequence[Sequence[dict[str, str]]]) -> Lengths:
    """Tokens of ``conversations`` as the tokenizer in the folder ``base`` writes them.

    Raises:
        SeatrialError: there is no tokenizer, or it cannot write them.
    """
    with TemporaryDirectory(prefix="seatrial-") as folder:
        log = Path(folder) / "lengths.log"
        with JsonProcess("seatrial.training.lengths", log, "counting tokens") as process:
            told = process.call({"base": str(base), "rows": list(conversations)}, LONGEST_WAIT)
    return Lengths(told["rows"], told["answers"])


def handle(request: dict[str, Any], send: Callable[..., None]) -> dict[str, Any]:
    """The child's side."""
    from transformers import AutoTokenizer

    stop_clock()
    tokenizer = AutoTokenizer.from_pretrained(request["base"])
    rows, answers = [], []
    for messages in request["rows"]:
        whole = _tokens(tokenizer, messages, opened=False)
        rows.append(whole)
        answers.append(max(0, whole - _tokens(tokenizer, messages[:-1], opened=True)))
    return {"rows": rows, "answers": answers}


def _tokens(tokenizer: Any, messages: list[dict[str, str]], opened: bool) -> int:
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=opened)
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])


if __name__ == "__main__":
    serve(handle)
