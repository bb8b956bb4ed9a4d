"""Models that were made elsewhere, of families other than the example's, through the gate: a right file is
green in every check, and a file with one thing changed is red where it was changed.

python -m pytest tests/test_fidelity.py
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import save_file

from seatrial.evals.fidelity.metadata import compare, read_header
from seatrial.training import steps
from seatrial.training.base import locate
from seatrial.training.recipe import load_recipe
from seatrial.training.store import Store, default_root
from tests.conftest import MINIATURE, REPOSITORY, clean_environment
from tests.sabotage import gguf_edit

CRITERIA = """
[[criteria]]
id = "FIDELITY.metadata"
title = "Metadata"
metric = "metadata_parity"
at_least = 1.0
why = "test"

[[criteria]]
id = "FIDELITY.weights"
title = "Weights"
metric = "weights_parity"
at_least = 1.0
why = "test"

[[criteria]]
id = "FIDELITY.tokens"
title = "Tokens"
metric = "token_parity"
at_least = 1.0
why = "test"

[[criteria]]
id = "FIDELITY.prompt"
title = "Prompts"
metric = "prompt_parity"
at_least = 1.0
why = "test"

[[criteria]]
id = "FIDELITY.kl"
title = "Divergence"
metric = "kl_divergence"
cases = "heldout"
at_most = 0.001
least_cases = 3
stage = "conversion"
why = "test"

[[criteria]]
id = "FIDELITY.adapter"
title = "Adapter"
metric = "adapter_strength_error"
at_most = 0.25
required = false
why = "test"
"""
WAIVERS = """
[waivers]
contract = "test"
stopping = "test"
base = "test"
export = "test"
"""


@dataclass(frozen=True)
class Shape:
    """A tiny model and its F16 export."""

    hf_model: Path
    gguf: Path


@pytest.fixture(scope="module")
def store() -> Store:
    return Store(default_root())


@pytest.fixture(scope="module")
def task(tmp_path_factory) -> Path:
    """The miniature, judged by its fidelity alone."""
    folder = shutil.copytree(
        MINIATURE, tmp_path_factory.mktemp("task") / "lamp", ignore=shutil.ignore_patterns("__pycache__")
    )
    text = (folder / "task.toml").read_text(encoding="utf-8")
    (folder / "task.toml").write_text(
        text.partition("[[criteria]]")[0] + CRITERIA + WAIVERS, encoding="utf-8"
    )
    for cases in folder.glob("cases/*.jsonl"):  # no criterion here reads an expectation, so there is none
        rows = [json.loads(line) for line in cases.read_text(encoding="utf-8").splitlines()]
        cases.write_text(
            "".join(json.dumps({k: v for k, v in row.items() if k != "expect"}) + "\n" for row in rows)
        )
    return folder


@pytest.fixture(scope="module")
def shapes(store, tmp_path_factory):
    """Makes a shape when it is first asked for."""
    tokenizer = store.build(steps.import_base(load_recipe("smollm2-135m-cpu"))).path
    converter = store.build(steps.fetch_converter())
    folder, made = tmp_path_factory.mktemp("shapes"), {}

    def shape(name: str) -> Shape:
        if name not in made:
            out = folder / name
            subprocess.run(
                [sys.executable, str(MINIATURE / "make_shapes.py"), name, str(tokenizer), str(out)],
                check=True,
            )
            given = store.build(steps.take_in_folder(out, "model"))
            made[name] = Shape(out, steps.gguf_file(store.build(steps.convert(given, converter, "lamp"))))
        return made[name]

    return shape


def gate(task: Path, folder: Path, *options: str) -> tuple[int, dict, str]:
    """One run of the gate: exit status, verdicts by criterion, output."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-m", "release", "-p", "no:cacheprovider"]
        + [
            f"--task={task}",
            f"--train={task / 'train.jsonl'}",
            f"--report-dir={folder / 'reports'}",
            *options,
        ],
        cwd=REPOSITORY,
        env={**clean_environment(), "SEATRIAL_STORE": str(default_root())},
        capture_output=True,
        text=True,
        timeout=300,
    )
    results = json.loads(next((folder / "reports").glob("lamp/[0-9]*/results.json")).read_text("utf-8"))
    given = next(Path(text.removeprefix("--gguf=")) for text in options if text.startswith("--gguf="))
    assert results["shipped"]["name"] == given.name  # though no criterion of export asked for it
    return done.returncode, {v["criterion"]: v for v in results["verdicts"]}, done.stdout + done.stderr


