"""What llama.cpp tokenises otherwise than a training tokenizer whichever file it has: no fault of a file.

Three limits are known, each a rule by which the other ids can be worked out beforehand. Only ids that come
out exactly so are excused; any other difference is a fault.

- It composes no Unicode: a tokenizer that begins with NFC sees one letter where it sees an "e" and an accent.
- Where a pattern counts combining marks (Unicode's category M) as letters, as Tekken's does, it does not.
- A plain token that is spelt like a control token of some family, such as "</s>" in Qwen's vocabulary, is
  taken for one wherever the text holds it: tokens that end a generation are made control tokens by their
  text (``llama-vocab.cpp``).
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

COMPOSED = "llama.cpp composes no Unicode (NFC), as this tokenizer does"
MARKS = "llama.cpp does not count combining marks as letters, as this tokenizer does"
LITERAL = "llama.cpp takes {} in a text for a control token"
MARK = r"\p{M}"
MANY = 4
SPELT_LIKE_CONTROL = re.compile(r"<[^<>\s]+>")

Ids = Callable[[str], list[int]]


def alternatives(tokenizer: Any) -> Callable[[str], dict[str, list[int]]]:
    """For a tokenizer of transformers: ids of a text as llama.cpp would have them, by the limit that makes
    them other ones; of most texts there are none.

    A slow tokenizer, which has no backend to vary, has none of the first two.
    """
    own = _ids(tokenizer)
    variants = dict(_variants(tokenizer))
    plain = _plain_control(tokenizer)

    def of(text: str) -> dict[str, list[int]]:
        usual, found = own(text), dict[str, list[int]]()
        ways = {"": own, **{why: ids for why, (ids, touches) in variants.items() if touches(text)}}
        for why, ids in ways.items():
            if why:
                found[why] = ids(text)
            for named in _choices([token for token in plain if token in text]):
                reason = LITERAL.format(", ".join(named))
                found[f"{why}; {reason}" if why else reason] = _split(text, named, plain, ids)
        return {why: ids for why, ids in found.items() if ids != usual}

    return of


def excuse(found: Sequence[int], alternatives: Mapping[str, Sequence[int]]) -> str:
    """The limit by which llama.cpp's ids are these; "" if none explains them."""
    return next((why for why, ids in alternatives.items() if list(ids) == list(found)), "")


def _ids(tokenizer: Any) -> Ids:
    return lambda text: list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _variants(tokenizer: Any) -> Iterator[tuple[str, tuple[Ids, Callable[[str], bool]]]]:
    """The tokenizer with a limit built in, and which texts it touches; both limits together come last."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return
    layout = json.loads(backend.to_str())
    composes = (layout.get("normalizer") or {}).get("type") == "NFC"
    splits = json.dumps(layout.get("pre_tokenizer"))
    escaped = json.dumps(MARK)[1:-1]
    uncomposed = {**layout, "normalizer": None}
    unmarked = json.loads(splits.replace(escaped, ""))
    if composes:
        yield COMPOSED, (_encoder(uncomposed), _decomposed)
    if escaped in splits:
        yield MARKS, (_encoder({**layout, "pre_tokenizer": unmarked}), _marked)
    if composes and escaped in splits:
        both = _encoder({**uncomposed, "pre_tokenizer": unmarked})
        yield f"{COMPOSED}; {MARKS}", (both, lambda text: _decomposed(text) and _marked(text))


def _encoder(layout: dict[str, Any]) -> Ids:
    from tokenizers import Tokenizer

    made = Tokenizer.from_str(json.dumps(layout))
    return lambda text: list(made.encode(text, add_special_tokens=False).ids)


def _decomposed(text: str) -> bool:
    return unicodedata.normalize("NFC", text) != text


def _marked(text: str) -> bool:
    return any(unicodedata.category(letter).startswith("M") for letter in text)


def _plain_control(tokenizer: Any) -> dict[str, int]:
    """Tokens that are spelt like control tokens and are none here, longest first, as llama.cpp seeks them."""
    added = set(tokenizer.get_added_vocab())
    found = {
        token: number
        for token, number in tokenizer.get_vocab().items()
        if token not in added and SPELT_LIKE_CONTROL.fullmatch(token) and not token.startswith("<0x")
    }
    return dict(sorted(found.items(), key=lambda pair: (-len(pair[0]), pair[0])))


def _choices(tokens: list[str]) -> Iterator[tuple[str, ...]]:
    """Which of them llama.cpp may take for control tokens: any, but of many only one or all."""
    sizes = range(1, len(tokens) + 1) if len(tokens) <= MANY else [1, len(tokens)]
    for size in sizes:
        yield from combinations(tokens, size)


def _split(text: str, named: Sequence[str], plain: dict[str, int], ids: Ids) -> list[int]:
    pieces = re.split(f"({'|'.join(map(re.escape, named))})", text)
    return [
        number
        for place, piece in enumerate(pieces)
        for number in ([plain[piece]] if place % 2 else ids(piece) if piece else [])
    ]
