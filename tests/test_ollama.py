"""The Ollama leg: a stand-in that speaks Ollama's API, as a server that runs and as a binary to start; and,
where there is one, the real binary on a real file.

SEATRIAL_OLLAMA=/where/it/is/ollama python -m pytest tests/test_ollama.py
"""

import hashlib
import inspect
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from evals.models import EOS, ERROR, LENGTH, Question, ollama_server
from evals.models.ollama import OllamaModel, available
from training import base
from training.errors import SeatrialError
from training.modelfile import modelfile
from training.recipe import load_recipe
from training.store import file_digest

REPOSITORY = Path(__file__).resolve().parents[1]
NOBODY = "http://127.0.0.1:9"  # the discard port: nobody listens
REAL = shutil.which(os.environ.get("SEATRIAL_OLLAMA") or "ollama")
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


class Server(ThreadingHTTPServer):
    """The stand-in; ``calls`` holds what it was sent and ``models`` what it has."""

    def __init__(self, port=0, refuse="", renders=True):
        self.calls, self.models, self.refuse, self.renders = [], set(), refuse, renders
        super().__init__(("127.0.0.1", port), Handler)


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
            if self.server.refuse == "create":
                return self.answer(400, {"error": "template error: unexpected EOF"})
            self.server.models.add(request["model"])
            return self.answer(200, {"status": "success"})
        if not request["messages"]:
            if self.server.refuse == "load" and request.get("keep_alive") is None:
                return self.answer(500, {"error": "unknown model architecture: 'martian'"})
            return self.answer(200, {"message": {"role": "assistant"}, "done": True, "done_reason": "load"})
        said = request["messages"][-1]["content"]
        if said == "die":
            os._exit(3)
        if request.get("_debug_render_only") and self.server.renders:
            return self.answer(200, {"_debug_info": {"rendered_template": "rendered " + said}})
        known = {"hello": ("hi", "stop"), "long": ("la la", "length")}
        if said not in known:
            return self.answer(500, {"error": "the runner ended"})
        content, reason = known[said]
        message = {"role": "assistant", "content": content}
        self.answer(200, {"message": message, "done": True, "done_reason": reason, "eval_count": 2})

    def do_DELETE(self):
        self.server.models.discard(json.loads(self.read())["model"])
        self.answer(200, {})


def serve(mode, notes):
    """The stand-in as a binary: what 'ollama serve' of a fault ``mode`` does; it notes itself in ``notes``."""
    if sys.argv[1:] == ["--version"]:
        if mode == "mute":
            time.sleep(60)
        print("Warning: could not connect to a running Ollama instance")
        print("Warning: client version is 0.24.0" if mode != "old" else "Ollama?")
        return
    runner = subprocess.Popen(["sleep", "60"])
    settings = {name: value for name, value in os.environ.items() if name.startswith(("OLLAMA_", "HOME"))}
    Path(notes).write_text(json.dumps({"pids": [os.getpid(), runner.pid], **settings}), encoding="utf-8")
    if mode == "ends":
        sys.exit("Error: no room for a model")
    if mode == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)
    Server(int(os.environ["OLLAMA_HOST"].rpartition(":")[2])).serve_forever()


