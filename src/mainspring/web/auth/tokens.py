"""Programs show a token: `Authorization: Bearer …`. Only hashes of tokens are kept."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Iterable
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import Self

from starlette.requests import HTTPConnection

from mainspring.errors import ConfigurationError
from mainspring.model.text import quote
from mainspring.web.auth.accounts import Account, accounts_in, accounts_of
from mainspring.web.auth.check import Unknown
from mainspring.web.auth.throttle import Throttle, client_key
from mainspring.web.identity import Identity
from mainspring.web.problems import Problem

__all__ = ["Tokens", "make_token"]

logger = logging.getLogger("mainspring.web")

_STORED = re.compile(r"sha256:[0-9a-f]{64}")
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="mainspring"'}


def make_token() -> tuple[str, str]:
    """A new token, and what is stored of it. It has 256 bits of chance, so a plain hash tells nobody what it is."""
    token = f"ms_{secrets.token_urlsafe(32)}"
    return token, _stored(token)


def _stored(token: str) -> str:
    return f"sha256:{sha256(token.encode('utf-8', 'surrogatepass')).hexdigest()}"


class Tokens:
    """Who shows one of these tokens is let in.

        token, stored = make_token()
        create_app(app, auth=Tokens([f"deploys:operator:{stored}"]))

    Raises `ConfigurationError` for a line that is none.
    """

    def __init__(self, lines: Iterable[str], *, throttle: Throttle | None = None) -> None:
        self._take(accounts_of(lines, "tokens"), throttle)

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Those in the lines of a file."""
        tokens = cls.__new__(cls)
        tokens._take(accounts_in(Path(path)), None)
        return tokens

    def _take(self, accounts: tuple[Account, ...], throttle: Throttle | None) -> None:
        for account in accounts:
            if not _STORED.fullmatch(account.secret):
                name = quote(account.identity.name)
                raise ConfigurationError(f"the token of {name} is no hash; `mainspring web --make-token` makes one")
        self._accounts = [(account.secret.encode(), account.identity) for account in accounts]
        self._throttle = throttle or Throttle(free=20, longest=60.0)

    async def identify(self, connection: HTTPConnection, client: str) -> Identity | None:
        kind, _, token = connection.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer":
            return None
        key = client_key(client)
        self._throttle.check(key)
        # All are looked at, each in the time that it takes to see that it is another one.
        shown = _stored(token.strip()).encode()
        found = [identity for stored, identity in self._accounts if compare_digest(stored, shown)]
        if not found:
            self._throttle.failed(key)
            logger.warning("a token from %s is none of ours", client)
            raise Unknown("There is no such token.", headers=CHALLENGE)
        return found[0]

    def missing(self, connection: HTTPConnection) -> Problem:
        return Unknown("Show a token: `Authorization: Bearer …`.", headers=CHALLENGE)
