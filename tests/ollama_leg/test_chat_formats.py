"""What a real Ollama renders by the Go template of each chat format is what its Jinja template renders.

SEATRIAL_OLLAMA=/where/it/is/ollama python -m pytest tests/ollama_leg/test_chat_formats.py
"""

from __future__ import annotations

import dataclasses
import os
import shutil

import pytest

from seatrial.evals.models.ollama import OllamaModel, OllamaRefuses, available
from seatrial.training import base
from seatrial.training.chat_formats import CALLED, CHAT_FORMATS, TOOLS, TURNS, rendered, same_json
from seatrial.training.recipe import load_recipe
from seatrial.training.store import file_digest
from tests.test_modelfile_template import BROKEN, OTHERS, SAME, WHOLE

REAL = shutil.which(os.environ.get("SEATRIAL_OLLAMA") or "ollama")
SYSTEM = {"role": "system", "content": 'Be brief:\n\n  "lamp" & <on>.'}
LONGER = ({"role": "assistant", "content": "No.\n"}, {"role": "user", "content": "{{ .Role }} é [/INST"})
CONVERSATIONS = [
    [*opening, *turns] for opening in ([], [SYSTEM]) for turns in (TURNS[:1], TURNS, [*TURNS, *LONGER])
]
# Two results of which one is text that JSON and HTML escape, and calls beside words.
TWICE = (
    {"role": "user", "content": "Compare."},
    {
        "role": "assistant",
        "content": "I look.",
        "tool_calls": [
            {
                "id": f"a1b2c3d4{end}",
                "function": {"name": "weather", "arguments": {"place": place, "b": [1.5]}},
            }
            for end, place in (("e", "Rome & <Ö>"), ("f", 'the "other"'))
        ],
    },
    {"role": "tool", "name": "weather", "content": '7 & <"rain">', "tool_call_id": "a1b2c3d4e"},
    {"role": "tool", "name": "weather", "content": "8", "tool_call_id": "a1b2c3d4f"},
)
WITH_TOOLS = ("chatml-tools", "llama-3.1", "mistral-v3", "mistral-tekken", "mistral-v7", "mistral-v11")


@pytest.fixture
def ollama(no_server, monkeypatch, tmp_path):
    """Renders conversations by the Go template of a format, in a real Ollama; None: client and model's name."""
    if not REAL:
        pytest.skip("no Ollama here: set SEATRIAL_OLLAMA to its binary")
    monkeypatch.setenv("SEATRIAL_OLLAMA", REAL)
    recipe = load_recipe("smollm2-135m-cpu")
    gguf = base.locate(recipe.base, recipe.folder)
    version, reason = available()
    assert version, reason

    def render(known, conversations, tools=None, more=""):
        text = f'FROM ./{gguf.name}\nTEMPLATE """{known.go}"""\n{more}'
        model = OllamaModel("ollama", gguf, file_digest(gguf), text, version)
        if conversations is None:
            return model._created(tmp_path / "ollama.log")
        return model.render(conversations, tmp_path / "ollama.log", tools)

    return render


@pytest.mark.parametrize("known", CHAT_FORMATS, ids=lambda known: known.name)
def test_ollama_renders_what_the_jinja_template_renders(known, ollama):
    found = ollama(known, CONVERSATIONS)
    assert found == [rendered(known.jinja, messages, known) for messages in CONVERSATIONS]


@pytest.mark.parametrize("name", [*SAME, *OTHERS])
def test_ollama_renders_another_spelling_alike_and_another_text_otherwise(name, ollama):
    known = next(each for each in CHAT_FORMATS if each.name == "chatml")
    changed = dataclasses.replace(known, go=known.go.replace(*{**SAME, **OTHERS}[name]))
    assert changed != known
    found = ollama(changed, CONVERSATIONS)
    wanted = [rendered(known.jinja, messages, known) for messages in CONVERSATIONS]
    assert [one == two for one, two in zip(found, wanted, strict=True)] == [name in SAME] * len(wanted)


@pytest.mark.parametrize("name", [*BROKEN, *WHOLE])
def test_ollama_refuses_a_template_that_is_none(name, ollama):
    known = next(each for each in CHAT_FORMATS if each.name == "chatml")
    changed = dataclasses.replace(known, go=known.go.replace(*{**BROKEN, **WHOLE}[name]))
    if name in WHOLE:
        assert ollama(changed, CONVERSATIONS[:1])
    else:
        with pytest.raises(OllamaRefuses, match="template error"):
            ollama(changed, CONVERSATIONS[:1])


def test_ollama_makes_one_turn_of_two_messages_of_one_role(ollama):
    known = next(each for each in CHAT_FORMATS if each.name == "chatml")
    once, twice = ({"role": "user", "content": "One.\n\nTwo."},), TURNS[:1] * 2
    found = ollama(known, [once, twice])
    assert [prompt.count("<|im_start|>user") for prompt in found] == [1, 1]
    assert rendered(known.jinja, twice, known).count("<|im_start|>user") == 2


def test_ollama_finds_the_calls_in_an_answer(ollama, no_server):
    """The model is shown two calls in the format of Qwen, and makes a third."""
    known = next(each for each in CHAT_FORMATS if each.name == "chatml-tools")
    shown = '<tool_call>\n{{"name": "weather", "arguments": {{"place": "{}"}}}}\n</tool_call>'
    turns = [("Paris", "assistant"), ("Oslo", "assistant"), ("Rome", None)]
    messages = [
        {"role": role, "content": text}
        for place, answer in turns
        for role, text in (("user", f"Is it warm in {place}?"), (answer, shown.format(place)))
        if role
    ]
    decoding = 'PARAMETER temperature 0\nPARAMETER num_predict 60\nPARAMETER stop "<|im_end|>"\n'
    with ollama(known, None, more=decoding) as (client, model):
        answer = client.chat(model, messages=messages, tools=[dict(tool) for tool in TOOLS]).message
    assert [call.function.name for call in answer.tool_calls or ()] == ["weather"]
    assert "Rome" in answer.tool_calls[0].function.arguments.values()
    assert not answer.content


@pytest.mark.parametrize("name", WITH_TOOLS)
@pytest.mark.parametrize("offered", [TOOLS, None], ids=["tools offered", "tools only called"])
def test_ollama_renders_tools_calls_and_results_as_the_jinja_template_does(name, offered, ollama):
    known = next(each for each in CHAT_FORMATS if each.name == name)
    turns = [CALLED[:1], CALLED[:3], CALLED]
    turns += [TWICE] if name != "llama-3.1" else []  # which refuses two calls
    asked = [[*opening, *each] for opening in ([], [SYSTEM]) for each in turns]
    wanted = [same_json(rendered(known.jinja, messages, known, offered)) for messages in asked]
    assert [same_json(prompt) for prompt in ollama(known, asked, offered)] == wanted
    assert all(("weather" in prompt) == (offered is not None) for prompt in wanted[:1])
