"""Where a PostgreSQL store is: its URL read, what is ours in it kept apart from what is libpq's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from mainspring.errors import InvalidURL
from mainspring.store.connect import without_password

__all__ = ["CONNECT_SECONDS", "GRACE_SECONDS", "OPERATION_SECONDS", "SESSION_LIMITS", "Location", "locate"]

CONNECT_SECONDS = 5
OPERATION_SECONDS = 5.0
"""How long an operation may take, waiting for a connection and for locks included."""
GRACE_SECONDS = 1.0
"""How much longer the server has to say so itself, before its silence is taken for an answer."""
SESSION_LIMITS = {
    "statement_timeout": round(OPERATION_SECONDS * 1000),
    "idle_in_transaction_session_timeout": round(2 * OPERATION_SECONDS * 1000),
    "jit": "off",
}
"""What the server keeps to, times in milliseconds; the second is for a program that is stopped while it holds locks.
Compiling a statement takes up to a second, and running any of ours a few milliseconds."""
CONNECTIONS = 10
"""How many connections a driver has at most, unless the URL says otherwise."""

_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")


@dataclass(frozen=True, slots=True)
class Location:
    """What to connect to. `url` is without any password."""

    url: str
    conninfo: str
    schema: str
    listen: bool
    """False: behind a pooler that hands each transaction to another server process, where LISTEN, SET and prepared
    statements are lost; everything is polled then."""
    pool: int = CONNECTIONS
    """How many connections a driver has at most."""
    connect_seconds: int = CONNECT_SECONDS


def locate(url: str) -> Location:
    """Read `postgresql://user@host/db?schema=jobs&listen=0&pool=5`; every other parameter is libpq's own."""
    shown = without_password(url)
    parts = urlsplit(url)
    given = parse_qsl(parts.query, keep_blank_values=True)
    ours = {name: value for name, value in given if name in ("schema", "listen", "pool")}
    # libpq takes a space as %20 only.
    theirs = urlencode([(name, value) for name, value in given if name not in ours], quote_via=quote)
    schema, listen = ours.get("schema", "mainspring"), ours.get("listen", "1")
    pool = ours.get("pool", str(CONNECTIONS))
    if not _SCHEMA.fullmatch(schema):
        raise InvalidURL(f"{shown!r}: schema={schema!r} is not of lower-case letters, digits and _; rename it")
    if listen not in ("0", "1"):
        raise InvalidURL(f"{shown!r}: listen={listen!r} is neither 0 (poll, for PgBouncer) nor 1")
    if not (pool.isascii() and pool.isdigit() and 1 <= int(pool) <= 10_000):
        raise InvalidURL(f"{shown!r}: pool={pool!r} is not a number of connections, 1 to 10000")
    try:
        libpq = conninfo_to_dict(urlunsplit(("postgresql", parts.netloc, parts.path, theirs, "")))
    except ProgrammingError as error:
        raise InvalidURL(f"{shown!r} cannot be read ({str(error).strip()}); see the manual of libpq's URIs") from None
    given_seconds = str(libpq.get("connect_timeout") or "")
    return Location(
        url=shown,
        conninfo=make_conninfo("", **(_defaults(listen == "1") | libpq)),
        schema=schema,
        listen=listen == "1",
        pool=int(pool),
        connect_seconds=int(given_seconds) if given_seconds.isdigit() else CONNECT_SECONDS,
    )


def _defaults(direct: bool) -> dict[str, str | int | None]:
    """What a connection is opened with, unless the URL says otherwise."""
    settings: dict[str, str | int | None] = {
        "connect_timeout": CONNECT_SECONDS,
        "application_name": "mainspring",
        # A server that vanished without a word is noticed within ten seconds.
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 2,
        "tcp_user_timeout": 10_000,
    }
    if direct:
        # The isolation that the statements are written for: the role's or the database's default may be another one.
        options = {"default_transaction_isolation": r"read\ committed", **SESSION_LIMITS}
        settings["options"] = " ".join(f"-c {name}={value}" for name, value in options.items())
    return settings
