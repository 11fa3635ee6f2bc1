"""Addresses on the network: which are allowed, what of them may be told, how they are opened."""

from __future__ import annotations

import base64
import re
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from hoiclip.core.config import check

_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]*://"
_ADDRESS = re.compile(rf"{_SCHEME}(?:(?!{_SCHEME})[^\s'\"<>])*")


def told_address(url: str) -> str:
    """An address as people and logs may see it: without user, password, query and fragment."""
    found = re.match(r"[^/?#@]*://", url)
    scheme = found[0] if found else ""
    rest = url.removeprefix(scheme)
    if not is_http(url):
        # Perhaps for signs in a password that should be escaped: nothing before the last @ is told.
        rest = rest.rpartition("@")[2]
    host, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    return f"{scheme}{host.rpartition('@')[2]}{slash}{path}"


def told_text(text: str) -> str:
    """A text, every address in it as `told_address` gives it."""
    return _ADDRESS.sub(lambda found: told_address(found[0]), text)


def is_http(url: str) -> bool:
    """Whether it is an address by http or https with a host, and without blanks."""
    try:
        parts = urllib.parse.urlsplit(url)
        # Asking for the port raises where it is no number.
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return good and re.search(r"[\0-\x20\x7f]", url) is None


def check_address(key: str, url: str | None) -> None:
    """For `__post_init__` of configurations: ValueError unless `url` is None or `is_http`."""
    if url is not None:
        check(is_http(url), f"{key}: {told_address(url)!r} is not http or https")


def open_address(url: str, headers: dict[str, str], timeout_seconds: float) -> Any:
    """The response to a GET of an address of `is_http`; its user and password go as a header.

    Raises:
        urllib.error.URLError: no answer, an error, or a redirect that `is_http` does not allow or
            that leaves https.
    """
    parts = urllib.parse.urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    bare = urllib.parse.urlunsplit(parts._replace(netloc=host, fragment=""))
    request = urllib.request.Request(bare, headers={"User-Agent": "hoiclip", **headers})
    if at:
        secret = base64.b64encode(urllib.parse.unquote_to_bytes(user)).decode("ascii")
        # A redirect may lead to another host, which must not get it.
        request.add_unredirected_header("Authorization", f"Basic {secret}")
    return urllib.request.build_opener(_Redirects).open(request, timeout=timeout_seconds)


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        leaves_https = req.type == "https" and not newurl.startswith("https:")
        if not is_http(newurl) or leaves_https:
            raise urllib.error.URLError(f"a redirect to {newurl} is not allowed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
