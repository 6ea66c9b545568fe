"""Where a webhook's deliveries go: its URL, taken apart once, when it is declared."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urlsplit

from mainspring.errors import InvalidURL
from mainspring.model.text import quote as shown
from mainspring.webhooks.addresses import why_refused

__all__ = ["Target"]

LONGEST = 2000


@dataclass(frozen=True, slots=True)
class Target:
    """A receiver of deliveries."""

    secure: bool
    host: str
    """As DNS has it: ASCII, lower case; an address without brackets."""
    port: int
    path: str
    """The path and the query, as they are sent."""

    @classmethod
    def parse(cls, url: str, *, allow_private: bool) -> Target:
        """Raises `InvalidURL`, also for an address that is plainly private; names are looked up at every delivery."""
        parts = _split(url)
        host = _host(url, parts)
        secure = parts.scheme == "https"
        if not allow_private and (why := _why_never(host)):
            raise InvalidURL(
                f"webhook URL {_without_secrets(parts)}: {host} is {why}, and no delivery goes there; if it is a "
                "server of your own, say allow_private=True"
            )
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
        query = f"?{quote(parts.query, safe='/%:@!$&()*+,;=~-._?')}" if parts.query else ""
        return cls(secure, host, parts.port or (443 if secure else 80), path + query)

    @property
    def authority(self) -> str:
        """The Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    def __str__(self) -> str:
        """For people: a query may hold secrets, and is left out."""
        path, query, _ = self.path.partition("?")
        return f"http{'s' if self.secure else ''}://{self.authority}{path}{'?…' if query else ''}"


def _split(url: str) -> SplitResult:
    if not isinstance(url, str) or len(url) > LONGEST or any(letter <= " " or letter == "\x7f" for letter in url):
        raise InvalidURL(f"webhook URL {shown(url)} is no URL; give one such as https://example.com/jobs")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidURL(f"webhook URL {shown(url)}: {error}") from None
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise InvalidURL(f"webhook URL {shown(url)} is no http(s) URL; give one such as https://example.com/jobs")
    if parts.username is not None or parts.password is not None:
        raise InvalidURL("a webhook URL with a user or a password in it: leave them out, the signature tells who sends")
    if parts.fragment:
        raise InvalidURL(f"webhook URL {shown(url)} has a fragment, which is never sent; leave it out")
    if port == 0:
        raise InvalidURL(f"webhook URL {shown(url)}: there is no port 0")
    return parts


def _host(url: str, parts: SplitResult) -> str:
    host = (parts.hostname or "").rstrip(".")
    try:
        ascii_host = host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        raise InvalidURL(f"webhook URL {shown(url)}: its host is no name that DNS could know") from None
    if not ascii_host or "%" in ascii_host or any(not (letter.isalnum() or letter in "-._:") for letter in ascii_host):
        raise InvalidURL(f"webhook URL {shown(url)}: its host is no name that DNS could know")
    return ascii_host.lower()


def _why_never(host: str) -> str | None:
    """Why a host is refused before anybody has looked it up. What this does not see is seen when it is connected to."""
    if host == "localhost" or host.endswith(".localhost"):
        return "loopback"
    why = why_refused(host)
    return None if why == "no address" else why


def _without_secrets(parts: SplitResult) -> str:
    return shown(f"{parts.scheme}://{parts.netloc}{parts.path}")
