"""What a real Ollama renders by the Go template of each chat format is what its Jinja template renders.

SEATRIAL_OLLAMA=/where/it/is/ollama python -m pytest tests/ollama_leg/test_chat_formats.py
"""

from __future__ import annotations

import os
import shutil

import pytest

from seatrial.evals.models.ollama import OllamaModel, available
from seatrial.training import base
from seatrial.training.chat_formats import CHAT_FORMATS, TURNS, rendered
from seatrial.training.recipe import load_recipe
from seatrial.training.store import file_digest

REAL = shutil.which(os.environ.get("SEATRIAL_OLLAMA") or "ollama")
SYSTEM = {"role": "system", "content": 'Be brief:\n\n  "lamp" & <on>.'}
LONGER = ({"role": "assistant", "content": "No.\n"}, {"role": "user", "content": "{{ .Role }} é [/INST"})
CONVERSATIONS = [
    [*opening, *turns] for opening in ([], [SYSTEM]) for turns in (TURNS[:1], TURNS, [*TURNS, *LONGER])
]


@pytest.mark.skipif(not REAL, reason="no Ollama here: set SEATRIAL_OLLAMA to its binary")
@pytest.mark.parametrize("known", CHAT_FORMATS, ids=lambda known: known.name)
def test_ollama_renders_what_the_jinja_template_renders(known, no_server, monkeypatch, tmp_path):
    monkeypatch.setenv("SEATRIAL_OLLAMA", REAL)
    recipe = load_recipe("smollm2-135m-cpu")
    gguf = base.locate(recipe.base, recipe.folder)
    text = f'FROM ./{gguf.name}\nTEMPLATE """{known.go}"""\n'
    version, reason = available()
    assert version, reason
    model = OllamaModel("ollama", gguf, file_digest(gguf), text, version)
    found = model.render(CONVERSATIONS, tmp_path / "ollama.log")
    assert found == [rendered(known.jinja, messages, known) for messages in CONVERSATIONS]