# Those whose templates refuse a system prompt are judged from their training on: test_families.py
@pytest.mark.parametrize("name", ["llama3", pytest.param("qwen2", marks=pytest.mark.long)])
def test_a_right_export_of_another_family_is_green(name, shapes, task, tmp_path):
    shape = shapes(name)
    status, verdicts, output = gate(task, tmp_path, f"--gguf={shape.gguf}", f"--hf-model={shape.hf_model}")
    assert {v["criterion"]: v["status"] for v in verdicts.values() if v["required"]} == {
        "DATA.leakage": "PASS",
        "FIDELITY.metadata": "PASS",
        "FIDELITY.weights": "PASS",
        "FIDELITY.tokens": "PASS",  # of Qwen, too: what llama.cpp always does otherwise is no fault
        "FIDELITY.prompt": "PASS",
        "FIDELITY.kl": "PASS",
    }, output
    assert status == 0, output
    assert verdicts["FIDELITY.adapter"]["reason"] == "the adapter is not here: give it with --adapter=DIR"


def test_a_file_alone_is_asked_and_the_rest_is_not_evaluated(shapes, task, tmp_path):
    status, verdicts, output = gate(task, tmp_path, f"--gguf={shapes('llama3').gguf}")
    assert status == 10, output
    for name in ("metadata", "weights", "tokens", "prompt", "kl"):
        assert verdicts[f"FIDELITY.{name}"]["status"] == "NOT EVALUATED"
        assert "--hf-model=DIR" in verdicts[f"FIDELITY.{name}"]["reason"]


def test_another_model_under_the_same_name_is_red(shapes, task, tmp_path):
    """The file of one training with the folder of another: only the weights differ."""
    shape, other = shapes("llama3"), tmp_path / "other"
    shutil.copytree(shape.hf_model, other)
    with safe_open(other / "model.safetensors", framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    name = "model.layers.1.mlp.up_proj.weight"
    save_file({**tensors, name: tensors[name] * 1.1}, other / "model.safetensors", {"format": "pt"})
    status, verdicts, output = gate(task, tmp_path, f"--gguf={shape.gguf}", f"--hf-model={other}")
    assert status == 1, output
    assert verdicts["FIDELITY.metadata"]["status"] == "PASS"
    assert [miss["case"] for miss in verdicts["FIDELITY.weights"]["misses"]] == ["blk.1.ffn_up.weight"]
    assert verdicts["FIDELITY.weights"]["stages"] == ["conversion"]


def test_every_wrong_value_of_a_header_is_found_at_its_stage(shapes, tmp_path):
    shape = shapes("llama3")
    header = read_header(shape.gguf)
    tokenizer = {
        "eos": header.fields["tokenizer.ggml.eos_token_id"],
        "bos": header.fields["tokenizer.ggml.bos_token_id"],
        "pad": header.fields["tokenizer.ggml.padding_token_id"],
        "ends": [],
        "template": header.fields["tokenizer.chat_template"],
    }
    assert [f for f in compare(shape.gguf, shape.hf_model, tokenizer, shape.gguf, None) if not f.ok] == []
    wrong = {
        "tokenizer.ggml.eos_token_id": (17, "eos token id", "tokenizer"),
        "llama.context_length": (4096, "context_length", "conversion"),
        "llama.rope.freq_base": (1e4, "rope.freq_base", "conversion"),
        "tokenizer.chat_template": ("{{ x }}", "chat template", "template"),
        "tokenizer.ggml.pre": ("default", "tokenizer.ggml.pre", "tokenizer"),
    }
    content, copy = gguf_edit.read(shape.gguf), tmp_path / "wrong.gguf"
    for key, (value, _, _) in wrong.items():
        content[key] = value
    gguf_edit.write(content, copy)
    found = compare(copy, shape.hf_model, tokenizer, shape.gguf, None)
    against_config = {(check, stage) for _, check, stage in wrong.values()}
    against_export = {(key, stage) for key, (_, _, stage) in wrong.items()}
    assert {(f.check, f.stage) for f in found if not f.ok} == against_config | against_export


def test_a_file_that_ends_too_early_is_said_to_be_none(shapes, tmp_path):
    shape = shapes("llama3")
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(shape.gguf.read_bytes()[:-4096])
    (finding,) = compare(cut, shape.hf_model, {}, shape.gguf, None)
    assert (finding.check, finding.stage, finding.ok) == ("readable", "file", False)


def test_a_published_file_is_judged_without_anything_else(task, tmp_path):
    """The base model's own GGUF file, as it lies in its package: a real file that we did not make."""
    recipe = load_recipe("smollm2-135m-cpu")
    published = locate(recipe.base, recipe.folder)
    text = (task / "task.toml").read_text(encoding="utf-8")
    asked = shutil.copytree(task, tmp_path / "asked")
    criteria = (
        '[[criteria]]\nid = "SC-4.gguf"\ntitle = "t"\nmetric = "gguf_answers"\nat_least = 0\nwhy = "w"\n'
    )
    (asked / "task.toml").write_text(text.partition("[[criteria]]")[0] + criteria + WAIVERS, encoding="utf-8")
    status, verdicts, output = gate(asked, tmp_path, f"--gguf={published}", f"--base-gguf={published}")
    assert (status, verdicts["SC-4.gguf"]["status"]) == (0, "PASS"), output
    assert verdicts["SC-4.gguf"]["measured"]["n"] == 1
