"""The key of evidence names everything that decides it: inputs, questions, packages, code.

python -m pytest tests/test_provenance.py
"""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
from pathlib import Path
from types import SimpleNamespace

import pytest

from seatrial.evals import provenance
from seatrial.evals.evidence import Evidence
from seatrial.evals.fidelity import runtime, trained, weights
from seatrial.evals.models import Question, adapter
from seatrial.evals.models.llama_cpp import LlamaCppModel
from seatrial.evals.models.ollama import OllamaModel
from seatrial.evals.report.document import _upgraded
from seatrial.training import train_steps
from seatrial.training.recipe import load_recipe
from seatrial.training.store import Artifact, Step, Store, made_with
from tests.identities import functions, imported_packages, imports, modules

QUESTION = Question("q", ({"role": "user", "content": "Hello"},), "Hi")


def artifact(name: str, **facts) -> Artifact:
    return Artifact(Path(name), {"key": name, "files": {name: {"sha256": name}}, "facts": facts})


def llama(**changed) -> LlamaCppModel:
    given = {"name": "m", "path": Path("m.gguf"), "sha256": "a", "system": "s", "context": 64, "slots": 2}
    return LlamaCppModel(**given | changed)


def _asked(changed) -> trained.Asked:
    given = {"questions": [QUESTION], "rows": [QUESTION], "texts": ["a"], "system": "s", "max_tokens": 8}
    given["conversations"] = [[{"role": "user", "content": "a"}]]
    return trained.Asked(**given | dict(changed))


def ollama(**changed) -> OllamaModel:
    given = {"name": "m", "path": Path("m.gguf"), "sha256": "a", "modelfile": "FROM ./m.gguf"}
    return OllamaModel(**given | {"version": "0.24.0"} | changed)


def answers(**changed) -> Step:
    given = {"model": llama(), "questions": [QUESTION], "kind": "generations", "case_set": "c", "build": None}
    given |= changed
    return Evidence._step(None, **given.pop("more", {"max_tokens": 8}), **given)


