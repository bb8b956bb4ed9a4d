"""Trains an adapter by Unsloth alone, without this package: what somebody does in a notebook.

``python tests/children/unsloth_trainer.py BASE OUT PRECISION LORA STEPS RATE LINES``: LORA and LINES are JSON,
the further settings of the adapter and token ids of shape (lines, tokens). Writes OUT/adapter and, by Unsloth's
own merge, OUT/unsloth-merged; of a base in 4 bits Unsloth merges none without a GPU.
"""

import os

os.environ["UNSLOTH_DISABLE_STATISTICS"] = "1"

import json
import sys

import unsloth  # before torch and its friends

# isort: split
import torch

TYPES = {"nf4-double": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def main(base: str, out: str, precision: str, lora: str, steps: str, rate: str, lines: str) -> None:
    torch.manual_seed(7)
    model, tokenizer = unsloth.FastLanguageModel.from_pretrained(
        base, max_seq_length=64, dtype=TYPES[precision], load_in_4bit=precision == "nf4-double"
    )
    settings = {"r": 8, "lora_alpha": 16, "lora_dropout": 0, "target_modules": LINEAR, **json.loads(lora)}
    model = unsloth.FastLanguageModel.get_peft_model(model, **settings, use_gradient_checkpointing=False)
    rest = [each for each in model.parameters() if each.requires_grad]
    optimizer, ids = torch.optim.AdamW(rest, lr=float(rate)), torch.tensor(json.loads(lines))
    for _ in range(int(steps)):
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(f"{out}/adapter")
    if precision != "nf4-double":
        model.save_pretrained_merged(f"{out}/unsloth-merged", tokenizer, save_method="merged_16bit")


if __name__ == "__main__":
    main(*sys.argv[1:])
