"""Which token comes next: the likeliest, or one that is drawn; of all tokens, or of those a grammar allows.

Part of the llama.cpp process. A draw is seeded by what is asked and by nothing else, so that the answers to
one question stay the same whatever is asked beside it, in whatever order and however much at once, as far as
the runtime gives the same logits then. The grammar is llama.cpp's own, one copy for each answer under way.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import llama_cpp as lib
import numpy as np

from seatrial.training.errors import SeatrialError

CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])  # llama_token_data


@dataclass
class Draw:
    """Draws the tokens of one answer from softmax(logits / temperature)."""

    temperature: float
    numbers: np.random.Generator

    @classmethod
    def seeded(cls, temperature: float, seed: int, prompt: Sequence[int], sample: int) -> Draw:
        """The draw of answer number ``sample`` to the tokens of ``prompt``."""
        text = json.dumps([seed, list(prompt), sample])
        digest = hashlib.sha256(text.encode()).digest()
        return cls(temperature, np.random.default_rng(int.from_bytes(digest, "big")))

    def token(self, logits: np.ndarray) -> int:
        """One token: the first whose cumulative weight exceeds a uniform number; -inf is never drawn.

        Raises:
            SeatrialError: the logits are not numbers.
        """
        logits = logits.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            sums = np.cumsum(np.exp((logits - logits.max()) / self.temperature))
        if not np.isfinite(sums[-1]):
            raise SeatrialError("no token can be drawn: the model's logits are not numbers")
        # A number just below 1 times the sum may be rounded up to the sum itself, which no token exceeds.
        target = min(self.numbers.random() * sums[-1], np.nextafter(sums[-1], 0))
        return int(np.searchsorted(sums, target, side="right"))


class Grammar:
    """What a grammar allows after the tokens accepted so far.

    Args:
        vocab: the vocabulary of the file.
        text: GBNF (https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md), from ``root`` on.

    Raises:
        SeatrialError: llama.cpp cannot read it.
    """

    def __init__(self, vocab: Any, text: str) -> None:
        sampler = lib.llama_sampler_init_grammar(vocab, text.encode(), b"root")
        if not sampler:
            raise SeatrialError("llama.cpp cannot read this grammar", hint="its log says where")
        self._sampler, self._vocab = sampler, vocab
        # llama.cpp takes the name of a control token for text that the grammar may allow; answers lack it.
        tokens = range(lib.llama_vocab_n_tokens(vocab))
        control = [lib.llama_vocab_is_control(vocab, token) and not self._ends(token) for token in tokens]
        self._control = np.array(control)

    def copy(self) -> Grammar:
        """The grammar in its present state, to be freed by itself."""
        other = object.__new__(Grammar)
        other._sampler, other._vocab = lib.llama_sampler_clone(self._sampler), self._vocab
        other._control = self._control
        return other

    def free(self) -> None:
        lib.llama_sampler_free(self._sampler)

    def accept(self, token: int) -> None:
        """Go on behind ``token``, which must be allowed."""
        if not self._ends(token):  # behind the end nothing is asked
            lib.llama_sampler_accept(self._sampler, token)

    def likeliest(self, logits: np.ndarray) -> int:
        """The likeliest token that is allowed. Mostly it is the likeliest of all, and asking for it alone is
        a thousand times cheaper than asking for the whole vocabulary."""
        logits = np.where(self._control, -np.inf, logits)
        first = int(np.argmax(logits))
        if np.isfinite(self._judged(np.array([first]), logits[[first]])[0]):
            return first
        return int(np.argmax(self.allowed(logits)))

    def allowed(self, logits: np.ndarray) -> np.ndarray:
        """The logits, shape (vocabulary,), with -inf for what is not allowed.

        Raises:
            SeatrialError: nothing is.
        """
        logits = np.where(self._control, -np.inf, logits)
        found = self._judged(np.arange(len(logits)), logits)
        if not np.isfinite(found).any():
            raise SeatrialError("no token of the file's vocabulary goes on as the grammar says")
        return found

    def _ends(self, token: int) -> bool:
        return bool(lib.llama_vocab_is_eog(self._vocab, token))

    def _judged(self, tokens: np.ndarray, logits: np.ndarray) -> np.ndarray:
        candidates = np.zeros(len(tokens), CANDIDATE)
        candidates["id"], candidates["logit"] = tokens, logits
        data = candidates.ctypes.data_as(lib.llama_token_data_p)
        array = lib.llama_token_data_array(data=data, size=len(candidates), selected=-1, sorted=False)
        lib.llama_sampler_apply(self._sampler, lib.byref(array))
        judged: np.ndarray = candidates["logit"]
        return judged


@dataclass
class Choice:
    """Chooses the tokens of one answer, one after another; greedy without a draw, free without a grammar."""

    draw: Draw | None = None
    grammar: Grammar | None = None

    def next(self, logits: np.ndarray) -> int:
        """The next token; ``logits`` are of shape (vocabulary,)."""
        if self.grammar is None:
            return int(np.argmax(logits)) if self.draw is None else self.draw.token(logits)
        if self.draw is None:
            token = self.grammar.likeliest(logits)
        else:
            token = self.draw.token(self.grammar.allowed(logits))
        self.grammar.accept(token)
        return token

    def close(self) -> None:
        """Free what llama.cpp holds for this answer."""
        if self.grammar is not None:
            self.grammar.free()