OTHER = Question("q", ({"role": "user", "content": "Bye"},), "Hi")
REFERENCE = Question("q", ({"role": "user", "content": "Hello"},), "Hello to you")
RENAMED = Question("r", ({"role": "user", "content": "Hello"},), "Hi")
A, B, C, D, Z = (artifact(name) for name in "abcdz")
HELD = artifact("b", compute_dtype="bfloat16")  # the same adapter, trained beside another base
LLAMAS = [llama(sha256="z"), llama(system="t"), llama(context=65), llama(slots=3), llama(grammar="g")]
TALK = [[{"role": "user", "content": "a"}]]
# Each judging step: what makes it, how that is called here, what it is made of, other values of each part that
# decides its result, and other values of what does not.
STEPS = {
    "adapter-answer": (
        adapter.adapter_answer,
        adapter.adapter_answer,
        {"base": A, "adapter": B, "system": "s", "question": QUESTION},
        {"base": [Z], "adapter": [Z], "system": ["t"], "question": [OTHER]},
        {"question": [RENAMED]},
    ),
    "trained": (
        trained.trained,
        lambda asked, **p: trained.trained(asked=_asked(asked), **p),
        {"merged": A, "adapter": B, "base": C, "asked": {}},
        {
            **{"merged": [Z], "adapter": [Z, HELD, None], "base": [Z, None], "sft": [D]},
            "asked": [
                *[{"questions": each} for each in ([OTHER], [])],
                *[{"rows": each} for each in ([OTHER], [REFERENCE], [])],
                *[{"texts": ["b"]}, {"conversations": []}, {"system": "t"}, {"max_tokens": 9}],
                {"further": [OTHER]},
            ],
        },
        {"asked": [{"questions": [RENAMED]}]},
    ),
    "weights": (
        weights.of_file,
        weights.of_file,
        {"file": Path("m.gguf"), "file_sha256": "a", "f16": A, "quantised": C, "adapter": B, "base": D},
        {
            **{"file_sha256": ["z"], "f16": [Z], "quantised": [Z, None], "adapter": [Z, HELD, None]},
            **{"base": [Z, None], "given": [True]},
        },
        {"file": [Path("elsewhere/n.gguf")]},
    ),
    "fidelity": (
        runtime.in_runtime,
        lambda asked, **p: runtime.in_runtime(asked=_asked(asked), **p),
        {"model": llama(), "truth": A, "inspect": True, "asked": {}},
        {
            **{"model": LLAMAS, "truth": [Z], "inspect": [False]},
            "asked": [{"rows": [OTHER]}, {"rows": [REFERENCE]}, {"texts": ["b"]}, {"conversations": []}],
        },
        {"model": [llama(name="role"), llama(path=Path("elsewhere/m.gguf"))]},
    ),
    "file-prompts": (
        runtime.rendered_in_llama_cpp,
        runtime.rendered_in_llama_cpp,
        {"model": llama(), "conversations": TALK},
        {"model": LLAMAS, "conversations": [[]]},
        {"model": [llama(name="role")]},
    ),
    "ollama-prompts": (
        runtime.rendered_in_ollama,
        runtime.rendered_in_ollama,
        {"model": ollama(), "conversations": TALK},
        {"model": [ollama(version="0.25.0"), ollama(sha256="z")], "conversations": [[]]},
        {"model": [ollama(name="role")]},
    ),
    "answers": (
        Evidence._step,
        answers,
        {"model": llama()},
        {
            **{"model": LLAMAS, "questions": [[OTHER], [REFERENCE], []], "kind": ["samples"]},
            "more": [{"max_tokens": 9}, {"max_tokens": 8, "seed": 1}, {"max_tokens": 8, "machine": ["n"]}],
        },
        {"model": [llama(name="role")], "questions": [[RENAMED]], "case_set": ["d"], "build": [print]},
    ),
}
# What these packages and modules change, the key of each step must know.
PACKAGES = {
    "adapter-answer": {"torch", "transformers", "tokenizers", "jinja2", "peft", "bitsandbytes"},
    "trained": {"torch", "transformers", "tokenizers", "jinja2", "peft", "bitsandbytes", "numpy"},
    "weights": {"gguf", "llama-cpp-python", "numpy", "torch"},
    "fidelity": {"llama-cpp-python", "jinja2", "numpy"},
    "file-prompts": {"llama-cpp-python", "jinja2"},
    "answers": {"llama-cpp-python", "jinja2", "numpy"},
}
# Packages that the code of a step imports and that do not decide it: the truth was computed by them, and its
# digest is an input, or the module makes other steps with them.
OF_THE_TRUTH = {"torch", "transformers", "tokenizers", "peft", "bitsandbytes", "safetensors"}
OF_OTHERS = {
    "fidelity": OF_THE_TRUTH,
    "file-prompts": OF_THE_TRUTH,
    "ollama-prompts": OF_THE_TRUTH | {"openai", "llama-cpp-python", "numpy"},
}
MODULES = {
    "adapter-answer": {"seatrial.evals.models.adapter"},
    "trained": {"seatrial.evals.fidelity.trained", "seatrial.training.base_model"},
    "weights": {
        "seatrial.evals.fidelity.weights",
        "seatrial.evals.fidelity.strength",
        "seatrial.evals.fidelity.yardstick",
        "seatrial.evals.fidelity.tensor_errors",
        "seatrial.evals.fidelity.blame",
    },
    "fidelity": {
        "seatrial.evals.fidelity.runtime",
        "seatrial.evals.models.llama_cpp",
        "seatrial.evals.models.llama_worker",
    },
}


def made(name: str, **changed) -> Step:
    _, make, parts, _, _ = STEPS[name]
    return make(**{**parts, **changed})


@pytest.mark.parametrize("name", STEPS)
def test_whatever_a_step_is_made_of_changes_its_key(name):
    key = made(name).key
    assert key == made(name).key
    for part, others in STEPS[name][3].items():
        for other in others:
            assert made(name, **{part: other}).key != key, (part, other)


@pytest.mark.parametrize("name", STEPS)
def test_what_decides_nothing_changes_no_key(name):
    for part, others in STEPS[name][4].items():
        for other in others:
            assert made(name, **{part: other}).key == made(name).key, (part, other)


@pytest.mark.parametrize("name", STEPS)
def test_every_parameter_of_a_step_is_tried(name):
    maker, _, _, others, silent = STEPS[name]
    assert set(inspect.signature(maker).parameters) - {"self"} == {*others, *silent}


@pytest.mark.parametrize("name", sorted(set(STEPS) - {"answers"}))
def test_the_packages_that_a_step_s_code_imports_are_in_its_key(name):
    params = made(name).params
    named = {*params["packages"], *params.get("model", {}).get("packages", ())}
    assert imported_packages(STEPS[name][0].__module__) - OF_OTHERS.get(name, set()) <= named


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


def test_every_step_that_judges_is_tried_here():
    """Walks the code of evals/: whatever makes a step of the store is among ``STEPS``."""
    makers = {
        f"{module}.{function}"
        for module, tree in modules("evals")
        if any(imports(node, "seatrial.training.store", "Step") for node in ast.walk(tree))
        for function, node in functions(tree)
        if any(isinstance(call, ast.Call) and ast.unparse(call.func) == "Step" for call in ast.walk(node))
    }
    assert makers == {f"{maker.__module__}.{maker.__name__}" for maker, *_ in STEPS.values()}


