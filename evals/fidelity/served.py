"""The Modelfile that ships with the file: every instruction in it against the settings that were judged.

What is served is file *and* Modelfile. So each instruction and parameter must leave the judged answers as
they are: it says what was judged, or it is on a list of those that change nothing, with the reason. Whatever
is on no list is a finding. Where the Modelfile is silent, Ollama's default is what it says.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatrial.evals.fidelity.metadata import Finding
from seatrial.evals.fidelity.served_template import about_stops, about_template
from seatrial.evals.fidelity.stages import RUNTIME, TEMPLATE
from seatrial.evals.modelfiles.parser import READ_AS, Modelfile, RefusedModelfile, printed, read_modelfile
from seatrial.evals.modelfiles.source import serves
from seatrial.evals.verdict import shorten
from seatrial.training.chat_formats import chat_format

# What Ollama 0.24 does where a Modelfile says nothing (DefaultOptions, api/types.go).
DEFAULTS: Mapping[str, Any] = {
    "temperature": 0.8,
    "num_predict": -1,
    "num_ctx": 4096,  # at least: a machine with much GPU memory takes more
    "repeat_penalty": 1.1,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "typical_p": 1.0,
}
# Parameters of which more, or less, than the judged value changes no judged answer, and how to say so.
COMPARED: Mapping[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "num_ctx": ("at least ", operator.ge),  # more context cuts nothing that was judged
    "temperature": ("", operator.le),  # below 0 decoding is greedy, too
    "typical_p": ("", operator.ge),  # above 1 it removes nothing, either
}
# Parameters that leave greedy answers as they are, with the reason. All others are compared.
HARMLESS: Mapping[str, str] = {
    "top_k": "greedy decoding takes the likeliest token, which top_k never removes",
    "top_p": "greedy decoding takes the likeliest token, which top_p never removes",
    "min_p": "greedy decoding takes the likeliest token, which min_p never removes",
    "seed": "greedy decoding draws no random numbers",
    "repeat_last_n": "how far penalties look back; that there are none is a check of its own",
    "num_keep": "what is kept where a conversation outgrows num_ctx, which no judged one does",
    "num_batch": "how many tokens of a prompt are read at once",
    "num_gpu": "where layers are computed",
    "main_gpu": "where layers are computed",
    "num_thread": "how many threads compute",
    "use_mmap": "how the file is read",
}
# The values of those, from and to, with which there are answers; of what is not listed any will do.
ANSWERED: Mapping[str, tuple[float, float]] = {
    "num_batch": (1, math.inf),  # a batch of no tokens ends the runner
    "num_thread": (-math.inf, 512),  # GGML_MAX_N_THREADS: each waits for all others before the next layer
}
OVERFLOW = 2**63 - 512  # integers travel as JSON; from here on Ollama's server makes negative ones of them
# Parameters that Ollama 0.24 ignores and older ones obeyed: values that changed nothing there, None for any.
IGNORED: Mapping[str, tuple[str, ...] | None] = {
    "low_vram": None,
    "f16_kv": None,
    "logits_all": None,
    "use_mlock": None,
    "penalize_newline": None,  # matters with a penalty only
    "mirostat_tau": None,  # matters with mirostat only
    "mirostat_eta": None,
    "mirostat": ("0",),
    "vocab_only": ("false", "False", "FALSE", "f", "F", "0"),
}
# Architectures for which Ollama 0.24 renders prompts by code of its own, whatever TEMPLATE says
# (createModel, server/create.go).
RENDERED_BY_OLLAMA = ("gemma4", "laguna", "nemotron_h", "nemotron_h_moe", "nemotron_h_omni")


@dataclass(frozen=True)
class Judged:
    """What the answers under judgement were made with.

    Args:
        system: the task's system prompt; ``max_tokens`` and ``context`` its decoding settings.
        file: the GGUF file; ``sha256`` its digest.
        folder: where the Modelfile lies, from which FROM is resolved.
        template: the chat template (Jinja) that the model was trained with, else the file's own.
        control_tokens: what never stands in an answer's text.
        architecture: the file's, such as ``llama``.
        tools: whether tools are called in a judged conversation.
        merged: whether in a judged conversation two messages of one role follow each other.
        ollama: the version that answered or, where none did, that whose reading of the Modelfile is judged.
    """

    system: str
    max_tokens: int
    context: int
    file: Path
    sha256: str
    folder: Path
    template: str
    control_tokens: frozenset[str] = frozenset()
    architecture: str = ""
    tools: bool = False
    merged: bool = False
    ollama: str = READ_AS


@dataclass(frozen=True)
class Judgement:
    """``findings``, and in ``unsure`` what only a server that renders the Modelfile's TEMPLATE can tell."""

    findings: Sequence[Finding]
    unsure: str = ""


