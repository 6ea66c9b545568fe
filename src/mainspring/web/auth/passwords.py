"""People sign in with a name and a password, and are known by a cookie from then on."""

from __future__ import annotations

import logging
import re
from collections import OrderedDict
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Self
from urllib.parse import quote as in_url

import anyio
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import Argon2Error, InvalidHashError
from starlette.requests import HTTPConnection

from mainspring.errors import ConfigurationError
from mainspring.model.text import quote
from mainspring.web.auth.accounts import Account, accounts_in, accounts_of
from mainspring.web.auth.check import Unknown
from mainspring.web.auth.throttle import Throttle, client_key
from mainspring.web.auth.tokens import CHALLENGE
from mainspring.web.identity import Identity
from mainspring.web.problems import Problem, wants_page
from mainspring.web.sessions import Session, cookie_name
from mainspring.web.site import site_of
from mainspring.web.where import base_path, inner_path

__all__ = ["Passwords", "WrongPassword", "hash_password"]

logger = logging.getLogger("mainspring.web")

MAX_PASSWORD_BYTES = 1024
AT_ONCE = 2
"""Each look at a password takes 64 MiB and some 50 ms: that is what makes guessing dear, and must not make us so."""
MAX_WAITING = 50
MAX_AT_HOME = 10_000
"""Names and addresses from which they have signed in."""

_hasher = PasswordHasher()
_HASH = re.compile(r"\$argon2(id|i|d)(\$[A-Za-z0-9+/=,]+){4}")


def hash_password(password: str) -> str:
    """What is stored of a password: argon2id, with a salt of its own. Raises `ConfigurationError` for one that is empty
    or too long."""
    if not password or len(password.encode("utf-8", "surrogatepass")) > MAX_PASSWORD_BYTES:
        raise ConfigurationError(f"a password has 1 to {MAX_PASSWORD_BYTES:,} bytes")
    return _hasher.hash(password.encode("utf-8", "surrogatepass"))


class SignInFirst(Unknown):
    """A browser on its way to a page is shown where to sign in."""

    status = 303

    def __init__(self, connection: HTTPConnection) -> None:
        wanted = ""
        if connection.scope["method"] == "GET":
            query = connection.scope["query_string"].decode("latin-1")
            wanted = inner_path(connection.scope) + (f"?{query}" if query else "")
        to = f"?next={in_url(wanted, safe='')}" if wanted not in ("", "/") else ""
        super().__init__("Sign in first.", headers={"Location": f"{base_path(connection.scope)}/login{to}"})


class WrongPassword(Unknown):
    """No such name, or another password."""

    title = "Not signed in"


class Passwords:
    """Who signs in by one of these names and its password is let in.

        create_app(app, auth=Passwords([f"ann:admin:{hash_password('correct horse battery staple')}"]))

    Raises `ConfigurationError` for a line that is none.
    """

    def __init__(
        self, lines: Iterable[str], *, by_client: Throttle | None = None, by_name: Throttle | None = None
    ) -> None:
        self._take(accounts_of(lines, "users"), by_client, by_name)

    @classmethod
    def from_file(cls, path: str | Path, lines: Iterable[str] = ()) -> Self:
        """Those in the lines of a file, and in these."""
        passwords = cls.__new__(cls)
        passwords._take((*accounts_of(lines, "users"), *accounts_in(Path(path))), None, None)
        return passwords

    def _take(self, accounts: tuple[Account, ...], by_client: Throttle | None, by_name: Throttle | None) -> None:
        for account in accounts:
            if not _is_hash(account.secret):
                name = quote(account.identity.name)
                raise ConfigurationError(
                    f"the password of {name} is no argon2 hash; `mainspring web --hash-password` makes one"
                )
        self._accounts = {account.identity.name: account for account in accounts}
        # A name may be waited for by its owner, whom others must not keep out for long.
        self._by_client = by_client or Throttle(free=5, longest=300.0)
        self._by_name = by_name or Throttle(free=10, longest=15.0)
        self._at_home: OrderedDict[tuple[str, str], None] = OrderedDict()
        # Made as one of theirs is, so that it takes as long.
        likewise = PasswordHasher.from_parameters(extract_parameters(accounts[0].secret)) if accounts else _hasher
        self._nobody = likewise.hash("nobody has this password")
        self._limiter: anyio.CapacityLimiter | None = None

    async def identify(self, connection: HTTPConnection, client: str) -> Identity | None:
        session = self._session(connection)
        return self._accounts[session.name].identity if session else None

    def _session(self, connection: HTTPConnection) -> Session | None:
        """The session that the request belongs to; it ends with the password that it was begun with."""
        cookie = connection.cookies.get(cookie_name(connection))
        session = site_of(connection).sessions.read(cookie) if cookie else None
        if session is None or session.name not in self._accounts:
            return None
        return session if session.mark == _mark(self._accounts[session.name]) else None

    def missing(self, connection: HTTPConnection) -> Problem:
        if wants_page(connection):
            return SignInFirst(connection)
        return Unknown("Sign in, or show a token: `Authorization: Bearer …`.", headers=CHALLENGE)

    async def sign_in(self, name: str, password: str, client: str) -> Session:
        """A new session for whoever has this password. Raises `WrongPassword`, `TooManyFailures`.

        A name that is not there takes the time of one that is.
        """
        key = client_key(client)
        self._by_client.check(key)
        if (name, key) not in self._at_home:
            self._by_name.check(name)
        # Counted before it is known to be wrong: those who ask at the same time do not all go free.
        self._by_client.failed(key)
        self._by_name.failed(name)
        account = self._accounts.get(name)
        is_right = await self._verify(account.secret if account else self._nobody, password)
        if account is None or not is_right:
            logger.warning("sign-in of %s from %s refused", quote(name), client)
            raise WrongPassword("That name and password do not belong together.")
        self._by_client.forgiven(key)
        self._by_name.forgiven(name)
        logger.info("%s has signed in from %s", quote(name), client)
        self._remember(name, key)
        return Session.new(name, _mark(account))

    def _remember(self, name: str, key: str) -> None:
        """From there its owner comes: he is not kept out by those who guess from elsewhere."""
        self._at_home[name, key] = None
        self._at_home.move_to_end((name, key))
        if len(self._at_home) > MAX_AT_HOME:
            self._at_home.popitem(last=False)

    async def _verify(self, stored: str, password: str) -> bool:
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(AT_ONCE)
        if self._limiter.statistics().tasks_waiting >= MAX_WAITING:
            raise Busy("Too many sign in at once. Try again in a moment.", headers={"Retry-After": "2"})
        shown = password.encode("utf-8", "surrogatepass")
        if len(shown) > MAX_PASSWORD_BYTES:
            return False
        return await anyio.to_thread.run_sync(_is_password, stored, shown, limiter=self._limiter)


class Busy(Problem):
    status = 503
    title = "Busy"


def _is_password(stored: str, shown: bytes) -> bool:
    try:
        return _hasher.verify(stored, shown)
    except (Argon2Error, InvalidHashError):
        return False


def _is_hash(secret: str) -> bool:
    try:
        extract_parameters(secret)
    except InvalidHashError:
        return False
    return _HASH.fullmatch(secret) is not None


def _mark(account: Account) -> str:
    """Tells one password from the next, and nobody what it is."""
    return blake2b(account.secret.encode(), digest_size=9, person=b"session").hexdigest()
