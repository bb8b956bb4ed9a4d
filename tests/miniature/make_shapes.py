"""Makes tiny models with random weights, shaped like families other than the example's.

``python tests/miniature/make_shapes.py SHAPE TOKENIZER_FOLDER OUT``. llama.cpp's converter only knows real
pre-tokenizers, so ``llama3`` (rope scaling, a template that writes BOS) has the tokenizer of the folder and
``qwen2`` (biases, a default system prompt) Qwen's own, from the package ``dashscope`` (Apache-2.0).
"""

import base64
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
from transformers import (
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

SMALL = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
# Answers begin after the last header; none of these is a text of the models that it resembles.
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m['role'] }}\n\n{{ m['content'] | trim }}<|im_end|>"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n\n{% endif %}"
)
QWEN2 = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def main(shape: str, tokenizer_folder: Path, out: Path) -> None:
    torch.manual_seed(7)
    out.mkdir(parents=True, exist_ok=True)
    if shape == "qwen2":
        tokenizer = _qwen()
        tokenizer.chat_template = QWEN2
        model = Qwen2ForCausalLM(Qwen2Config(**SMALL, tie_word_embeddings=True, **_ids(tokenizer)))
    else:
        tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
        tokenizer.chat_template = LLAMA3
        scaling = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
        rope = {**scaling, "original_max_position_embeddings": 128, "rope_theta": 500000.0}
        model = LlamaForCausalLM(LlamaConfig(**SMALL, rope_parameters=rope, **_ids(tokenizer)))
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def _ids(tokenizer: object) -> dict[str, object]:
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    return {"vocab_size": len(tokenizer), **{name: getattr(tokenizer, name) for name in names}}


def _qwen() -> object:
    """Qwen's tokenizer of 151,646 tokens, from the byte-pair ranks that ``dashscope`` holds."""
    from transformers import Qwen2Tokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
        subprocess.run([*pip, "dashscope==2.0.2"], check=True)
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            lines = wheel.read("dashscope/resources/qwen.tiktoken").decode().splitlines()
    ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines)}
    letters = bytes_to_unicode()

    def spelled(token: bytes) -> str:
        return "".join(letters[byte] for byte in token)

    # A token can be merged of any two shorter ones; the earlier they came, the earlier they are merged.
    merges = []
    for token, rank in ranks.items():
        parts = [(token[:i], token[i:]) for i in range(1, len(token))]
        known = [(ranks[a], ranks[b], a, b) for a, b in parts if a in ranks and b in ranks]
        merges += [(rank, *place, spelled(a), spelled(b)) for *place, a, b in sorted(known)]
    merges.sort(key=lambda merge: merge[0])
    vocabulary = {spelled(token): rank for token, rank in ranks.items()}
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=[merge[-2:] for merge in merges])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.eos_token = "<|im_end|>"
    return tokenizer


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
