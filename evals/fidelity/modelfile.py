"""The Modelfile beside the shipped file: what can be told of it without a server that reads it.

A template of another wording may render the same prompts, so only what no right one lacks is looked for; that
the prompts are right is for ``FIDELITY.prompt.ollama``, where a server renders them.
"""

from __future__ import annotations

import re

from evals.fidelity.metadata import Finding
from evals.fidelity.stages import TEMPLATE
from evals.models.modelfile import read_modelfile
from training.modelfile import chat_format


def modelfile_findings(text: str, jinja_template: str, system: str) -> list[Finding]:
    """One finding on each control token of the template, each stop string, and the system prompt.

    None for a chat format that is not known here (see ``training/modelfile.py``).
    """
    known = chat_format(jinja_template)
    if known is None:
        return []
    written = read_modelfile(text)
    template, stops = written["template"] or "", written["parameters"].get("stop", [])
    tokens = dict.fromkeys(re.findall(r"<\|[a-z_]+\|>", known.template))
    findings = [
        _has(f"Modelfile: {token} in TEMPLATE", token, token in template, template) for token in tokens
    ]
    findings += [
        _has("Modelfile: PARAMETER stop", stop, stop in stops, ", ".join(stops)) for stop in known.stop
    ]
    found = written["system"] or ""
    return [*findings, _has("Modelfile: SYSTEM", system, found == system, found)]


def _has(check: str, expected: str, right: bool, found: str) -> Finding:
    return Finding(check, TEMPLATE, expected, expected if right else found or "nothing", right)
