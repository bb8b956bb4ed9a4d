"""A stand-in that speaks Ollama's API: as a server that runs and as a binary to start."""

import inspect
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from seatrial.evals.models import Question

NOBODY = "http://127.0.0.1:9"  # the discard port: nobody listens


class Server(ThreadingHTTPServer):
    """The stand-in; ``calls`` holds what it was sent and ``models`` what it has."""

    def __init__(self, port=0, refuse="", renders=True):
        self.calls, self.models, self.refuse, self.renders, self.cut = [], set(), refuse, renders, 0
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
        if said == "endless":
            return self.stream(itertools.repeat("la "), "")
        known = {"hello": ("hi", "stop"), "long": ("la la", "length")}
        if said not in known:
            return self.answer(500, {"error": "the runner ended"})
        if request.get("stream"):
            return self.stream(*known[said])
        message = {"role": "assistant", "content": known[said][0]}
        self.answer(200, {"message": message, "done": True, "done_reason": known[said][1], "eval_count": 2})

    def stream(self, parts, reason):
        """One line a part, as Ollama sends an answer, until it is whole or nobody reads any more."""
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.end_headers()
        last = {"done": True, "done_reason": reason, "eval_count": 2}
        try:
            for part in [*parts, ""] if isinstance(parts, str) else parts:
                end = {"done": False} if part else last
                message = {"role": "assistant", "content": part}
                self.wfile.write(json.dumps({"message": message, **end}).encode() + b"\n")
        except OSError:
            self.server.cut += 1

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
        imports = "import itertools, json, os, signal, subprocess, sys, time\nfrom pathlib import Path\n"
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


def ask(*prompts):
    return [Question(text, ({"role": "user", "content": text},)) for text in prompts]
