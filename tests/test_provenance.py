"""The key of evidence names everything that decides it: inputs, questions, packages, code.

python -m pytest tests/test_provenance.py
"""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
from pathlib import Path

import pytest

from seatrial.evals import provenance
from seatrial.evals.fidelity import runtime, trained, weights
from seatrial.evals.models import Question, adapter
from seatrial.evals.models.llama_cpp import LlamaCppModel
from seatrial.evals.models.ollama import OllamaModel
from seatrial.evals.models.program import ProgramModel
from seatrial.training.store import Artifact, Step, Store, made_with
from tests.conftest import REPOSITORY

QUESTION = Question("q", ({"role": "user", "content": "Hello"},), "Hi")


def artifact(name: str) -> Artifact:
    return Artifact(Path(name), {"key": name, "files": {name: {"sha256": name}}, "facts": {}})


def llama(**changed) -> LlamaCppModel:
    given = {"name": "m", "path": Path("m.gguf"), "sha256": "a", "system": "s", "context": 64, "slots": 2}
    return LlamaCppModel(**given | changed)


def asked(**changed) -> trained.Asked:
    given = {"questions": [QUESTION], "rows": [QUESTION], "texts": ["a"], "system": "s", "max_tokens": 8}
    given["conversations"] = [[{"role": "user", "content": "a"}]]
    return trained.Asked(**given | changed)


OTHER = Question("q", ({"role": "user", "content": "Bye"},), "Hi")
REFERENCE = Question("q", ({"role": "user", "content": "Hello"},), "Hello to you")
A, B, C, D, E, Z = (artifact(name) for name in "abcdez")
# Each judging step: what makes it, what it is made of, and other values of each part.
STEPS = {
    "adapter-answer": (
        lambda **p: adapter.adapter_answer(**p),
        {"base": A, "adapter": B, "system": "s", "question": QUESTION},
        {"base": [Z], "adapter": [Z], "system": ["t"], "question": [OTHER]},
    ),
    "trained": (
        lambda merged, adapter, base, **p: trained.trained(merged, adapter, base, asked(**p)),
        {"merged": A, "adapter": B, "base": C},
        {
            **{"merged": [Z], "adapter": [Z, None], "base": [Z, None]},
            **{"questions": [[OTHER], []], "rows": [[OTHER], [REFERENCE], []], "texts": [["b"]]},
            **{"conversations": [[]], "system": ["t"], "max_tokens": [9]},
        },
    ),
    "weights": (
        lambda **p: weights.of_file(Path("m.gguf"), **p),
        {"file_sha256": "a", "f16": A, "quantised": B, "adapter": C, "base": D},
        {"file_sha256": ["z"], "f16": [Z], "quantised": [Z, None], "adapter": [Z, None], "base": [Z, None]},
    ),
    "fidelity": (
        lambda model, truth, inspect, **p: runtime.in_runtime(model, truth, asked(**p), inspect),
        {"model": llama(), "truth": A, "inspect": True},
        {
            "model": [llama(sha256="z"), llama(system="t"), llama(context=65), llama(slots=3)],
            **{"truth": [Z], "inspect": [False], "rows": [[OTHER], [REFERENCE]], "texts": [["b"]]},
        },
    ),
}
# What these packages and modules change, the key of each step must know.
PACKAGES = {
    "adapter-answer": {"torch", "transformers", "tokenizers", "jinja2", "peft"},
    "trained": {"torch", "transformers", "tokenizers", "jinja2", "peft", "bitsandbytes", "numpy"},
    "weights": {"gguf", "llama-cpp-python", "numpy", "torch"},
    "fidelity": {"llama-cpp-python", "jinja2", "numpy"},
}
MODULES = {
    "adapter-answer": {"seatrial.evals.models.adapter"},
    "trained": {"seatrial.evals.fidelity.trained", "seatrial.training.base_model"},
    "weights": {
        "seatrial.evals.fidelity.weights",
        "seatrial.evals.fidelity.strength",
        "seatrial.evals.fidelity.yardstick",
    },
    "fidelity": {
        "seatrial.evals.fidelity.runtime",
        "seatrial.evals.models.llama_cpp",
        "seatrial.evals.models.llama_worker",
    },
}


def made(name: str, **changed) -> Step:
    make, parts, _ = STEPS[name]
    return make(**{**parts, **changed})


@pytest.mark.parametrize("name", STEPS)
def test_whatever_a_step_is_made_of_changes_its_key(name):
    key = made(name).key
    assert key == made(name).key
    for part, others in STEPS[name][2].items():
        for other in others:
            assert made(name, **{part: other}).key != key, (part, other)