# --- what is trained -------------------------------------------------------------------------------------
# Another value of every setting of a recipe that trains, and the settings that decide neither adapter nor stage.
SETTINGS = {
    "trainer": {
        **{"seed": 99, "epochs": 9.5, "batch_size": 77, "gradient_accumulation": 77, "learning_rate": 0.5},
        **{"scheduler": "constant_with_warmup", "warmup_ratio": 0.7, "weight_decay": 0.7, "max_length": 777},
        **{"validation_rows": 77, "early_stopping_patience": 77, "neftune_alpha": 7.7, "packing": True},
        **{"compute_dtype": "float16", "gradient_checkpointing": True, "optimizer": "adamw_torch"},
        **{"order": "length", "report_to": "wandb"},
    },
    "lora": {
        **{"r": 77, "alpha": 7.7, "dropout": 0.7, "target_modules": ("x",), "rslora": True, "dora": True},
        "modules_to_save": ("lm_head",),
    },
    "preference": {
        **{"method": "other", "beta": 0.7, "learning_rate": 0.5, "epochs": 9.5, "batch_size": 77},
        **{"gradient_accumulation": 77, "max_length": 777, "validation_pairs": 77, "warmup_ratio": 0.7},
        **{"scheduler": "constant_with_warmup", "sft_weight": 0.7},
    },
}
NOT_OF_THE_ADAPTER = {"report_to"}  # it tells a tracker
NOT_OF_THE_STAGE = {
    name for name in SETTINGS["trainer"] if name not in ("seed", "compute_dtype", "optimizer")
}


@pytest.mark.parametrize("part", SETTINGS)
def test_every_setting_of_a_recipe_that_trains_is_in_a_key(part, tmp_path, monkeypatch):
    monkeypatch.setattr(train_steps, "require_tracker", lambda name: None)
    monkeypatch.setattr(train_steps, "resolve_dtype", lambda wanted: wanted)
    recipe = load_recipe("smollm2-135m-cpu-dpo")
    base = Artifact(tmp_path, {"key": "base", "files": {}, "facts": {}})

    def keys(**changed) -> tuple[str, str]:
        other = recipe.model_copy(update={part: getattr(recipe, part).model_copy(update=changed)})
        return train_steps.train_adapter(other, base, A).key, train_steps.prefer(other, base, B, C).key

    assert set(type(getattr(recipe, part)).model_fields) == set(SETTINGS[part]), "every setting is tried"
    known = keys()
    for name, value in SETTINGS[part].items():
        adapter, stage = (one != other for one, other in zip(keys(**{name: value}), known, strict=True))
        assert adapter == (part != "preference" and name not in NOT_OF_THE_ADAPTER), name
        assert stage == (part == "preference" or (part == "trainer" and name not in NOT_OF_THE_STAGE)), name


def test_neither_comments_nor_docstrings_nor_the_layout_of_code_change_a_key(monkeypatch, tmp_path):
    (tmp_path / "evals").mkdir()
    module = tmp_path / "evals" / "judge.py"
    monkeypatch.setattr(provenance, "ROOMS", {"seatrial.evals": tmp_path / "evals"})
    digests = []
    same = ("x = [1, 2]\n", "# why\nx = [\n  1,\n  2,\n]\n", '"""Why."""\nx = [1, 2]\n"""What."""\n')
    for text in (*same, "x = [1, 3]\n"):
        module.write_text(text, encoding="utf-8")
        provenance.syntax.cache_clear()
        provenance.code.cache_clear()
        digests.append(provenance.code("seatrial.evals.judge"))
    provenance.syntax.cache_clear()
    provenance.code.cache_clear()
    assert digests[0] == digests[1] == digests[2] != digests[3]


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


def test_the_report_says_with_what_a_model_was_trained_though_it_was_exported_today():
    now = importlib.metadata.version("peft")
    made = [("base", "0.1"), ("adapter", "0.2"), ("gguf", now), ("quantized", now)]
    chain = [{"step": step, "packages": {"peft": version}} for step, version in made]
    told = {"peft": {"made": "0.2", "judged": now}}
    assert _upgraded(SimpleNamespace(shipped=chain[-1], chain=chain)) == told
    assert _upgraded(SimpleNamespace(shipped=chain[-1], chain=chain[2:])) == {}
    assert _upgraded(SimpleNamespace(shipped={"step": "given-file"}, chain=chain)) == {}


def test_a_package_that_is_not_there_is_said_to_be_absent():
    assert provenance.versions("no-such-package") == {"no-such-package": "absent"}


def _with_new_model(name: str) -> Step:
    """The step, with a model whose identity is read now."""
    return made(name, **({"model": llama()} if "model" in STEPS[name][2] else {}))


def _upgrade(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    known = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "999" if name == package else known(name))
