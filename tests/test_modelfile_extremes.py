"""Modelfiles at the edge of what Ollama takes: no crash, no endless reading, and what it answers with is judged.

What Ollama does with each was seen on a real server of version 0.24 or, where it says so, read in its source.

python -m pytest tests/test_modelfile_extremes.py
"""

import functools
import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seatrial.evals.fidelity.served import ANSWERED, HARMLESS, judge_modelfile
from seatrial.evals.modelfiles.parser import decode, printed, read_modelfile
from seatrial.evals.modelfiles.values import InvalidValue, read_parameter
from seatrial.training.chat_formats import CHAT_FORMATS
from seatrial.training.modelfile import modelfile
from tests.test_modelfile import DECODING, judged_by, write_gguf

SYSTEM = "Be brief."


@pytest.fixture(scope="module")
def chatml_gguf(tmp_path_factory):
    return write_gguf(tmp_path_factory.mktemp("chatml"), CHAT_FORMATS[0].jinja)


def found_in(where, name, change, **settings):
    """The findings against the Modelfile of a file with a known chat format, changed: check and stage."""
    known = next(each for each in CHAT_FORMATS if each.name == name)
    gguf = write_gguf(where, known.jinja)
    text = modelfile(gguf, settings.get("system", SYSTEM), DECODING)[0]
    judged = judged_by(gguf, **{"system": SYSTEM, "template": known.jinja, **settings})
    judgement = judge_modelfile(change(text), judged)
    found = [
        (each.check.removeprefix("Modelfile: "), each.stage) for each in judgement.findings if not each.ok
    ]
    return found or ([judgement.unsure] if judgement.unsure else [])


@pytest.fixture
def wrong(tmp_path):
    return functools.partial(found_in, tmp_path)


def with_line(line):
    return lambda text: f"{text}{line}\n"


# --- numbers ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("written", "value"),
    [("0" * 5000 + "7", 7), ("-" + "0" * 5000, 0), ("-9223372036854775808", -(2**63)), ("+007", 7)],
    ids=["many zeros", "minus many zeros", "the least", "a plus"],
)
def test_an_integer_is_read_however_long_it_is_written(written, value):
    assert read_parameter("seed", written) == value


@pytest.mark.parametrize(
    "written", ["9" * 5000, "9223372036854775808", "-9223372036854775809", "", "-", "1_0"]
)
def test_an_integer_that_ollama_cannot_hold_is_refused(written):
    with pytest.raises(InvalidValue, match="invalid int value"):
        read_parameter("seed", written)


@pytest.mark.parametrize(
    "written",
    [f"{digits}{end}" for digits in ("1" * 100_000, "0x" + "f" * 5_000) for end in ("x", "p1x", "_", ".x")],
)
def test_a_number_that_never_ends_is_refused_at_once(written):
    started = time.monotonic()
    with pytest.raises(InvalidValue, match="invalid float value"):
        read_parameter("temperature", written)
    assert time.monotonic() - started < 5  # with a pattern that tries every split it is minutes


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0x1.8p1", 3),
        ("0x_1_0p0", 16),
        ("0x.8p1", 1),
        ("1.", 1),
        ("1_0.2_5e0_1", 102.5),
        ("0" * 6000, 0),
        ("3.4028235e38", 3.4028235e38),
    ],
)
def test_a_float_is_read_in_every_spelling_of_go(written, value):
    assert read_parameter("temperature", written) == value


@pytest.mark.parametrize("written", ["0x1", "0xp1", "0x1._8p1", "0x1_.8p1", "1__0", "_1", "1e_1", "."])
def test_a_float_in_no_spelling_of_go_is_refused(written):
    with pytest.raises(InvalidValue):
        read_parameter("temperature", written)


# --- characters -------------------------------------------------------------------------------------------
def test_characters_are_those_of_ollama_s_unicode_not_of_this_python_s():
    newer, newest = "\U0001fa77", "\U0001fae9"  # a pink heart of Unicode 15.0, a tired face of 16.0
    assert read_modelfile(f"FROM x\nSYSTEM a{newer}b{newest}c").system == f"a{newer}bc"


@pytest.mark.skipif(unicodedata.unidata_version != "15.0.0", reason="this Python has another Unicode")
def test_the_table_of_characters_is_that_of_unicode_15():
    kept = {chr(code) for code in range(0x110000) if printed(chr(code))}
    assert kept == {chr(code) for code in range(0x110000) if chr(code).isprintable()} | set("\t\r\n")


def test_a_system_prompt_with_a_new_emoji_is_served_as_it_was_judged(wrong):
    assert wrong("chatml", lambda text: text, system="Be brief \U0001fa77.") == []


# --- parameters with which nothing, or something else, is answered ----------------------------------------
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("num_batch", value) for value in (0, -1)),  # the runner ends
        *(("num_thread", value) for value in (600, 100_000)),  # no answer of two cores within 40 s
    ],
)
def test_harmless_parameters_have_values_with_which_nothing_is_answered(wrong, name, value):
    line = with_line(f"PARAMETER {name} {value}")
    assert wrong("chatml", line) == [(f"PARAMETER {name}", "runtime")]


