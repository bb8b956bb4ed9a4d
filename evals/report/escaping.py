"""Foreign text in Markdown and in a CI runner's log: escaped, on one line, and cut.

Titles, prompts and answers come from users and models. In a job summary they must not become links, images,
HTML or table cells; in a log, not commands.
"""

from __future__ import annotations

import re

from seatrial.evals.visible import spelled_out

LONGEST = 300  # characters of one value in a table or a list

# What Markdown reads inside a line, what makes a bare URL, and what makes a list or a quotation of its start.
_ACTS = re.compile(r"[\\`*\[\]<&|~#$]|(?<![^\W_])_|_(?![^\W_])|:(?=//)")
_BEGINS = re.compile(r"^([-+=>]|\d+(?=[.)](\s|$)))")


def one_line(text: object, longest: int = LONGEST) -> str:
    """``text`` on one line, its hidden characters spelled out, cut at ``longest`` characters."""
    line = spelled_out(str(text)).replace("\n", "\\n").replace("\t", "\\t").strip()
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def plain(text: object, longest: int = LONGEST) -> str:
    """``text`` as words in Markdown (CommonMark: any ASCII punctuation may be escaped by a backslash)."""
    line = _ACTS.sub(r"\\\g<0>", one_line(text, longest))
    line = re.sub(r"(?i)\bwww\.", lambda found: f"{found[0][:-1]}&#46;", line)
    begins = _BEGINS.match(line)
    if not begins:
        return line
    at = begins.end() if line[0].isdigit() else 0
    return f"{line[:at]}\\{line[at:]}"


def code(text: object, longest: int = LONGEST) -> str:
    """``text`` as a code span, in which nothing is a link or a mention."""
    line = one_line(text, longest)
    if not line:
        return "(empty)"
    fence = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    room = " " if "`" in (line[0], line[-1]) else ""
    return f"{fence}{room}{line}{room}{fence}"


def cell(text: object, longest: int = LONGEST) -> str:
    """A code span inside of a table, which would take a bar in it for the end of a cell."""
    return code(text, longest).replace("|", "\\|")


def command(level: str, message: str, **properties: object) -> str:
    """A workflow command of GitHub's runner, such as ``::error file=a.toml,line=3::text``.

    Escaped as actions/toolkit does it (packages/core/src/command.ts). Properties without a value are left
    out.
    """
    told = ",".join(f"{name}={_property(str(value))}" for name, value in properties.items() if value)
    return f"::{level}{' ' if told else ''}{told}::{_data(spelled_out(message))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(spelled_out(text)).replace(":", "%3A").replace(",", "%2C")
