"""The Ollama Modelfile says all that Ollama would otherwise guess, and reads back as it was written.

python -m pytest tests/test_modelfile.py
"""

import pytest
from gguf import GGUFWriter
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import Environment

from evals.fidelity.modelfile import modelfile_findings
from evals.models.modelfile import read_modelfile
from evals.models.ollama import OllamaModel
from training.errors import SeatrialError
from training.modelfile import CHAT_FORMATS, chat_format, modelfile, read_metadata

DECODING = {"temperature": 0, "max_tokens": 128, "context": 4096}
SYSTEM = "Answer with one JSON object: operation, arguments, reply."
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] "
    "+ '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA3 = (
    "{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' "
    "+ message['content'] + '<|eot_id|>' }}{% endfor %}"
)
GEMMA = "{% for message in messages %}{{ '<start_of_turn>' + message['role'] }}{% endfor %}"
TEMPLATES = {"chatml": CHATML, "llama-3": LLAMA3}
STOPS = {"chatml": ["<|im_end|>"], "llama-3": ["<|eot_id|>"]}


def write_gguf(folder, template):
    """A GGUF file without tensors, with this chat template."""
    path = folder / "lamp-q4.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_name("lamp")
    writer.add_context_length(512)
    if template is not None:
        writer.add_chat_template(template)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


@pytest.fixture
def gguf_with(tmp_path):
    return lambda template: write_gguf(tmp_path, template)


def test_metadata_are_read_from_the_file_itself(gguf_with):
    metadata = read_metadata(gguf_with(CHATML))
    assert metadata["general.architecture"] == "llama"
    assert metadata["general.name"] == "lamp"
    assert metadata["llama.context_length"] == 512
    assert metadata["tokenizer.chat_template"] == CHATML


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_known_chat_format_gets_its_template_and_stop_strings(gguf_with, name):
    text, facts = modelfile(gguf_with(TEMPLATES[name]), SYSTEM, DECODING)
    assert facts == {"chat_format": name}
    lines = text.splitlines()
    assert lines[0] == "FROM ./lamp-q4.gguf"
    assert f'SYSTEM """{SYSTEM}"""' in lines
    assert [line for line in lines if "stop" in line] == [f'PARAMETER stop "{stop}"' for stop in STOPS[name]]
    assert lines[-4:] == [
        "PARAMETER repeat_penalty 1.0",
        "PARAMETER temperature 0",
        "PARAMETER num_predict 128",
        "PARAMETER num_ctx 4096",
    ]
    assert f'TEMPLATE """{chat_format(TEMPLATES[name]).template}"""' in text


@pytest.mark.parametrize("template", [GEMMA, "", None], ids=["gemma", "empty", "none"])
def test_an_unknown_chat_format_is_told_and_nothing_is_guessed(gguf_with, template):
    text, facts = modelfile(gguf_with(template), SYSTEM, DECODING)
    assert facts == {"chat_format": None}
    assert "# The model's chat format is not known here: add its TEMPLATE and stop strings." in text
    assert not [line for line in text.splitlines() if line.startswith(("TEMPLATE", "PARAMETER stop"))]
    assert f'SYSTEM """{SYSTEM}"""' in text


def test_without_a_system_prompt_none_is_written(gguf_with):
    assert "SYSTEM" not in modelfile(gguf_with(CHATML), "", DECODING)[0]


def _rendered(template, messages):
    """A Go template of ``CHAT_FORMATS``, which only ranges over messages, as Ollama renders it."""
    head, _, rest = template.partition("{{ range .Messages }}")
    body, _, tail = rest.partition("{{ end }}")
    turns = [
        body.replace("{{ .Role }}", message["role"]).replace("{{ .Content }}", message["content"])
        for message in messages
    ]
    return head + "".join(turns) + tail


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_go_template_renders_what_the_model_s_own_template_renders(name):
    messages = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": "lamp on"},
        {"role": "assistant", "content": "done\nanything else?"},
        {"role": "user", "content": "off"},
    ]
    expected = (
        Environment().from_string(TEMPLATES[name]).render(messages=messages, add_generation_prompt=True)
    )
    if name == "llama-3":
        expected += "<|start_header_id|>assistant<|end_header_id|>\n\n"
    assert _rendered(chat_format(TEMPLATES[name]).template, messages) == expected


@pytest.mark.parametrize("known", CHAT_FORMATS, ids=lambda known: known.name)
def test_every_format_is_recognised_by_its_own_marker_alone(known):
    assert chat_format(f"text {known.marker} text") is known
    assert chat_format("text") is None


