"""The steps from base weights to GGUF files, as the store builds them.

Each function names a step's parameters and inputs, which make its key, and the job that builds it.
Raise a step's version when a change of code changes its result.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from seatrial.training import base as base_weights
from seatrial.training import dataset as rows
from seatrial.training import export, extras, hub_source, model_files
from seatrial.training.adapter_fit import require_fit
from seatrial.training.base_model import held_as
from seatrial.training.modelfile import modelfile
from seatrial.training.progress import Progress
from seatrial.training.recipe import Recipe
from seatrial.training.run_job import run_job
from seatrial.training.store import Artifact, Step, file_digest
from seatrial.training.trained_on import TrainedOn


def import_base(recipe: Recipe, root: Path | None = None, say: Callable[[str], None] | None = None) -> Step:
    """Base weights as a Hugging Face folder.

    Args:
        recipe: its ``[base]`` says where they come from.
        root: the store, which knows what a moving revision of the hub was when it was last asked.
        say: told when it is not what it was, or could not be asked.
    """
    if recipe.base.source == "hub":
        return hub_source.import_base(recipe.base, root, say or (lambda message: None))
    source = base_weights.locate(recipe.base, recipe.folder)
    if source.is_dir():
        return _import_folder(source, recipe.base.tokenizer_repair)
    repair = recipe.base.tokenizer_repair

    def build(out: Path, progress: Progress) -> Mapping[str, Any]:
        request = {"source": str(source), "out": str(out), "tokenizer_repair": repair}
        return run_job("import_weights", request, out, progress)

    return Step("base", 1, {"tokenizer_repair": repair}, {"weights": file_digest(source)}, build)


def _import_folder(folder: Path, repair: str | None) -> Step:
    names = model_files.chosen(folder)

    def build(out: Path, progress: Progress) -> Mapping[str, Any]:
        files = {name: str(folder / name) for name in names}
        request = {"files": files, "out": str(out), "where": str(folder)}
        return run_job("import_weights", request, out, progress)

    digest = _files_digest(folder, [folder / name for name in names])
    return Step("base", 2, {"tokenizer_repair": repair}, {"weights": digest}, build)


def import_extra(extra: str) -> Step:
    """That the packages of an extra can be imported: tried once for each set of versions, in a process."""
    packages = extras.packages(extra)

    def build(out: Path, progress: Progress) -> Mapping[str, Any]:
        extras.require(extra)
        return run_job("import_extra", {"modules": [package.module for package in packages]}, out, progress)

    found = {package.distribution: package.version for package in packages}
    params = {"extra": extra, "packages": found, "environment": sys.prefix}
    title = f"packages of the extra {extra!r}"
    return Step("imports", 1, params, {}, build, heavy=False, title=title, shared=False)


def prepare_dataset(source: Path, system: str, recipe: Recipe) -> Step:
    """Training rows with the system prompt, shuffled and split."""
    trainer, mix = recipe.trainer, recipe.mix
    split: dict[str, Any] = {"validation_rows": trainer.validation_rows, "seed": trainer.seed}
    if trainer.order != "shuffled":
        split["order"] = trainer.order
    if mix is not None:
        split["share"] = mix.share
    general = recipe.folder / mix.file if mix else None

    def build(out: Path, progress: Progress) -> Mapping[str, Any]:
        return rows.prepare(source, out, system, **split, mix=general)

    inputs = {}
    for name, path in {"rows": source, "mix": general}.items():
        if path is not None:
            rows.read_sharegpt(path)  # mistakes in the file are told before anything is built
            inputs[name] = file_digest(path)
    return Step("dataset", 1, {"system": system, **split}, inputs, build, heavy=False)


def merge(base: Artifact, adapter: Artifact) -> Step:
    """Base and adapter as one float32 model.

    Raises:
        SeatrialError: the adapter was trained on another base.
    """
    require_fit(adapter.path, base.path)
    held = held_as(adapter)

    def build(out: Path, progress: Progress) -> Mapping[str, Any]:
        request = {"base": str(base.path), "adapter": str(adapter.path), "out": str(out)}
        return run_job("merge", request | held, out, progress)

    inputs = {"base": base.digest, "adapter": adapter.digest}
    params = {"route": f"dequantised-{held['precision']}"}
    params |= {name: value for name, value in held.items() if name != "precision"}
    return Step("merged", 3, params, inputs, build)


def unpack(base: Artifact) -> Step:
    """A base whose weights lie there packed by bitsandbytes, as the float32 model that they stand for."""

    def build(out: Path, progress: Progress) -> Mapping[str, Any]:
        request = {"base": str(base.path), "out": str(out), "compute_dtype": "float32"}
        return run_job("merge", request, out, progress)

    return Step("unpacked", 1, {}, {"base": base.digest}, build, title="base without its quantisation")


def fetch_converter() -> Step:
    """llama.cpp's conversion scripts, in the version of the installed runtime."""
    params = {"llama_cpp_python": version("llama-cpp-python")}

    def build(out: Path, progress: Progress) -> Mapping[str, Any]:
        return export.fetch_converter(out)

    return Step("converter", 1, params, {}, build, heavy=False)


