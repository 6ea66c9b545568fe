"""Whether a request was meant for this site: the Host that it names, and the page that it comes from.

A name that leads to this machine may be anybody's (DNS rebinding), so names have to be listed; numbers cannot be
rebound. A page of another site may send forms here with our user's cookies (cross-site request forgery), so whatever
changes something must come from a page of ours, or from no page at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from mainspring.errors import InvalidOption
from mainspring.model.text import quote

__all__ = ["Hosts", "Origins", "comes_from_elsewhere", "elsewhere", "host_of", "is_loopback", "is_loopback_name"]

_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9._-]{1,253}?)\.?(?::(?P<port>[0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def host_of(headers: Headers) -> tuple[str, int | None] | None:
    """The one host that the request names, in small letters, and its port; None: it names none, several or nonsense."""
    named = headers.getlist("host")
    found = _HOST.fullmatch(named[0]) if len(named) == 1 else None
    if found is None:
        return None
    return found["name"].lower(), int(found["port"]) if found["port"] else None


def address(text: str) -> IPv4Address | IPv6Address | None:
    """The address that a text is, if it is one; an IPv4 one inside of an IPv6 one is that IPv4 one."""
    try:
        found = ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def is_loopback(text: str) -> bool:
    """Whether that is an address of this machine, to itself alone."""
    found = address(text)
    return found is not None and found.is_loopback


def is_loopback_name(host: str) -> bool:
    """Whether a Host can mean nothing but this machine: browsers resolve these names themselves."""
    return host == "localhost" or host.endswith(".localhost") or is_loopback(host)


class Hosts:
    """The names under which this site is reached; `*.example.com` also those below. Raises `InvalidOption`.

    Numeric addresses and the machine's own `localhost` always pass.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(_checked(name) for name in names)

    def admit(self, host: str) -> bool:
        if is_loopback_name(host) or address(host) is not None or "*" in self._names or host in self._names:
            return True
        labels = host.split(".")
        return any(f"*.{'.'.join(labels[place:])}" in self._names for place in range(1, len(labels)))


def _checked(name: str) -> str:
    bare = name.removeprefix("*.")
    found = _HOST.fullmatch(bare)
    if name != "*" and (found is None or found["port"]):
        several = "; each name stands by itself" if "," in name else ""
        raise InvalidOption(
            f"hosts: {quote(name)} is no host; write names such as jobs.example.com, without a port{several}"
        )
    return name.lower().rstrip(".")


class Origins:
    """Other sites whose pages may follow jobs by ticket, such as `https://shop.example`. Raises `InvalidOption`."""

    def __init__(self, origins: Iterable[str]) -> None:
        for origin in origins:
            parts = urlsplit(origin)
            if parts.scheme not in _DEFAULT_PORTS or not parts.netloc or origin != f"{parts.scheme}://{parts.netloc}":
                raise InvalidOption(f"origins: {quote(origin)} is none; write such as https://shop.example")
        self._origins = frozenset(origin.lower() for origin in origins)

    def admit(self, origin: str | None) -> bool:
        return origin is not None and origin.lower() in self._origins


def is_ours(origin: str, headers: Headers) -> bool:
    """Whether an Origin is the site that the request was sent to. By host and port: whoever ends TLS before us hides
    the scheme."""
    named = host_of(headers)
    try:
        parts = urlsplit(origin)
        name, port = parts.hostname, parts.port
    except ValueError:
        return False
    default = _DEFAULT_PORTS.get(parts.scheme)
    if named is None or name is None or default is None:
        return False
    host, host_port = named
    return name == host.strip("[]") and (port or default) == (host_port or default)


def comes_from_elsewhere(headers: Headers) -> bool:
    """Whether a browser sends this on behalf of a page of another site. What browsers say about that no page can alter;
    programs that are no browsers say nothing."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site not in ("same-origin", "none")
    return origin is not None and not is_ours(origin, headers)


def elsewhere(headers: Headers) -> str:
    """What whoever comes from there is told. It may be this site after all, behind a proxy that alters its name."""
    told = "A page of another site has sent this; only pages of this one may."
    if "sec-fetch-site" in headers:
        return told
    origin, host = quote(headers.get("origin")), quote(headers.get("host"))
    return (
        f"{told} It is one of {origin}, and was sent to {host}: if these are the same, the proxy between has to pass "
        "the Host on as the browser sent it, port and all (nginx: $http_host)."
    )
