"""The Ollama Modelfile says all that Ollama would otherwise guess, and reads back as it was written.

python -m pytest tests/test_modelfile.py
"""

import pytest
from gguf import GGUFWriter
from hypothesis import given, settings
from hypothesis import strategies as st

from seatrial.evals.fidelity.served import HARMLESS, IGNORED, Judged, judge_modelfile
from seatrial.evals.modelfiles.parser import DEPRECATED, RefusedModelfile, decode, read_modelfile
from seatrial.evals.modelfiles.values import KINDS
from seatrial.evals.models.ollama import OllamaModel
from seatrial.training import base
from seatrial.training.chat_formats import CHAT_FORMATS, chat_format, renders_alike
from seatrial.training.errors import SeatrialError
from seatrial.training.modelfile import modelfile, read_metadata
from seatrial.training.recipe import load_recipe
from seatrial.training.store import file_digest

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
UNKNOWN = "{% for message in messages %}{{ '<turn>' + message['role'] }}{% endfor %}"
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


def judged_by(gguf, **settings):
    """What the answers of ``gguf`` were made with: the settings that DECODING and SYSTEM say, but for these."""
    known = {"file": gguf, "sha256": file_digest(gguf), "folder": gguf.parent, "template": CHATML}
    known |= {"system": SYSTEM, "max_tokens": 128, "context": 4096}
    known |= {"control_tokens": frozenset({"<|im_start|>", "<|im_end|>", "<|endoftext|>"})}
    return Judged(**{**known, **settings})


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
    assert f'TEMPLATE """{chat_format(TEMPLATES[name]).go}"""' in text


@pytest.mark.parametrize("template", [UNKNOWN, "", None], ids=["unknown", "empty", "none"])
def test_an_unknown_chat_format_is_told_and_nothing_is_guessed(gguf_with, template):
    text, facts = modelfile(gguf_with(template), SYSTEM, DECODING)
    assert facts == {"chat_format": None}
    assert "# The model's chat format is not known here: add its TEMPLATE and stop strings." in text
    assert not [line for line in text.splitlines() if line.startswith(("TEMPLATE", "PARAMETER stop"))]
    assert f'SYSTEM """{SYSTEM}"""' in text


def test_without_a_system_prompt_none_is_written(gguf_with):
    assert "SYSTEM" not in modelfile(gguf_with(CHATML), "", DECODING)[0]


