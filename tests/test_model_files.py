"""Which files of a folder or repository are the model, and folders that are none.

python -m pytest tests/test_model_files.py
"""

from __future__ import annotations

import json
import shutil
import tomllib
from dataclasses import dataclass

import numpy as np
import pytest
from safetensors.numpy import save_file

from seatrial.training import base, model_files, steps
from seatrial.training.errors import SeatrialError
from seatrial.training.recipe import Base, load_recipe
from seatrial.training.store import Store, default_root
from tests.conftest import REPOSITORY
from tests.test_hub import Told

SMALL = ["config.json", "tokenizer.json", "chat_template.jinja", "LICENSE", "tokenizer.model", "vocab.json"]
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
OTHERS = [
    "README.md",
    "adapter_config.json",
    "consolidated.safetensors",
    "flax_model.msgpack",
    "model-Q4_K_M.gguf",
    "model.fp16.safetensors",
    "onnx/model.onnx",
    "original/consolidated.00.pth",
    "original/tokenizer.model",
    "tf_model.h5",
    "training_args.bin",
]


def index(*shards):
    return json.dumps({"weight_map": {f"tensor{n}": shard for n, shard in enumerate(shards)}})


def taken(names, read=lambda name: index(*SHARDS)):
    return sorted({*model_files.weights(names, read, "here"), *model_files.beside(names)})


PICKLES = ["pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-00001-of-00002.bin"]


@pytest.mark.parametrize(
    ("there", "left_behind"),
    [
        (["model.safetensors"], PICKLES),
        (["model.safetensors"], [model_files.SAFE_INDEX, *SHARDS]),
        ([model_files.SAFE_INDEX, *SHARDS], [*PICKLES, "model-00003-of-00003.safetensors"]),
        (["pytorch_model.bin"], ["pytorch_model.bin.index.json"]),
    ],
)
def test_weights_are_taken_once_as_transformers_prefers_them(there, left_behind):
    assert taken([*SMALL, *there, *left_behind, *OTHERS]) == sorted([*SMALL, *there])


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ([], "no model here"),
        (["config.json"], "no model here"),
        (["model.safetensors"], "without config.json"),
        (["adapter_config.json", "adapter_model.safetensors"], "a LoRA adapter, not a model"),
        (["config.json", "small-Q4_K_M.gguf"], "source = \"gguf\" with path = 'small-Q4_K_M.gguf'"),
        (["config.json", "tf_model.h5"], "only such as tf_model.h5"),
        (["config.json", "consolidated.00.pth"], "only such as consolidated.00.pth"),
        (["README.md", "text/config.json", "text/model.safetensors"], "a folder of its own, 'text'"),
        (["config.json", model_files.SAFE_INDEX, SHARDS[0]], "names 2 files and 1 of them are not there"),
    ],
)
def test_what_is_no_model_is_told_for_what_it_is(names, says):
    with pytest.raises(SeatrialError, match=r"\n  ") as caught:
        taken(names)
    assert says in str(caught.value)


