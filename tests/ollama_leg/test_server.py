"""Which Ollama is asked, and the server that is started where none runs: a stand-in, never the real one.

python -m pytest tests/ollama_leg/test_server.py
"""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from seatrial.evals.models import ollama_server
from seatrial.evals.models.ollama import available
from seatrial.training.errors import SeatrialError
from tests.ollama_leg.stand_in import NOBODY, Binary, ask

REPOSITORY = Path(__file__).resolve().parents[2]


# Who is asked


def test_a_server_that_runs_is_preferred_to_a_binary(server, tmp_path, monkeypatch, model, log):
    binary = Binary(tmp_path)
    monkeypatch.setenv("SEATRIAL_OLLAMA", str(binary.path))
    assert available() == ("0.24.0", "")
    assert model.generate(ask("hello"), 64, log)[0].text == "hi"
    assert server.calls
    assert not binary.started


def test_a_binary_on_the_path_tells_its_version_without_being_started(no_server, tmp_path, monkeypatch):
    binary = Binary(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert available() == ("0.24.0", "")
    assert not binary.started


@pytest.mark.parametrize("host", [NOBODY, "no address", "http://[", "127.0.0.1:port"])
def test_without_server_and_binary_it_is_said_what_to_do(no_server, monkeypatch, host, model, log):
    monkeypatch.setenv("OLLAMA_HOST", host)
    monkeypatch.setenv("PATH", "")
    version, reason = available()
    assert version is None
    assert reason.startswith("no Ollama server answers (OLLAMA_HOST, else 127.0.0.1:11434), and no 'ollama'")
    assert "start one with 'ollama serve' or set SEATRIAL_OLLAMA" in reason
    with pytest.raises(SeatrialError, match="Ollama cannot be asked: no Ollama server answers"):
        model.generate(ask("hello"), 64, log)


def test_a_name_that_is_no_executable_is_said(binary):
    made = binary()
    made.path.chmod(0o644)
    version, reason = available()
    assert version is None
    assert f"SEATRIAL_OLLAMA names '{made.path}', which is no executable file" in reason


def test_an_executable_that_is_no_program_is_said(binary):
    made = binary()
    made.path.write_bytes(b"\x7fELF nothing")
    assert available()[0] is None
    assert f"{made.path}: cannot be run: Exec format error" in available()[1]


def test_a_binary_that_tells_no_version_is_said(binary):
    binary("old")
    version, reason = available()
    assert version is None
    assert "'--version' told no version" in reason
    assert "Ollama?" in reason


def test_a_binary_that_does_not_tell_its_version_in_time_is_said(binary, monkeypatch):
    monkeypatch.setattr(ollama_server, "VERSION_SECONDS", 0.5)
    binary("mute")
    started = time.monotonic()
    version, reason = available()
    assert version is None
    assert "'--version' gave no answer within 0.5 s" in reason
    assert time.monotonic() - started < 5


# A server of our own


def test_a_started_server_is_on_loopback_with_its_own_folders_and_leaves_nothing(binary, model, log):
    made = binary()
    assert [answer.text for answer in model.generate(ask("hello", "long"), 64, log)] == ["hi", "la la"]
    host, port = made.notes["OLLAMA_HOST"].split(":")
    assert host == "127.0.0.1"
    home, models = Path(made.notes["HOME"]), Path(made.notes["OLLAMA_MODELS"])
    assert models.parent == home
    assert home.parent == log.parent
    assert made.left_nothing(log.parent)
    with socket.socket() as probe:
        assert probe.connect_ex((host, int(port))) != 0


def test_settings_and_proxies_of_the_user_do_not_reach_a_started_server(binary, model, log, monkeypatch):
    monkeypatch.setenv("OLLAMA_KV_CACHE_TYPE", "q4_0")
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, NOBODY)
    made = binary()
    assert model.generate(ask("hello"), 64, log)[0].text == "hi"
    assert "OLLAMA_KV_CACHE_TYPE" not in made.notes


def test_a_started_server_that_ends_at_once_is_told_with_its_last_words(binary, model, log):
    made = binary("ends")
    with pytest.raises(SeatrialError) as error:
        model.generate(ask("hello"), 64, log)
    assert f"{log}: 'ollama serve' ended at once" in str(error.value)
    assert "Error: no room for a model" in str(error.value)
    assert made.left_nothing(log.parent)


def test_a_started_server_that_never_answers_is_stopped_in_time(binary, model, log, monkeypatch):
    monkeypatch.setattr(ollama_server, "START_SECONDS", 1.0)
    monkeypatch.setattr(ollama_server, "STOP_SECONDS", 0.2)  # it does not hear a polite word, either
    made = binary("deaf")
    started = time.monotonic()
    with pytest.raises(SeatrialError, match="'ollama serve' did not answer within 1 s and was stopped"):
        model.generate(ask("hello"), 64, log)
    assert made.left_nothing(log.parent)
    assert time.monotonic() - started < 10


def test_a_started_server_that_dies_half_way_is_one_clear_error(binary, model, log):
    made = binary()
    with pytest.raises(SeatrialError, match="Ollama stopped answering: "):
        model.generate(ask("hello", "die", "hello"), 64, log)
    assert made.left_nothing(log.parent)


def test_a_started_server_does_not_outlive_a_process_that_is_killed(binary, log):
    made = binary()
    log.parent.mkdir()
    program = f"""
import os, pathlib, signal
from seatrial.evals.models.ollama_server import find
with find()[0].client(pathlib.Path({str(log)!r})):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert made.left_nothing(log.parent)
