"""What of a recipe hangs on the packages that are here: the backend that trains, the tracker that is told.

Both are found without an import, because a step's key needs them and imports of torch take seconds.
"""

from __future__ import annotations

from importlib.util import find_spec

from seatrial.training import extras
from seatrial.training.backends import BACKENDS
from seatrial.training.errors import SeatrialError
from seatrial.training.recipe import Recipe

PACKAGES = {"trl": "trl", "unsloth": "unsloth"}  # backend -> the module that only it needs


def choose_backend(recipe: Recipe) -> tuple[str, str]:
    """The backend that trains, and what is to be said about it: "" where it is the one that was asked for.

    Raises:
        SeatrialError: it is not here, and the recipe names no other.
    """
    asked = recipe.backend
    if asked not in BACKENDS:
        why, mend = f"this version of Seatrial has no backend {asked!r}", f"backends: {', '.join(BACKENDS)}"
    elif asked != "trl" and not _installed(PACKAGES[asked]):
        why = f"backend = {asked!r} needs the package {PACKAGES[asked]!r}, which is not installed"
        mend = extras.install_line(extras.GPU)
    else:
        return asked, ""
    if recipe.fallback is None:
        raise SeatrialError(
            why,
            where=f"recipe {recipe.name!r}",
            hint=f'{mend}; or let another backend train: fallback = "trl" in the recipe',
        )
    return recipe.fallback, f"{why}: {recipe.fallback} trains by the recipe {recipe.name!r} instead"


def require_tracker(name: str) -> None:
    """Raise :class:`SeatrialError` unless the package of a ``report_to`` is installed."""
    if name != "none" and not _installed(name):
        raise SeatrialError(
            f"report_to = {name!r} needs the package {name!r}, which is not installed",
            where="recipe [trainer]",
            hint=f'python -m pip install {name}, or report_to = "none"',
        )


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
