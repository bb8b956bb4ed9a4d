"""Makes tiny models with random weights, shaped like families other than the example's.

``python tests/miniature/make_shapes.py SHAPE TOKENIZER_FOLDER OUT``. llama.cpp's converter only knows real
pre-tokenizers, so ``llama3`` (rope scaling, a template that writes BOS) has the tokenizer of the folder,
``qwen2`` (biases, a default system prompt) Qwen's own, from the package ``dashscope`` (Apache-2.0), and
``gemma`` (a template that refuses system prompts) a small SentencePiece model that is trained here.
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
    GemmaConfig,
    GemmaForCausalLM,
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
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% for m in messages %}<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


def main(shape: str, tokenizer_folder: Path, out: Path) -> None:
    torch.manual_seed(7)
    out.mkdir(parents=True, exist_ok=True)
    if shape == "gemma":
        tokenizer = _sentencepiece(out)
        tokenizer.chat_template = GEMMA
        model = GemmaForCausalLM(GemmaConfig(**SMALL, head_dim=16, **_ids(tokenizer)))
    elif shape == "qwen2":
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


def _sentencepiece(out: Path) -> object:
    """A SentencePiece tokenizer of 400 pieces with Gemma's control tokens."""
    import sentencepiece
    from transformers import GemmaTokenizer
    from transformers.convert_slow_tokenizer import generate_merges

    text = Path(__file__).read_text(encoding="utf-8") + (Path(__file__).parent / "train.jsonl").read_text()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text.splitlines() * 3),
        model_prefix=str(out / "tokenizer"),
        model_type="bpe",
        vocab_size=700,
        byte_fallback=True,
        **{"pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3},
        **{"pad_piece": "<pad>", "eos_piece": "<eos>", "bos_piece": "<bos>", "unk_piece": "<unk>"},
        control_symbols=["<start_of_turn>", "<end_of_turn>"],
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        split_digits=True,
        minloglevel=2,
    )
    (out / "tokenizer.vocab").unlink()
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(out / "tokenizer.model"))
    vocabulary = {pieces.id_to_piece(i): i for i in range(pieces.get_piece_size())}
    scores = {piece: pieces.get_score(i) for piece, i in vocabulary.items()}
    tokenizer = GemmaTokenizer(vocab=vocabulary, merges=generate_merges(vocabulary, scores))
    tokenizer.add_special_tokens({"additional_special_tokens": ["<start_of_turn>", "<end_of_turn>"]})
    tokenizer.add_bos_token = True
    return tokenizer


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
