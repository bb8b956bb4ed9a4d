"""Secrets and personal data in a production record: found by kind, replaced by placeholders.

A case file is committed, read by many and never forgotten, so what identifies a person or opens a door must
not get into it. Tokens of known services are recognised by detect-secrets (Yelp); the rest by shape and,
where there is one, by checksum: Luhn (ISO/IEC 7812-1) for cards, modulo 97 (ISO 13616) for IBANs.

What it leaves out: names and addresses of people have no shape. Somebody has to read the row.
"""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from seatrial.training.errors import SeatrialError


@dataclass(frozen=True)
class Kind:
    """One kind of private data. ``holds``: whether a text of its shape is one. ``placeholder``: what stands
    for the number ``{n}`` of them, of the same kind where there are values reserved for that."""

    name: str
    pattern: re.Pattern[str]
    placeholder: str
    holds: Callable[[str], bool] = lambda text: True


@dataclass(frozen=True)
class Found:
    """A place in a text; what stands there is not shown by accident."""

    kind: str
    placeholder: str
    start: int
    end: int
    text: str = field(repr=False)


def find(text: str) -> list[Found]:
    """The private data in ``text`` from left to right; finds that overlap are one."""
    spans: list[tuple[Kind, int, int]] = []
    for kind, start, end in sorted(_all(text), key=lambda span: (span[1], -span[2])):
        if not spans or start >= spans[-1][2]:
            spans.append((kind, start, end))
        elif end > spans[-1][2]:  # both have to go: the first one grows over the second
            spans[-1] = (*spans[-1][:2], end)
    return [Found(kind.name, kind.placeholder, start, end, text[start:end]) for kind, start, end in spans]


class Redactor:
    """Finds private data in values of several fields; with ``replace``, the same text gets the same
    placeholder everywhere, so that what an answer must repeat from its question stays the same.

    ``told``: one line for each find, by field and kind, never the text itself. ``allowed``: kinds that stay.
    """

    def __init__(self, replace: bool, allowed: Sequence[str] = ()) -> None:
        self.replace, self.allowed = replace, set(allowed)
        self.told: list[str] = []
        self._names: dict[str, str] = {}
        self._taken = ""

    def avoid(self, text: str) -> None:
        """Let no placeholder be one that stands in ``text`` already, for something else."""
        self._taken += text

    def clean(self, value: Any, where: str) -> Any:
        """``value`` with the texts in it, at any depth, replaced; unchanged if nothing is to be replaced."""
        if isinstance(value, str):
            return self._text(value, where)
        if isinstance(value, dict):
            # A key may hold what a value may; where one is found, the place is named without it.
            keys = {key: self._text(key, f"a key of {where}") for key in value}
            return {keys[key]: self.clean(item, f"{where}.{keys[key]}") for key, item in value.items()}
        if isinstance(value, list):
            return [self.clean(item, f"{where}[{number}]") for number, item in enumerate(value)]
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            said = self._text(str(value), where)
            return value if said == str(value) else said
        return value

    def _text(self, text: str, where: str) -> str:
        parts, done = [], 0
        for each in find(text):
            if each.kind in self.allowed:
                continue
            name = self._name(each)
            self.told.append(f"{where}: {each.kind}" + (f", now {name}" if self.replace else ""))
            parts += [text[done : each.start], name]
            done = each.end
        return "".join([*parts, text[done:]]) if self.replace else text

    def _name(self, each: Found) -> str:
        same = f"{each.kind} {each.text.casefold()}"
        if same not in self._names:
            names = (each.placeholder.format(n=number) for number in itertools.count(1))
            taken = self._names.values()
            self._names[same] = next(name for name in names if name not in taken and name not in self._taken)
        return self._names[same]


def _luhn(text: str) -> bool:
    digits = [int(character) for character in reversed(text) if character.isdigit()]
    doubled = [digit if place % 2 == 0 else sum(divmod(2 * digit, 10)) for place, digit in enumerate(digits)]
    return 13 <= len(digits) <= 19 and sum(doubled) % 10 == 0 and len(set(digits)) > 1


def _iban(text: str) -> bool:
    plain = text.replace(" ", "")
    turned = plain[4:] + plain[:4]
    return 15 <= len(plain) <= 34 and int("".join(str(int(character, 36)) for character in turned)) % 97 == 1


def _public_address(text: str) -> bool:
    try:
        return text.count(":") in (0, *range(3, 8)) and ipaddress.ip_address(text).is_global
    except ValueError:
        return False


def _phone(text: str) -> bool:
    digits = re.sub(r"\D", "", text)
    return 7 <= len(digits) <= 15 and not re.search(r"555\D?01\d\d+$", text)  # 555-01xx: reserved for fiction


