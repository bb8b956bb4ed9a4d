"""Chat formats that are known, by the prompts that they make: data/chat_formats.toml.

Ollama renders prompts with a Go template of its own, a model says its format in Jinja, and many families
share a token and differ in a blank. So a format is what renders the same prompts as the model's template.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data" / "chat_formats.toml"
TURNS = (
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi. What can I do?"},
    {"role": "user", "content": "Tell me more."},
)


@dataclass(frozen=True)
class ChatFormat:
    """A chat format: the text that marks its Jinja templates, its prompts in Go's and in Jinja's language,
    and its stop strings."""

    name: str
    about: str
    marker: str
    go: str
    jinja: str
    stop: tuple[str, ...]


def _read() -> tuple[ChatFormat, ...]:
    tables = tomllib.loads(DATA.read_text(encoding="utf-8"))
    return tuple(
        ChatFormat(name=name, **{**table, "stop": tuple(table["stop"])}) for name, table in tables.items()
    )


CHAT_FORMATS = _read()


@cache
def chat_format(jinja: str, system: str = "") -> ChatFormat | None:
    """The format that makes the same prompts as a model's Jinja template; else one of its marker, whose
    prompts are others (:func:`renders_alike` tells); None where no marker stands in it.

    ``system``: the system prompt that conversations have.
    """
    marked = [known for known in CHAT_FORMATS if known.marker in jinja]
    alike = (known for known in CHAT_FORMATS if renders_alike(jinja, known, system))
    # The longest marker says most: templates of Llama 3.1 hold that of Llama 3, too.
    return next(alike, None) or max(marked, key=lambda known: len(known.marker), default=None)


def renders_alike(jinja: str, known: ChatFormat, system: str) -> bool:
    """Whether both make the same prompts of short conversations, with the system prompt if there is one.

    BOS is left out: the runtime adds it to Ollama's prompts.
    """
    opening = [{"role": "system", "content": system}] if system else []
    asked = [[*opening, *TURNS[:count]] for count in (1, 3)]
    try:
        return all(rendered(jinja, each, known) == rendered(known.jinja, each, known) for each in asked)
    except Exception:  # whatever a template raises: it renders no such conversation
        return False


def rendered(jinja: str, messages: Sequence[Mapping[str, str]], known: ChatFormat) -> str:
    """The prompt of a conversation as transformers renders it (``apply_chat_template``), with the end token
    that the format ends turns by; raises whatever the template raises."""
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    variables: dict[str, Any] = {
        "messages": messages,
        "bos_token": "",
        "eos_token": known.stop[0],
        "add_generation_prompt": True,
        "raise_exception": _raise,
    }
    return environment.from_string(jinja).render(**variables)


def _raise(message: str) -> None:
    raise ValueError(message)
