"""JSON documents over a socket, each headed by its length."""

from __future__ import annotations

import json
import select
import socket
import threading
from collections.abc import Mapping
from typing import Any

__all__ = ["Wire"]

_HEAD = 4
_CHUNK = 256 * 1024


class Wire:
    """One end. Anybody may send, one thread receives. Nothing but JSON goes over it: text is escaped to ASCII, so that
    whatever a task puts into its results and errors arrives."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._sending = threading.Lock()
        self._received = bytearray()
        self._ready = select.poll()
        self._ready.register(end, select.POLLIN)

    def send(self, document: Mapping[str, Any]) -> None:
        """Raises `OSError` where the other end has gone."""
        data = json.dumps(document, separators=(",", ":")).encode("ascii")
        with self._sending:
            self._socket.sendall(len(data).to_bytes(_HEAD, "big") + data)

    def receive(self, seconds: float | None) -> dict[str, Any] | None:
        """The next document; None: none came in time. Raises `EOFError` where the other end has gone."""
        while (document := self._take()) is None:
            if seconds is not None and not self._ready.poll(seconds * 1000):
                return None
            try:
                data = self._socket.recv(_CHUNK)
            except ConnectionError as error:
                raise EOFError from error
            if not data:
                raise EOFError
            self._received += data
        return document

    def close(self) -> None:
        self._socket.close()

    def _take(self) -> dict[str, Any] | None:
        end = _HEAD + int.from_bytes(self._received[:_HEAD], "big")
        if len(self._received) < max(end, _HEAD):
            return None
        document: dict[str, Any] = json.loads(self._received[_HEAD:end])
        del self._received[:end]
        return document
