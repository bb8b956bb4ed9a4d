"""A model's identity holds all that decides its answers, and nothing else: they are kept by it.

python -m pytest tests/test_identity.py
"""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from seatrial.evals import provenance
from seatrial.evals.fidelity.trained import Asked, TrainedModel
from seatrial.evals.models import llama_cpp
from seatrial.evals.models.adapter import AdapterModel
from seatrial.evals.models.decoded import DecodedModel
from seatrial.evals.models.llama_cpp import LlamaCppModel
from seatrial.evals.models.ollama import OllamaModel, named_there
from seatrial.evals.models.openai import OpenAIModel
from seatrial.evals.models.program import ProgramModel
from seatrial.evals.models.retrieval import RetrievalModel
from seatrial.training.store import Artifact
from tests.identities import imported_packages, modules

UNTRIED = object()


class Inner:
    """A model that says what it is."""

    name = "inner"

    def __init__(self, said: str = "a") -> None:
        self.identity = {"runtime": said}

    def sample(self) -> None: ...


def folder(path: Path, text: str) -> Path:
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(text, encoding="utf-8")
    return path


def llama(**changed) -> LlamaCppModel:
    given = {"name": "m", "path": Path("m.gguf"), "sha256": "a", "system": "s", "context": 64, "slots": 2}
    return LlamaCppModel(**given | changed)


def ollama(**changed) -> OllamaModel:
    given = {"name": "m", "path": Path("m.gguf"), "sha256": "a", "modelfile": "FROM ./m.gguf"}
    return OllamaModel(**given | {"version": "0.24.0"} | changed)


def program(**changed) -> ProgramModel:
    return ProgramModel(**{"name": "m", "command": sys.executable} | changed)


def endpoint(**changed) -> OpenAIModel:
    return OpenAIModel(**{"name": "m", "base_url": "http://127.0.0.1:1/v1", "model": "x"} | changed)


def peft_model(**changed) -> AdapterModel:
    here = {"folder": folder(Path("one"), "1"), "base": folder(Path("two"), "2")}
    return AdapterModel(**{"name": "m", "system": "s"} | here | changed)


def retrieval(**changed) -> RetrievalModel:
    return RetrievalModel(**{"name": "m", "inner": Inner(), "rows": [("a", "b")]} | changed)


def decoded(**changed) -> DecodedModel:
    return DecodedModel(**{"inner": Inner(), "max_tokens": 8, "temperature": 0.5, "seed": 0} | changed)


def kept(key: str) -> Artifact:
    return Artifact(Path(key), {"key": key})


def trained_model(**changed) -> TrainedModel:
    given = {"name": "merged", "outcome": lambda: kept("a"), "asked": Asked([], [], [], [], "", 8)}
    return TrainedModel(**given | changed)


# Each model: how it is made, other values of what decides its answers, and one of each part that does not.
MODELS = {
    LlamaCppModel: (
        llama,
        {
            **{"sha256": ["z"], "system": ["t"], "context": [65], "slots": [3], "threads": [1]},
            "grammar": ['root ::= "a"'],
        },
        {"name": "role", "path": Path("elsewhere/m.gguf")},
    ),
    OllamaModel: (
        ollama,
        {"sha256": ["z"], "version": ["0.25.0"], "modelfile": ["FROM ./m.gguf\nPARAMETER temperature 0"]},
        {"name": "role", "path": UNTRIED, "folder": Path()},  # its Modelfile names the file
    ),
    ProgramModel: (
        program,
        {"command": [f"{sys.executable} -u"], "system": ["t"], "long_lived": [True]},
        {"name": "role"},
    ),
    OpenAIModel: (
        endpoint,
        {
            **{"base_url": ["http://127.0.0.1:1/v2"], "model": ["y"], "system": ["t"], "temperature": [1.0]},
            **{"seed": [1], "tools": [[{}]], "extra": [{"top_p": 0.5}]},
            **{"length_field": ["max_completion_tokens"], "tells": [lambda: {"digest": "z"}]},
        },
        {"name": "role", "key_variable": "K", "concurrency": 9, "timeout": 9.0, "retries": 9},
    ),
    AdapterModel: (
        peft_model,
        {"folder": [Path("two")], "base": [Path("one")], "system": ["t"]},
        {"name": "role"},
    ),
    RetrievalModel: (
        retrieval,
        {"inner": [Inner("z")], "rows": [[("a", "c")]], "examples": [2]},
        {"name": "role"},
    ),
    DecodedModel: (
        decoded,
        {"inner": [Inner("z")], "max_tokens": [9], "temperature": [0.6], "seed": [1]},
        {},
    ),
    TrainedModel: (
        trained_model,
        {"name": ["adapter"], "outcome": [lambda: kept("z")]},
        {"asked": Asked([], [], [], [], "t", 9)},  # it is part of the outcome's key
    ),
}
# Packages that a model's code imports and that do not decide its answers.
UNUSED = {
    LlamaCppModel: {"transformers"},  # whose clock the same module stops in other processes
    OllamaModel: {"openai"},  # by which models are asked that a server has under a name
}
OWN_CODE = set(MODELS) - {TrainedModel}  # its answers are kept with the step that computed them


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def identity(kind: type, **changed) -> str:
    return json.dumps(MODELS[kind][0](**changed).identity, sort_keys=True)


