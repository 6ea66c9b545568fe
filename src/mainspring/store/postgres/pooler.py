"""Whether there is a pooler between here and the server, and of which kind; for `mainspring doctor`."""

from __future__ import annotations

import time
from contextlib import closing

from mainspring.store.postgres.connections import Connection, connect
from mainspring.store.postgres.location import OPERATION_SECONDS, Location

__all__ = ["pooler_warnings"]

LOOKS = 4
"""How often each of two connections is asked which server process serves it: a pooler may change it, or not."""


def pooler_warnings(location: Location, connection: Connection) -> tuple[str, ...]:
    """What is wrong with listening by way of `connection`, if anything is. Raises `psycopg.Error`."""
    if not location.listen or _process(connection) == connection.info.backend_pid:
        return ()
    with closing(connect(location, time.monotonic() + OPERATION_SECONDS)) as other:
        looks = [(_process(connection), _process(other)) for _ in range(LOOKS)]
    mine, theirs = {look[0] for look in looks}, {look[1] for look in looks}
    if len(mine) > 1 or len(theirs) > 1 or mine & theirs:
        return ("a pooler hands out a server process per transaction, where LISTEN is lost: add listen=0 to the URL",)
    return ("a pooler is between here and the server; should it be in transaction mode, add listen=0 to the URL",)


def _process(connection: Connection) -> int:
    row = connection.execute("SELECT pg_backend_pid()", prepare=False).fetchone()
    return int(row[0]) if row else 0
