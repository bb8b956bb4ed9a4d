"""Values of PARAMETER lines of a Modelfile, typed as Ollama 0.24 does (``FormatParams``, api/types.go)."""

from __future__ import annotations

import math
import re
import struct
from typing import Any

FLOAT, INT, BOOL, STRINGS = "float", "int", "bool", "strings"
KINDS = {
    **dict.fromkeys(("num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread"), INT),
    **dict.fromkeys(("num_keep", "seed", "num_predict", "top_k", "repeat_last_n"), INT),
    **dict.fromkeys(("top_p", "min_p", "typical_p", "temperature", "repeat_penalty"), FLOAT),
    **dict.fromkeys(("presence_penalty", "frequency_penalty"), FLOAT),
    "use_mmap": BOOL,
    "stop": STRINGS,
}
TRUE, FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")
DIGITS = r"[0-9](?:_?[0-9])*"
HEX_DIGITS = r"[0-9a-fA-F](?:_?[0-9a-fA-F])*"
# None may split a row of digits in two: it would try every place, and a long row would take hours.
INTEGER = re.compile(r"([+-]?)0*([0-9]{1,19})")  # Python itself reads no number of 5,000 digits
DECIMAL = re.compile(rf"[+-]?(?:{DIGITS}(?:\.(?:{DIGITS})?)?|\.{DIGITS})(?:[eE][+-]?{DIGITS})?")
HEXADECIMAL = re.compile(
    rf"[+-]?0[xX](?:_?{HEX_DIGITS}(?:\.(?:{HEX_DIGITS})?)?|\.{HEX_DIGITS})[pP][+-]?{DIGITS}"
)
SPECIAL = re.compile(r"(?P<sign>[+-]?)(?P<infinity>inf(?:inity)?)|nan", re.IGNORECASE)


class InvalidValue(Exception):
    """No such parameter, or no value for it; the message is Ollama's."""


def read_parameter(name: str, text: str) -> Any:
    """The value of ``PARAMETER name text``; a list for a parameter that may be repeated."""
    match KINDS.get(name):
        case "float":
            return _float(text)
        case "int":
            return _int(text)
        case "bool":
            if text not in TRUE + FALSE:
                raise InvalidValue(f"invalid bool value [{text}]")
            return text in TRUE
        case "strings":
            return [text]
        case _:
            raise InvalidValue(f"unknown parameter '{name}'")


def _int(text: str) -> int:
    """A 64-bit integer, as Go reads one."""
    written = INTEGER.fullmatch(text)
    value = int("".join(written.groups())) if written else None
    if value is None or not -(2**63) <= value < 2**63:
        raise InvalidValue(f"invalid int value [{text}]")
    return value


def _float(text: str) -> float:
    """A 32-bit float, as Go reads and prints one."""
    try:
        if DECIMAL.fullmatch(text):
            return _single(float(text))
        if HEXADECIMAL.fullmatch(text):
            return _single(float.fromhex(text.replace("_", "")))
    except (OverflowError, ValueError):
        pass
    if special := SPECIAL.fullmatch(text):  # Go reads them as numbers, and then no request can carry them
        number = f"{special['sign'] or '+'}Inf" if special["infinity"] else "NaN"
        raise InvalidValue(f"json: unsupported value: {number}")
    raise InvalidValue(f"invalid float value [{text}]")


def _single(value: float) -> float:
    """The shortest decimal that is the same 32-bit float: 0.7, not 0.699999988. Infinity is none."""
    if math.isinf(single := _rounded(value)):
        raise OverflowError
    shortest = (float(f"{single:.{digits}g}") for digits in range(1, 10))
    return next(short for short in shortest if _rounded(short) == single)


def _rounded(value: float) -> float:
    """The nearest 32-bit float, which is infinity beyond the largest."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.inf
