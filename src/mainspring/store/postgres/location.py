"""Where a PostgreSQL store is: its URL read, what is ours in it kept apart from what is libpq's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from mainspring.errors import InvalidURL
from mainspring.store.connect import without_password

__all__ = ["CONNECT_SECONDS", "OPERATION_SECONDS", "Location", "locate"]

CONNECT_SECONDS = 5
OPERATION_SECONDS = 5.0
"""How long an operation may take, waiting for locks included."""

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


def locate(url: str) -> Location:
    """Read `postgresql://user@host/db?schema=jobs&listen=0`; every other parameter is libpq's own."""
    shown = without_password(url)
    parts = urlsplit(url)
    given = parse_qsl(parts.query, keep_blank_values=True)
    ours = {name: value for name, value in given if name in ("schema", "listen")}
    theirs = urlencode([(name, value) for name, value in given if name not in ours])
    schema, listen = ours.get("schema", "mainspring"), ours.get("listen", "1")
    if not _SCHEMA.fullmatch(schema):
        raise InvalidURL(f"{shown!r}: schema={schema!r} is not of lower-case letters, digits and _; rename it")
    if listen not in ("0", "1"):
        raise InvalidURL(f"{shown!r}: listen={listen!r} is neither 0 (poll, for PgBouncer) nor 1")
    try:
        libpq = conninfo_to_dict(urlunsplit(("postgresql", parts.netloc, parts.path, theirs, "")))
    except ProgrammingError as error:
        raise InvalidURL(f"{shown!r} cannot be read ({str(error).strip()}); see the manual of libpq's URIs") from None
    return Location(shown, make_conninfo("", **(_defaults(listen == "1") | libpq)), schema, listen == "1")


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
        limit = round(OPERATION_SECONDS * 1000)
        # Compiling a statement takes the server up to a second, and running any of ours a few milliseconds.
        settings["options"] = (
            f"-c jit=off -c statement_timeout={limit} -c idle_in_transaction_session_timeout={2 * limit}"
        )
    return settings
