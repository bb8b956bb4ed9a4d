"""What tests of keys ask of the code itself: who makes a step or an identity, and what it imports."""

from __future__ import annotations

import ast
import importlib.metadata
import sys
from collections.abc import Iterator

from seatrial.evals import provenance
from tests.conftest import REPOSITORY

HARMLESS = {"pydantic", "httpx", "huggingface-hub"}  # they read settings, carry requests, write files


def modules(room: str) -> Iterator[tuple[str, ast.Module]]:
    """Every module of a room with its parsed source."""
    for path in sorted((REPOSITORY / room).rglob("*.py")):
        words = path.relative_to(REPOSITORY).with_suffix("").parts
        yield ".".join(["seatrial", *words]), ast.parse(path.read_text(encoding="utf-8"))


def functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Functions of a module and methods of its classes, not those within them."""
    for node in tree.body:
        for each in node.body if isinstance(node, ast.ClassDef) else [node]:
            if isinstance(each, ast.FunctionDef):
                yield each.name, each


def imports(node: ast.AST, module: str, name: str) -> bool:
    """Whether a node imports ``name`` from ``module``."""
    return isinstance(node, ast.ImportFrom) and node.module == module and name in [a.name for a in node.names]


def imported_packages(module: str) -> set[str]:
    """Distributions that a module of ours, and what it imports of ours, import and that may decide."""
    told = importlib.metadata.packages_distributions()
    found: set[str] = set()
    for each in provenance.closure(module):
        for node in provenance._walk(provenance.syntax(each)):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found |= {name.partition(".")[0] for name in names}
    theirs = found - {"seatrial", "", *sys.stdlib_module_names}
    return {told.get(name, [name])[0].replace("_", "-").lower() for name in theirs} - HARMLESS
