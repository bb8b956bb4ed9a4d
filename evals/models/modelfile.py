"""Reads an Ollama Modelfile; ``training/modelfile.py`` writes them."""

from __future__ import annotations

import re
from typing import Any


def read_modelfile(text: str) -> dict[str, Any]:
    """Template, system prompt and parameters of a Modelfile, as Ollama's create endpoint takes them."""
    blocks = dict(re.findall(r'^(TEMPLATE|SYSTEM) """(.*?)"""$', text, re.DOTALL | re.MULTILINE))
    parameters: dict[str, Any] = {}
    rest = re.sub(r'^(TEMPLATE|SYSTEM) """(.*?)"""$', "", text, flags=re.DOTALL | re.MULTILINE)
    for name, value in re.findall(r"^PARAMETER (\S+) (.+)$", rest, re.MULTILINE):
        if name == "stop":
            parameters.setdefault("stop", []).append(value.strip('"'))
        else:
            parameters[name] = float(value) if "." in value else int(value)
    return {"template": blocks.get("TEMPLATE"), "system": blocks.get("SYSTEM"), "parameters": parameters}
