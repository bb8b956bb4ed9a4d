"""What the hub's client raises, told once and with what to type next. No token is ever in what is told."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Any

from seatrial.training.errors import SeatrialError

TOKEN = "export HF_TOKEN=hf_… with a token from {endpoint}/settings/tokens, or: hf auth login"
PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")


def explain(error: BaseException, repository: str, revision: str) -> SeatrialError | None:
    """The one error that is shown for what the client raised; None for what nobody expected.

    ``repository`` and ``revision`` are those that the recipe names.
    """
    from huggingface_hub import constants, errors

    if isinstance(error, SeatrialError):
        return error
    cause = error.__cause__
    if isinstance(error, errors.LocalEntryNotFoundError) and cause is not None:
        return explain(cause, repository, revision)  # the client's own summary says less than its cause
    endpoint = constants.ENDPOINT
    told = (
        _refused(error, f"{endpoint}/{repository}", endpoint, revision)
        or _unreachable(error, endpoint)
        or _disk(error, Path(constants.HF_HUB_CACHE))
        or _other(error)
    )
    return told and SeatrialError(without_token(told[0]), where=f"hub {repository}", hint=told[1])


def without_token(text: str) -> str:
    """``text`` without tokens and without passwords in addresses."""
    from huggingface_hub import get_token

    if token := get_token():
        text = text.replace(token, "…")
    text = re.sub(r"\bhf_[A-Za-z0-9]{8,}", "…", text)
    return re.sub(r"//[^/@\s]*@", "//…@", text)


def _refused(error: BaseException, page: str, endpoint: str, revision: str) -> tuple[str, str] | None:
    from huggingface_hub import errors, get_token

    has_token, how = get_token() is not None, TOKEN.format(endpoint=endpoint)
    if isinstance(error, errors.HFValidationError):
        return "is no name of a repository", 'repository = "ORGANISATION/NAME", as on the model\'s page'
    if not isinstance(error, errors.HfHubHTTPError):
        return None
    status = error.response.status_code
    if isinstance(error, errors.GatedRepoError):
        if has_token:
            return (
                "a gated repository that the account of the given token may not read",
                f"ask for access at {page}, with that account, and wait until it is granted; a fine-grained "
                "token also needs the permission to read gated repositories",
            )
        return "a gated repository, and no token was given", f"accept its terms at {page}, then {how}"
    if isinstance(error, errors.DisabledRepoError):
        return f"the hub has disabled this repository (see {page})", "name another one in [base] repository"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"has no revision {revision!r}", f"a branch, tag or commit of {page}/commits/main"
    if status == 401 and has_token and not isinstance(error, errors.RepositoryNotFoundError):
        return "the hub does not accept the given token (expired, revoked or mistyped)", how
    if isinstance(error, errors.RepositoryNotFoundError):
        if has_token:
            return (
                "no such model repository, or a private one that the given token does not reach",
                f"look whether {page} opens in a browser; [base] repository is ORGANISATION/NAME",
            )
        return (
            "no such model repository, or a private one, and no token was given",
            f"look whether {page} opens in a browser; for a private one: {how}",
        )
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return (
            f"a file that the hub lists is not there ({error.response.url.path})",
            "type the same again later",
        )
    if status == 403:
        return (
            "the given token has no right to read this repository",
            f"give it the permission to read {page}, or another: {how}",
        )
    if status == 407:
        return _proxy("a proxy asks for a user and a password (status 407)")
    if status == 429:
        return (
            "the hub refuses further requests for now (status 429)",
            f"wait some minutes; with a token more are allowed: {how}",
        )
    if status >= 500:
        return f"the hub is out of order (status {status})", "type the same again later: whole files are kept"
    return (
        f"the hub answers with status {status}",
        "see https://status.huggingface.co, and HF_ENDPOINT if it is set",
    )


def _unreachable(error: BaseException, endpoint: str) -> tuple[str, str] | None:
    import httpx
    from huggingface_hub import errors

    if isinstance(error, errors.OfflineModeIsEnabled | errors.LocalEntryNotFoundError):
        return (
            "offline (HF_HUB_OFFLINE is set), and not all of it is in the hub's cache",
            "unset HF_HUB_OFFLINE once, with a network, or copy the cache here and name it by HF_HUB_CACHE",
        )
    if isinstance(error, httpx.ProxyError):
        return _proxy(f"the proxy refused: {error}")
    if isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
        return f"{endpoint} is no address of a hub: {error}", "unset HF_ENDPOINT, or set it to https://…"
    if not isinstance(error, httpx.TransportError):
        return None
    said = " ".join(str(error).split()) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return (
            f"the certificate of {endpoint} is not trusted here",
            "export SSL_CERT_FILE=FILE with your company's certificates, if it reads such traffic",
        )
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        if any(map(os.environ.get, PROXIES)):
            return _proxy(f"no connection to {endpoint} ({said})")
        return (
            f"no connection to {endpoint} ({said})",
            "look at the network; without one, HF_HUB_OFFLINE=1 takes what is here already",
        )
    return (
        f"the connection broke off ({said})",
        "type the same again: whole files are kept; HF_HUB_DOWNLOAD_TIMEOUT=60 waits longer for slow ones",
    )


def _proxy(problem: str) -> tuple[str, str]:
    found = next((name for name in PROXIES if os.environ.get(name)), "HTTPS_PROXY")
    return (
        problem,
        f"look at the environment variable {found} (http://USER:PASSWORD@HOST:PORT) and at NO_PROXY",
    )


def _disk(error: BaseException, cache: Path) -> tuple[str, str] | None:
    if not isinstance(error, OSError):
        return None
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"no space left in the hub's cache, {cache}",
            "free some space or name another folder with HF_HUB_CACHE=DIR; whole files are kept",
        )
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.EEXIST):
        return (
            f"the hub's cache cannot be written: {error.strerror}: {error.filename or cache}",
            "name another folder with HF_HUB_CACHE=DIR",
        )
    return None


def _other(error: BaseException) -> tuple[str, str] | None:
    from huggingface_hub import errors

    text: Any = " ".join(str(error).split())
    if isinstance(error, errors.XetDownloadError):
        return f"the download by Xet failed: {text}", "HF_HUB_DISABLE_XET=1 downloads by HTTP"
    if isinstance(error, ValueError) and "hf_xet" in text:
        return "a file of more than 50 GB, which the hub gives by Xet only", "python -m pip install hf_xet"
    if isinstance(error, errors.FileMetadataError):
        return (
            f"what answers is no hub: {text}",
            "look at HF_ENDPOINT, and whether a proxy or firewall answers instead",
        )
    if isinstance(error, OSError) and "Consistency check failed" in text:
        return "a file came with another size than the hub lists", "type the same again; whole files are kept"
    return None