# --- read back -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chatml_gguf(tmp_path_factory):
    return write_gguf(tmp_path_factory.mktemp("chatml"), CHATML)


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_is_written_reads_back_as_ollama_is_given_it(gguf_with, name):
    text, _ = modelfile(gguf_with(TEMPLATES[name]), SYSTEM, DECODING)
    assert read_modelfile(text).request() == {
        "template": chat_format(TEMPLATES[name]).go,
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
    found = read_modelfile(modelfile(gguf_with(UNKNOWN), "", DECODING)[0])
    assert (found.template, found.system) == ("", "")
    assert "stop" not in found.parameters


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
    assert found.system == system
    assert found.parameters == {
        "stop": STOPS["chatml"],
        "repeat_penalty": 1.0,
        "temperature": 0,
        "num_predict": 128,
        "num_ctx": 4096,
    }


PIECES = st.sampled_from(
    [
        "word",
        " ",
        "\n",
        "\t",
        "\r\n",
        "'",
        '"',
        '""',
        "#",
        "{{ .System }}",
        "\\",
        "é",
        "SYSTEM",
        "<|im_end|>",
        "0",
    ]
)
SYSTEMS = st.lists(PIECES, max_size=12).map("".join).filter(lambda system: '"""' not in system)


@given(system=SYSTEMS, max_tokens=st.integers(1, 10**6), context=st.integers(1, 10**6))
@settings(deadline=None, max_examples=50)
def test_what_is_written_is_judged_right_whatever_the_task_says(chatml_gguf, system, max_tokens, context):
    text, _ = modelfile(chatml_gguf, system, {"temperature": 0, "max_tokens": max_tokens, "context": context})
    judged = judged_by(chatml_gguf, system=system, max_tokens=max_tokens, context=context)
    judgement = judge_modelfile(text, judged)
    assert read_modelfile(text).system == system
    assert [finding for finding in judgement.findings if not finding.ok] == []
    assert judgement.unsure == ""


@pytest.mark.parametrize(("tools", "unsure"), [(False, False), (True, True)])
def test_a_template_that_is_right_but_for_tools_is_rendered_where_tools_are_called(
    chatml_gguf, tools, unsure
):
    template = CHATML.replace("+ message['content'] ", "+ message['content'] + (message.name or '') ")
    text, _ = modelfile(chatml_gguf, SYSTEM, DECODING)
    judgement = judge_modelfile(text, judged_by(chatml_gguf, template=template, tools=tools))
    assert [finding for finding in judgement.findings if not finding.ok] == []
    assert bool(judgement.unsure) is unsure


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


# --- read as Ollama reads it ----------------------------------------------------------------------------
# tests/ollama_leg/test_modelfile.py compares a larger table with a real server.


def read(rest):
    return read_modelfile(f"FROM x\n{rest}")


def test_instructions_may_be_written_in_any_case_and_the_last_one_wins():
    found = read("System one\nSYSTEM two\ntemplate a\nTEMPLATE b\nPARAMETER seed 1\nparameter seed 2")
    assert (found.system, found.template, found.parameters) == ("two", "b", {"seed": 2})


def test_an_empty_last_one_wins_too_and_is_none():
    assert read('SYSTEM one\nSYSTEM ""').request() == {}


def test_from_stop_message_and_license_add_up():
    found = read(
        "FROM y\nPARAMETER stop a\nPARAMETER stop b\nMESSAGE user a: b\nMESSAGE assistant c\nLICENSE l\nLICENSE m"
    )
    assert list(found.sources) == ["x", "y"]
    assert found.parameters == {"stop": ["a", "b"]}
    assert [(m["role"], m["content"]) for m in found.messages] == [("user", "a: b"), ("assistant", "c")]
    assert list(found.licenses) == ["l", "m"]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("plain words # no comment", "plain words # no comment"),
        ("  blanks around \t", "blanks around"),
        ('"one line"', "one line"),
        ('"two\nlines"', "two\nlines"),
        ('"""two\r\nlines"""', "two\r\nlines"),
        ('"""in "quotes""""', 'in "quotes"'),
        ('"a" b"', 'a" b'),
        ('"" "x"', '" "x'),
        ('""', ""),
        ('"""\n# no comment\n\n"""', "\n# no comment\n\n"),
        ("'single'", "'single'"),
        ("back\\nslash", "back\\nslash"),
        ('"""""\n""""', '""\n"'),
        ("zero\u200bwidth\u00a0and\x07bell", "zerowidthandbell"),
    ],
)
def test_a_value_is_what_its_quotes_enclose(written, value):
    assert read(f"SYSTEM {written}\nPARAMETER seed 1").system == value
    assert read(f"SYSTEM {written}").system == value


