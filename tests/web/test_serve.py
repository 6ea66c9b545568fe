"""The server that the web has of its own ends when it is told to, whatever is open."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

PROGRAM = """
import asyncio, logging
from fastapi.responses import StreamingResponse
from starlette.websockets import WebSocket
from mainspring import Mainspring
from mainspring.web import create_app
from mainspring.web.serve import address_of, listen, serve

logging.basicConfig()
web = create_app(Mainspring("sqlite://"))

@web.get("/endless")
async def endless():
    async def pieces():
        while True:
            yield b"more"
            await asyncio.sleep(0.05)
    return StreamingResponse(pieces())

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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_open_streams_and_sockets_do_not_hold_up_its_end(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "program.py"], cwd=tmp_path, text=True, **streams) as process:  # type: ignore[call-overload]
        url = process.stdout.readline().strip()
        try:
            with (
                httpx.stream("GET", f"{url}/endless") as stream,
                connect(f"{url.replace('http', 'ws')}/socket") as socket,
            ):
                assert socket.recv() == "hello"
                assert next(stream.iter_bytes())
                process.send_signal(number)
                before = time.monotonic()
                out, err = process.communicate(timeout=20)
                assert time.monotonic() - before < 8
        finally:
            process.kill()
    assert process.returncode == 0
    assert out == "the program goes on\n"
    assert "Traceback" not in err