class Binary:
    """An executable file whose 'serve' is the stand-in; it never ends its runner itself."""

    def __init__(self, folder, mode=""):
        self.path, self._notes = folder / "ollama", folder / "notes.json"
        imports = "import json, os, signal, subprocess, sys, time\nfrom pathlib import Path\n"
        imports += "from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer\n"
        parts = [inspect.getsource(part) for part in (Handler, Server, serve)]
        call = f"serve({mode!r}, {str(self._notes)!r})"
        self.path.write_text("\n".join([f"#!{sys.executable}", imports, *parts, call]), encoding="utf-8")
        self.path.chmod(0o755)

    @property
    def started(self):
        return self._notes.exists()

    @property
    def notes(self):
        return json.loads(self._notes.read_text(encoding="utf-8"))

    def left_nothing(self, folder):
        """Whether its processes and its folders below ``folder`` are gone, or are so within a moment."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            if not any(map(alive, self.notes["pids"])) and not list(folder.glob("ollama-*")):
                return True
            time.sleep(0.02)
        return False


def alive(pid):
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"  # a zombie waits for its new parent only


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


def ask(*prompts):
    return [Question(text, ({"role": "user", "content": text},)) for text in prompts]


# What is sent and what comes back


def test_the_file_is_created_with_the_projects_template_stop_and_system_and_removed(server, model, log):
    model.generate(ask("hello"), 64, log)
    created = json.loads(next(body for path, body in server.calls if path == "/api/create"))
    assert created["files"] == {"m.gguf": f"sha256:{model.sha256}"}
    assert created["template"].startswith("{{ range .Messages }}<|im_start|>")
    assert created["system"] == "Be brief."
    assert created["parameters"]["stop"] == ["<|im_end|>"]
    assert (f"/api/blobs/sha256:{model.sha256}", b"GGUF") in server.calls
    assert server.models == set()


def test_a_model_does_not_stay_in_the_memory_of_a_server_that_goes_on(server, model, log):
    model.generate(ask("hello"), 64, log)
    last = json.loads(server.calls[-1][1])
    assert (last["messages"], last["keep_alive"]) == ([], 0)


def test_each_answer_keeps_its_stop_reason_and_an_error_is_an_answer_too(server, model, log):
    stopped, cut, failed = model.generate(ask("hello", "long", "boom"), 64, log)
    assert (stopped.text, stopped.stop_reason) == ("hi", EOS)
    assert cut.stop_reason == LENGTH
    assert failed.stop_reason == ERROR
    assert "the runner ended" in failed.error
    assert server.models == set()


def test_answers_are_greedy_and_bounded(server, model, log):
    model.generate(ask("hello"), 17, log)
    options = next(json.loads(body)["options"] for _, body in server.calls if b"hello" in body)
    assert options["temperature"] == 0
    assert options["num_predict"] == 17


def test_a_conversation_is_rendered_as_it_is_sent(server, model, log):
    conversation = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert model.render([[*conversation, *ask("c")[0].messages], conversation], log) == [
        "rendered c",
        "rendered b",
    ]
    sent = [json.loads(body) for _, body in server.calls if b"_debug_render_only" in body]
    assert sent[1]["messages"] == conversation
    assert server.models == set()


def test_a_server_that_does_not_tell_its_prompts_is_one_clear_error(server, model, log):
    server.renders = False
    with pytest.raises(SeatrialError, match=r"does not tell the prompts(.|\n)*install a newer one"):
        model.render([ask("hello")[0].messages], log)
    assert server.models == set()


@pytest.mark.parametrize(
    ("refuse", "message"),
    [
        (
            "create",
            "could not create a model from this file and its Modelfile: template error: unexpected EOF",
        ),
        ("load", "could not load this file: unknown model architecture: 'martian'"),
    ],
)
def test_what_the_server_refuses_is_one_clear_error_about_the_file(server, model, log, refuse, message):
    server.refuse = refuse
    with pytest.raises(SeatrialError) as error:
        model.generate(ask("hello", "long"), 64, log)
    assert str(error.value) == f"{model.path}: Ollama {message}"
    assert server.models == set()


def test_another_version_than_the_one_that_answers_are_kept_under_does_not_answer(server, model, log):
    model.version = "0.23.0"
    with pytest.raises(SeatrialError, match=r"Ollama 0\.24\.0 answers where 0\.23\.0 did before"):
        model.generate(ask("hello"), 64, log)
    assert server.calls == []


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
from evals.models.ollama_server import find
with find()[0].client(pathlib.Path({str(log)!r})):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert made.left_nothing(log.parent)


# The real binary on a real file

needs_ollama = pytest.mark.skipif(not REAL, reason="no Ollama here: set SEATRIAL_OLLAMA to its binary")


@pytest.fixture
def real(no_server, monkeypatch, tmp_path):
    """The base model's file in the Ollama that is installed here."""
    monkeypatch.setenv("SEATRIAL_OLLAMA", REAL)
    recipe = load_recipe("smollm2-135m-cpu")
    gguf = base.locate(recipe.base, recipe.folder)
    decoding = {"temperature": 0, "max_tokens": 32, "context": 512}
    text, _ = modelfile(gguf, "Answer in one word.", decoding)
    version, reason = available()
    assert version, reason
    return OllamaModel("ollama", gguf, file_digest(gguf), text, version)


@needs_ollama
def test_the_real_ollama_renders_and_answers_with_our_template(real, log):
    user = {"role": "user", "content": "What is the capital of France?"}
    system = {"role": "system", "content": "Be kind."}
    alone, own, turns = real.render(
        [[user], [system, user], [user, {"role": "assistant", "content": "Paris"}, user]], log
    )
    asked = f"<|im_start|>user\n{user['content']}<|im_end|>\n"
    ours = "<|im_start|>system\nAnswer in one word.<|im_end|>\n"
    end = "<|im_start|>assistant\n"
    assert alone == ours + asked + end
    assert own == "<|im_start|>system\nBe kind.<|im_end|>\n" + asked + end
    assert turns == ours + asked + "<|im_start|>assistant\nParis<|im_end|>\n" + asked + end
    paris, cut = real.generate(ask(user["content"], "Write a long story about a ship."), 12, log)
    assert "Paris" in paris.text
    assert "<|im_end|>" not in paris.text
    assert (cut.stop_reason, cut.completion_tokens) == (LENGTH, 12)
    assert not list(log.parent.glob("ollama-*"))


@needs_ollama
def test_the_real_ollama_tells_why_it_cannot_load_a_file(real, log, tmp_path):
    real.path = tmp_path / "half.gguf"
    real.path.write_bytes(Path(base.__file__).read_bytes())
    real.sha256 = file_digest(real.path)
    with pytest.raises(SeatrialError, match=r"half\.gguf: Ollama could not create a model .*GGUF"):
        real.generate(ask("hello"), 4, log)
    assert not list(log.parent.glob("ollama-*"))
