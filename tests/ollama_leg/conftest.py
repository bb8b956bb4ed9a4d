"""Fixtures of the Ollama tests: who answers, the model that is asked, its log."""

import hashlib
import threading

import pytest

from seatrial.evals.models.ollama import OllamaModel
from tests.ollama_leg.stand_in import NOBODY, Binary, Server

MODELFILE = '''FROM ./m.gguf
TEMPLATE """{{ range .Messages }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant
"""
PARAMETER stop "<|im_end|>"
SYSTEM """Be brief."""
PARAMETER temperature 0
PARAMETER num_predict 64
'''


@pytest.fixture
def server(monkeypatch):
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setenv("OLLAMA_HOST", f"http://127.0.0.1:{server.server_port}")
    yield server
    server.shutdown()
    server.server_close()
    thread.join(timeout=5)


@pytest.fixture
def no_server(monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", NOBODY)
    monkeypatch.delenv("SEATRIAL_OLLAMA", raising=False)


@pytest.fixture
def binary(no_server, tmp_path, monkeypatch):
    """Makes the binary that would be started, with a fault or none."""

    def make(mode=""):
        made = Binary(tmp_path, mode)
        monkeypatch.setenv("SEATRIAL_OLLAMA", str(made.path))
        return made

    return make


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF")
    return OllamaModel("ollama", path, hashlib.sha256(b"GGUF").hexdigest(), MODELFILE, "0.24.0")


@pytest.fixture
def log(tmp_path):
    return tmp_path / "logs" / "ollama.log"
