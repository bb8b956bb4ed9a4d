"""Awkward Modelfiles: what we read in them is what a real server says of the model that Ollama's own client
made of them, or both refuse them.

SEATRIAL_OLLAMA=/where/it/is/ollama python -m pytest tests/ollama_leg/test_modelfile.py
"""

import ast
import os
import shutil
import subprocess

import numpy as np
import pytest
from gguf import GGUFWriter

from seatrial.evals.modelfiles.parser import RefusedModelfile, decode, read_modelfile
from seatrial.evals.modelfiles.values import KINDS
from seatrial.evals.models.ollama_server import find

REAL = shutil.which(os.environ.get("SEATRIAL_OLLAMA") or "ollama")
needs_ollama = pytest.mark.skipif(not REAL, reason="no Ollama here: set SEATRIAL_OLLAMA to its binary")
CREATE_SECONDS = 60.0

# Below a line FROM tiny.gguf.
BELOW_FROM = {
    "nothing": "",
    "small letters": "system a\ntemplate b\nparameter seed 1\nmessage user c\nlicense d",
    "mixed case": "SyStEm a\nPaRaMeTeR seed 1",
    "a parameter in capitals": "PARAMETER SEED 1",
    "comments": "# SYSTEM a\n  # SYSTEM b\n#\nSYSTEM c # d\n#PARAMETER seed 1",
    "blank lines and blanks": "\n\n \t\n\tSYSTEM \t a b \t\n   PARAMETER seed   7  ",
    "no line end at the end": "SYSTEM a",
    "CR LF": "SYSTEM a\r\nPARAMETER stop b\r\nMESSAGE user c\r\n",
    "CR LF inside quotes": 'SYSTEM """a\r\nb"""\r\n',
    "CR alone": "SYSTEM a\rPARAMETER seed 1\r",
    "double quotes": 'SYSTEM "a b"\nPARAMETER stop " c "',
    "double quotes over lines": 'SYSTEM "a\n\nb"\nPARAMETER seed 1',
    "three quotes": 'SYSTEM """a"""\nTEMPLATE """{{ .Prompt }}"""',
    "three quotes over lines": 'SYSTEM """\na\n  b\n"""\nPARAMETER seed 1',
    "quotes inside three quotes": 'SYSTEM """say "a" and \'b\'"""',
    "four quotes at the end": 'SYSTEM """say "a""""',
    "quotes that close inside a line": 'SYSTEM "a" b\nc"\nPARAMETER seed 1',
    "words after the quotes": 'SYSTEM """a""" b\nPARAMETER seed 1\nSYSTEM c"""',
    "quotes inside a plain value": 'SYSTEM a "b" c\nPARAMETER stop a"b',
    "single quotes": "SYSTEM 'a b'\nPARAMETER stop 'c'",
    "one quote": 'SYSTEM "',
    "two quotes": 'SYSTEM ""\nPARAMETER stop ""',
    "five quotes": 'SYSTEM """""\nPARAMETER seed 1\n"""',
    "six quotes": 'SYSTEM """"""',
    "an open quote": 'SYSTEM "a\nPARAMETER seed 1',
    "three open quotes": 'SYSTEM """a\nPARAMETER seed 1',
    "escapes are none": 'SYSTEM a\\nb\\"c\\\nPARAMETER stop \\n',
    "comment inside quotes": 'SYSTEM """a\n# b\nc"""',
    "instructions inside quotes": 'SYSTEM """a\nPARAMETER seed 1\nFROM b"""',
    "unicode": "SYSTEM Zoë 任务 🚢 ﬁ\nMESSAGE user Größe: ß",
    "what does not print": "SYSTEM a\u200bb\u00a0c\u00add\x07e\u2028f\ufeffg\nPARAMETER stop h\u200d",
    "characters of Unicode 15.0, and of 16.0": "SYSTEM a\U0001fa77b\U0001fae8c\U0001fae9d",
    "NUL": "SYSTEM a\0b\0\nPARAMETER seed 1\0",
    "what does not print before an instruction": "\u200bSYSTEM a\n\u00a0PARAMETER seed 1",
    "two that do not print before an instruction": "\u200b\u200bSYSTEM a",
    "what does not print in an instruction": "SYS\u200bTEM a",
    "bytes that are no UTF-8": b"SYSTEM a\xffb\xe2\x82c\xf0\x9f\x9ad\xed\xa0\x80e",
    "the last SYSTEM wins": "SYSTEM a\nSYSTEM b",
    "an empty last SYSTEM wins": 'SYSTEM a\nSYSTEM ""',
    "the last TEMPLATE wins": "TEMPLATE a\nTEMPLATE {{ .Prompt }}",
    "an instruction without a value": "SYSTEM \nPARAMETER seed 1",
    "an instruction without a blank": "SYSTEM\nPARAMETER seed 1",
    "an instruction cut off": "SYSTEM",
    "a parameter cut off": "PARAMETER seed",
    "a parameter without a value": "PARAMETER seed ",
    "stop several times": 'PARAMETER stop a\nPARAMETER seed 1\nPARAMETER stop "b c"\nPARAMETER stop a',
    "stop with quotes and line ends": 'PARAMETER stop """a\n"b""""\nPARAMETER stop "\n"\nPARAMETER stop """"c"""',
    "integers": "PARAMETER seed -1\nPARAMETER num_keep +4\nPARAMETER num_ctx 007",
    "an integer with a point": "PARAMETER seed 1.0",
    "an integer with an exponent": "PARAMETER seed 1e3",
    "an integer with an underscore": "PARAMETER seed 1_000",
    "an integer that is too large": "PARAMETER seed 9223372036854775808",
    "an integer of many zeros": f"PARAMETER seed {'0' * 5000}7\nPARAMETER num_keep -{'0' * 5000}",
    "an integer of many digits": f"PARAMETER seed {'9' * 5000}",
    "floats": "PARAMETER top_p .5\nPARAMETER min_p 5.\nPARAMETER temperature 1e-1\nPARAMETER typical_p +0.7",
    "a float's digits": "PARAMETER temperature 0.123456789\nPARAMETER top_p 16777217",
    "a hexadecimal float": "PARAMETER temperature 0x1p-2",
    "hexadecimal floats": "PARAMETER temperature 0x1.8p1\nPARAMETER top_p 0x_1_0p-6\nPARAMETER min_p 0x.8p0",
    "a hexadecimal float without an exponent": "PARAMETER temperature 0x1",
    "a hexadecimal float's underscore beside its point": "PARAMETER temperature 0x1._8p1",
    "a float of many digits": f"PARAMETER temperature {'1' * 5000}x",
    "a float of many zeros": f"PARAMETER temperature {'0' * 5000}.{'0' * 5000}",
    "a float with underscores": "PARAMETER temperature 1_0.5",
    "the largest float": "PARAMETER temperature 3.4028235e38\nPARAMETER top_p -3.4028235e38",
    "a float that is too large": "PARAMETER temperature 1e39",
    "a float that is too small": "PARAMETER temperature 1e-60",
    "not a number": "PARAMETER temperature NaN",
    "infinity": "PARAMETER temperature Inf",
    "a float in words": "PARAMETER temperature hot",
    "a quoted number": 'PARAMETER temperature "0.5"\nPARAMETER seed """7"""',
    "booleans": "PARAMETER use_mmap true",
    "booleans by a letter": "PARAMETER use_mmap F",
    "a boolean in other words": "PARAMETER use_mmap yes",
    "the last parameter wins": "PARAMETER temperature 1\nPARAMETER temperature 0",
    "an unknown parameter": "PARAMETER tfs_z 1",
    "a parameter of the runner that is gone": "PARAMETER num_gqa 8",
    "parameters that are ignored": "PARAMETER mirostat 2\nPARAMETER low_vram yes\nPARAMETER penalize_newline x",
    "two blanks before a parameter's name": "PARAMETER  seed 1",
    "a tab before a parameter's name": "PARAMETER\tseed\t1",
    "a hyphen in a parameter's name": "PARAMETER num-ctx 1",
    "PARAMETER parser and renderer": "PARAMETER parser qwen3-coder\nPARAMETER renderer qwen3-coder",
    "PARAMETER from": "PARAMETER from tiny.gguf",
    "tabs for blanks": "SYSTEM\ta\nPARAMETER\tseed\t1\nMESSAGE\tuser\tb",
    "a line that goes on by a backslash": "SYSTEM a \\\nPARAMETER seed 1",
    "a value after an equals sign": "PARAMETER seed=1",
    "a comment after a number": "PARAMETER seed 1 # one",
    "a comment after quotes": 'SYSTEM "a" # b\nPARAMETER seed 1\nLICENSE "c"',
    "a licence whose quotes are never closed": 'LICENSE """a\nSYSTEM b\nTEMPLATE """c"""',
    "a licence with an apostrophe": "LICENSE 'a\nSYSTEM b",
    "PARAMETER system": "PARAMETER system a\nPARAMETER template b",
    "PARAMETER message": "PARAMETER message user: a",
    "messages": "MESSAGE user a\nMESSAGE assistant b\nMESSAGE system c",
    "messages with colons": "MESSAGE user a: b: c\nMESSAGE assistant : d\nMESSAGE user user: e",
    "messages over lines": 'MESSAGE user """a\nb"""\nMESSAGE assistant "c\nd"',
    "an empty message": 'MESSAGE user ""',
    "a message's role in capitals": "MESSAGE User a",
    "a message of nobody": "MESSAGE a",
    "a message of a tool": "MESSAGE tool a",
    "licences": 'LICENSE a\nLICENSE """b\nc"""',
    "renderer and parser": "RENDERER qwen3-coder\nPARSER qwen3-coder",
    "requires": "REQUIRES 0.14.0",
    "requires with a v": "REQUIRES v0.14.0-rc1",
    "requires in words": "REQUIRES newest",
    "a draft": "DRAFT tiny.gguf",
    "an unknown instruction": "ENTRYPOINT a",
    "an instruction with a digit": "SYSTEM2 a",
    "an instruction with a colon": "SYSTEM: a",
    "FROM again": "FROM ./tiny.gguf",
}
WHOLE = {
    "an empty file": b"",
    "no FROM": b"SYSTEM a\n",
    "FROM cut off": b"FROM",
    "FROM in quotes": b'FROM "./tiny.gguf"\nSYSTEM a',
    "FROM last": b"SYSTEM a\nfrom tiny.gguf",
    "FROM in three quotes": b'FROM """./tiny.gguf"""\nSYSTEM a',
    "FROM by a detour": b"FROM ./nowhere/../tiny.gguf\nSYSTEM a",
    "FROM with a slash at its end": b"FROM tiny.gguf/\nSYSTEM a",
    "FROM after a tab": b"FROM\ttiny.gguf\t\nSYSTEM a",
    "PARAMETER model": b"PARAMETER model tiny.gguf\nSYSTEM a",
    "a byte order mark": b"\xef\xbb\xbfFROM tiny.gguf\nSYSTEM a",
    "UTF-16": "FROM tiny.gguf\r\nSYSTEM Zoë".encode("utf-16"),
    "UTF-16, big end first": b"\xfe\xff" + "FROM tiny.gguf\nSYSTEM Zoë".encode("utf-16-be"),
    "UTF-16 and half a character": "FROM tiny.gguf\nSYSTEM a".encode("utf-16") + b"b",
    "UTF-16 and half a pair": "FROM tiny.gguf\nSYSTEM a".encode("utf-16") + b"\x00\xd8b\x00\x00\xdc",
    "UTF-32": "FROM tiny.gguf\nSYSTEM a".encode("utf-32"),
    "two byte order marks": b"\xef\xbb\xbf\xef\xbb\xbfFROM tiny.gguf\nSYSTEM a",
    "two byte order marks before a comment": b"\xef\xbb\xbf\xef\xbb\xbf# a\nFROM tiny.gguf\nSYSTEM a",
    "UTF-16 without a mark": "FROM tiny.gguf\nSYSTEM a".encode("utf-16-le"),
}
ROWS = {name: _ if isinstance(_, bytes) else _.encode() for name, _ in BELOW_FROM.items()}
ROWS = {**{name: b"FROM tiny.gguf\n" + text for name, text in ROWS.items()}, **WHOLE}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with ``tiny.gguf``, which Ollama takes and nothing could answer with."""
    folder = tmp_path_factory.mktemp("modelfile")
    writer = GGUFWriter(folder / "tiny.gguf", "llama")
    writer.add_block_count(1)
    writer.add_tensor("token_embd.weight", np.zeros((4, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """A client of the real server, started for these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(
            "OLLAMA_HOST", "http://127.0.0.1:9"
        )  # the discard port: a server of the user's is left alone
        patch.setenv("SEATRIAL_OLLAMA", REAL)
        server, reason = find()
        assert server, reason
        with server.client(tmp_path_factory.mktemp("server") / "log") as client:
            yield client