# --- read back -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chatml_gguf(tmp_path_factory):
    return write_gguf(tmp_path_factory.mktemp("chatml"), CHATML)


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_is_written_reads_back_as_ollama_is_given_it(gguf_with, name):
    text, _ = modelfile(gguf_with(TEMPLATES[name]), SYSTEM, DECODING)
    assert read_modelfile(text) == {
        "template": chat_format(TEMPLATES[name]).template,
        "system": SYSTEM,
        "parameters": {
            "stop": STOPS[name],
            "repeat_penalty": 1.0,
            "temperature": 0,
            "num_predict": 128,
            "num_ctx": 4096,
        },
    }


def test_what_is_not_written_is_not_given_to_ollama(gguf_with):
    found = read_modelfile(modelfile(gguf_with(GEMMA), "", DECODING)[0])
    assert (found["template"], found["system"]) == (None, None)
    assert "stop" not in found["parameters"]


@pytest.mark.parametrize(
    "system",
    [
        "Two\nlines\n\nand a third.",
        'Say "hello" first.',
        'Answer with "none"',
        '"quoted"',
        "Zoë says: 任务 🚢 {{ .Role }} \\n",
        "  spaces around  ",
        "PARAMETER temperature 1\nFROM elsewhere",
        "A rule:\nPARAMETER stop is a word of Ollama's",
    ],
)
def test_a_system_prompt_reads_back_whatever_it_holds(chatml_gguf, system):
    found = read_modelfile(modelfile(chatml_gguf, system, DECODING)[0])
    assert found["system"] == system
    assert found["parameters"] == {
        "stop": STOPS["chatml"],
        "repeat_penalty": 1.0,
        "temperature": 0,
        "num_predict": 128,
        "num_ctx": 4096,
    }


PIECES = st.sampled_from(
    ["word", " ", "\n", "'", "#", "{{ .System }}", "\\", "é", "SYSTEM", "<|im_end|>", "0"]
)


@given(system=st.lists(PIECES, min_size=1, max_size=12).map("".join))
@settings(deadline=None, max_examples=50)
def test_any_system_prompt_without_quotes_reads_back(chatml_gguf, system):
    assert read_modelfile(modelfile(chatml_gguf, system, DECODING)[0])["system"] == system


def test_a_system_prompt_that_a_modelfile_cannot_hold_is_not_written_as_another_one(chatml_gguf):
    # A Modelfile ends a block at three quotes and has no way to escape them.
    system = 'Use """ around code.'
    with pytest.raises(SeatrialError, match='"""'):
        modelfile(chatml_gguf, system, DECODING)


def test_ollama_s_identity_holds_everything_that_decides_its_answers(gguf_with):
    path = gguf_with(CHATML)
    text, _ = modelfile(path, SYSTEM, DECODING)
    identities = [
        OllamaModel("ollama", path, sha256, content, release).identity
        for sha256, content, release in (
            ("a", text, "1"),
            ("b", text, "1"),
            ("a", text + "#", "1"),
            ("a", text, "2"),
        )
    ]
    assert all(identities.count(identity) == 1 for identity in identities)
    assert OllamaModel("another name", path, "a", text, "1").identity == identities[0]


# --- a Modelfile that came with a file -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "missed"),
    [
        ("", "", []),
        ("{{ .Role }}", "{{.Role}}", []),  # another wording is for a server to judge
        ("<|im_start|>", "", ["Modelfile: <|im_start|> in TEMPLATE"]),
        ('PARAMETER stop "<|im_end|>"\n', "", ["Modelfile: PARAMETER stop"]),
        ('SYSTEM """Be brief."""\n', "", ["Modelfile: SYSTEM"]),
        ("Be brief.", "Be long.", ["Modelfile: SYSTEM"]),
    ],
)
def test_what_a_given_modelfile_lacks_is_found_without_a_server(chatml_gguf, old, new, missed):
    text = modelfile(chatml_gguf, "Be brief.", DECODING)[0]
    assert old in text
    findings = modelfile_findings(text.replace(old, new), "<|im_start|>", "Be brief.")
    assert [finding.check for finding in findings if not finding.ok] == missed
    assert {finding.stage for finding in findings} == {"template"}


def test_a_modelfile_of_an_unknown_format_is_left_to_a_server():
    assert modelfile_findings("FROM ./x.gguf", "{{ messages }}", "Be brief.") == []
