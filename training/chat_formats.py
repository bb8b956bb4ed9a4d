"""Chat formats that are known, by the prompts that they make: data/chat_formats.toml.

Ollama renders prompts with a Go template of its own, a model says its format in Jinja, and many families
share a token and differ in a blank. So a format is what renders the same prompts as the model's template.

Prompts with tools are the same where their JSON has the same values: Go spells it without blanks, with its
keys sorted and ``<``, ``>`` and ``&`` escaped (Go's encoding/json), and no template can change that.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from seatrial.training.chat_date import DATE, strftime_now

DATA = Path(__file__).parent / "data" / "chat_formats.toml"
TURNS = (
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi. What can I do?"},
    {"role": "user", "content": "Tell me more."},
)
TOOLS = (
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather of a place.",
            "parameters": {
                "type": "object",
                "properties": {"place": {"type": "string", "description": "Its name."}},
                "required": ["place"],
            },
        },
    },
)
# One call at a time, with an id of nine letters: Llama 3.1 renders no two, Mistral's templates no other id.
CALLED = (
    {"role": "user", "content": "Is it warm in Bergen?"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {
                "id": "a1b2c3d4e",
                "type": "function",
                "function": {"name": "weather", "arguments": {"place": "Bergen", "days": 1}},
            }
        ],
    },
    {"role": "tool", "name": "weather", "content": "7", "tool_call_id": "a1b2c3d4e"},
    {"role": "assistant", "content": "No."},
    {"role": "user", "content": "And in Rome?"},
)
ESCAPED = re.compile(r"\\u00(3c|3e|26)")


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


def template_in(folder: Path) -> str | None:
    """The chat template (Jinja) of a folder that transformers saved a tokenizer to; None without one."""
    if (own := folder / "chat_template.jinja").is_file():
        return own.read_text(encoding="utf-8")
    config = folder / "tokenizer_config.json"
    found = json.loads(config.read_text(encoding="utf-8")).get("chat_template") if config.is_file() else None
    return found if isinstance(found, str) else None


def dated(folder: Path) -> dict[str, str]:
    """What a step's key says of the date, where the chat template in ``folder`` asks for it; else nothing."""
    template = template_in(folder)
    return {"date": f"{DATE:%Y-%m-%d}"} if template and "strftime_now" in template else {}


@cache
def chat_format(jinja: str, system: str = "") -> ChatFormat | None:
    """The format that makes the same prompts as a model's Jinja template; else one of its marker, whose
    prompts are others (:func:`renders_alike` tells); None where no marker stands in it.

    ``system``: the system prompt that conversations have.
    """
    marked = [known for known in CHAT_FORMATS if known.marker in jinja]
    alike = [known for known in CHAT_FORMATS if renders_alike(jinja, known, system)]
    with_tools = (known for known in alike if renders_alike(jinja, known, system, tools=True))
    # The longest marker says most: templates of Llama 3.1 hold that of Llama 3, too.
    by_marker = max(marked, key=lambda known: len(known.marker), default=None)
    return next(with_tools, next(iter(alike), by_marker))


def renders_alike(jinja: str, known: ChatFormat, system: str, tools: bool = False) -> bool:
    """Whether both make the same prompts of short conversations, with the system prompt if there is one.

    ``tools``: of conversations in which tools are offered, called and answer; both may refuse them. BOS is
    left out: the runtime adds it to Ollama's prompts.
    """
    opening = [{"role": "system", "content": system}] if system else []
    if not tools:
        asked = [[*opening, *TURNS[:count]] for count in (1, 3)]
        try:
            return all(rendered(jinja, each, known) == rendered(known.jinja, each, known) for each in asked)
        except Exception:  # whatever a template raises: it renders no such conversation
            return False

    def prompt(template: str, messages: Sequence[Mapping[str, Any]], offered: Any) -> str | None:
        try:
            return same_json(rendered(template, messages, known, offered))
        except Exception:
            return None

    called = [([*opening, *CALLED[:count]], offered) for count in (1, 3, 5) for offered in (TOOLS, None)]
    return all(prompt(jinja, *each) == prompt(known.jinja, *each) for each in called)


def rendered(
    jinja: str,
    messages: Sequence[Mapping[str, Any]],
    known: ChatFormat,
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> str:
    """The prompt of a conversation as transformers renders it (``apply_chat_template``), with the end token
    that the format ends turns by; raises whatever the template raises.

    ``tools``: definitions of the tools that are offered, as OpenAI's API takes them.
    """
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    variables: dict[str, Any] = {
        "messages": messages,
        "tools": tools,
        "bos_token": "",
        "eos_token": known.stop[0],
        "add_generation_prompt": True,
        "raise_exception": _raise,
        "strftime_now": strftime_now,
    }
    return environment.from_string(jinja).render(**variables)


def same_json(prompt: str) -> str:
    """``prompt`` with every JSON object and list in it spelt in one way: prompts that hold the same values
    in other spellings become equal."""
    prompt = ESCAPED.sub(lambda found: chr(int(found[1], 16)), prompt)
    decoder, parts, place = json.JSONDecoder(parse_float=_number), [], 0
    for found in re.finditer(r"[{\[]", prompt):
        if found.start() < place:
            continue
        try:
            value, end = decoder.raw_decode(prompt, found.start())
        except ValueError:
            continue
        except RecursionError:  # a text of brackets: as it is written
            return prompt
        parts += [prompt[place : found.start()], json.dumps(value, sort_keys=True)]
        place = end
    return "".join([*parts, prompt[place:]])


def _number(text: str) -> float:
    """Go writes 10 for 10.0."""
    number = float(text)
    return int(number) if number.is_integer() else number


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None) -> str:
    """As transformers spells it, which escapes nothing for HTML, unlike Jinja itself."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)


def _raise(message: str) -> None:
    raise ValueError(message)
