"""Chat formats: a model has the one that makes its prompts, whichever tokens it shares with others.

That Ollama's template of a format makes the prompts of its Jinja template is shown by a real Ollama:
tests/ollama_leg/test_chat_formats.py.

python -m pytest tests/test_chat_formats.py
"""

from __future__ import annotations

import pytest

from seatrial.training.chat_formats import CHAT_FORMATS, chat_format, renders_alike
from tests.families.table import FAMILIES

SYSTEM = "Be brief."
OF_FAMILY = {
    "llama3": "llama-3",
    "qwen2": "chatml",
    "qwen3": "chatml",
    "qwen3-moe": "chatml",
    "mistral": "mistral-v3",
    "mistral-tekken": "mistral-tekken",
    "mixtral": "mistral-v3",
    "gemma": "gemma",
    "gemma2": "gemma",
    "gemma3": "gemma",
    "phi3": "phi-3",
}
# Families whose template makes other prompts than their format with, or without, a system prompt.
NOT_ALIKE = {("qwen2", ""), *((name, SYSTEM) for name in ("gemma", "gemma2", "gemma3"))}


@pytest.mark.parametrize("system", ["", SYSTEM], ids=["no system prompt", "system prompt"])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_has_its_format_and_where_it_renders_otherwise_that_is_known(name, system):
    template = FAMILIES[name].template
    known = chat_format(template, system)
    assert known is not None and known.name == OF_FAMILY[name]
    assert renders_alike(template, known, system) is ((name, system) not in NOT_ALIKE)


@pytest.mark.parametrize("known", CHAT_FORMATS, ids=lambda known: known.name)
def test_a_format_is_found_by_its_prompts_and_else_by_its_marker(known):
    assert chat_format(known.jinja, SYSTEM) is known
    assert chat_format(f"text {known.marker} text").marker == known.marker
    assert known.stop and known.about
    assert known.marker in known.jinja or known.marker in known.go


def test_no_two_formats_make_the_same_prompts():
    for known in CHAT_FORMATS:
        alike = [other.name for other in CHAT_FORMATS if renders_alike(known.jinja, other, SYSTEM)]
        assert alike == [known.name]


def test_one_blank_is_another_format_and_the_longer_marker_goes_before():
    spaced = next(known for known in CHAT_FORMATS if known.name == "mistral-v3")
    assert (
        chat_format(spaced.jinja.replace("'[INST] '", "'[INST]'").replace("' ' + m", "m")).name
        == "mistral-tekken"
    )
    neither = spaced.jinja.replace("'[INST] '", "'[INST]  '")
    assert not renders_alike(neither, chat_format(neither), "")
    assert chat_format("<|start_header_id|> Cutting Knowledge Date").name == "llama-3.1"


def test_the_end_token_may_stand_in_the_template_by_its_name():
    named = next(known for known in CHAT_FORMATS if known.name == "mistral-v3").jinja.replace(
        "'</s>'", "eos_token"
    )
    assert chat_format(named, SYSTEM).name == "mistral-v3"


@pytest.mark.parametrize("broken", ["{% for %}", "{{ raise_exception('no') }}", "{{ messages.no.way }}", ""])
def test_a_template_that_cannot_be_rendered_has_no_format(broken):
    assert chat_format(broken) is None
