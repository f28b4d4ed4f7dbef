"""Opening of http and https addresses, and no others, also in redirects."""

from __future__ import annotations

import urllib.request
from http.client import HTTPMessage
from typing import IO, Any
from urllib.parse import urlsplit


def is_http(url: str) -> bool:
    """Return whether an address is http or https with a host."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # invalid brackets or port
        return False


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https addresses only; if careful, to the same host or to https only."""

    def __init__(self, *, careful: bool) -> None:
        self._careful = careful

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        """Return the request for the new address, None if it must not be followed."""
        allowed = is_http(newurl) and not (self._careful and not _as_safe(req.full_url, newurl))
        return super().redirect_request(req, fp, code, msg, headers, newurl) if allowed else None

    def http_error_302(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage
    ) -> Any:
        """Follow the redirect; close the reply if its address is invalid."""
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except ValueError:
            fp.close()
            raise

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _as_safe(before: str, after: str) -> bool:
    """Return whether a redirect leads to https, or stays with the host and the scheme."""
    old, new = urlsplit(before), urlsplit(after)
    return new.scheme == "https" or (old.scheme, old.netloc) == (new.scheme, new.netloc)


def web(*, careful: bool = False) -> urllib.request.OpenerDirector:
    """Return an opener for http and https only, through the proxy of the environment.

    careful: follow redirects only to the same host or to https.
    """
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(careful=careful),
    ):
        opener.add_handler(handler)
    return opener
