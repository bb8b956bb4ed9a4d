"""The one kind of error that Seatrial shows to people.

Every message says where, what was seen, what is allowed and what to type next, because it is printed
alone, without a traceback.
"""

from __future__ import annotations

from pathlib import Path


class SeatrialError(Exception):
    """A mistake in input, environment or a child process that its reader can mend.

    Args:
        problem: what is wrong, with the value that was seen.
        where: the file (and line) or option at fault, if there is one.
        hint: what is allowed or what to type next.
    """

    def __init__(self, problem: str, *, where: str | Path | None = None, hint: str = "") -> None:
        self.problem, self.where, self.hint = problem, where, hint
        place = f"{where}: " if where is not None else ""
        super().__init__(f"{place}{problem}" + (f"\n  {hint}" if hint else ""))


class OutOfMemory(SeatrialError):
    """The GPU or the machine has too little memory; ``longest``: tokens of the longest row, if known."""

    def __init__(
        self, problem: str, *, where: str | Path | None = None, hint: str = "", longest: int | None = None
    ) -> None:
        self.longest = longest
        super().__init__(problem, where=where, hint=hint)


def at(path: str | Path, line: int | None = None) -> str:
    """``file:line``, the form that editors and terminals turn into a link."""
    return f"{path}:{line}" if line else str(path)