def judge_modelfile(text: str, judged: Judged) -> Judgement:
    """Every instruction of a Modelfile, right and wrong ones; one that Ollama refuses is a finding, too."""
    try:
        written = read_modelfile(text)
    except RefusedModelfile as error:
        return Judgement([refused(str(error))])
    known = chat_format(judged.template, judged.system)
    in_template, unsure = about_template(written.template, known, judged)
    if judged.architecture in RENDERED_BY_OLLAMA:
        unsure = f"Ollama renders prompts of {judged.architecture} by code of its own, so it must be asked"
    findings = [
        _source(written, judged),
        _nothing("ADAPTER", RUNTIME, written.adapters, "other weights than the file's answer"),
        _nothing("MESSAGE", RUNTIME, [f"{m['role']}: {m['content']}" for m in written.messages]),
        _nothing("RENDERER", TEMPLATE, written.renderer and [written.renderer]),
        _nothing("PARSER", RUNTIME, written.parser and [written.parser]),
        _requires(written.requires, judged.ollama),
        *in_template,
        _system(written.system, judged.system),
        *_parameters(written.parameters, judged),
        *_ignored(written.ignored),
        *about_stops(written.parameters.get("stop", []), known, judged),
    ]
    return Judgement(findings, unsure)


def refused(why: str) -> Finding:
    """The finding on a Modelfile that Ollama makes no model of."""
    return Finding("Modelfile: read by Ollama", RUNTIME, "a Modelfile that it accepts", why, False)


def _source(written: Modelfile, judged: Judged) -> Finding:
    right = serves(written.sources, judged.file, judged.sha256, judged.folder)
    return Finding("Modelfile: FROM", RUNTIME, f"./{judged.file.name}", "; ".join(written.sources), right)


def _nothing(instruction: str, stage: str, said: Sequence[str], why: str = "") -> Finding:
    """An instruction that the judged answers were made without."""
    expected = "none" + (f": {why}" if why and said else "")
    found = shorten("; ".join(said) or '""') if said else "none"
    return Finding(f"Modelfile: {instruction}", stage, expected, found, not said)


def _requires(written: str, ollama: str) -> Finding:
    """Ollama 0.24 creates and serves the model all the same, so nobody else will say it."""
    judged = _numbers(ollama)
    right = _numbers(written)[: len(judged)] <= judged
    expected = f"at most {ollama}" + ("" if right else ": a newer one may serve otherwise than was judged")
    return Finding("Modelfile: REQUIRES", RUNTIME, expected, written or "none", right)


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:3]]


def _system(written: str, expected: str) -> Finding:
    found = written or "none"
    if written != expected and written == printed(expected):
        dropped = sorted({f"U+{ord(char):04X}" for char in expected if char not in printed(char)})
        found += f" (Ollama drops {', '.join(dropped)}: no Modelfile can hold it)"
    return Finding("Modelfile: SYSTEM", TEMPLATE, expected or "none", found, written == expected)


# --- PARAMETER -------------------------------------------------------------------------------------------
def _parameters(said: Mapping[str, Any], judged: Judged) -> Iterator[Finding]:
    wanted = {
        "temperature": 0,
        "num_predict": judged.max_tokens,
        "num_ctx": judged.context,
        "repeat_penalty": 1,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "typical_p": 1,
    }
    for name, expected in wanted.items():
        value, (least, holds) = said.get(name, DEFAULTS[name]), COMPARED.get(name, ("", operator.eq))
        found = str(value) if name in said else f"none: Ollama uses {value}"
        found += ": more than Ollama can count to" if value >= OVERFLOW else ""
        right = holds(value, expected) and value < OVERFLOW
        yield Finding(f"Modelfile: PARAMETER {name}", RUNTIME, f"{least}{expected}", found, right)
    for name, value in said.items():
        if name not in wanted and name != "stop":
            yield _harmless(name, value)


def _harmless(name: str, value: Any) -> Finding:
    least, most = ANSWERED.get(name, (-math.inf, math.inf))
    right = name in HARMLESS and least <= value <= most
    why = HARMLESS.get(name, "none: what it does to answers is not known here")
    if not right and name in HARMLESS:
        why = f"at least {least}: with less" if value < least else f"at most {most}: with more"
        why += " Ollama may answer nothing"
    return Finding(f"Modelfile: PARAMETER {name}", RUNTIME, why, str(value), right)


def _ignored(said: Mapping[str, str]) -> Iterator[Finding]:
    for name, value in said.items():
        neutral = IGNORED.get(name, ())
        right = neutral is None or value in neutral
        expected = "anything: Ollama ignores it" if right else "none: older Ollama than 0.24 obeys it"
        yield Finding(f"Modelfile: PARAMETER {name}", RUNTIME, expected, value, right)