@pytest.fixture
def created(client, folder):
    """What the server shows of the model that 'ollama create' makes of a Modelfile, and what the client said."""

    def created(content):
        (folder / "Modelfile").write_bytes(content)
        done = subprocess.run(
            [REAL, "create", "seatrial-table", "-f", "Modelfile"],
            cwd=folder,
            env={
                "HOME": str(folder),
                "PATH": os.environ["PATH"],
                "OLLAMA_HOST": str(client._client.base_url),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=CREATE_SECONDS,
        )
        if done.returncode:
            return None, done.stderr
        shown = client._client.post("/api/show", json={"model": "seatrial-table"}).json()
        client.delete("seatrial-table")
        return shown, done.stderr

    return created


def parameters(shown):
    """The values in the text that the server shows, one a line as Go writes it."""
    found = {}
    for line in filter(None, shown.get("parameters", "").split("\n")):
        name, _, value = line.partition(" ")
        if KINDS[name] == "strings":
            found.setdefault(name, []).append(ast.literal_eval(value.strip()))
        else:
            found[name] = (
                {"true": True, "false": False}.get(value.strip()) if KINDS[name] == "bool" else float(value)
            )
    return found


def ours(content):
    """What we read in a Modelfile, and why we refuse it."""
    try:
        return read_modelfile(decode(content)), ""
    except RefusedModelfile as error:
        return None, str(error)


@needs_ollama
@pytest.mark.parametrize("name", [name for name in ROWS if ours(ROWS[name])[0]])
def test_a_modelfile_is_read_as_the_server_reads_it(name, created):
    read, _ = ours(ROWS[name])
    shown, said = created(ROWS[name])
    assert shown is not None, f"we read {read}, Ollama refuses it: {said}"
    assert parameters(shown) == read.parameters
    assert (shown.get("system", ""), list(shown.get("messages") or [])) == (read.system, list(read.messages))
    assert shown.get("license", "") == "\n".join(read.licenses)
    assert shown.get("requires", "") == read.requires
    assert read.template in ("", shown.get("template"))
    for instruction, value in {"RENDERER": read.renderer, "PARSER": read.parser}.items():
        written = [line for line in shown["modelfile"].splitlines() if line.startswith(f"{instruction} ")]
        assert written == ([f"{instruction} {value}"] if value else [])


@needs_ollama
@pytest.mark.parametrize("name", [name for name in ROWS if not ours(ROWS[name])[0]])
def test_a_modelfile_that_we_refuse_is_refused_by_the_server_in_the_same_words(name, created):
    _, reason = ours(ROWS[name])
    shown, said = created(ROWS[name])
    assert shown is None, f"we refuse it ({reason}), Ollama shows {shown}"
    assert reason in said


def test_the_table_is_long_enough_and_holds_both():
    refused = [name for name in ROWS if not ours(ROWS[name])[0]]
    assert len(ROWS) - len(refused) >= 25
    assert len(refused) >= 15
