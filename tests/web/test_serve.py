"""The server that the web has of its own: it ends when it is told to, whatever is open, and nobody can hold it up."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from socket import create_connection

import httpx
import pytest
from punctual import takes_less_than
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

PROGRAM = """
import asyncio, logging, sys
from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.websockets import WebSocket
from mainspring import Mainspring
from mainspring.web import create_app, serve as server
from mainspring.web.serve import address_of, listen, serve

logging.basicConfig()
for setting in sys.argv[1:]:
    name, _, seconds = setting.partition("=")
    setattr(server, name, float(seconds))
web = create_app(Mainspring("sqlite://"))

@web.get("/endless")
async def endless():
    async def pieces():
        while True:
            yield b"more"
            await asyncio.sleep(0.05)
    return StreamingResponse(pieces())

@web.post("/body")
async def body(request: Request):
    return len(await request.body())

@web.websocket("/socket")
async def open_for_ever(websocket: WebSocket):
    await websocket.accept()
    await websocket.send_text("hello")
    while True:
        await websocket.receive_text()

with listen("localhost", 0, authenticated=False) as listening:
    print(address_of(listening), flush=True)
    serve(web, listening)
print("the program goes on")
"""


@contextmanager
def serving(folder: Path, **settings: float) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server whose module has these settings."""
    (folder / "program.py").write_text(PROGRAM)
    command = [sys.executable, "program.py", *(f"{name}={seconds}" for name, seconds in settings.items())]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=folder, text=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_open_streams_and_sockets_do_not_hold_up_its_end(tmp_path: Path, number: signal.Signals) -> None:

    def seconds_to_end() -> float:
        with (
            serving(tmp_path) as (process, url),
            httpx.stream("GET", f"{url}/endless", timeout=60) as stream,
            connect(f"{url.replace('http', 'ws')}/socket", open_timeout=60) as socket,
        ):
            assert socket.recv() == "hello"
            assert next(stream.iter_bytes())
            before = time.monotonic()
            process.send_signal(number)
            out, err = process.communicate(timeout=60)  # they would have gone on for ever
            took = time.monotonic() - before
        assert process.returncode == 0
        assert out == "the program goes on\n"
        assert "Traceback" not in err
        return took

    takes_less_than(8, seconds_to_end)


def test_who_has_just_come_when_it_stops_is_answered(tmp_path: Path) -> None:
    """He has seen it there, and may not have got round to asking."""
    patient = {"GRACE_SECONDS": 100, "JUST_COME_SECONDS": 90}  # a busy machine may not get round to it either
    with serving(tmp_path, **patient) as (process, url):
        place = ("localhost", int(url.rpartition(":")[2]))
        with create_connection(place, timeout=60) as connection:
            assert httpx.post(f"{url}/body", content=b"abc", timeout=60).text == "3"  # both are let in by now
            process.send_signal(signal.SIGTERM)
            while is_there(place):
                time.sleep(0.01)
            connection.sendall(b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 200"
        assert process.wait(60) == 0


def is_there(place: tuple[str, int]) -> bool:
    with suppress(ConnectionRefusedError, ConnectionResetError), create_connection(place, timeout=60):
        return True
    return False


def test_whoever_sends_his_request_too_slowly_is_hung_up_on_and_nobody_else(tmp_path: Path) -> None:
    for seconds in (0.5, 4, 16):  # for longer, where the machine was too busy for the others to be quick enough
        try:
            _hang_up_on_the_slow(tmp_path, seconds)
        except (httpx.TransportError, WebSocketException, ConnectionError):
            if seconds == 16:
                raise
        else:
            break


def _hang_up_on_the_slow(folder: Path, seconds: float) -> None:
    with serving(folder, REQUEST_SECONDS=seconds) as (_, url), ExitStack() as stack:
        place = ("localhost", int(url.rpartition(":")[2]))
        stream = stack.enter_context(httpx.stream("GET", f"{url}/endless", timeout=60))
        socket = stack.enter_context(connect(f"{url.replace('http', 'ws')}/socket", open_timeout=60))
        assert socket.recv() == "hello"
        head = b"POST /body HTTP/1.1\r\nHost: localhost\r\n"
        slow = []
        for begun in (b"", head[:20], head, head + b"Content-Length: 9\r\n\r\nabc"):
            slow.append(stack.enter_context(create_connection(place, timeout=60)))
            slow[-1].sendall(begun)
        assert httpx.post(f"{url}/body", content=b"abc", timeout=60).text == "3"
        for each in slow:
            with suppress(ConnectionResetError):
                assert each.recv(100) == b""
        assert next(stream.iter_bytes())
        assert socket.ping().wait(60)