def named(kind: type) -> str:
    return kind.__name__


@pytest.mark.parametrize("kind", MODELS, ids=named)
def test_what_decides_a_model_s_answers_is_its_identity_and_nothing_else(kind, here):
    _, decisive, silent = MODELS[kind]
    known = identity(kind)
    for part, others in decisive.items():
        for other in others:
            assert identity(kind, **{part: other}) != known, (part, other)
    for part, other in silent.items():
        assert other is UNTRIED or identity(kind, **{part: other}) == known, part


@pytest.mark.parametrize("kind", MODELS, ids=named)
def test_every_parameter_of_a_model_is_tried(kind):
    _, decisive, silent = MODELS[kind]
    assert set(inspect.signature(kind).parameters) == {*decisive, *silent}


def test_every_model_is_tried_here():
    """Walks the code of evals/: whatever has an identity is among ``MODELS``."""
    found = {
        f"{module}.{node.name}"
        for module, tree in modules("evals")
        for node in tree.body
        if isinstance(node, ast.ClassDef) and "Protocol" not in map(ast.unparse, node.bases)
        if any(_gives_identity(each) for each in ast.walk(node))
    }
    assert found == {f"{kind.__module__}.{kind.__name__}" for kind in MODELS}


def _gives_identity(node: ast.AST) -> bool:
    if isinstance(node, ast.FunctionDef):
        return node.name == "identity"
    return isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "self.identity"


@pytest.mark.parametrize("kind", sorted(OWN_CODE - {DecodedModel}, key=named), ids=named)
def test_the_packages_that_a_model_s_code_imports_are_in_its_identity(kind, here):
    packages = set(MODELS[kind][0]().identity.get("packages", {}))
    assert imported_packages(kind.__module__) - UNUSED.get(kind, set()) <= packages


@pytest.mark.parametrize(
    ("kind", "package"),
    [
        *[(LlamaCppModel, each) for each in ("llama-cpp-python", "jinja2", "numpy")],
        *[(AdapterModel, each) for each in ("torch", "transformers", "peft", "bitsandbytes", "jinja2")],
        *[(OllamaModel, "ollama"), (OpenAIModel, "openai")],
        *[(RetrievalModel, each) for each in ("bm25s", "numpy")],
    ],
)
def test_another_version_of_a_package_makes_another_model(kind, package, here, monkeypatch):
    before, known = identity(kind), importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "999" if name == package else known(name))
    assert identity(kind) != before


@pytest.mark.parametrize("kind", sorted(OWN_CODE, key=named), ids=named)
def test_another_code_makes_another_model(kind, here, monkeypatch):
    before, known = identity(kind), provenance.syntax
    provenance.code.cache_clear()
    monkeypatch.setattr(
        provenance, "syntax", lambda name: ast.parse("x = 1") if name == kind.__module__ else known(name)
    )
    assert identity(kind) != before
    provenance.code.cache_clear()


# --- llama.cpp: its build, its environment, the machine --------------------------------------------------
def test_a_llama_cpp_built_for_another_device_makes_another_model(here, monkeypatch):
    package = folder(here / "llama_cpp", "")
    (package / "__init__.py").touch()
    folder(package / "lib", "")
    for name in ("libggml-base.so", "libggml-cpu.so.0.9", "libllama.so"):
        (package / "lib" / name).touch()
    monkeypatch.syspath_prepend(here)
    monkeypatch.delitem(sys.modules, "llama_cpp", raising=False)
    assert llama().identity["build"] == {"backends": ["base", "cpu"]}
    (package / "lib" / "libggml-cuda.so").touch()
    assert llama().identity["build"] == {"backends": ["base", "cpu", "cuda"]}


def test_a_llama_cpp_of_one_s_own_counts_by_its_bytes(here, monkeypatch):
    known = identity(LlamaCppModel)
    monkeypatch.setenv("LLAMA_CPP_LIB_PATH", str(folder(here / "own", "1")))
    first = identity(LlamaCppModel)
    folder(here / "own", "2")
    assert len({known, first, identity(LlamaCppModel)}) == 3