@pytest.mark.parametrize("text", ["{}", "no JSON", '{"weight_map": []}', "[]"])
def test_an_index_that_is_none(text):
    with pytest.raises(SeatrialError, match=r"no index of weights|half of a model"):
        taken(["config.json", model_files.SAFE_INDEX], lambda name: text)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The tokenizer of SmolLM2, a configuration, and weights that nobody reads."""
    folder = tmp_path_factory.mktemp("model")
    real = Store(default_root()).build(steps.import_base(load_recipe("smollm2-135m-cpu"))).path
    for name in model_files.beside(path.name for path in real.iterdir()):
        if name != "manifest.json":
            shutil.copy(real / name, folder / name)
    save_file({"embedding": np.zeros((4, 4), np.float32)}, folder / "model.safetensors")
    return folder


@pytest.fixture
def folder(tmp_path, whole):
    return shutil.copytree(whole, tmp_path / "model")


def test_a_folder_that_fits_is_taken(folder):
    assert base.loadable(folder, "here") == {"architecture": "llama", "context_length": 8192}


@dataclass
class Spoilt:
    file: str
    change: object
    says: str


SPOILT = [
    Spoilt("model.safetensors", lambda data: data[:-8], "half there or damaged"),
    Spoilt("model.safetensors", lambda data: b"<html>not found</html>", "half there or damaged"),
    Spoilt("config.json", lambda data: b'{"model_type": "of-tomorrow"}', "no model that the installed"),
    Spoilt("config.json", lambda data: b"{", "no model that the installed"),
    Spoilt("config.json", lambda data: data.replace(b"49152", b"32000"), "the tokenizer of another model"),
    Spoilt("tokenizer.json", lambda data: data[:100], "no tokenizer that can be loaded"),
]


@pytest.mark.parametrize("spoilt", SPOILT, ids=lambda each: each.says)
def test_a_folder_whose_files_do_not_fit(folder, spoilt):
    path = folder / spoilt.file
    data = path.read_bytes()
    changed = spoilt.change(data)
    assert changed != data
    path.write_bytes(changed)
    with pytest.raises(SeatrialError, match=r"\n  ") as caught:
        base.loadable(folder, "here")
    assert spoilt.says in str(caught.value)


def test_tokens_that_were_added_need_no_row(folder):
    config = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    token = {**config["added_tokens"][0], "id": 49152, "content": "<image_soft_token>"}
    config["added_tokens"].append(token)
    (folder / "tokenizer.json").write_text(json.dumps(config), encoding="utf-8")
    assert base.loadable(folder, "here")


def test_a_pointer_of_git_lfs(folder):
    (folder / "model.safetensors").write_bytes(model_files.LFS_POINTER + b"v1\noid sha256:12\nsize 5\n")
    with pytest.raises(SeatrialError, match=r"lfs pull"):
        model_files.chosen(folder)


def test_files_of_several_commits(folder):
    notes = folder / ".cache" / "huggingface" / "download"
    notes.mkdir(parents=True)
    for name, commit in {"config.json": "a" * 40, "model.safetensors": "b" * 40}.items():
        (notes / f"{name}.metadata").write_text(f"{commit}\netag\n1.0\n", encoding="utf-8")
    with pytest.raises(
        SeatrialError, match=r"files of several commits: config.json is of aaaaaaaaaaaa"
    ) as told:
        model_files.chosen(folder)
    assert f"hf download ORGANISATION/NAME --revision {'a' * 40} --local-dir {folder}" in str(told.value)


class Taken:
    """Takes ``folder`` into a store by a recipe, without loading it."""

    def __init__(self, root, folder, monkeypatch):
        self.told = Told()
        base_table = Base(model="a/b", license="none", source="folder", path=folder)
        self.recipe = load_recipe("smollm2-135m-cpu").model_copy(update={"base": base_table})
        self.root = root

        def run_job(job, request, out, progress):
            base.link(request["files"], out)
            return {}

        monkeypatch.setattr(steps, "run_job", run_job)

    def __call__(self):
        return Store(self.root, self.told).build(steps.import_base(self.recipe))


@pytest.fixture
def take(tmp_path, folder, monkeypatch):
    return Taken(tmp_path / "store", folder, monkeypatch)


def test_a_folder_is_linked_without_what_is_no_part_of_the_model(take, folder):
    (folder / "pytorch_model.bin").write_bytes(b"the same weights again")
    found = take()
    assert (found.path / "model.safetensors").samefile(folder / "model.safetensors")
    assert not (found.path / "pytorch_model.bin").exists()
    assert not take().built


def test_on_another_file_system_a_path_does(take, folder, monkeypatch):
    def refuse(self, target):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("pathlib.Path.hardlink_to", refuse)
    found = take()
    assert (found.path / "model.safetensors").readlink() == (folder / "model.safetensors").resolve()
    assert found.size > 100
    (folder / "model.safetensors").unlink()
    with pytest.raises(SeatrialError, match="no model here"):
        take()


def test_a_linked_file_that_was_changed_is_another_base(take, folder):
    first = take()
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)  # in place: the store's own file is the same
    second = take()
    assert second.key != first.key
    data[-1] ^= 1
    weights.unlink()  # the store's second one keeps its bytes
    weights.write_bytes(data)
    third = take()
    assert third.key == first.key
    assert third.digest == first.digest
    assert "model.safetensors is damaged (its digest changed): building base again" in take.told.text


def test_the_example_of_the_page_is_a_base():
    page = (REPOSITORY / "docs" / "sources.md").read_text(encoding="utf-8")
    example = page.partition("```toml\n")[2].partition("```")[0]
    table = tomllib.loads(example)["base"]
    assert Base.model_validate(table).source == "hub"