KINDS = (
    Kind(
        "e-mail address",
        re.compile(r"[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}"),
        "person{n}@example.com",
        lambda text: not re.search(r"@(.+\.)?example\.(com|net|org)$", text, re.IGNORECASE),  # RFC 2606
    ),
    Kind(
        "payment card number",
        re.compile(r"(?<![\w.])[2-6](?:[ -]?\d){12,18}(?!\w)"),
        "CARD-NUMBER-{n}",
        _luhn,
    ),
    Kind("IBAN", re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}\b"), "IBAN-{n}", _iban),
    Kind(
        "telephone number",
        re.compile(
            r"(?<![\w.+-])(?:\+\d{1,3}(?:[ ./-]?\(?\d{1,4}\)?){2,5}"  # +44 20 7946 0958
            r"|\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}"  # (202) 555-0101
            r"|0\d{1,4}(?:[ /.-]\d{2,8}){1,4}|0\d{9,11})(?![\w-])"  # 030 123456
        ),
        "+1-202-555-01{n:02}",
        _phone,
    ),
    Kind("social security number", re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])"), "SSN-{n}"),
    Kind(
        "IP address",
        re.compile(
            r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7})(?![\w:])"
        ),
        "192.0.2.{n}",  # RFC 5737
        _public_address,
    ),
    Kind(
        "password",
        re.compile(
            r"(?i:\b(?:password|passwd|passphrase|passcode|pwd|pin|api[ _-]?key|secret(?:[ _-]key)?"
            r"|(?:access[ _-])?token))\b[\"']?\s{0,3}(?:is|was|[:=])\s{0,3}[\"']?"
            r"(?P<value>(?=[^\s\"',;]{0,80}[\d!@#$%^&*])[^\s\"',;]{4,})"
        ),
        "SECRET-{n}",
        lambda text: not text.startswith("SECRET-"),
    ),
    Kind(
        "password in an address",
        re.compile(r"://[^\s:/@]{1,80}:(?P<value>[^\s:/@]{1,200})@"),
        "SECRET-{n}",
        lambda text: not text.startswith("SECRET-"),
    ),
    Kind(
        "access token",
        re.compile(
            r"(?i:\bbearer\s{1,3})(?P<value>[A-Za-z0-9._~+/-]{16,}=*)"
            r"|(?<!\w)eyJ[\w=-]{8,}\.[\w=-]{4,}(?:\.[\w=-]*)?"  # RFC 7519
            r"|(?<!\w)(?:sk-[A-Za-z0-9_-]{20,}|AIza[\w-]{35}|hf_[A-Za-z0-9]{30,}|xox[a-z]-[\w-]{10,}|npm_[A-Za-z0-9]{36}"
            r"|-----BEGIN [A-Z ]*PRIVATE KEY-----(?:.|\n)*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z))"
        ),
        "SECRET-{n}",
        lambda text: not text.startswith("SECRET-"),
    ),
)
# Of detect-secrets: what needs quotes around it, or is looked for above with fewer false alarms.
ELSEWHERE = {
    "BasicAuthDetector",
    "Base64HighEntropyString",
    "HexHighEntropyString",
    "IPPublicDetector",
    "JwtTokenDetector",
    "KeywordDetector",
    "NpmDetector",
    "OpenAIDetector",
    "PrivateKeyDetector",
}


def without_secrets(value: Any) -> Any:
    """``value`` with placeholders for passwords, keys and tokens, at any depth; what is personal stays."""
    personal = [kind.name for kind in KINDS if not kind.placeholder.startswith("SECRET")]
    return Redactor(True, personal).clean(value, "")


def kinds() -> list[str]:
    """The names of all kinds that are looked for."""
    return list(dict.fromkeys(kind.name for kind in (*KINDS, *_services())))


def _all(text: str) -> Iterator[tuple[Kind, int, int]]:
    for kind in (*KINDS, *_services()):
        for match in kind.pattern.finditer(text):
            group = "value" if "value" in kind.pattern.groupindex and match["value"] is not None else 0
            if kind.holds(match[group]):
                yield kind, match.start(group), match.end(group)


@cache
def _services() -> list[Kind]:
    """The tokens of known services, by the patterns of detect-secrets.

    Its own reading of them is not used: it gives the groups of a pattern, which may be the first letters
    only. A pattern may stop short of a token's end, too, so what follows without a break goes with it.
    """
    try:
        from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
    except ImportError:
        raise SeatrialError(
            "secrets are looked for by detect-secrets, which is not installed",
            hint="python -m pip install 'detect-secrets>=1.5,<2'",
        ) from None
    known: Mapping[str, Any] = get_mapping_from_secret_type_to_class()
    return [
        Kind(name, re.compile(f"(?:{pattern.pattern})[\\w-]*", pattern.flags), "SECRET-{n}")
        for name, detector in known.items()
        if detector.__name__ not in ELSEWHERE
        for pattern in detector.denylist
    ]
