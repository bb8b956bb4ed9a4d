"""The llama.cpp process: ``python -m seatrial.evals.models.llama_worker`` reads JSON lines.

``load`` opens a GGUF file; ``generate`` answers prompts greedily, several at a time, and ``sample`` draws
several answers to each; ``score`` gives the likelihood of reference answers; ``time`` answers one at a time
and measures; ``inspect`` shows how the file renders and tokenises; ``diverge`` compares its next-token
distributions with recorded ones. Prompts are rendered with the file's own chat template and tokenised by
llama.cpp, so what is judged is the file. A grammar, if ``load`` brings one, binds all answers.
Batches are filled in a fixed order, so equal requests to equal files give equal answers on one machine.
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import llama_cpp as lib
import numpy as np
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from seatrial.evals.models.llama_choice import Choice, Draw, Grammar
from seatrial.training.chat_date import strftime_now
from seatrial.training.errors import SeatrialError
from seatrial.training.memory import peak_memory
from seatrial.training.process import serve

BATCH = 1024
IMPOSSIBLE = float(np.log(np.finfo(np.float32).smallest_subnormal))  # -103.3: a token that the file lacks


@dataclass
class Slot:
    """A sequence being decoded: ``position`` tokens are in the cache, ``pending`` are next."""

    index: int
    sequence: int
    prompt: list[int]
    pending: list[int]
    position: int
    started: float
    choice: Choice
    produced: list[int] = field(default_factory=list)
    first_token: float | None = None


class Engine:
    """One GGUF file with one context."""

    def __init__(self, path: str, context: int, slots: int, threads: int, grammar: str | None = None) -> None:
        lib.llama_backend_init()
        params = lib.llama_model_default_params()
        self.model = lib.llama_model_load_from_file(path.encode(), params)
        if not self.model:
            raise SeatrialError("llama.cpp could not load this file", where=path, hint="see its log")
        self.vocab = lib.llama_model_get_vocab(self.model)
        self.vocab_size = lib.llama_vocab_n_tokens(self.vocab)
        self.context = min(context, lib.llama_model_n_ctx_train(self.model))
        options = lib.llama_context_default_params()
        options.n_ctx = self.context * 2  # cells shared by all sequences
        options.n_batch = options.n_ubatch = BATCH
        options.n_seq_max = slots + 1  # sequence 0 holds the shared prefix
        options.kv_unified = True
        options.n_threads = options.n_threads_batch = threads
        # llama.cpp's flash attention on a CPU shifts log-likelihoods by a few percent: leave it off.
        options.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self.cells, self.slots = options.n_ctx, slots
        self.ctx = lib.llama_init_from_model(self.model, options)
        if not self.ctx:
            raise SeatrialError("llama.cpp could not make a context", where=path, hint="see its log")
        self.grammar = None if grammar is None else Grammar(self.vocab, grammar)
        self.memory = lib.llama_get_memory(self.ctx)
        self.batch = lib.llama_batch_init(BATCH, 0, 1)
        template = lib.llama_model_chat_template(self.model, None)
        self.formatter = Jinja2ChatFormatter(
            template.decode() if template else "",
            eos_token=self._text_of(lib.llama_vocab_eos(self.vocab)),
            bos_token=self._text_of(lib.llama_vocab_bos(self.vocab)),
        )
        self.formatter.strftime_now = strftime_now  # the date that every model is judged by

    # --- text and tokens -------------------------------------------------------------------------------
    def render(self, messages: list[dict[str, str]], generation_prompt: bool = True) -> str:
        self.formatter.add_generation_prompt = generation_prompt
        text: str = self.formatter(messages=messages).prompt  # type: ignore[arg-type]
        return text

    def tokenize(self, text: str, add_special: bool) -> list[int]:
        data = text.encode()
        room = len(data) + 8
        tokens = (lib.llama_token * room)()
        count = lib.llama_tokenize(self.vocab, data, len(data), tokens, room, add_special, True)
        return list(tokens[:count])

    def prompt_tokens(self, messages: list[dict[str, str]]) -> list[int]:
        """Tokens of a rendered prompt; BOS as the file asks for, unless the template wrote it already."""
        text = self.render(messages)
        tokens = self.tokenize(text, add_special=True)
        added = lib.llama_vocab_get_add_bos(self.vocab)
        if added and len(tokens) > 1 and tokens[0] == tokens[1] == lib.llama_vocab_bos(self.vocab):
            tokens = tokens[1:]
        return tokens

    def text(self, tokens: list[int]) -> str:
        return b"".join(self._piece(token, special=False) for token in tokens).decode("utf-8", "replace")

    def _piece(self, token: int, special: bool) -> bytes:
        buffer = ctypes.create_string_buffer(256)
        size = lib.llama_token_to_piece(self.vocab, token, buffer, 256, 0, special)
        return buffer.raw[:size] if size > 0 else b""

    def _text_of(self, token: int) -> str:
        return self._piece(token, special=True).decode("utf-8", "replace") if token >= 0 else ""

    def ends(self, token: int) -> bool:
        return bool(lib.llama_vocab_is_eog(self.vocab, token))

    # --- decoding --------------------------------------------------------------------------------------
    def clear(self) -> None:
        lib.llama_memory_clear(self.memory, True)

    def decode(self, entries: list[tuple[int, int, int, bool]]) -> None:
        """Run (token, position, sequence, wants logits) entries through the model, at most BATCH of them."""
        batch = self.batch
        batch.n_tokens = len(entries)
        for i, (token, position, sequence, logits) in enumerate(entries):
            batch.token[i], batch.pos[i], batch.logits[i] = token, position, logits
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = sequence
        if code := lib.llama_decode(self.ctx, batch):
            raise SeatrialError(f"llama.cpp could not decode a batch of {len(entries)} tokens (code {code})")

    def logits(self, entry: int) -> np.ndarray:
        pointer = lib.llama_get_logits_ith(self.ctx, entry)
        return np.ctypeslib.as_array(pointer, shape=(self.vocab_size,))

    def share_prefix(self, prompts: list[list[int]]) -> int:
        """Decode the tokens that all prompts begin with into sequence 0; returns how many."""
        length = 0
        if len(prompts) > 1:
            shortest = min(len(prompt) for prompt in prompts) - 1  # each keeps a token of its own
            while length < shortest and len({prompt[length] for prompt in prompts}) == 1:
                length += 1
        for start in range(0, length, BATCH):
            part = prompts[0][start : min(start + BATCH, length)]
            self.decode([(token, start + i, 0, False) for i, token in enumerate(part)])
        return length

    def answer(
        self, prompts: list[list[int]], max_tokens: int, slots: int, draws: Sequence[Draw] = ()
    ) -> list[dict[str, Any]]:
        """Answers to tokenised prompts, in their order: each with its draw, or greedy without any."""
        self.clear()
        prefix = self.share_prefix(prompts)
        answers: dict[int, dict[str, Any]] = {}
        waiting = deque(enumerate(prompts))
        free = list(range(slots, 0, -1))
        active: list[Slot] = []
        while waiting or active:
            used = prefix + sum(len(slot.prompt) - prefix + max_tokens for slot in active)
            while waiting and free:
                index, prompt = waiting[0]
                if len(prompt) + max_tokens > self.context:
                    waiting.popleft()
                    answers[index] = _refused(prompt, self.context, max_tokens)
                    continue
                need = len(prompt) - prefix + max_tokens
                if used + need > self.cells:
                    break
                waiting.popleft()
                used += need
                choice = Choice(draws[index] if draws else None, self.grammar and self.grammar.copy())
                slot = Slot(index, free.pop(), prompt, prompt[prefix:], prefix, time.perf_counter(), choice)
                if prefix:
                    lib.llama_memory_seq_cp(self.memory, 0, slot.sequence, 0, prefix)
                active.append(slot)
            if active:
                self._advance(active)
            for slot in [slot for slot in active if self._finished(slot, max_tokens)]:
                answers[slot.index] = self._close(slot)
                active.remove(slot)
                free.append(slot.sequence)
        return [answers[index] for index in range(len(prompts))]

    def sample(
        self, prompts: list[list[int]], max_tokens: int, temperature: float, samples: int, seed: int
    ) -> list[list[dict[str, Any]]]:
        """``samples`` answers to each prompt; at temperature 0 all are greedy.

        The answers to one prompt are decoded together, behind what they share of it, and nothing beside
        them: logits of a quantised file depend on what is decoded together, so that otherwise the drawn
        answers to a question would change with the other questions.
        """
        found = []
        for prompt in prompts:
            draws = [Draw.seeded(temperature, seed, prompt, number) for number in range(samples)]
            asked = [prompt] * samples
            found.append(self.answer(asked, max_tokens, self.slots, draws if temperature > 0 else ()))
        return found

    def _advance(self, active: list[Slot]) -> None:
        """One batch: the next token of every running slot, then as much of new prompts as fits."""
        entries: list[tuple[int, int, int, bool]] = []
        asks: list[tuple[Slot, int]] = []
        for slot in sorted(active, key=lambda slot: len(slot.pending)):
            room = BATCH - len(entries)
            part = slot.pending[:room]
            whole = len(part) == len(slot.pending)
            for i, token in enumerate(part):
                entries.append((token, slot.position + i, slot.sequence, whole and i == len(part) - 1))
            slot.position += len(part)
            slot.pending = slot.pending[len(part) :]
            if whole and part:
                asks.append((slot, len(entries) - 1))
        self.decode(entries)
        for slot, entry in asks:
            token = slot.choice.next(self.logits(entry))
            if slot.first_token is None:
                slot.first_token = time.perf_counter()
            slot.produced.append(token)
            slot.pending = [token]

    def _finished(self, slot: Slot, max_tokens: int) -> bool:
        return bool(slot.produced) and (self.ends(slot.produced[-1]) or len(slot.produced) >= max_tokens)

    def _close(self, slot: Slot) -> dict[str, Any]:
        lib.llama_memory_seq_rm(self.memory, slot.sequence, -1, -1)
        slot.choice.close()
        ended = self.ends(slot.produced[-1])
        assert slot.first_token is not None
        return {
            "text": self.text(slot.produced[:-1] if ended else slot.produced),
            "prompt_tokens": len(slot.prompt),
            "completion_tokens": len(slot.produced),
            "stop_reason": "eos" if ended else "length",
            "seconds": round(time.perf_counter() - slot.started, 4),
            "first_token_seconds": round(slot.first_token - slot.started, 4),
        }

    def likelihoods(self, prompts: list[list[dict[str, str]]], references: list[str]) -> list[dict[str, Any]]:
        """Per prompt the summed negative log-likelihood of its reference answer and end-of-turn token,
        teacher-forced."""
        pairs = [self._answered(*pair) for pair in zip(prompts, references, strict=True)]
        self.clear()
        shared = self.share_prefix([prompt for prompt, _ in pairs])
        found = []
        for prompt, answer in pairs:
            rows = zip(self.predictions(prompt + answer, len(answer), shared), answer, strict=True)
            total = sum(-_log_softmax(logits)[token] for logits, token in rows)
            found.append({"nll": float(total), "tokens": len(answer)})
        return found

    def _answered(self, messages: list[dict[str, str]], reference: str) -> tuple[list[int], list[int]]:
        """Tokens of the prompt, and of the answer with its end."""
        prompt_text = self.render(messages)
        whole_text = self.render([*messages, {"role": "assistant", "content": reference}], False)
        if not whole_text.startswith(prompt_text):
            raise SeatrialError(
                "the chat template renders an answered prompt differently from an open one, "
                "so the answer's tokens cannot be told apart"
            )
        answer = self.tokenize(whole_text[len(prompt_text) :].rstrip("\n"), add_special=False)
        return self.prompt_tokens(messages), answer

    def predictions(self, tokens: list[int], last: int, shared: int = 0) -> Iterator[np.ndarray]:
        """Logits, each of shape (vocabulary,), from which the ``last`` tokens of a sequence are predicted.

        Its first ``shared`` tokens lie in sequence 0 already.
        """
        if len(tokens) > self.context:
            raise SeatrialError(f"a row of {len(tokens)} tokens is longer than the context {self.context}")
        lib.llama_memory_seq_rm(self.memory, 1, -1, -1)
        if shared:
            lib.llama_memory_seq_cp(self.memory, 0, 1, 0, shared)
        first = len(tokens) - last - 1  # the logits of position i predict token i + 1
        for start in range(shared, len(tokens) - 1, BATCH):
            part = tokens[start : min(start + BATCH, len(tokens) - 1)]
            self.decode([(token, start + i, 1, start + i >= first) for i, token in enumerate(part)])
            for i in range(len(part)):
                if start + i >= first:
                    yield self.logits(i).astype(np.float64)

    def inspect(self, texts: list[str], conversations: list[list[dict[str, str]]]) -> dict[str, Any]:
        """Token ids of texts, of "a" as a whole prompt, and rendered conversations with their ids."""
        rendered: list[str | None] = []
        prompts: list[list[int] | None] = []
        for messages in conversations:
            try:
                rendered.append(self.render(messages))
                prompts.append(self.prompt_tokens(messages))
            except Exception as error:  # whatever a template raises: it refuses this conversation
                print(f"the template refuses {messages}: {error}", file=sys.stderr)
                rendered.append(None)
                prompts.append(None)
        return {
            "texts": [self.tokenize(text, add_special=False) for text in texts],
            "special": self.tokenize("a", add_special=True),
            "rendered": rendered,
            "prompts": prompts,
        }

    def diverge(self, rows: list[dict[str, Any]], reference: str) -> list[dict[str, list[float]]]:
        """Per answer token of each row: KL(reference || file) in nats, whether both have the same most
        likely token, and the negative log-likelihood of the answer's token.

        ``reference`` is a .npy file of log-probabilities, shape (all answer tokens, vocabulary). A token that
        the file lacks is as likely there as float32's least number, and so is whatever follows it.
        """
        known = np.load(reference, mmap_mode="r")
        readable = [max(row["ids"][:-1], default=0) < self.vocab_size for row in rows]  # the last is no input
        self.clear()
        shared = self.share_prefix(
            [row["ids"][: -row["answer"]] for row, whole in zip(rows, readable, strict=True) if whole]
        )
        found, at = [], 0
        for row, whole in zip(rows, readable, strict=True):
            kl, top, nll = [], [], []
            answer = row["ids"][-row["answer"] :]
            said = self.predictions(row["ids"], len(answer), shared) if whole else [None] * len(answer)
            for logits, token in zip(said, answer, strict=True):
                trained = known[at].astype(np.float64)
                own = _probabilities(logits, len(trained))
                # np.maximum keeps what is not a number, max() would make it 0: no divergence at all
                kl.append(float(np.maximum(0.0, np.sum(np.exp(trained) * (trained - own)))))
                top.append(float(np.argmax(trained) == np.argmax(own)))
                nll.append(float(-own[token]))
                at += 1
            found.append({"kl": kl, "top1": top, "nll": nll})
        return found


def _probabilities(logits: np.ndarray | None, vocabulary: int) -> np.ndarray:
    """Log-probabilities of the first ``vocabulary`` tokens; None: of tokens that the file could not read."""
    found = np.full(vocabulary, IMPOSSIBLE)
    if logits is not None:
        found[: len(logits)] = _log_softmax(logits)[:vocabulary]
    return found


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    top = logits.max()
    shifted: np.ndarray = logits - (top + np.log(np.exp(logits - top).sum()))
    return shifted


def _refused(prompt: list[int], context: int, max_tokens: int) -> dict[str, Any]:
    return {
        "text": "",
        "prompt_tokens": len(prompt),
        "stop_reason": "error",
        "error": f"{len(prompt)} prompt tokens and {max_tokens} to answer exceed the context of {context}",
    }


class Worker:
    """Dispatches requests to one engine."""

    def __init__(self) -> None:
        self.engine: Engine | None = None

    def handle(self, request: dict[str, Any], send: Callable[..., None]) -> Any:
        if request["op"] == "load":
            self.engine = Engine(**{key: value for key, value in request.items() if key != "op"})
            return {"context": self.engine.context}
        engine = self.engine
        assert engine is not None, "load comes first"
        if request["op"] == "score":
            return engine.likelihoods(request["prompts"], request["references"])
        if request["op"] == "inspect":
            return engine.inspect(request["texts"], request["conversations"])
        if request["op"] == "diverge":
            return engine.diverge(request["rows"], request["reference"])
        prompts = [engine.prompt_tokens(messages) for messages in request["prompts"]]
        if request["op"] == "generate":
            return engine.answer(prompts, request["max_tokens"], engine.slots)
        if request["op"] == "sample":
            how = {key: request[key] for key in ("max_tokens", "temperature", "samples", "seed")}
            return engine.sample(prompts, **how)
        engine.answer(prompts[:1], request["max_tokens"], 1)
        answers = [engine.answer([prompt], request["max_tokens"], 1)[0] for prompt in prompts]
        return {"answers": answers, "peak_memory": peak_memory()}


if __name__ == "__main__":
    serve(Worker().handle)
