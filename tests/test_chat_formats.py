"""Chat formats: a model has the one that makes its prompts, whichever tokens it shares with others.

That Ollama's template of a format makes the prompts of its Jinja template is shown by a real Ollama:
tests/ollama_leg/test_chat_formats.py. The families' own templates lie in llama.cpp's source (models/templates),
which llama-cpp-python's source distribution brings.

python -m pytest tests/test_chat_formats.py
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from datetime import datetime
from importlib.metadata import version
from importlib.util import find_spec

import pytest

from seatrial.training.chat_date import stop_clock, strftime_now
from seatrial.training.chat_formats import (
    CALLED,
    CHAT_FORMATS,
    TOOLS,
    TURNS,
    chat_format,
    dated,
    rendered,
    renders_alike,
    same_json,
)
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
# A published template, the format of its prompts, and whether that holds without a system prompt, too: Qwen 2.5
# and Mistral Small have one of their own, where none is given.
PUBLISHED = {
    "Qwen-Qwen2.5-7B-Instruct": ("chatml-tools", False),
    "Qwen-Qwen3-0.6B": ("chatml-tools", True),
    "meta-llama-Llama-3.1-8B-Instruct": ("llama-3.1", True),
    "meta-llama-Llama-3.2-3B-Instruct": ("llama-3.1", True),
    "meta-llama-Llama-3.3-70B-Instruct": ("llama-3.1", True),
    "mistralai-Mistral-Nemo-Instruct-2407": ("mistral-tekken", True),
    "Mistral-Small-3.2-24B-Instruct-2506": ("mistral-v11", False),
}
WITHOUT_TOOLS = {"google-gemma-2-2b-it": ("gemma", ""), "microsoft-Phi-3.5-mini-instruct": ("phi-3", SYSTEM)}
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
        alike = [
            other.name
            for other in CHAT_FORMATS
            if all(renders_alike(known.jinja, other, SYSTEM, tools) for tools in (False, True))
        ]
        assert alike == [known.name]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The chat templates that llama.cpp is tested with, by their names."""
    folder = tmp_path_factory.mktemp("source")
    wanted = f"llama-cpp-python=={version('llama-cpp-python')}"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    subprocess.run([*pip, "--no-binary", "llama-cpp-python", wanted], check=True, timeout=600)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        return {
            member.name.rpartition("/")[2].removesuffix(".jinja"): archive.extractfile(member).read().decode()
            for member in archive
            if "/models/templates/" in member.name and member.name.endswith(".jinja")
        }


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_template_of_a_family_makes_the_prompts_of_its_format(name, published):
    format, without = PUBLISHED[name]
    for system in (SYSTEM, *([""] if without else [])):
        known = chat_format(published[name], system)
        assert known.name == format
        assert renders_alike(published[name], known, system)
        assert renders_alike(published[name], known, system, tools=True), "tools, calls and results"
    if not without:
        assert not renders_alike(published[name], chat_format(published[name]), "")


@pytest.mark.parametrize("name", WITHOUT_TOOLS)
def test_a_published_template_that_knows_no_tools_has_its_format_for_conversations(name, published):
    format, system = WITHOUT_TOOLS[name]
    known = chat_format(published[name], system)
    assert known.name == format
    assert renders_alike(published[name], known, system)
    assert not renders_alike(published[name], known, system, tools=True)


def test_a_template_with_other_calls_is_not_taken_for_one_with_tools(published):
    coder = published["Qwen3-Coder"]
    known = chat_format(coder, SYSTEM)
    assert renders_alike(coder, known, SYSTEM)
    assert not renders_alike(coder, known, SYSTEM, tools=True)


def test_a_template_that_asks_for_the_day_is_told_one_that_never_changes(published):
    template = published["meta-llama-Llama-3.2-3B-Instruct"]
    prompt = rendered(template, TURNS[:1], chat_format(template))
    assert f"Today Date: {strftime_now('%d %b %Y')}" in prompt
    assert strftime_now("%Y") != str(datetime.now().year)


def test_a_training_whose_prompts_hold_the_day_says_so_in_its_key(tmp_path):
    assert dated(tmp_path) == {}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    assert dated(tmp_path) == {}
    (tmp_path / "chat_template.jinja").write_text("{{ strftime_now('%d') }}")
    assert dated(tmp_path) == {"date": strftime_now("%Y-%m-%d")}


def test_transformers_tells_templates_that_day_too(monkeypatch):
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast
    from transformers.utils import chat_template_utils

    monkeypatch.setattr(chat_template_utils, "datetime", datetime)  # of this test only
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()))
    tokenizer.chat_template = "{{ strftime_now('%d %b %Y') }}"
    rendering = [tokenizer.apply_chat_template(TURNS[:1], tokenize=False)]
    stop_clock()
    rendering.append(tokenizer.apply_chat_template(TURNS[:1], tokenize=False))
    assert rendering[0] != rendering[1] == strftime_now("%d %b %Y")


def test_json_is_the_same_by_its_values_and_text_by_its_letters():
    assert same_json('a [INST] {"b": 1, "a": [2]}') == same_json('a [INST] {"a":[2],"b":1}')
    assert same_json('{"a": 10.0}') == same_json('{"a":10}') != same_json('{"a":10.5}')
    assert same_json('{"a": "<&>"}') == same_json('{"a":"\\u003c\\u0026\\u003e"}')
    for other in (
        'a [INST] {"b": 2, "a": [2]}',
        'a  [INST] {"b": 1, "a": [2]}',
        'a [INST] {"b": 1, "a": [2]',
    ):
        assert same_json(other) != same_json('a [INST] {"b": 1, "a": [2]}')
    assert same_json("[" * 100_000) == "[" * 100_000


@pytest.mark.skipif(not find_spec("mistral_common"), reason="python -m pip install mistral-common")
@pytest.mark.parametrize("name", ["mistral-v3", "mistral-tekken", "mistral-v7"])
def test_mistral_s_own_renderer_makes_the_same_prompts(name):
    from mistral_common.protocol.instruct.request import ChatCompletionRequest
    from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

    makers = {
        "mistral-tekken": lambda: MistralTokenizer.v3(is_tekken=True),
        "mistral-v7": MistralTokenizer.v7,
    }
    tokenizer = makers.get(name, MistralTokenizer.v3)()
    known = next(each for each in CHAT_FORMATS if each.name == name)
    system = {"role": "system", "content": SYSTEM}
    # After a result Mistral's library puts the system prompt before the question; the templates, nowhere.
    for asked in ([system, *CALLED[:1]], [*CALLED[:3]], [system, *CALLED]):
        written = json.loads(json.dumps(asked))
        for call in (call for each in written for call in each.get("tool_calls", ())):
            call["function"]["arguments"] = json.dumps(call["function"]["arguments"])
        request = ChatCompletionRequest(messages=written, tools=list(TOOLS))
        theirs = tokenizer.encode_chat_completion(request).text
        for piece, text in (("<s>", ""), ("▁", " "), ("<0x0A>", "\n")):  # as SentencePiece names its pieces
            theirs = theirs.replace(piece, text)
        if name == "mistral-v7":  # of which the library brings the SentencePiece one, with blanks
            theirs = theirs.replace("] ", "]")
        assert same_json(rendered(known.jinja, asked, known, TOOLS)) == same_json(theirs)
