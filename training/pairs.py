"""Preference rows: pairs of answers to one prompt, of which people want the one and not the other.

JSONL of ``{"prompt": messages, "chosen": messages, "rejected": messages}``, the conversational form of TRL.
Pairs are split by their prompts, so that no pair that is held out asks what was trained on.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seatrial.training.dataset import Message, read_jsonl, with_system
from seatrial.training.errors import SeatrialError, at

ROLES = ("system", "user", "assistant")
EXAMPLE = (
    '{"prompt": [{"role": "user", "content": "..."}], "chosen": [{"role": "assistant", "content": "..."}], '
    '"rejected": [{"role": "assistant", "content": "..."}]}'
)
Pair = dict[str, list[Message]]


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a file.

    Raises:
        SeatrialError: with file and line, for a row that is no pair, or whose two answers are the same.
    """
    pairs = []
    for number, row in read_jsonl(path):
        where = at(path, number)
        pair = {key: _messages(row, key, where) for key in ("prompt", "chosen", "rejected")}
        if pair["prompt"][-1]["role"] != "user":
            raise SeatrialError("the last message of 'prompt' must be the user's", where=where, hint=EXAMPLE)
        for key in ("chosen", "rejected"):
            if [message["role"] for message in pair[key]] != ["assistant"]:
                raise SeatrialError(
                    f"{key!r} must be one message of the role 'assistant'", where=where, hint=EXAMPLE
                )
        if pair["chosen"] == pair["rejected"]:
            raise SeatrialError(
                "'chosen' and 'rejected' are the same: nothing can be learnt of this pair", where=where
            )
        pairs.append(pair)
    if not pairs:
        raise SeatrialError("this file of pairs holds no rows", where=path, hint=EXAMPLE)
    return pairs


def prepare(source: Path, out: Path, system: str, validation_pairs: int, seed: int) -> Mapping[str, Any]:
    """Write ``rows.jsonl`` of pairs with the system prompt to the folder ``out``, shuffled by ``seed``.

    Its last pairs are held out: ``validation_pairs`` of them, or more where the last prompt has several.

    Raises:
        SeatrialError: too few prompts to hold that many pairs out and train on the others.
    """
    groups: dict[str, list[Pair]] = {}
    for pair in read_pairs(source):
        pair = {**pair, "prompt": with_system(pair["prompt"], system)}
        groups.setdefault(json.dumps(pair["prompt"]), []).append(pair)
    prompts = list(groups.values())
    random.Random(seed).shuffle(prompts)
    held_out: list[Pair] = []
    while prompts and len(held_out) < validation_pairs:
        held_out += prompts.pop()
    training = [pair for group in prompts for pair in group]
    if not training or len(held_out) < validation_pairs:
        raise SeatrialError(
            f"validation_pairs = {validation_pairs}, but {source} has pairs on {len(groups)} prompts only",
            where="recipe [preference]",
            hint="hold fewer pairs out, or add pairs on other prompts",
        )
    lines = [json.dumps(pair, ensure_ascii=False) for pair in (*training, *held_out)]
    (out / "rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {
        "rows": len(lines),
        "validation_rows": len(held_out),
        "prompts": len(groups),
        "source_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
    }


def _messages(row: Mapping[str, Any], key: str, where: str) -> list[Message]:
    messages = row.get(key)
    if not isinstance(messages, list) or not messages:
        raise SeatrialError(f"{key!r} must be a list of messages", where=where, hint=EXAMPLE)
    found = []
    for message in messages:
        role, content = (
            (message.get("role"), message.get("content")) if isinstance(message, dict) else (None, None)
        )
        if role not in ROLES or not isinstance(content, str):
            raise SeatrialError(
                f"a message of {key!r} is {message!r:.200}",
                where=where,
                hint='a message is {"role": "system" or "user" or "assistant", "content": "text"}',
            )
        found.append({"role": role, "content": content})
    return found
