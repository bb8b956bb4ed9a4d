"""The Ollama leg against a stand-in server on loopback that speaks Ollama's API and remembers what it was sent."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from evals.models import EOS, ERROR, LENGTH, Question
from evals.models.ollama import OllamaModel, server_version

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
ANSWERS = {"hello": {"content": "hi"}, "long": {"content": "la la", "done_reason": "length"}}


class Server(ThreadingHTTPServer):
    def __init__(self):
        self.calls, self.models = [], set()
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def read(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status, value):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.answer(200, {"version": "0.24.0"})

    def do_POST(self):
        body = self.read()
        self.server.calls.append((self.path, body))
        if self.path.startswith("/api/blobs/"):
            return self.answer(201, {})
        request = json.loads(body)
        if self.path == "/api/create":
            self.server.models.add(request["model"])
            return self.answer(200, {"status": "success"})
        said = request["messages"][-1]["content"]
        if said not in ANSWERS:
            return self.answer(500, {"error": "the runner ended"})
        found = ANSWERS[said]
        message = {"role": "assistant", "content": found["content"]}
        done = {"done": True, "done_reason": found.get("done_reason", "stop"), "eval_count": 2}
        return self.answer(200, {"model": request["model"], "message": message, **done})

    def do_DELETE(self):
        self.server.models.discard(json.loads(self.read())["model"])
        self.answer(200, {})


@pytest.fixture
def server(monkeypatch):
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("OLLAMA_HOST", f"http://127.0.0.1:{server.server_port}")
    yield server
    server.shutdown()
    server.server_close()
    thread.join(timeout=5)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF")
    return OllamaModel("ollama", path, hashlib.sha256(b"GGUF").hexdigest(), MODELFILE, "0.24.0")


def ask(*prompts):
    return [Question(text, ({"role": "user", "content": text},)) for text in prompts]


def test_a_server_that_answers_is_found_and_a_missing_one_is_none(server, monkeypatch):
    assert server_version() == "0.24.0"
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:9")  # the discard port: nobody listens
    assert server_version() is None


def test_the_file_is_created_with_the_projects_template_stop_and_system_and_removed(server, model, tmp_path):
    model.generate(ask("hello"), 64, tmp_path / "log")
    created = json.loads(next(body for path, body in server.calls if path == "/api/create"))
    assert created["files"] == {"m.gguf": f"sha256:{model.sha256}"}
    assert created["template"].startswith("{{ range .Messages }}<|im_start|>")
    assert created["system"] == "Be brief."
    assert created["parameters"]["stop"] == ["<|im_end|>"]
    assert (f"/api/blobs/sha256:{model.sha256}", b"GGUF") in server.calls
    assert server.models == set()


def test_each_answer_keeps_its_stop_reason_and_an_error_is_an_answer_too(server, model, tmp_path):
    stopped, cut, failed = model.generate(ask("hello", "long", "boom"), 64, tmp_path / "log")
    assert (stopped.text, stopped.stop_reason) == ("hi", EOS)
    assert cut.stop_reason == LENGTH
    assert failed.stop_reason == ERROR
    assert "the runner ended" in failed.error
    assert server.models == set()


def test_answers_are_greedy_and_bounded(server, model, tmp_path):
    model.generate(ask("hello"), 17, tmp_path / "log")
    options = json.loads(server.calls[-1][1])["options"]
    assert options["temperature"] == 0
    assert options["num_predict"] == 17
