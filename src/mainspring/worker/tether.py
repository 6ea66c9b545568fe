"""What ties a worker to its supervisor: a pair of sockets, on which orders come down and signs go up.

Not signals: service managers and terminals send those to a whole group, and what a supervisor passes on would arrive
as a second one. And a socket ends with the process that holds it, however that died, so that no worker outlives its
supervisor unnoticed.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict

from mainspring.worker.vitals import Signs

__all__ = ["ORDER", "Tether", "read_signs"]

logger = logging.getLogger("mainspring.worker")

ORDER = b"s"
"""Stop. A second one: at once."""


class Tether:
    """The worker's end. `stop` is told how often the supervisor has said so by now."""

    def __init__(self, descriptor: int, stop: Callable[[int], None]) -> None:
        os.set_inheritable(descriptor, False)
        self._socket = socket.socket(fileno=descriptor)
        self._stop = stop
        threading.Thread(target=self._listen, name="mainspring-tether", daemon=True).start()

    def report(self, signs: Signs) -> None:
        """Show the supervisor how things stand. One that does not listen misses it."""
        with suppress(OSError):
            self._socket.send(json.dumps(asdict(signs)).encode() + b"\n", socket.MSG_DONTWAIT)

    def _listen(self) -> None:
        orders = 0
        with suppress(OSError):
            while heard := self._socket.recv(64):
                orders += heard.count(ORDER)
                self._stop(orders)
        if not orders:
            logger.warning("the supervisor of this worker is gone: stopping")
            self._stop(1)


def read_signs(line: bytes) -> Signs | None:
    """What a worker has reported; None for a line that was cut."""
    try:
        return Signs(**json.loads(line))
    except (ValueError, TypeError):
        return None
