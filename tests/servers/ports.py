"""Ports for servers of the tests' own that nobody else gets: not while they start, nor while they are down.

A port that the kernel gives out as a free one may be somebody else's by the time that a server listens there: another
server's, or the near end of any connection on this machine. So these are not of those that it gives out, and each
process has some for itself.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import suppress

__all__ = ["free_port"]

FIRST, EACH, PROCESSES = 10_000, 200, 50
"""For so many processes at once so many ports. Nodes of a Redis cluster listen at ports that are 10,000 higher, too:
up to 29,999, and Linux gives out those from 32,768 on."""

_ports: tuple[int, Iterator[int]] | None = None
"""The process that has them, since a child that was forked has none; and the one to try next."""


def free_port() -> int:
    """A port on loopback at which nobody listens. It is not given out again before all others of this process were."""
    global _ports
    if _ports is None or _ports[0] != os.getpid():
        _ports = os.getpid(), _in_turns(_own())
    return next(port for port in _ports[1] if _is_free(port) and _is_free(port + 10_000))


def _own() -> range:
    """The ports that are this process's until it ends."""
    for number in range(PROCESSES):
        claim = socket.socket(socket.AF_UNIX)
        try:
            # A name without a file, which is gone when its process is.
            claim.bind(f"\0mainspring tests, ports {number}")
        except OSError:
            claim.close()
        else:
            claim.detach()
            return range(FIRST + number * EACH, FIRST + (number + 1) * EACH)
    raise RuntimeError(f"{PROCESSES} processes run tests with servers already: end some")


def _in_turns(ports: range) -> Iterator[int]:
    while True:
        yield from ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe, suppress(OSError):
        # As servers do, which mind nobody who has just gone.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        return True
    return False
