"""The good model and the tools that faults are made with: merge, convert, quantise, edit.

What is between the good files and the faulty one (an F16 file, a merged model) is removed at once: a fault
leaves about 105 MB.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatrial.training.process import JsonProcess
from tests.sabotage import gguf_edit
from tests.sabotage.gguf_edit import Gguf

SILENCE = 900.0  # seconds without an answer after which a job is taken for hung


@dataclass(frozen=True)
class Good:
    """A model that ships, and everything it was made from."""

    gguf: Path  # the file that ships
    f16: Path
    hf_model: Path
    adapter: Path
    base: Path  # Hugging Face folder, float32
    base_gguf: Path
    converter: Path
    modelfile: Path
    task: Path
    older: Path | None  # the file that another run shipped
    compute_dtype: str

    @property
    def artefact(self) -> Artefact:
        """The good model as the gate is given it."""
        return Artefact(self.gguf, self.hf_model, self.adapter, self.base_gguf, self.modelfile, self.task)


@dataclass(frozen=True)
class Artefact:
    """What the gate is given: the file under judgement, and the truth that it is compared with.

    ``prepare_store`` is called with the store's folder after a first run on the artefact; what is judged is
    a second run.
    """

    gguf: Path
    hf_model: Path
    adapter: Path
    base_gguf: Path
    modelfile: Path
    task: Path
    prepare_store: Callable[[Path], None] | None = None

    def but(self, **changes: Any) -> Artefact:
        """The artefact with some of its parts replaced."""
        return dataclasses.replace(self, **changes)


def edited(good: Good, out: Path, change: Callable[[Gguf], None]) -> Artefact:
    """The shipped file with ``change`` made to it after quantisation."""
    content = gguf_edit.read(good.gguf)
    change(content)
    return good.artefact.but(gguf=gguf_edit.write(content, out / good.gguf.name))


def edited_before_quantisation(good: Good, out: Path, change: Callable[[Gguf], None]) -> Artefact:
    """The F16 file with ``change`` made to it, quantised as the good one was."""
    content = gguf_edit.read(good.f16)
    change(content)
    with scratch(out) as folder:
        f16 = gguf_edit.write(content, folder / good.f16.name)
        return good.artefact.but(gguf=quantised(good, f16, out))


def exported(good: Good, model: Path, out: Path) -> Artefact:
    """Another Hugging Face model, converted and quantised as the good one was.

    The converter writes parts of its folder's name into the file, so it is given one of the good name.
    """
    with scratch(out) as folder:
        f16 = folder / good.f16.name
        named = folder / good.hf_model.name
        named.symlink_to(model, target_is_directory=True)
        name = good.f16.name.removesuffix("-f16.gguf")
        run("convert", out, model=named, converter=good.converter, out=f16, name=name)
        return good.artefact.but(gguf=quantised(good, f16, out))


def quantised(good: Good, f16: Path, out: Path) -> Path:
    """``f16`` in the quantisation of the shipped file, under the shipped file's name."""
    target = out / good.gguf.name
    kind = good.gguf.stem.removeprefix(good.f16.name.removesuffix("f16.gguf"))
    run("quantize", out, type=kind, model=f16, out=target)
    return target


def quantised_as(source: Path, kind: str, target: Path, out: Path, output: str = "") -> Path:
    """``source``, quantised or not, as ``kind``; ``output``: a type for the head."""
    more = {"output": output} if output else {}
    run("quantize_as", out, module="tests.sabotage.job", type=kind, model=source, out=target, **more)
    return target


def merged(good: Good, out: Path, base: Path | None = None, adapter: Path | None = None) -> Artefact:
    """Our own merge of another base or adapter, exported."""
    with scratch(out) as model:
        base, adapter = base or good.base, adapter or good.adapter
        run("merge", out, base=base, adapter=adapter, out=model, compute_dtype=good.compute_dtype)
        return exported(good, model, out)


def merged_wrongly(good: Good, out: Path, how: str, keep: Path | None = None) -> Artefact:
    """The model that the merge called ``how`` in ``job.py`` makes, exported; ``keep``: where it is to stay."""
    parts: dict[str, Any] = {"base": good.base, "adapter": good.adapter, "compute_dtype": good.compute_dtype}
    with scratch(out) as folder:
        model = keep or folder
        run(how, out, module="tests.sabotage.job", out=model, **parts)
        return exported(good, model, out)


def merged_by_hand(good: Good, out: Path, mistake: str) -> Artefact:
    """A merge with one of the mistakes in ``mistakes.py``, exported."""
    parts = {"base": good.base, "adapter": good.adapter, "compute_dtype": good.compute_dtype}
    with scratch(out) as model:
        run("merge_by_hand", out, module="tests.sabotage.job", out=model, mistake=mistake, **parts)
        return exported(good, model, out)


def with_modelfile(good: Good, out: Path, change: Callable[[str], str]) -> Artefact:
    """The shipped file beside a changed Modelfile."""
    text = good.modelfile.read_text(encoding="utf-8")
    changed = change(text)
    if changed == text:
        raise ValueError("the fault left the Modelfile as it was")
    path = out / "Modelfile"
    path.write_text(changed, encoding="utf-8")
    return good.artefact.but(modelfile=path)


def rescaled_adapter(good: Good, folder: Path, factor: float) -> Path:
    """A copy of the adapter whose alpha says ``factor`` times as much."""
    shutil.copytree(good.adapter, folder, dirs_exist_ok=True)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["lora_alpha"] *= factor
    path.write_text(json.dumps(config), encoding="utf-8")
    return folder


def run(job: str, place: Path, /, module: str = "seatrial.training.job", **request: Any) -> None:
    """A job of training and export, or of sabotage, in a process of its own, whose log lies in ``place``."""
    request = {name: str(value) for name, value in request.items()}
    with JsonProcess(module, place / "log", f"sabotage step {job!r}") as process:
        process.call({"job": job, **request}, SILENCE)


@contextmanager
def scratch(out: Path) -> Iterator[Path]:
    """A folder in ``out`` for what is needed on the way only."""
    number = sum(path.name.startswith("scratch") for path in out.iterdir())
    folder = out / f"scratch-{number}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
