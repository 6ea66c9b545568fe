"""A receiver of webhooks: a real HTTP server on loopback that keeps what came, and answers as it is told to."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Received", "Receiver", "receiving"]


@dataclass(frozen=True)
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)

    @property
    def event(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.body)
        return value


Answering = Callable[[BaseHTTPRequestHandler, Received], None]


class Receiver:
    """`answers` are given one after the other, the last of them for ever: a status, or a status and headers."""

    def __init__(self, *answers: int | tuple[int, dict[str, str]], body: bytes = b"thanks") -> None:
        self.answers = list(answers) or [200]
        self.body = body
        self.received: list[Received] = []
        self.answering: Answering | None = None
        self.url = ""
        self.port = 0
        self._lock = threading.Lock()

    @property
    def events(self) -> list[str]:
        return [each.event["event"] for each in self.received]

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length", 0))
        received = Received(handler.path, dict(handler.headers.items()), handler.rfile.read(length))
        if len(received.body) < length:
            return  # whoever sent it has died over it
        with self._lock:
            self.received.append(received)
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if self.answering is not None:
            self.answering(handler, received)
            return
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(self.body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(self.body)


@contextmanager
def receiving(receiver: Receiver, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Iterator[Receiver]:
    """The receiver at its `url`, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.answer(self)

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer((host, 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda request, client_address: None  # type: ignore[method-assign]
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    receiver.port = server.server_address[1]
    receiver.url = f"http{'s' if tls else ''}://{host}:{receiver.port}/hook"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
