"""Writes a tiny model of a family, with random weights: ``python tests/families/make.py FAMILY OUT``."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import torch
import transformers

sys.path.insert(0, str(Path(__file__).parents[2]))  # it is run by its path

from tests.families.table import FAMILIES, SMALL
from tests.families.tokenizers_of import MAKERS


def main(name: str, out: Path) -> None:
    family, maker = FAMILIES[name], MAKERS[FAMILIES[name].tokenizer]
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = maker(out) if "out" in inspect.signature(maker).parameters else maker()
    tokenizer.chat_template = family.template
    ids = {mark: getattr(tokenizer, mark) for mark in ("bos_token_id", "eos_token_id", "pad_token_id")}
    settings = {**SMALL, **family.settings, "vocab_size": len(tokenizer), **ids}
    torch.manual_seed(7)
    model = getattr(transformers, family.model)(getattr(transformers, family.config)(**settings))
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