@pytest.mark.parametrize(
    "said",
    [
        *("num_batch 1", "num_batch 1000000", "num_thread -3", "num_thread 0", "repeat_last_n -1"),
        *("repeat_last_n 0", "num_gpu 999", "num_gpu -7", "main_gpu 9", "top_k -3", "top_k 0", "top_p 0"),
        *("min_p 5", "num_keep -1", "seed -9223372036854775808", "use_mmap F"),
        *("typical_p 3", "temperature -1", "temperature 1e-60", "repeat_penalty 1.00000001"),
    ],
)
def test_odd_values_with_which_the_same_is_answered_are_no_finding(wrong, said):
    assert wrong("chatml", with_line(f"PARAMETER {said}")) == []


def test_only_harmless_parameters_have_limits():
    assert set(ANSWERED) <= set(HARMLESS)


@pytest.mark.parametrize(
    ("context", "found"),
    [(2**63 - 1, True), (2**63 - 512, True), (2**63 - 513, False), (10**9, False), (0, True), (-1, True)],
)
def test_a_context_that_ollama_cannot_count_to_is_one_of_four_tokens(wrong, context, found):
    findings = wrong("chatml", with_line(f"PARAMETER num_ctx {context}"))
    assert findings == ([("PARAMETER num_ctx", "runtime")] if found else [])


# --- FROM -------------------------------------------------------------------------------------------------
def test_a_detour_over_a_folder_that_is_not_there_leads_to_the_file_that_ollama_takes(wrong, tmp_path):
    beside = tmp_path / "served"
    beside.mkdir()

    def detour(text):
        return text.replace("FROM ./", "FROM no-such-folder/../")

    assert wrong("chatml", detour, folder=beside) == []  # nothing lies there: they are put side by side
    (beside / "lamp-q4.gguf").write_bytes(b"GGUF of last month")
    assert wrong("chatml", detour, folder=beside) == [("FROM", "runtime")]


# --- REQUIRES ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("said", "ollama", "found"),
    [
        *(("0.14.0", "0.24", False), ("v0.24.9-rc1", "0.24", False), ("0.25", "0.24", True)),
        *(
            ("99.0.0", "0.24", True),
            ("1", "0.24", True),
            ("0.24.1", "0.24.0", True),
            ("0.30.1", "0.31.0", False),
        ),
    ],
)
def test_a_model_that_requires_a_newer_ollama_than_judged_it_is_told(wrong, said, ollama, found):
    """Ollama 0.24 itself says nothing: it creates the model and answers."""
    findings = wrong("chatml", with_line(f"REQUIRES {said}"), ollama=ollama)
    assert findings == ([("REQUIRES", "runtime")] if found else [])


# --- instructions that are empty or swallow others --------------------------------------------------------
def test_an_empty_adapter_is_every_file_beside_the_modelfile_and_told_as_said(tmp_path):
    gguf = write_gguf(tmp_path, CHAT_FORMATS[0].jinja)
    text = modelfile(gguf, SYSTEM, DECODING)[0] + "ADAPTER \n"
    judgement = judge_modelfile(text, judged_by(gguf, system=SYSTEM))
    (finding,) = (each for each in judgement.findings if not each.ok)
    assert (finding.check, finding.found) == ("Modelfile: ADAPTER", '""')


SWALLOWED = {
    "an open quote of a licence swallows TEMPLATE": ("TEMPLATE", 'LICENSE "Apache 2.0\nTEMPLATE', "TEMPLATE"),
    "three open quotes do": ("TEMPLATE", 'LICENSE """\nApache 2.0\nTEMPLATE', "TEMPLATE"),
    "words after the quotes open them again": ('"""Be brief."""', '"Be brief." # short', "read by Ollama"),
}


@pytest.mark.parametrize("name", SWALLOWED)
def test_what_quotes_swallow_is_missed(wrong, name):
    old, new, check = SWALLOWED[name]
    found = wrong("chatml", lambda text: text.replace(old, new, 1))
    assert check in [said for said, _ in found]


PIECES = st.sampled_from(
    [
        *(
            "FROM ",
            "SYSTEM ",
            "TEMPLATE ",
            "LICENSE ",
            "ADAPTER ",
            "REQUIRES ",
            "PARAMETER ",
            "MESSAGE ",
            "DRAFT ",
        ),
        *(
            "stop ",
            "num_ctx ",
            "top_p ",
            "use_mmap ",
            "user ",
            "mirostat ",
            "./lamp-q4.gguf",
            "~",
            "/",
            "..",
            "#",
        ),
        *(
            '"',
            '"""',
            "{{ .System }}",
            "{{",
            "<|im_end|>",
            "1",
            "-",
            "0x",
            ".",
            "e",
            "_",
            "inf",
            "true",
            "1.0.0",
        ),
        *("\n", "\r", " ", "\t", "\0", "\ufeff", "\ufffd", "\u00a0", "\u200b", "é", "\U0001fa77"),
    ]
)
TEXTS = st.lists(PIECES, max_size=20).map("".join)
BYTES = st.one_of(
    st.binary(max_size=60),
    TEXTS.map(str.encode),
    st.tuples(TEXTS, st.binary(max_size=3)).map(lambda made: made[0].encode("utf-16") + made[1]),
)


@given(data=BYTES)
@settings(deadline=None, max_examples=200)
def test_bytes_of_any_kind_are_judged_and_what_serves_nothing_is_found(chatml_gguf, data):
    judgement = judge_modelfile(decode(data), judged_by(chatml_gguf, system=SYSTEM))
    assert any(not each.ok and each.stage in ("runtime", "template") for each in judgement.findings)