def test_what_ggml_is_told_by_the_environment_makes_another_model(monkeypatch):
    known = identity(LlamaCppModel)
    monkeypatch.setenv("GGML_CUDA_FORCE_MMQ", "1")
    assert identity(LlamaCppModel) != known


def test_the_number_of_processors_is_no_part_of_a_model(monkeypatch):
    """Machines share answers; a number of threads that is asked for makes another model."""
    known = identity(LlamaCppModel)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(64))
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert identity(LlamaCppModel) == known
    assert llama()._load["threads"] == llama_cpp.processors() == 64
    assert llama().variant(2, 1).identity != llama().identity


# --- programs: their files -------------------------------------------------------------------------------
def write(path: str | Path, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")


FILES = {
    "answer.py": "import helper\nfrom package import rules\n",
    "helper.py": "",
    "package/__init__.py": "",
    "package/rules.py": "from . import words\n",
    "package/words.py": "",
    "app/__main__.py": "import sibling\n",
    "app/sibling.py": "",
    "tool": "#!/usr/bin/env python\nimport helper\n",
    "rules/a.txt": "",
    "rules/.hidden": "",
    "rules.json": "",
    "src/far.py": "",
    "unrelated.py": "",
}
IMPORTED = ["package/__init__.py", "package/rules.py", "package/words.py"]
RUN = {
    "python answer.py": ["answer.py", "helper.py", *IMPORTED],
    "python -m package.rules": IMPORTED,
    "python -m app": ["app/__main__.py", "app/sibling.py"],
    "python app": ["app/__main__.py", "app/sibling.py"],
    "python tool": ["tool", "helper.py"],
    "python -m far": ["src/far.py"],
    "cat --rules=rules.json": ["rules.json"],
    "cat --rules rules": ["rules/a.txt"],
    "cat --rules=rules": ["rules/a.txt"],
}


@pytest.mark.parametrize(("command", "files"), RUN.items(), ids=RUN)
def test_a_file_that_a_program_runs_on_makes_another_model(command, files, here, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "src")
    for path, text in FILES.items():
        write(path, text)
    command = command.replace("python ", f"{sys.executable} ")
    for path, text in FILES.items():
        known = identity(ProgramModel, command=command)
        write(path, text + "# changed\n")
        assert (identity(ProgramModel, command=command) != known) == (path in files), path


def test_a_program_on_the_path_counts_by_its_bytes(here, monkeypatch):
    monkeypatch.setenv("PATH", f"{here / 'bin'}{os.pathsep}{os.environ['PATH']}")
    write("bin/tool", "#!/bin/sh\n")
    os.chmod("bin/tool", 0o755)
    known = identity(ProgramModel, command="tool")
    write("bin/tool", "#!/bin/sh\ncat\n")
    assert identity(ProgramModel, command="tool") != known


def test_where_a_repository_lies_is_no_part_of_its_program(tmp_path, monkeypatch):
    found = []
    for name in ("one", "two"):
        for task in ("task", "other"):
            write(tmp_path / name / task / "answer.py", "import helper\n")
            write(tmp_path / name / task / "helper.py", "")
        monkeypatch.chdir(tmp_path / name)
        command = f"{sys.executable} {tmp_path / name / 'task' / 'answer.py'}"
        found.append(identity(ProgramModel, command=command))
        assert identity(ProgramModel, command=command.replace("task", "other")) != found[0]
    assert found[0] == found[1]


@pytest.mark.parametrize("text", ["def (", "import", "\0", "# coding: nonsense\n", "from . import x"])
def test_a_program_that_python_cannot_read_is_kept_by_its_own_file(text, here):
    write("answer.py", text)
    assert "answer.py" in program(command=f"{sys.executable} answer.py").identity["files"]


def test_a_folder_around_the_run_is_not_read(here):
    """It holds the reports, which every run changes, and perhaps the store."""
    known = identity(ProgramModel, command="cat .")
    write("reports/results.json", "{}")
    assert identity(ProgramModel, command="cat .") == known


# --- a model that Ollama has under a name ----------------------------------------------------------------
def test_a_name_in_ollama_that_was_pulled_again_is_another_model():
    models = [{"name": "m:latest", "digest": "1"}, {"name": "n:1", "digest": "2"}]
    served = {"version": "0.24.0", "models": models}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = json.dumps(served).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        assert named_there(address, "m") == {"ollama": "0.24.0", "digest": "1"}
        assert named_there(address, "n:1") == {"ollama": "0.24.0", "digest": "2"}
        assert named_there(address, "absent") == {"ollama": "0.24.0"}
        models[0]["digest"] = "3"
        assert named_there(address, "m")["digest"] == "3"
        server.shutdown()
    assert named_there(address, "m") == {}
