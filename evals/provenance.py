"""What decides a judgement besides its inputs: the versions of packages, and the code that computes it.

Every judging step has :func:`decided_by` among its parameters, so that a library that was upgraded, or code
that was changed, makes its evidence anew. Nobody raises a number by hand: the code is that of the modules
named, and of all that they import from this project. What training made is not judged here; it stays valid.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOMS = {"seatrial.evals": HERE, "seatrial.training": HERE.parent / "training"}
# They start processes, keep files, read settings, look for packages and tell progress: they carry a result
# and do not decide it.
CARRIERS = frozenset(
    {
        "seatrial.evals.provenance",
        "seatrial.training.configuration",
        "seatrial.training.errors",
        "seatrial.training.extras",
        "seatrial.training.process",
        "seatrial.training.progress",
        "seatrial.training.recipe",
        "seatrial.training.store",
        "seatrial.evals.task",
    }
)


def decided_by(*modules: str, packages: tuple[str, ...] = ()) -> dict[str, Any]:
    """Parameters of a step that ``modules`` compute with ``packages``."""
    return {"packages": versions(*packages), "code": code(*modules)}


def versions(*packages: str) -> dict[str, str]:
    """The installed version of each package; "absent" where there is none."""
    found = {}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def environment(*prefixes: str) -> dict[str, str]:
    """The environment variables with these prefixes, which a runtime reads behind our back."""
    return {name: value for name, value in sorted(os.environ.items()) if name.startswith(prefixes)}


@cache
def code(*modules: str) -> str:
    """Digest of the code of ``modules`` and of what they import or start; neither comments nor docstrings
    count."""
    total = hashlib.sha256()
    for module in sorted(closure(*modules)):
        total.update(f"{module} {ast.dump(_Undocumented().visit(syntax(module)))}\n".encode())
    return total.hexdigest()[:16]


class _Undocumented(ast.NodeTransformer):
    """Takes out texts that stand alone: they are read by people."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        alone = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if alone else self.generic_visit(node)


def closure(*modules: str) -> set[str]:
    """``modules`` and every module of ours that they import, or start as a process, carriers apart."""
    known: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in known:
            known.add(module)
            waiting += [other for other in _named_in(module) if other not in CARRIERS]
    return known


@cache
def syntax(module: str) -> ast.Module:
    """The parsed source of a module of this project."""
    path = _file(module)
    if path is None:
        raise ModuleNotFoundError(f"no module {module!r} in {', '.join(ROOMS)}")
    return ast.parse(path.read_text(encoding="utf-8"))


def _named_in(module: str) -> Iterator[str]:
    """Modules that a module names: in imports at any depth, or as text, as processes are started."""
    for node in _walk(syntax(module)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value]
        yield from filter(_file, names)


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """Every node but those that only a type checker reads."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield from _walk(child)


def _file(module: str) -> Path | None:
    """The source of a module in one of our rooms; None for any other text."""
    for room, folder in ROOMS.items():
        inside = module.removeprefix(room)
        if inside == module or not all(part.isidentifier() for part in module.split(".")):
            continue
        path = folder.joinpath(*inside.split(".")[1:])
        files = (path.with_suffix(".py"), path / "__init__.py")
        return next((file for file in files if file.is_file()), None)
    return None
