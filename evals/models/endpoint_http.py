"""What of an endpoint is HTTP alone: its address, bodies of bounded size, pauses, what an error says."""

from __future__ import annotations

import ipaddress
import json
import math
import os
import random
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx

from seatrial.training.errors import SeatrialError

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds before the second attempt; it doubles up to the longest
LONGEST_BODY = 4_000_000  # bytes of one answer


class Unreadable(Exception):
    """An answer that is not read on."""


async def bound(response: httpx.Response) -> None:
    """Event hook of httpx: no body is read beyond ``LONGEST_BODY``."""
    packed = response.headers.get("Content-Encoding", "identity")
    if packed.lower() != "identity":
        raise Unreadable(f"the answer is packed ({packed[:20]!r}), which was not asked for")
    assert isinstance(response.stream, httpx.AsyncByteStream)
    response.stream = _Bounded(response.stream)


class _Bounded(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        total = 0
        async for chunk in self._stream:
            total += len(chunk)
            if total > LONGEST_BODY:
                raise Unreadable(f"the answer has more than {LONGEST_BODY:,} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


def address_of(base_url: str, variable: str) -> tuple[str, bool]:
    """Where the endpoint is, and whether that is this machine."""
    given = os.environ.get(variable, "").strip()
    address, where = (given, f"${variable}") if given else (base_url, "base_url")
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    hint = "allowed: such as https://api.example.com/v1 or http://127.0.0.1:8000/v1"
    if not host or parts.scheme not in ("http", "https") or port == 0 or not address.isprintable():
        # Not shown where a key may be in it.
        shown = repr(address[:200]) if not re.search("[@?#]", address) else "it"
        raise SeatrialError(f"{shown} is no address of an endpoint", where=where, hint=hint)
    if parts.username is not None or parts.query or parts.fragment:
        # Not shown: addresses are kept and told, and keys are written into all three.
        raise SeatrialError(
            f"the address of {host} has a user, a query or a fragment",
            where=where,
            hint=f"{hint}; a key belongs into its own environment variable",
        )
    return address.rstrip("/"), host == "localhost" or _is_loopback(host)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def pause_before(attempt: int, asked: float) -> float:
    """Seconds before the next attempt: doubled each time, never less than was asked for, and never at the
    same moment for all that wait."""
    own = min(LONGEST_WAIT, FIRST_WAIT * 2**attempt)
    return asked + random.uniform(0, FIRST_WAIT) if asked else random.uniform(own / 2, own)


def asked_pause(headers: Mapping[str, str]) -> float:
    """Seconds that ``Retry-After`` asks for, a number or a date (RFC 9110, 10.2.3); 0 if it does not."""
    text = headers.get("Retry-After", "")
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError, IndexError):
            return 0.0
    return 0.0 if math.isnan(seconds) else max(0.0, seconds)


def message_of(body: bytes) -> str:
    """What an error's body says: its message, if it has one, else its beginning."""
    text = body.decode("utf-8", "replace")
    with suppress(ValueError, RecursionError):
        told = json.loads(text)
        error = told.get("error", told) if isinstance(told, dict) else told
        found = error.get("message") if isinstance(error, dict) else error
        if isinstance(found, str):
            return found
    return text.strip() or "nothing said"
