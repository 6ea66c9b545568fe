"""What is said to a server for one operation: its scripts, each by its hash, and where that is asked for whether they
are on disk."""

from __future__ import annotations

import os
import time
from typing import Any

from redis.exceptions import NoScriptError

from mainspring.store.base import (
    AlterRequest,
    ConfigureRequest,
    CountRequest,
    FindRequest,
    Operation,
    Reply,
    Request,
    SettleRequest,
)
from mainspring.store.redis.errors import Unconfirmed
from mainspring.store.redis.greeting import Command, Exchange, Greeting
from mainspring.store.redis.location import Location
from mainspring.store.redis.scripts import script

__all__ = ["confirms", "mark_of", "performing"]


def confirms(request: Request[Any], location: Location, server: Greeting) -> bool:
    """Whether the server is to be asked, behind this request's scripts, for a word that they are on disk."""
    if location.durability != "always" or server.appendfsync == "always":
        return False
    return not (
        isinstance(request, FindRequest | CountRequest)
        or (isinstance(request, ConfigureRequest) and not request.changes)
    )


def mark_of(request: Request[Any]) -> str | None:
    """By what a script knows the request when it is sent again, its reply having been lost; None: doing it twice is
    doing it once, whatever became of it meanwhile."""
    return os.urandom(12).hex() if isinstance(request, SettleRequest | AlterRequest) else None


def performing(operation: Operation[Reply], tag: str, mark: str | None, confirmed_by: float | None) -> Exchange[Reply]:
    """Carry out an operation, in the name of `mark`. With `confirmed_by`, a time on `time.monotonic`, every script is
    confirmed to be on disk. Raises what the server refuses, `Unconfirmed`."""
    try:
        call = next(operation)
        while True:
            document = call.document if mark is None else f'{call.document[:-1]},"request":"{mark}"}}'
            call = operation.send((yield from _called(call.script, document, tag, confirmed_by)))
    except StopIteration as done:
        reply: Reply = done.value
        return reply
    finally:
        operation.close()


def _called(name: str, document: str, tag: str, confirmed_by: float | None) -> Exchange[Any]:
    text = script(name)
    commands: tuple[Command, ...] = (("EVALSHA", text.sha1, 1, tag, document),)
    if confirmed_by is not None:
        # 0 would be for ever.
        commands += (("WAITAOF", 1, 0, max(1, round((confirmed_by - time.monotonic()) * 1000))),)
    replies = yield commands
    if isinstance(replies[0], NoScriptError):
        loaded, *replies = yield (("SCRIPT", "LOAD", text.text), *commands)
        if isinstance(loaded, Exception):
            raise loaded
    if isinstance(replies[0], Exception):
        raise replies[0]
    if confirmed_by is not None:
        _confirm(replies[1])
    return replies[0]


def _confirm(reply: object) -> None:
    if isinstance(reply, Exception):
        raise Unconfirmed(str(reply)) from reply
    if not isinstance(reply, list) or int(reply[0]) < 1:
        raise Unconfirmed("not within the deadline")
