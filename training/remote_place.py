"""Where a remote store lies: an fsspec URL, opened, and everything it can end with said in one sentence.

No credential is part of a URL here, nor of anything that is said: they are read from the environment by the
client of each kind of storage (``AWS_…``, ``GOOGLE_APPLICATION_CREDENTIALS``, …; for those without variables
of their own ``FSSPEC_<PROTOCOL>_<NAME>``, fsspec's way).
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from seatrial.training.errors import SeatrialError
from seatrial.training.extras import REMOTE, install_line, line_for

VARIABLE = "SEATRIAL_STORE_REMOTE"
OPTION = "--store-remote"
OBJECTS = {"s3", "s3a", "gs", "gcs", "abfs", "az", "abfss", "adl", "oss", "oci"}  # a put there is atomic
FOLDERS = {"file", "local", "sftp", "ssh", "smb"}  # must be there before: an absent one is not mounted
EXAMPLES = "such as s3://bucket/seatrial, gs://bucket/seatrial or file:///mnt/share/seatrial"
TAKEN = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}  # S3's, of a name that is taken
WAIT = {"connect_timeout": 10, "read_timeout": 60, "retries": {"max_attempts": 2, "mode": "standard"}}
OPTIONS: Mapping[str, Mapping[str, Any]] = {  # of fsspec's file systems, where its own environment says none
    "s3": {"config_kwargs": WAIT},
    "s3a": {"config_kwargs": WAIT},
}
SECRET = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|CREDENTIAL", re.IGNORECASE)
IN_URL = re.compile(r"(?<=://)[^/\s@]+@")
IN_QUERY = re.compile(r"\?\S*")


class RemoteError(Exception):
    """What the remote ended with, told in one sentence."""


class Lost(RemoteError):
    """It does not answer."""


class Refused(RemoteError):
    """It answers, and may not be read or written by us."""


class Absent(RemoteError):
    """What was asked for is not there."""


class Damaged(RemoteError):
    """What lies there is not what its manifest says."""


@dataclass(frozen=True)
class Place:
    """An opened URL: its file system, the path in it, and how it is written where people read it."""

    url: str
    protocol: str
    path: str
    files: Any

    @property
    def is_atomic(self) -> bool:
        """Whether a file is there as a whole or not at all while it is written."""
        return self.protocol in OBJECTS

    @property
    def needs_folder(self) -> bool:
        return self.protocol in FOLDERS


def default_remote() -> str:
    """``SEATRIAL_STORE_REMOTE``, "" where it is not set."""
    return os.environ.get(VARIABLE, "")


def open_place(url: str) -> Place:
    """The place that ``url`` names; nothing is asked of it yet.

    Raises:
        SeatrialError: it is no URL, holds a password, or what opens it is not installed.
    """
    where = f"{OPTION} or {VARIABLE}"
    protocol, sign, rest = url.partition("://")
    if "::" in url or not sign or not rest.strip("/") or not re.fullmatch(r"[a-z][a-z0-9+.-]*", protocol):
        raise SeatrialError(f"{told(url)!r} is no URL of a folder", where=where, hint=EXAMPLES)
    if _has_password(url) or "?" in url:
        raise SeatrialError(
            f"{told(url)} was given with credentials or a query, which end in logs",
            where=where,
            hint="leave them out and set them in the environment, such as AWS_ACCESS_KEY_ID and "
            f"AWS_SECRET_ACCESS_KEY, or FSSPEC_{protocol.upper()}_PASSWORD",
        )
    try:
        import fsspec
        from fsspec.config import conf
    except ImportError:
        raise SeatrialError("needs fsspec", where=where, hint=install_line(REMOTE)) from None
    if protocol not in fsspec.available_protocols():
        close = difflib.get_close_matches(protocol, fsspec.available_protocols(), n=1, cutoff=0.5)
        guess = f"did you mean {close[0]}://? " if close else ""
        raise SeatrialError(f"{protocol}:// is no kind of storage", where=where, hint=guess + EXAMPLES)
    options = {k: v for k, v in OPTIONS.get(protocol, {}).items() if k not in conf.get(protocol, {})}
    if protocol in OPTIONS:
        options["use_listings_cache"] = False
    try:
        files, path = fsspec.core.url_to_fs(url, skip_instance_cache=protocol != "memory", **options)
    except ImportError as error:
        missing = getattr(error.__cause__, "name", None) or getattr(error, "name", None)
        hint = line_for(missing.partition(".")[0]) if missing else "install what it names"
        raise SeatrialError(f"{protocol}:// cannot be opened: {error}", where=where, hint=hint) from None
    except Exception as error:  # whatever a client of whatever storage raises
        raise SeatrialError(
            f"{told(url)} cannot be opened: {_sentence(error)}", where=where, hint=EXAMPLES
        ) from None
    return Place(told(url).rstrip("/"), protocol, str(path).rstrip("/"), files)


@contextmanager
def asking() -> Iterator[None]:
    """Whatever a client of a storage raises within ends as a :class:`RemoteError`."""
    try:
        yield
    except (RemoteError, FileExistsError):
        raise
    except Exception as error:  # each client has errors of its own
        if _code(error) in TAKEN:
            raise FileExistsError(_sentence(error)) from None
        raise _kind(error)(_sentence(error)) from None


def told(text: str) -> str:
    """``text`` without what is secret: credentials in URLs, and values of variables that hold some."""
    clean = IN_QUERY.sub("", IN_URL.sub("", text)) if "://" in text else text
    for name, value in os.environ.items():
        if SECRET.search(name) and len(value) >= 8:
            clean = clean.replace(value, f"${name}")
    return clean


def _has_password(url: str) -> bool:
    return ":" in (urlsplit(url).netloc.rpartition("@")[0])


def _kind(error: BaseException) -> type[RemoteError]:
    name = type(error).__name__
    if _code(error) == "NoSuchBucket":
        return Refused
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return Absent
    if "Credentials" in name or "Token" in name or isinstance(error, (PermissionError, NotImplementedError)):
        return Refused
    if isinstance(error, OSError) and error.errno in {1, 5, 13, 22, 30} and _code(error):
        return Refused  # S3 says no: s3fs gives its codes as error numbers
    return Lost


def _code(error: BaseException) -> str:
    """The code of S3's own error, behind the one that s3fs makes of it; "" where there is none."""
    response = getattr(error.__cause__, "response", None) or getattr(error, "response", None)
    try:
        return str(response["Error"]["Code"])  # type: ignore[index]
    except (TypeError, KeyError):
        return ""


def _sentence(error: BaseException) -> str:
    if "Credentials" in type(error).__name__:
        return "no credentials are set (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE)"
    if isinstance(error, NotImplementedError):
        return "this kind of storage cannot be written"
    text = " ".join(str(error).split())[:300] or type(error).__name__
    code = _code(error)
    return told(f"{text} ({code})" if code and code not in text else text)
