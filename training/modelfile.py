"""The Ollama Modelfile of a GGUF file: template, stop strings, system prompt and decoding settings.

Ollama renders prompts with a Go template of its own and guesses one by edit distance when none is given,
so the template is always written out, where the chat format is known (``chat_formats.py``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seatrial.training.chat_formats import chat_format
from seatrial.training.errors import SeatrialError
from seatrial.training.gguf_file import open_gguf


def modelfile(gguf: Path, system: str, decoding: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The Modelfile's text, which names ``gguf`` by its file name, and facts for the manifest."""
    if '"""' in system:
        raise SeatrialError('the system prompt holds """, which no Modelfile can', where="[prompts] system")
    jinja = read_metadata(gguf).get("tokenizer.chat_template", "")
    known = chat_format(jinja, system)
    lines = [f"FROM ./{gguf.name}"]
    if known:
        lines.append(f'TEMPLATE """{known.go}"""')
        lines += [f'PARAMETER stop "{stop}"' for stop in known.stop]
    else:
        lines.append("# The model's chat format is not known here: add its TEMPLATE and stop strings.")
    if system:
        lines.append(f'SYSTEM """{system}"""')
    # Ollama's default, 1.1, punishes what an answer has to repeat, such as a task's name.
    lines.append("PARAMETER repeat_penalty 1.0")
    lines.append(f"PARAMETER temperature {decoding['temperature']}")
    lines.append(f"PARAMETER num_predict {decoding['max_tokens']}")
    lines.append(f"PARAMETER num_ctx {decoding['context']}")
    return "\n".join(lines) + "\n", {"chat_format": known.name if known else None}


def quantization_of(gguf: Path) -> str | None:
    """The type that a GGUF file is labelled with, such as ``q4_k_m``; None if it says none that is known.

    Whether llama.cpp makes it without an importance matrix shows when it is asked to.
    """
    from gguf import LlamaFileType

    try:
        label = LlamaFileType(read_metadata(gguf).get("general.file_type"))
    except (ValueError, SeatrialError):
        return None
    kind = re.sub("^(MOSTLY|ALL)_", "", label.name).lower()
    return None if kind == "guessed" else kind


def read_metadata(gguf: Path) -> dict[str, Any]:
    """The scalar and string metadata of a GGUF file, by key."""
    fields = open_gguf(gguf).fields
    return {name: field.contents() for name, field in fields.items() if len(field.data) == 1}
