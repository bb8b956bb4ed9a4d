"""The families as data: shape of the tiny model, tokenizer, chat template. Each has what its family is known
for: grouped queries, tied or untied heads, sliding windows, rope scalings, biases, soft caps, experts.

The templates render as their families do; where a family's own adds a date or tools, that is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SMALL: Mapping[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
QWEN2 = "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}" + CHATML
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% for m in messages %}<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
# The system prompt stands before what is asked last, as in Mistral's v3; Tekken takes no blanks.
MISTRAL = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] + '\n\n' %}"
    "{% set turns = messages[1:] %}{% else %}{% set system = '' %}{% set turns = messages %}{% endif %}"
    "{% for m in turns %}{% if m['role'] == 'user' %}[INST]BLANK"
    "{{ (system if loop.last else '') + m['content'] }}[/INST]"
    "{% else %}BLANK{{ m['content'] | trim }}{{ eos_token }}{% endif %}{% endfor %}"
)
PHI3 = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


@dataclass(frozen=True)
class Family:
    """``config`` and ``model``: the classes of transformers; ``tokenizer``: a maker of ``tokenizers_of``."""

    config: str
    model: str
    tokenizer: str
    template: str
    settings: Mapping[str, Any] = field(default_factory=dict)


FAMILIES: Mapping[str, Family] = {
    "llama3": Family(
        "LlamaConfig",
        "LlamaForCausalLM",
        "llama3",
        LLAMA3,
        {
            "rope_parameters": {
                **{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
                **{"original_max_position_embeddings": 128, "rope_theta": 500000.0},
            }
        },
    ),
    "qwen2": Family("Qwen2Config", "Qwen2ForCausalLM", "qwen", QWEN2, {"tie_word_embeddings": True}),
    "qwen3": Family("Qwen3Config", "Qwen3ForCausalLM", "qwen3", CHATML, {"head_dim": 32}),
    "qwen3-moe": Family(
        "Qwen3MoeConfig",
        "Qwen3MoeForCausalLM",
        "qwen3",
        CHATML,
        {"head_dim": 32, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
    ),
    "mistral": Family(
        "MistralConfig",
        "MistralForCausalLM",
        "mistral_v3",
        MISTRAL.replace("BLANK", " "),
        {"sliding_window": 64},
    ),
    "mistral-tekken": Family(
        "MistralConfig", "MistralForCausalLM", "tekken", MISTRAL.replace("BLANK", ""), {"head_dim": 32}
    ),
    "mixtral": Family(
        "MixtralConfig",
        "MixtralForCausalLM",
        "mistral_v3",
        MISTRAL.replace("BLANK", " "),
        {"num_local_experts": 4, "num_experts_per_tok": 2},
    ),
    "gemma": Family("GemmaConfig", "GemmaForCausalLM", "gemma", GEMMA, {"head_dim": 16}),
    "gemma2": Family(
        "Gemma2Config",
        "Gemma2ForCausalLM",
        "gemma",
        GEMMA,
        {"head_dim": 16, "sliding_window": 64, "query_pre_attn_scalar": 16},
    ),
    "gemma3": Family(
        "Gemma3TextConfig",
        "Gemma3ForCausalLM",
        "gemma",
        GEMMA,
        {"head_dim": 16, "sliding_window": 64, "query_pre_attn_scalar": 16},
    ),
    "phi3": Family("Phi3Config", "Phi3ForCausalLM", "phi3", PHI3, {"sliding_window": 64}),
}
