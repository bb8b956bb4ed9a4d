"""Reads an Ollama Modelfile as Ollama 0.24 does, so that what is judged is what is served.

Two steps, as in Ollama: the text becomes commands (``parser/parser.go``), and the commands become the request
that creates the model (``CreateRequest`` there, ``FormatParams`` in ``api/types.go``). What looks odd here is
odd there: two blanks after PARAMETER are a mistake, a line's end inside quotes is not, characters that do not
print are dropped, and ``PARAMETER system`` is SYSTEM. ``tests/ollama_leg/test_modelfile.py`` compares both
steps with a real server. ``training/modelfile.py`` writes Modelfiles.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from seatrial.evals.modelfiles.values import InvalidValue, read_parameter

READ_AS = "0.24"  # of Ollama
INSTRUCTIONS = (
    *("from", "license", "template", "system", "adapter", "draft", "renderer", "parser", "parameter"),
    *("message", "requires"),
)
ROLES = ("system", "user", "assistant")
# PARAMETER lines that Ollama once knew: it says so and goes on without them.
DEPRECATED = (
    *("penalize_newline", "low_vram", "f16_kv", "logits_all", "vocab_only", "use_mlock"),
    *("mirostat", "mirostat_tau", "mirostat_eta"),
)
BLANKS, LINE_ENDS = " \t", "\r\n"
PRINTED = Path(__file__).parent / "printed.txt"
_LINE = re.compile(r"[^\r\n]*")
_BETWEEN = re.compile(r"(?:[ \t\r\n]+|#[^\r\n]*)*")  # instructions
SEMVER = re.compile(
    r"v?(0|[1-9]\d*)(\.(0|[1-9]\d*)(\.(0|[1-9]\d*)"
    r"(-(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*))*)?"
    r"(\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?)?)?",
    re.ASCII,
)


class RefusedModelfile(Exception):
    """Ollama would not create a model from this Modelfile; the message is Ollama's."""


@dataclass(frozen=True)
class Command:
    """One instruction: its name in small letters (a parameter's own name for PARAMETER) and what it says."""

    name: str
    value: str


@dataclass(frozen=True)
class Modelfile:
    """What Ollama makes of a Modelfile.

    ``sources`` are what FROM names, ``ignored`` the parameters that Ollama drops with a warning. Empty texts
    are what Ollama takes for absent ones.
    """

    sources: Sequence[str] = ()
    adapters: Sequence[str] = ()
    template: str = ""
    system: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    ignored: dict[str, str] = field(default_factory=dict)
    messages: Sequence[dict[str, str]] = ()
    licenses: Sequence[str] = ()
    renderer: str = ""
    parser: str = ""
    requires: str = ""

    def request(self) -> dict[str, Any]:
        """The fields of a create request but for its files and adapters; absent ones are left out."""
        said = {
            "template": self.template,
            "system": self.system,
            "parameters": self.parameters,
            "messages": list(self.messages),
            "license": list(self.licenses),
            "renderer": self.renderer,
            "parser": self.parser,
            "requires": self.requires,
        }
        return {name: value for name, value in said.items() if value}


def read_text(path: Path) -> str:
    """A Modelfile's text as Ollama decodes it: UTF-8, or what a byte order mark says. Line ends stay."""
    return decode(path.read_bytes())


def decode(data: bytes) -> str:
    """As :func:`read_text`; what is no text becomes U+FFFD."""
    marks = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
    for mark, encoding in marks.items():
        if data.startswith(mark):
            return data.removeprefix(mark).decode(encoding, "replace")
    return data.decode("utf-8", "replace")


def read_modelfile(text: str) -> Modelfile:
    """What Ollama makes of a Modelfile's text.

    Raises:
        RefusedModelfile: it makes nothing of it.
    """
    found: dict[str, Any] = {"parameters": {}, "ignored": {}}
    lists: dict[str, list[Any]] = {"sources": [], "adapters": [], "messages": [], "licenses": []}
    for command in commands(text):
        match command.name:
            case "model":
                lists["sources"].append(command.value)
            case "adapter":
                lists["adapters"].append(command.value)
            case "license":
                lists["licenses"].append(command.value)
            case "message":
                role, _, content = command.value.partition(": ")
                lists["messages"].append({"role": role, "content": content})
            case "template" | "system" | "renderer" | "parser":
                found[command.name] = command.value  # the last one wins, even if it is empty
            case "requires":
                found["requires"] = _version(command.value)
            case "draft":
                raise RefusedModelfile("DRAFT requires --experimental")
            case name if name in DEPRECATED:
                found["ignored"][name] = command.value
            case _:
                _set_parameter(found["parameters"], command)
    return Modelfile(**{**found, **lists})


def _set_parameter(parameters: dict[str, Any], command: Command) -> None:
    try:
        value = read_parameter(command.name, command.value)
    except InvalidValue as error:
        raise RefusedModelfile(str(error)) from None
    before = parameters.get(command.name)
    parameters[command.name] = [*before, *value] if isinstance(before, list) else value


