"""The key of an endpoint, which stands in the environment and nowhere else."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

SECRET = 16  # characters from which a key is one; shorter ones ("EMPTY") are words that answers may hold
LOGGERS = (
    "openai._base_client",
    "httpx",
    *(f"httpcore.{part}" for part in ("connection", "http11", "http2", "proxy")),
)


class Key:
    """The key, which no ``repr`` and no traceback shows; it is put on a request when that is sent."""

    def __init__(self, key: str) -> None:
        self.__key = key

    def __repr__(self) -> str:
        return "<key>"

    @property
    def is_secret(self) -> bool:
        return len(self.__key) >= SECRET

    def hidden(self, text: str) -> str:
        """``text`` without the key."""
        return text.replace(self.__key, "<key>") if self.__key else text

    async def sign(self, request: httpx.Request) -> None:
        """Event hook of httpx."""
        request.headers.pop("Authorization", None)
        if self.__key:
            request.headers["Authorization"] = f"Bearer {self.__key}"
        request.headers["Accept-Encoding"] = "identity"  # a small answer cannot unpack to a big one

    @contextmanager
    def out_of_logs(self) -> Iterator[None]:
        """While this lasts, the client's libraries log no key, though a server sends it back in a header."""
        loggers = [logging.getLogger(name) for name in LOGGERS]
        for logger in loggers:
            logger.addFilter(self._hide)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeFilter(self._hide)

    def _hide(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self.hidden(record.getMessage()), ()
        if record.exc_info:
            record.exc_text = self.hidden(logging.Formatter().formatException(record.exc_info))
            record.exc_info = None
        return True
