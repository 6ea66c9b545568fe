"""Who has signed in: a signed cookie says so, for half a day."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b, sha256

from itsdangerous import BadData, URLSafeSerializer
from starlette.requests import HTTPConnection
from starlette.responses import Response

from mainspring.web.origin import host_of
from mainspring.web.where import base_path

__all__ = ["Session", "Sessions", "cookie_name", "forget_cookie", "set_cookie"]

LASTS_SECONDS = 12 * 3600
MAX_ENDED = 10_000


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody has signed in."""

    name: str
    mark: str
    """Of the password that he had."""
    id: str

    @classmethod
    def new(cls, name: str, mark: str) -> Session:
        return cls(name, mark, secrets.token_urlsafe(18))


class Sessions:
    """Writes and reads the cookie. It is kept nowhere else, so that any process with the same secret knows it; what was
    ended by signing out is remembered here, until it would have ended by itself."""

    def __init__(self, secret: str, *, clock: Callable[[], float] = time.time) -> None:
        self._signer = URLSafeSerializer(
            secret, salt="mainspring.session", signer_kwargs={"key_derivation": "hmac", "digest_method": sha256}
        )
        self._clock = clock
        self._ended: OrderedDict[str, float] = OrderedDict()

    def write(self, session: Session) -> str:
        """The value of the cookie."""
        return str(self._signer.dumps([session.name, session.mark, session.id, int(self._clock()) + LASTS_SECONDS]))

    def read(self, cookie: str) -> Session | None:
        """The session of a cookie of ours that is still good."""
        try:
            name, mark, id, until = self._signer.loads(cookie)
        except (BadData, ValueError, TypeError):
            return None
        return Session(name, mark, id) if self._clock() < until and id not in self._ended else None

    def end(self, cookie: str) -> None:
        """From now on this cookie is no good any more."""
        session = self.read(cookie)
        if session is None:
            return
        now = self._clock()
        self._ended[session.id] = now + LASTS_SECONDS
        while self._ended and (next(iter(self._ended.values())) < now or len(self._ended) > MAX_ENDED):
            self._ended.popitem(last=False)


def cookie_name(connection: HTTPConnection) -> str:
    """Cookies are shared by all ports of a host and all paths below one; so each site has a name of its own for it.

    On https it begins so that browsers take it from this very host alone, and not from one beside it or from http.
    """
    host, base = host_of(connection.headers), base_path(connection.scope)
    place = f"{host[1] if host else ''}{base}"
    name = f"mainspring_{blake2b(place.encode(), digest_size=4).hexdigest()}"
    if not _is_secure(connection):
        return name
    return f"__Secure-{name}" if base else f"__Host-{name}"


def _is_secure(connection: HTTPConnection) -> bool:
    return connection.scope["scheme"] in ("https", "wss")


def set_cookie(response: Response, connection: HTTPConnection, value: str) -> None:
    """Scripts cannot read it; other sites' pages cannot use it, but for links that somebody follows to here."""
    response.set_cookie(
        cookie_name(connection),
        value,
        max_age=LASTS_SECONDS,
        path=base_path(connection.scope) or "/",
        secure=_is_secure(connection),
        httponly=True,
        samesite="lax",
    )


def forget_cookie(response: Response, connection: HTTPConnection) -> None:
    response.delete_cookie(
        cookie_name(connection),
        path=base_path(connection.scope) or "/",
        secure=_is_secure(connection),
        httponly=True,
        samesite="lax",
    )
