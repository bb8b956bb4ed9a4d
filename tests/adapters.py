"""Adapters that are really trained, in a second: a random Llama of two layers learns some lines by heart.

``Way`` says how; ``trained`` trains by plain peft, with the base held as the way says. The merged model's tensors
are written to a GGUF file here, in the layout of llama.cpp's converter, without a tokenizer.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter
from safetensors.torch import load_file, save_file

from seatrial.evals.fidelity.parts import Names, permuted
from seatrial.evals.fidelity.yardstick import packed
from seatrial.training.adapted import with_adapter
from seatrial.training.base_model import load_base, load_dequantised
from seatrial.training.merge import merge

WORDS, SIZE, HEADS, LAYERS = 320, 256, 4, 2
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
STEPS, RATE = 12, 4e-3


@dataclass(frozen=True)
class Way:
    """A way of training: how the base is held and lies there, and what peft is told."""

    precision: str = "nf4"
    lora: dict[str, Any] = field(default_factory=dict)
    tied: bool = False
    added: int = 0  # tokens
    checkpoint: tuple[str, ...] | None = None  # the base lies there quantised, but for these modules
    stored: str = "bfloat16"


SAVED = {"modules_to_save": ["embed_tokens", "lm_head"]}
TOKENS = {"trainable_token_indices": [5, 9, 11]}
NEW = {"trainable_token_indices": {"embed_tokens": [WORDS, WORDS + 1]}}
WAYS = {
    "nf4": Way(),
    "nf4, rsLoRA": Way(lora={"use_rslora": True}),
    "nf4, DoRA": Way(lora={"use_dora": True}),
    "nf4, embeddings and head": Way(lora=SAVED),
    "nf4, single tokens": Way(lora=TOKENS),
    "nf4, tied, new tokens": Way(lora=SAVED, added=3, tied=True),
    "nf4, new tokens one by one": Way(lora=NEW, added=2, tied=True),
    "nf4, tied, head": Way(lora={"target_modules": ["q_proj", "lm_head"]}, tied=True),
    "nf4, patterns": Way(lora={"rank_pattern": {"q_proj": 4}, "alpha_pattern": {"up_proj": 32}}),
    "nf4-double": Way("nf4-double"),
    "nf4-double, DoRA": Way("nf4-double", lora={"use_dora": True}),
    "checkpoint in 4 bits": Way("nf4-double", checkpoint=("model.layers.0.mlp",)),
    "checkpoint in 4 bits, DoRA, embeddings": Way(
        "nf4", lora={"use_dora": True, **SAVED}, checkpoint=("model.layers.1.self_attn.q_proj",)
    ),
    "checkpoint in 8 bits": Way("int8", checkpoint=()),
    "int8": Way("int8"),
    "int8, rsLoRA, head": Way("int8", lora={"use_rslora": True, "modules_to_save": ["lm_head"]}),
    "bf16": Way("bf16"),
    "bf16, DoRA": Way("bf16", lora={"use_dora": True}),
    "fp16, new tokens": Way("fp16", added=4),
    "bf16, PiSSA": Way("bf16", lora={"init_lora_weights": "pissa"}),
    "fp32, OLoRA": Way("fp32", lora={"init_lora_weights": "olora"}, stored="float32"),
    "fp32, rsLoRA": Way("fp32", lora={"use_rslora": True}, stored="float32"),
}


@dataclass(frozen=True)
class Trained:
    """The folders of a base and an adapter, and how the base was held."""

    way: Way
    base: Path
    adapter: Path
    place: Path

    @property
    def held(self) -> dict[str, Any]:
        return {"compute_dtype": "float32", "precision": self.way.precision}

    def merged(self, name: str = "merged", **other: Any) -> Path:
        """Our own merge, with parts of the request replaced."""
        out = self.place / name
        out.mkdir()
        request: dict[str, Any] = {"base": self.base, "adapter": self.adapter, "out": out, **self.held}
        merge({key: str(value) for key, value in {**request, **other}.items()}, lambda **event: None)
        return out

    def logits(self, merged: Path | None = None, held: bool = False) -> torch.Tensor:
        """Log-probabilities, (lines, tokens, words): of a merged folder, else of the adapter beside its base,
        dequantised or, if ``held``, as training held it."""
        from transformers import AutoModelForCausalLM

        if merged is not None:
            model = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32)
        else:
            load = load_base if held else load_dequantised
            model = with_adapter(load(self.base, torch.float32, self.way.precision), self.adapter)
        with torch.no_grad():
            return torch.log_softmax(model.eval()(lines(self.way)).logits.float(), -1)

    def divergence(self, merged: Path | None = None, held: bool = False) -> float:
        """KL(trained || merged) in nats per token."""
        right, found = self.logits(), self.logits(merged, held)
        return float((right.exp() * (right - found)).sum(-1).mean())


def lines(way: Way) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, WORDS + way.added, (6, 24), generator=generator)


def made(way: Way, place: Path, base: Path | None = None) -> Trained:
    """Train by ``way`` in the folder ``place``; ``base``: a Llama that is there already."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(7)
    base = base or llama(way, place)
    model = load_base(base, torch.float32, way.precision)
    if way.added:
        model.resize_token_embeddings(WORDS + way.added)
    settings = {"r": 8, "lora_alpha": 16, "target_modules": LINEAR, "task_type": "CAUSAL_LM", **way.lora}
    model = get_peft_model(model, LoraConfig(**settings))
    rest = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(rest, lr=RATE)
    ids = lines(way)
    for _ in range(STEPS):
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(place / "adapter")
    return Trained(way, base, place / "adapter", place)


