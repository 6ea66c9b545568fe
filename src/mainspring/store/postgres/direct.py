"""A prepared statement straight through libpq: what a cursor of psycopg's costs is a fifth of a durable INSERT.

For what is said about each single job by blocking callers; all else goes by psycopg, which also makes errors of what is
refused here.
"""

from __future__ import annotations

import re
import select
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import count
from operator import itemgetter

import psycopg
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from mainspring.store.postgres.connections import Connection, Overdue

__all__ = ["perform"]

_PARAMETER = re.compile(r"%\((\w+)\)s|%%")
_DONE = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)
_NUMBERS = count(1)


@dataclass(frozen=True, slots=True)
class _Numbered:
    """A statement as libpq takes it."""

    text: bytes
    values: Callable[[Mapping[str, str | None]], tuple[str | None, ...]]
    """Picks those of its parameters, in their order."""


@cache
def _numbered(text: str) -> _Numbered:
    """The statement of that text, in which parameters are written as for psycopg; two of them at least."""
    order: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        return f"${order.setdefault(found[1], len(order) + 1)}" if found[1] else "%"

    return _Numbered(_PARAMETER.sub(number, text).encode(), itemgetter(*order))


def perform(connection: Connection, text: str, parameters: Mapping[str, str | None]) -> int:
    """Execute it, within the connection's deadline; gives how many rows it changed. Raises `psycopg.Error`."""
    statement, server = _numbered(text), connection.pgconn
    name = connection.prepared.get(text)
    if name is None:
        name = b"mainspring_%d" % next(_NUMBERS)
        server.send_prepare(name, statement.text)
        _answer(connection)
        connection.prepared[text] = name
    values = [value if value is None else value.encode() for value in statement.values(parameters)]
    server.send_query_prepared(name, values)
    return _answer(connection)


def _answer(connection: Connection) -> int:
    """How many rows were changed, once all is said."""
    server, changed = connection.pgconn, 0
    refusal: PGresult | None = None
    try:
        while server.flush():
            _make_room(connection)
        while True:
            while server.is_busy():
                left = connection.deadline - time.monotonic()
                if left <= 0 or not connection.readable(left * 1000):
                    raise Overdue("it did not answer in time")
                server.consume_input()
            result = server.get_result()
            if result is None:
                break
            if result.status in _DONE:
                changed = result.command_tuples or 0
            else:
                refusal = refusal or result
    except psycopg.DatabaseError:
        # A server that ends a session says why, and then hangs up.
        if refusal is None:
            raise
    if refusal is not None:
        raise error_from_result(refusal)
    return changed


def _make_room(connection: Connection) -> None:
    """Wait until the server has taken some of what it was sent; it may have to get rid of something itself first."""
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN | select.POLLOUT)
    left = connection.deadline - time.monotonic()
    if left <= 0 or not poll.poll(left * 1000):
        raise Overdue("it did not answer in time")
    connection.pgconn.consume_input()
