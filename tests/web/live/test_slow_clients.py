"""Clients that take nothing: they are given up after a while, and nothing is kept for them until then."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from mainspring import Mainspring
from mainspring.web import create_app, job_url
from mainspring.web.live import sockets, streams
from mainspring.web.live.hub import Hub, Stream

from .scene import Teller, until

HANDSHAKE = (
    "GET /api/v1/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def deaf(base: str) -> socket.socket:
    """A connection into which next to nothing fits that is not read."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", urlsplit(base).port))
    return connection


@pytest.mark.parametrize("kind", ["stream", "socket"])
async def test_who_takes_nothing_is_given_up(
    app: Mainspring, teller: Teller, serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(sockets, "SEND_SECONDS", 0.5)
    monkeypatch.setattr(streams, "SEND_SECONDS", 0.5)
    opened: list[Stream] = []

    def open_stream(hub: Hub, *what: Any) -> Stream:
        opened.append(stream := follow(hub, *what))
        return stream

    follow = Hub.open
    monkeypatch.setattr(Hub, "open", open_stream)
    web = create_app(app)
    base = serve(web)
    job = app.tasks["work"].enqueue(1)
    teller.claim()
    for _ in range(4):
        teller.say(job.id, pieces=("x" * 8000,) * 500)
    with deaf(base) as connection:
        if kind == "stream":
            url = urlsplit(job_url(job, base))
            connection.send(f"GET {url.path}?{url.query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        else:
            connection.send(HANDSHAKE.encode())
            assert connection.recv(12) == b"HTTP/1.1 101"
            text = f'{{"subscribe": "{job.id}"}}'.encode()
            connection.send(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)
        await until(lambda: opened)
        await until(lambda: web.state.desk.streams == 0)
