"""Whether a model's own chat template (Jinja) makes the prompts that a known format's Go template makes.

A chat format is recognised by one marker, and many templates share it: some add a date, a thought or another
separator. What is known of a format may be said of a model only where both render the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seatrial.training.modelfile import ChatFormat

TURNS = (
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi. What can I do?"},
    {"role": "user", "content": "Tell me more."},
)


def renders_alike(jinja: str, known: ChatFormat, system: str) -> bool:
    """Whether both make the same prompts of short conversations, with the system prompt if there is one.

    BOS is left out: the runtime adds it to Ollama's prompts.
    """
    opening = [{"role": "system", "content": system}] if system else []
    asked = [[*opening, *TURNS[:count]] for count in (1, 3)]
    try:
        return all(_rendered(jinja, messages) == go_rendered(known.template, messages) for messages in asked)
    except Exception:  # whatever a template raises: it renders no such conversation
        return False


def _rendered(jinja: str, messages: Sequence[Mapping[str, str]]) -> str:
    """As transformers renders (``apply_chat_template``)."""
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    variables: dict[str, Any] = {"messages": messages, "bos_token": "", "add_generation_prompt": True}
    return environment.from_string(jinja).render(**variables)


def go_rendered(template: str, messages: Sequence[Mapping[str, str]]) -> str:
    """A Go template of ``CHAT_FORMATS``, which only ranges over messages, as Ollama renders it."""
    head, _, rest = template.partition("{{ range .Messages }}")
    body, _, tail = rest.partition("{{ end }}")
    turns = [
        body.replace("{{ .Role }}", message["role"]).replace("{{ .Content }}", message["content"])
        for message in messages
    ]
    return head + "".join(turns) + tail