def _version(text: str) -> str:
    if not SEMVER.fullmatch(text):
        raise RefusedModelfile("requires must be a valid semver (e.g. 0.14.0)")
    return text.removeprefix("v")


def commands(text: str) -> list[Command]:
    """The instructions of a Modelfile in their order.

    Raises:
        RefusedModelfile: Ollama's parser takes something for a mistake, or there is no FROM.
    """
    found = list(_Reader(text).commands())
    if not any(command.name == "model" for command in found):
        raise RefusedModelfile("no FROM line")
    return found


class _Reader:
    """Walks over the text once. Ollama reads rune by rune through a state machine; the states are methods."""

    def __init__(self, text: str) -> None:
        self.text, self.place = text, 0

    def commands(self) -> Iterator[Command]:
        while self._skip_to_instruction():
            name = self._instruction()
            if name == "parameter":
                name = self._word("_0123456789")
                yield Command(name, self._value())
            elif name == "message":
                role = self._word("")
                if role not in ROLES:
                    self._refuse(f"message role must be one of {_either(ROLES)}", self.place)
                yield Command(name, f"{role}: {self._value()}")
            else:
                yield Command("model" if name == "from" else name, self._value())

    def _skip_to_instruction(self) -> bool:
        """Over blanks, line ends and comments; False at the end of the text."""
        skipped = _BETWEEN.match(self.text, self.place)
        assert skipped
        self.place = skipped.end()
        return self.place < len(self.text)

    def _instruction(self) -> str:
        start = self.place
        self.place += 1  # whatever it is: a first character that does not print is dropped
        self._letters("")
        name = printed(self.text[start : self.place])
        if self.place == len(self.text):
            raise RefusedModelfile("unexpected EOF")
        if self.text[self.place] not in BLANKS or name.lower() not in INSTRUCTIONS:
            self._refuse(f"command must be one of {_either(INSTRUCTIONS)}", self.place + 1)
        self.place += 1
        return name.lower()

    def _word(self, more: str) -> str:
        """A parameter's name or a role, which begins at once and ends at a blank."""
        start = self.place
        self._letters(more)
        word = self.text[start : self.place]
        if self.place == len(self.text):
            raise RefusedModelfile("unexpected EOF")
        if self.text[self.place] not in BLANKS:
            raise RefusedModelfile(f"unexpected EOF: {word}")
        self.place += 1
        return word

    def _letters(self, more: str) -> None:
        while self.place < len(self.text) and (
            (self.text[self.place].isascii() and self.text[self.place].isalpha())
            or self.text[self.place] in more
        ):
            self.place += 1

    def _value(self) -> str:
        """Up to the first line's end at which no quotes are open, without the quotes.

        Quotes close only where a line ends: what stands before does not end a value, quotes included.
        """
        parts = [self._rest_of_line()]
        first = parts[0].strip()
        quotes = '"""' if first.startswith('"""') else '"' if first.startswith('"') else ""
        while not _closed(quotes, first, parts[-1], alone=len(parts) == 1):
            if self.place == len(self.text):
                raise RefusedModelfile("unexpected EOF")
            parts.append(self.text[self.place])
            self.place += 1
            parts.append(self._rest_of_line())
        value = "".join(parts).strip()
        return value[len(quotes) : len(value) - len(quotes)]

    def _rest_of_line(self) -> str:
        line = _LINE.match(self.text, self.place)
        assert line
        self.place = line.end()
        return printed(line[0])

    def _refuse(self, problem: str, place: int) -> NoReturn:
        read = self.text[:place]  # Ollama counts a line's end when it has read it, and CR LF as two
        raise RefusedModelfile(f"(line {1 + read.count(chr(10)) + read.count(chr(13))}): {problem}")


def _closed(quotes: str, first: str, last: str, alone: bool) -> bool:
    """Whether a value whose first line begins with ``quotes`` is whole at the end of its ``last`` line."""
    if alone:
        return len(first) >= 2 * len(quotes) and first.endswith(quotes)
    return last.rstrip().endswith(quotes)


def printed(text: str) -> str:
    """What Ollama keeps of a text: characters that print, blanks and line ends."""
    return text if text.isascii() and text.isprintable() else _dropped().sub("", text)


@cache
def _dropped() -> re.Pattern[str]:
    """A character that is on no line of ``printed.txt``, and neither a blank nor a line's end."""
    lines = PRINTED.read_text(encoding="ascii").splitlines()
    spans = " ".join(line for line in lines if not line.startswith("#")).split()
    kept = ("-".join(re.escape(chr(int(end, 16))) for end in span.split("-")) for span in spans)
    return re.compile(f"[^{''.join(kept)}{BLANKS}{LINE_ENDS}]")


def _either(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names[:-1]) + f', or "{names[-1]}"'