def test_a_parameter_named_like_an_instruction_is_that_instruction():
    found = read("PARAMETER system Be rude.\nPARAMETER model y")
    assert (found.system, list(found.sources)) == ("Be rude.", ["x", "y"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no FROM line"),
        ("SYSTEM a", "no FROM line"),
        ("FROM", "unexpected EOF"),
        ("FROM x\nPARAMETER seed", "unexpected EOF"),
        ('FROM x\nSYSTEM "open', "unexpected EOF"),
        ('FROM x\nSYSTEM """open"', "unexpected EOF"),
        ("FROM x\nPARAMETER seed\n", "unexpected EOF: seed"),
        ("FROM x\nPARAMETER  seed 1", "unknown parameter ''"),
        ("FROM x\nPARAMETER Seed 1", "unknown parameter 'Seed'"),
        ("FROM x\nPARAMETER tfs_z 1", "unknown parameter 'tfs_z'"),
        ("FROM x\nPARAMETER seed 1.5", r"invalid int value \[1.5\]"),
        ("FROM x\nPARAMETER top_p much", r"invalid float value \[much\]"),
        ("FROM x\nPARAMETER top_p 1e39", r"invalid float value \[1e39\]"),
        ("FROM x\nPARAMETER top_p nan", "json: unsupported value: NaN"),
        ("FROM x\nPARAMETER use_mmap yes", r"invalid bool value \[yes\]"),
        ("FROM x\nHEAD y", r"\(line 2\): command must be one of \"from\""),
        ("FROM x\r\nHEAD y", r"\(line 3\): command must be one of"),
        ("FROM x\nMESSAGE User hi", r"\(line 2\): message role must be one of"),
        ("FROM x\nMESSAGE  user hi", "message role must be one of"),
        ("FROM x\nDRAFT y", "DRAFT requires --experimental"),
        ("FROM x\nREQUIRES soon", "requires must be a valid semver"),
    ],
)
def test_what_ollama_refuses_is_refused_in_its_words(text, said):
    with pytest.raises(RefusedModelfile, match=said):
        read_modelfile(text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_modelfile_is_decoded_by_its_byte_order_mark(encoding):
    assert read_modelfile(decode("FROM x\r\nSYSTEM Zoë 任务".encode(encoding))).system == "Zoë 任务"


def test_bytes_that_are_no_text_are_no_crash():
    assert read_modelfile(decode(b"FROM x\nSYSTEM a\xff\xfe")).system == "a\ufffd\ufffd"
    with pytest.raises(RefusedModelfile):
        read_modelfile(decode(b"GGUF\x03\x00\x00\x00"))


def test_a_long_value_is_read_in_one_pass():
    lines = 'PARAMETER stop "\n' * 100_000  # quadratic, this would take minutes
    assert len(read(f'SYSTEM """{lines}"""').system) == len(lines)


# --- judged ---------------------------------------------------------------------------------------------
GOOD = 'SYSTEM """Be brief."""\nPARAMETER repeat_penalty 1.0\nPARAMETER temperature 0\n'


@pytest.fixture
def wrong(chatml_gguf):
    """The findings against a Modelfile: check and stage."""

    def wrong(text, **settings):
        judgement = judge_modelfile(text, judged_by(chatml_gguf, **{"system": "Be brief.", **settings}))
        found = [
            (finding.check.removeprefix("Modelfile: "), finding.stage)
            for finding in judgement.findings
            if not finding.ok
        ]
        return found or ([judgement.unsure] if judgement.unsure else [])

    return wrong


@pytest.fixture
def good(chatml_gguf):
    return modelfile(chatml_gguf, "Be brief.", DECODING)[0]


FAULTS = {
    "FROM another file": ("FROM ./lamp-q4.gguf", "FROM ./lamp-q8.gguf", "FROM", "runtime"),
    "FROM a model of a registry": ("FROM ./lamp-q4.gguf", "FROM llama3.2:1b", "FROM", "runtime"),
    "FROM a folder": ("FROM ./lamp-q4.gguf", "FROM .", "FROM", "runtime"),
    "FROM a file elsewhere": ("FROM ./lamp-q4.gguf", "FROM /nowhere/lamp-q4.gguf", "FROM", "runtime"),
    "two FROM": ("TEMPLATE", "FROM ./lamp-q4.gguf\nTEMPLATE", "FROM", "runtime"),
    "PARAMETER model": ("TEMPLATE", "PARAMETER model llama3.2\nTEMPLATE", "FROM", "runtime"),
    "a name that is too long": ("FROM ./lamp-q4.gguf", f"FROM {'x' * 5000}", "FROM", "runtime"),
    "ADAPTER": ("TEMPLATE", "ADAPTER ./lora.gguf\nTEMPLATE", "ADAPTER", "runtime"),
    "MESSAGE": ("TEMPLATE", "message user Hi\nTEMPLATE", "MESSAGE", "runtime"),
    "RENDERER": ("TEMPLATE", "RENDERER qwen3-coder\nTEMPLATE", "RENDERER", "template"),
    "PARSER": ("TEMPLATE", "PARSER qwen3-coder\nTEMPLATE", "PARSER", "runtime"),
    "DRAFT": ("TEMPLATE", "DRAFT ./small.gguf\nTEMPLATE", "read by Ollama", "runtime"),
    "no TEMPLATE": ("TEMPLATE", "LICENSE", "TEMPLATE", "template"),
    "an empty TEMPLATE": ("PARAMETER temp", 'TEMPLATE ""\nPARAMETER temp', "TEMPLATE", "template"),
    "the TEMPLATE that Ollama writes": (
        "PARAMETER temp",
        "template {{ .Prompt }}\nPARAMETER temp",
        "<|im_start|> in TEMPLATE",
        "template",
    ),
    "another SYSTEM": ("Be brief.", "Be long.", "SYSTEM", "template"),
    "no SYSTEM": ('SYSTEM """Be brief."""\n', "", "SYSTEM", "template"),
    "a second SYSTEM": ("PARAMETER temp", "system Be rude.\nPARAMETER temp", "SYSTEM", "template"),
    "PARAMETER system": ("PARAMETER temp", "PARAMETER system x\nPARAMETER temp", "SYSTEM", "template"),
    "temperature 1.5": ("temperature 0", "temperature 1.5", "PARAMETER temperature", "runtime"),
    "temperature commented out": ("PARAMETER temp", "# PARAMETER temp", "PARAMETER temperature", "runtime"),
    "temperature twice": (
        "temperature 0",
        "temperature 0\nPARAMETER temperature 1",
        "PARAMETER temperature",
        "runtime",
    ),
    "num_ctx 64": ("num_ctx 4096", "num_ctx 64", "PARAMETER num_ctx", "runtime"),
    "num_predict 4": ("num_predict 128", "num_predict 4", "PARAMETER num_predict", "runtime"),
    "num_predict unsaid": ("PARAMETER num_predict 128\n", "", "PARAMETER num_predict", "runtime"),
    "repeat_penalty 1.3": ("repeat_penalty 1.0", "repeat_penalty 1.3", "PARAMETER repeat_penalty", "runtime"),
    "repeat_penalty unsaid": ("PARAMETER repeat_penalty 1.0\n", "", "PARAMETER repeat_penalty", "runtime"),
    "presence_penalty": (
        "PARAMETER temp",
        "PARAMETER presence_penalty 1\nPARAMETER temp",
        "PARAMETER presence_penalty",
        "runtime",
    ),
    "frequency_penalty": (
        "PARAMETER temp",
        "PARAMETER frequency_penalty 1\nPARAMETER temp",
        "PARAMETER frequency_penalty",
        "runtime",
    ),
    "typical_p": (
        "PARAMETER temp",
        "PARAMETER typical_p 0.2\nPARAMETER temp",
        "PARAMETER typical_p",
        "runtime",
    ),
    "mirostat": ("PARAMETER temp", "PARAMETER mirostat 2\nPARAMETER temp", "PARAMETER mirostat", "runtime"),
    "vocab_only": (
        "PARAMETER temp",
        "PARAMETER vocab_only true\nPARAMETER temp",
        "PARAMETER vocab_only",
        "runtime",
    ),
    "an unknown parameter": (
        "PARAMETER temp",
        "PARAMETER tfs_z 1\nPARAMETER temp",
        "read by Ollama",
        "runtime",
    ),
    "an unknown instruction": ("TEMPLATE", "ENTRYPOINT sh\nTEMPLATE", "read by Ollama", "runtime"),
    "no stop": ('PARAMETER stop "<|im_end|>"\n', "", "PARAMETER stop '<|im_end|>'", "template"),
    "an extra stop": ("PARAMETER temp", "PARAMETER stop }\nPARAMETER temp", "PARAMETER stop '}'", "runtime"),
    "an empty stop": ("PARAMETER temp", 'PARAMETER stop ""\nPARAMETER temp', "PARAMETER stop ''", "runtime"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_serves_something_else_than_was_judged_is_found_with_its_stage(good, wrong, name):
    old, new, check, stage = FAULTS[name]
    assert old in good
    assert (check, stage) in wrong(good.replace(old, new, 1))


CONTROLS = {
    "as it was written": ("", ""),
    "comments and blank lines": ("PARAMETER temp", "# greedy\n\n   # twice\nPARAMETER temp"),
    "another case": ("SYSTEM", "system"),
    "other quotes": ('"""Be brief."""', '"Be brief."'),
    "no quotes": ('"<|im_end|>"', "<|im_end|>"),
    "FROM without a folder": ("./lamp-q4.gguf", "lamp-q4.gguf"),
    "FROM by a detour": ("./lamp-q4.gguf", "././x/../lamp-q4.gguf"),
    "another number's spelling": ("temperature 0", "temperature 0.0e1"),
    "a default that is said": ("PARAMETER temp", "PARAMETER presence_penalty 0.0\nPARAMETER temp"),
    "a context that is unsaid": ("PARAMETER num_ctx 4096\n", ""),
    "more context": ("num_ctx 4096", "num_ctx 8192"),
    "a licence": ("TEMPLATE", 'LICENSE """\nTEMPLATE x\n"""\nTEMPLATE'),
    "the least version": ("TEMPLATE", "REQUIRES 0.14.0\nTEMPLATE"),
    "blanks inside the template's actions": ("{{ .Role }}", "{{.Role}}"),
    "stop at a control token": ("PARAMETER temp", "PARAMETER stop <|endoftext|>\nPARAMETER temp"),
    "samplers that greedy decoding does not ask": (
        "PARAMETER temp",
        "PARAMETER top_k 3\nPARAMETER top_p 0.1\nPARAMETER min_p 0.2\nPARAMETER seed 7\nPARAMETER temp",
    ),
    "use_mmap": ("PARAMETER temp", "PARAMETER use_mmap true\nPARAMETER num_thread 3\nPARAMETER temp"),
    "mirostat that is off": (
        "PARAMETER temp",
        "PARAMETER mirostat 0\nPARAMETER mirostat_tau 5\nPARAMETER temp",
    ),
}


@pytest.mark.parametrize("name", CONTROLS)
def test_what_changes_nothing_that_was_judged_is_no_finding(good, wrong, name):
    old, new = CONTROLS[name]
    assert old in good
    assert wrong(good.replace(old, new, 1)) == []


def test_line_ends_of_windows_are_no_finding_where_they_end_instructions(chatml_gguf, wrong):
    text = modelfile(chatml_gguf, "Be brief.", DECODING)[0]
    head, template, rest = text.partition(f'TEMPLATE """{chat_format(CHATML).go}"""')
    assert wrong(head.replace("\n", "\r\n") + template + rest.replace("\n", "\r\n")) == []


def test_line_ends_of_windows_inside_the_template_are_in_every_prompt(good, wrong):
    assert wrong(good.replace("\n", "\r\n")) == [("TEMPLATE", "template")]


def test_another_file_of_the_judged_name_beside_the_modelfile_is_found(chatml_gguf, good, tmp_path, wrong):
    assert wrong(good, folder=tmp_path) == []  # nothing lies there: they are put side by side
    (tmp_path / chatml_gguf.name).write_bytes(b"GGUF of last month")
    assert wrong(good, folder=tmp_path) == [("FROM", "runtime")]


def test_a_copy_of_the_judged_file_under_another_name_is_the_judged_file(chatml_gguf, good, tmp_path, wrong):
    (tmp_path / "model.gguf").write_bytes(chatml_gguf.read_bytes())
    assert wrong(good.replace("./lamp-q4.gguf", str(tmp_path / "model.gguf"))) == []


def test_every_parameter_that_ollama_knows_is_judged_or_harmless_with_a_reason(good, wrong):
    told = {
        "temperature",
        "num_predict",
        "num_ctx",
        "repeat_penalty",
        "presence_penalty",
        "frequency_penalty",
    }
    assert set(KINDS) == told | {"typical_p", "stop"} | set(HARMLESS)
    assert set(IGNORED) == set(DEPRECATED)


def test_a_system_prompt_that_no_modelfile_can_hold_is_told_with_what_ollama_drops(chatml_gguf):
    system = "Réponds\u00a0: oui\u202f!"
    text = modelfile(chatml_gguf, system, DECODING)[0]
    (finding,) = [
        f for f in judge_modelfile(text, judged_by(chatml_gguf, system=system)).findings if not f.ok
    ]
    assert (finding.check, finding.stage) == ("Modelfile: SYSTEM", "template")
    assert finding.found == "Réponds: oui! (Ollama drops U+00A0, U+202F: no Modelfile can hold it)"


def test_a_format_that_only_looks_like_a_known_one_is_left_to_a_server(good, wrong):
    dated = CHATML.replace("{% if add", "{{ '<|im_start|>system\\nToday: Friday<|im_end|>\\n' }}{% if add")
    thinking = CHATML.replace("assistant\n'", "assistant\n<think>\n'")
    failing = CHATML + "{{ raise_exception('no') }}"
    for template in (dated, thinking, failing):
        assert template != CHATML
        assert wrong(good, template=template) == [
            "the model's own template makes other prompts than chatml does, so Ollama must render them"
        ]


def test_the_template_of_the_example_s_base_is_chatml_where_there_is_a_system_prompt():
    recipe = load_recipe("smollm2-135m-cpu")
    template = read_metadata(base.locate(recipe.base, recipe.folder))["tokenizer.chat_template"]
    assert renders_alike(template, CHAT_FORMATS[0], SYSTEM)
    assert not renders_alike(template, CHAT_FORMATS[0], "")  # it puts one of its own there


def test_an_architecture_that_ollama_renders_by_itself_is_left_to_a_server(good, wrong):
    assert wrong(good, architecture="nemotron_h") == [
        "Ollama renders prompts of nemotron_h by code of its own, so it must be asked"
    ]


def test_a_format_that_is_not_known_is_left_to_a_server_and_all_else_is_judged(good, wrong):
    assert wrong(good, template=UNKNOWN) == [
        "the model's chat format is not known here, so its TEMPLATE can only be rendered by Ollama"
    ]
    assert wrong(good.replace("temperature 0", "temperature 1"), template=UNKNOWN) == [
        ("PARAMETER temperature", "runtime")
    ]
    assert wrong(good.replace("TEMPLATE", "LICENSE"), template=UNKNOWN) == [("TEMPLATE", "template")]