def llama(way: Way, place: Path) -> Path:
    """A random Llama with its tokenizer in ``place``, quantised where the way says so."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=WORDS,
        hidden_size=SIZE,
        intermediate_size=2 * SIZE,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS // 2,
        max_position_embeddings=64,
        tie_word_embeddings=way.tied,
    )
    folder = place / "base"
    LlamaForCausalLM(config).to(getattr(torch, way.stored)).save_pretrained(folder)
    _tokenizer(folder)
    if way.checkpoint is None:
        return folder
    packed_folder = place / f"base-bnb-{8 if way.precision == 'int8' else 4}bit"
    load_base(folder, torch.float32, way.precision, ["lm_head", *way.checkpoint]).save_pretrained(
        packed_folder
    )
    _tokenizer(packed_folder)
    return packed_folder


def _tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel({f"w{n}": n for n in range(WORDS)}, unk_token="w0"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=made, eos_token="w1", pad_token="w1").save_pretrained(folder)


def gguf(model: Path, out: Path, kind: str = "F16") -> Path:
    """The tensors of a merged folder as a GGUF file of one type; tensors of one dimension stay whole."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    path, bare = out / f"{model.name}-{kind}.gguf", out / "names.gguf"
    if not bare.exists():
        _written(bare, {}, "F32")
    names, found = Names(bare), {}
    for file in sorted(model.glob("model*.safetensors")):
        for name, tensor in load_file(file).items():
            module = name.removesuffix(".weight")
            found[str(names.of(module))] = permuted(tensor.float().numpy(), names.heads(module))
    assert config["num_attention_heads"] == HEADS
    return _written(path, found, kind)


def _written(path: Path, tensors: dict[str, np.ndarray], kind: str) -> Path:
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS // 2)
    for name, numbers in tensors.items():
        wanted = GGMLQuantizationType[kind]
        if numbers.ndim == 1:
            writer.add_tensor(name, numbers.astype(np.float32))
        elif kind == "F16":
            writer.add_tensor(name, numbers.astype(np.float16))
        else:
            writer.add_tensor(name, packed(numbers, wanted), raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def changed(trained: Trained, name: str, **config: Any) -> Path:
    """A copy of the adapter whose configuration says otherwise."""
    folder = Path(shutil.copytree(trained.adapter, trained.place / name))
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | config), encoding="utf-8")
    return folder


def without(trained: Trained, name: str, *words: str) -> Path:
    """A copy of the adapter without the tensors whose names hold one of ``words``."""
    settings = json.loads((trained.adapter / "adapter_config.json").read_text(encoding="utf-8"))
    cleared = {key: None for key in ("modules_to_save", "trainable_token_indices") if settings.get(key)}
    folder = changed(trained, name, **cleared)
    file = folder / "adapter_model.safetensors"
    kept = {key: value for key, value in load_file(file).items() if not any(word in key for word in words)}
    save_file(kept, file, metadata={"format": "pt"})
    return folder
