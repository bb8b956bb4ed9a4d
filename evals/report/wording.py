"""Numbers and hostile text as a person should read them. Filters of the report's template."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from seatrial.evals.visible import spelled_out
from seatrial.training.recipe import QUANTIZATIONS

LONGEST = 20_000  # characters of one answer that are shown; results.json keeps them all
MINUS = "\N{MINUS SIGN}"
NOTHING = "not recorded"
ROLES = {name: name.upper() for name in QUANTIZATIONS} | {
    "sft": "adapter after fine-tuning",
    "adapter": "trained adapter",
    "merged": "merged model",
    "ollama": "Ollama",
}


def visible(value: Any) -> Any:
    """``value`` for the page: text with the characters spelled out that a reader could not see."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return NOTHING if value is None else value
    return spelled_out(value)


def clip(text: str, longest: int = LONGEST) -> str:
    """``text``, cut where it would drown the page, with a word about the rest."""
    if len(text) <= longest:
        return text
    return f"{text[:longest]}\n[… {len(text) - longest:,} more characters; results.json has them all]"


def amount(value: float | None, unit: str = "", sign: bool = False) -> str:
    """A value with its unit: shares as percent with one decimal, others with three significant digits.

    Shares near 0 and 1 keep a second decimal, since 99.46 % must not read as the 99.5 % it missed.
    """
    if value is None:
        return "not a number"
    if unit == "share":
        percent = 100 * value
        digits = 2 if min(abs(percent), abs(100 - percent)) < 1 else 1
        number = f"{percent:.{digits}f}".rstrip("0").rstrip(".")
        unit = "percentage points" if sign else "%"
    elif abs(value) >= 100:
        number = f"{value:,.0f}"
    else:
        number = f"{value:.3g}"
    number = "0" if float(number.replace(",", "")) == 0 else number
    plus = "+" if sign and not number.startswith("-") and number != "0" else ""
    return f"{plus}{number.replace('-', MINUS)} {unit}".strip()


def tick(value: float, unit: str = "", sign: bool = False) -> str:
    """A value for an axis, where there is no room for percentage points."""
    return amount(value, unit, sign).removesuffix(" percentage points")


def interval(low: float | None, high: float | None, unit: str = "", sign: bool = False) -> str:
    """Both bounds with the unit once, or the empty string where nothing was sampled."""
    if low is None or high is None:
        return ""
    first, second = amount(low, unit, sign), amount(high, unit, sign)
    shared = second.partition(" ")[2]
    return f"{first.removesuffix(shared).rstrip()} to {second}" if shared else f"{first} to {second}"


def duration(seconds: float | None) -> str:
    """Seconds as hours, minutes and seconds."""
    if seconds is None:
        return NOTHING
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def size(count: int) -> str:
    """Bytes in decimal units, as disks and download pages count them."""
    for power, unit in ((9, "GB"), (6, "MB"), (3, "kB")):
        if count >= 10**power:
            return f"{count / 10**power:.3g} {unit}"
    return f"{count} bytes"


def role(name: str) -> str:
    """A model's role as words: ``prompted_base`` is the prompted base, ``q8_0`` Q8_0."""
    return ROLES.get(name) or name.replace("_", " ")


def moment(stamp: str) -> str:
    """An ISO time without the T and the fraction: ``2026-11-21 13:00:00 UTC``."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?(Z|\+00:00)?", stamp)
    return f"{found[1]} {found[2]}{' UTC' if found[3] else ''}" if found else stamp


def model(name: str) -> str:
    """A model as a row names it: of a file the first digits of its digest."""
    digest = name.removeprefix("sha256:")
    return digest[:12] if digest != name else name.removeprefix("program:")


def flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as (dotted name, text) pairs, in their own order."""
    if isinstance(value, Mapping):
        pairs = [flat(item, f"{prefix}.{key}" if prefix else str(key)) for key, item in value.items()]
        return [pair for group in pairs for pair in group]
    if isinstance(value, list | tuple):
        if any(isinstance(item, Mapping) for item in value):
            return [pair for i, item in enumerate(value) for pair in flat(item, f"{prefix}[{i}]")]
        return [(prefix, ", ".join(map(str, value)) or "none")]
    if isinstance(value, bool):
        return [(prefix, "yes" if value else "no")]
    return [(prefix, "none" if value is None else str(value))]


FILTERS = {
    function.__name__: function
    for function in (clip, amount, tick, interval, duration, size, role, moment, model, flat)
}
