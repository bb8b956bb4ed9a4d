"""Tiny GGUF files of the architectures that transformers reads, with random weights and no tokenizer.

A file is written backwards from transformers' own map of names: each parameter of a tiny model of the family
becomes the tensor that the map names, in the shape that llama.cpp gives it. Matrices are Q8_0, all else F32.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import quantize
from transformers.integrations.ggml import GGUF_CONFIG_MAPPING
from transformers.modeling_gguf_pytorch_utils import (
    TENSOR_PROCESSORS,
    TensorProcessor,
    get_gguf_hf_weights_map,
)

from tests.families import table

SMALL: Mapping[str, Any] = {
    **table.SMALL,
    "vocab_size": 96,
    "rms_norm_eps": 1e-5,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "head_dim": 16}
BLOOM = {"vocab_size": 96, "hidden_size": 64, "n_layer": 2, "n_head": 4, "layer_norm_epsilon": 1e-5}
GPT2 = {"vocab_size": 96, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_ctx": 512, "layer_norm_epsilon": 1e-5}
# architecture in the file: the class of its configuration, settings, whether the head is tied
FAMILIES: Mapping[str, tuple[str, Mapping[str, Any], bool]] = {
    "llama": ("LlamaConfig", {**SMALL, "head_dim": 16}, False),
    "llama, tied": ("LlamaConfig", {**SMALL, "head_dim": 16}, True),
    "qwen2": ("Qwen2Config", SMALL, True),
    "qwen3": ("Qwen3Config", {**SMALL, "head_dim": 16}, False),
    "qwen3moe": ("Qwen3MoeConfig", {**SMALL, **EXPERTS}, False),
    "phi3": ("Phi3Config", {**SMALL, "vocab_size": 32064}, False),  # its padding is token 32000
    "gemma2": ("Gemma2Config", {**SMALL, "head_dim": 16, "sliding_window": 64}, True),
    "gemma3": ("Gemma3TextConfig", {**SMALL, "head_dim": 16, "sliding_window": 64}, True),
    "nemotron": ("NemotronConfig", {**SMALL, "norm_eps": 1e-5}, False),
    "starcoder2": ("Starcoder2Config", {**SMALL, "norm_epsilon": 1e-5}, True),
    "stablelm": ("StableLmConfig", {**SMALL, "layer_norm_eps": 1e-5, "use_qkv_bias": False}, False),
    "gpt2": ("GPT2Config", GPT2, True),
    "bloom": ("BloomConfig", BLOOM, True),
    "mamba": (
        "MambaConfig",
        {**SMALL, "state_size": 16, "conv_kernel": 4, "time_step_rank": 32, "layer_norm_epsilon": 1e-5},
        True,
    ),
}
MODELS = {"qwen3moe": "qwen3_moe"}  # as transformers calls them


def written(name: str, out: Path, left_out: str = "") -> Path:
    """The file of a family in the folder ``out``, without the tensor ``left_out``."""
    kind, settings, tied = FAMILIES[name]
    arch = name.partition(",")[0]
    config = getattr(transformers, kind)(**settings, tie_word_embeddings=tied)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    processor = TENSOR_PROCESSORS.get(arch, TensorProcessor)(config=dict(settings))
    shapes = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    path, numbers = out / f"{name.replace(', ', '-')}.gguf", np.random.default_rng(5)
    writer = GGUFWriter(path, arch)
    _describe(writer, arch, config)
    for tensor, parameter in get_gguf_hf_weights_map(model, processor).items():
        head = parameter == "lm_head.weight"
        if parameter not in shapes or tensor == left_out or (head and tied):
            continue
        tensor, shape = _as_stored(arch, tensor, shapes[parameter])
        values = numbers.standard_normal(shape, dtype=np.float32)
        if tensor.endswith("ssm_a"):
            values = -np.exp(values)
        if len(shape) > 1 and shape[-1] % 32 == 0:
            packed = quantize(values, GGMLQuantizationType.Q8_0)
            writer.add_tensor(tensor, packed, raw_dtype=GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(tensor, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _describe(writer: GGUFWriter, arch: str, config: Any) -> None:
    """What the file says of the model, under the keys that transformers reads."""
    for key, attribute in GGUF_CONFIG_MAPPING[MODELS.get(arch, arch)].items():
        value = getattr(config, attribute, None) if isinstance(attribute, str) else None
        if isinstance(value, float):
            writer.add_float32(f"{arch}.{key}", value)
        elif isinstance(value, int):
            writer.add_uint32(f"{arch}.{key}", value)
    writer.add_uint32(f"{arch}.vocab_size", config.vocab_size)


def _as_stored(arch: str, tensor: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """The tensor's full name in the file and its shape there; rows first, as numpy has them."""
    if tensor.endswith(("_exps", "ssm_a")):
        if "ffn_gate_exps" in tensor or "ffn_up_exps" in tensor:  # two tensors of the file make one
            shape = (shape[0], shape[1] // 2, shape[2])
        return (tensor if tensor.endswith("ssm_a") else f"{tensor}.weight"), shape
    if "ssm_conv1d.weight" in tensor:
        return tensor, (shape[0], shape[2])
    turned = ("attn_qkv.weight", "ffn_down.weight", "ffn_up.weight", "attn_output.weight")
    if arch == "gpt2" and tensor.endswith(turned):
        return tensor, shape[::-1]
    return tensor, shape