def convert(merged: Artifact, converter: Artifact, name: str) -> Step:
    """The merged model as GGUF f16, called ``<name>-f16.gguf``."""

    def build(out: Path, progress: Progress) -> Mapping[str, Any]:
        request = {
            "model": str(merged.path),
            "converter": str(converter.path),
            "out": str(out / f"{name}-f16.gguf"),
            "name": name,
        }
        return run_job("convert", request, out, progress)

    inputs = {"merged": merged.digest, "converter": converter.digest}
    return Step("gguf", 2, {"type": "f16", "name": name}, inputs, build)


def quantize(f16: Artifact, kind: str, name: str, system: str, decoding: Mapping[str, Any]) -> Step:
    """A quantised GGUF file (``f16``: the file itself) beside its Ollama Modelfile."""

    def build(out: Path, progress: Progress) -> Mapping[str, Any]:
        source = gguf_file(f16)
        target = out / f"{name}-{kind}.gguf"
        facts: Mapping[str, Any] = {}
        if kind == "f16":
            _link(source, target)
        else:
            request = {"type": kind, "model": str(source), "out": str(target)}
            facts = run_job("quantize", request, out, progress)
        text, template_facts = modelfile(target, system, decoding)
        (out / "Modelfile").write_text(text, encoding="utf-8")
        return {**facts, **template_facts}

    params = {"type": kind, "name": name, "system": system, "decoding": dict(decoding)}
    return Step("quantized", 4, params, {"f16": f16.digest}, build, title=f"GGUF file, {kind}")


def take_in_file(gguf: Path, modelfile: bytes) -> Step:
    """A GGUF file that was made elsewhere, beside its Modelfile: linked, or copied where it cannot be."""

    def build(out: Path, progress: Progress) -> Mapping[str, Any]:
        _link(gguf, out / gguf.name)
        (out / "Modelfile").write_bytes(modelfile)  # as it is served: marks and line ends, too
        return {}

    params = {"name": gguf.name, "modelfile": modelfile.decode("utf-8", "backslashreplace")}
    return Step("given-file", 1, params, {"file": file_digest(gguf)}, build, heavy=False, shared=False)


def take_in_folder(folder: Path, kind: str) -> Step:
    """A model folder (``kind``: model or adapter) that was made elsewhere."""

    def build(out: Path, progress: Progress) -> Mapping[str, Any]:
        for path in sorted(path for path in folder.iterdir() if path.is_file()):
            if path.name != "manifest.json":
                _link(path, out / path.name)
        return {}

    inputs = {"folder": _folder_digest(folder)}
    return Step(f"given-{kind}", 1, {}, inputs, build, heavy=False, shared=False)


def take_in_adapter(folder: Path, found: TrainedOn | None) -> Step:
    """An adapter that was made elsewhere, and what it was trained beside, as far as anybody says."""
    files = take_in_folder(folder, "adapter")

    def build(out: Path, progress: Progress) -> Mapping[str, Any]:
        return {**files.build(out, progress), **(found.facts() if found else {})}

    return replace(files, params=found.facts() if found else {}, build=build)


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source.resolve())
    except OSError:  # another file system
        shutil.copyfile(source, target)


def gguf_file(artifact: Artifact) -> Path:
    """The GGUF file of an artifact."""
    return next(artifact.path.glob("*.gguf"))


def _folder_digest(folder: Path) -> str:
    return _files_digest(folder, sorted(path for path in folder.rglob("*") if path.is_file()))


def _files_digest(folder: Path, paths: Iterable[Path]) -> str:
    total = hashlib.sha256()
    for path in paths:
        total.update(f"{path.relative_to(folder)} {file_digest(path)}\n".encode())
    return total.hexdigest()