@pytest.mark.parametrize(("name", "package"), [(n, p) for n, ps in PACKAGES.items() for p in sorted(ps)])
def test_another_version_of_a_package_that_decides_changes_the_key(name, package, monkeypatch):
    key = _with_new_model(name).key
    _upgrade(monkeypatch, package)
    assert _with_new_model(name).key != key


@pytest.mark.parametrize(("name", "module"), [(n, m) for n, ms in MODULES.items() for m in sorted(ms)])
def test_another_code_changes_the_key(name, module, monkeypatch):
    key = _with_new_model(name).key
    known = provenance.syntax
    provenance.code.cache_clear()
    monkeypatch.setattr(
        provenance, "syntax", lambda asked: ast.parse("changed = 1") if asked == module else known(asked)
    )
    assert _with_new_model(name).key != key
    provenance.code.cache_clear()


def test_every_step_that_judges_says_what_decides_it():
    """Walks the code: a step made in evals/ has the packages and the code of its result in its parameters."""
    makers = {}
    for path in sorted((REPOSITORY / "evals").rglob("*.py")):
        for found in re.finditer(r'\bStep\(\s*"([\w-]+)"', path.read_text(encoding="utf-8")):
            makers[found[1]] = path
    assert set(STEPS) <= set(makers)
    for name, path in makers.items():
        assert "decided_by(" in path.read_text(encoding="utf-8"), f"{path} makes {name!r} and does not say"


def test_a_comment_or_the_layout_of_code_changes_no_key(monkeypatch, tmp_path):
    (tmp_path / "evals").mkdir()
    module = tmp_path / "evals" / "judge.py"
    monkeypatch.setattr(provenance, "ROOMS", {"seatrial.evals": tmp_path / "evals"})
    digests = []
    for text in ("x = [1, 2]\n", "# why\nx = [\n  1,\n  2,\n]\n", "x = [1, 3]\n"):
        module.write_text(text, encoding="utf-8")
        provenance.syntax.cache_clear()
        provenance.code.cache_clear()
        digests.append(provenance.code("seatrial.evals.judge"))
    provenance.syntax.cache_clear()
    provenance.code.cache_clear()
    assert digests[0] == digests[1] != digests[2]


def test_the_code_of_a_process_belongs_to_who_starts_it():
    assert "seatrial.evals.models.llama_worker" in provenance.closure("seatrial.evals.models.llama_cpp")


def test_an_upgrade_makes_evidence_again_and_leaves_what_training_made(tmp_path, monkeypatch):
    built = []

    def step(name, params) -> Step:
        def build(out, progress):
            built.append(name)
            return {}

        return Step(name, 1, params, {}, build, heavy=False)

    def run() -> Artifact:
        store = Store(tmp_path)
        store.build(
            step("judged", provenance.decided_by("seatrial.evals.fidelity.weights", packages=("peft",)))
        )
        return store.build(step("adapter", {"seed": 7}))

    assert made_with(run()) == {}
    version = importlib.metadata.version("peft")
    _upgrade(monkeypatch, "peft")
    assert made_with(run()) == {"peft": (version, "999")}
    assert built == ["judged", "adapter", "judged"]


MODELS = {
    "llama.cpp": (llama, "seatrial.evals.models.llama_cpp", "llama-cpp-python"),
    "ollama": (
        lambda: OllamaModel("m", Path("m.gguf"), "a", "FROM ./m.gguf", "0.24.0"),
        "seatrial.evals.models.ollama",
        "ollama",
    ),
    "program": (lambda: ProgramModel("m", sys.executable), "seatrial.evals.models.program", None),
}


@pytest.mark.parametrize("runtime", MODELS)
def test_answers_are_kept_by_the_code_and_the_packages_that_ask_for_them(runtime, monkeypatch):
    make, module, package = MODELS[runtime]
    before = make().identity
    assert before["runtime"] == runtime
    assert before["code"] == provenance.code(module)
    if package:
        _upgrade(monkeypatch, package)
        assert make().identity != before


def test_a_package_that_is_not_there_is_said_to_be_absent():
    assert provenance.versions("no-such-package") == {"no-such-package": "absent"}


def _with_new_model(name: str) -> Step:
    """The step, with a model whose identity is read now."""
    return made(name, **({"model": llama()} if name == "fidelity" else {}))


def _upgrade(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    known = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "999" if name == package else known(name))
