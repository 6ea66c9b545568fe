"""A server that is told to stop while jobs are followed."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import connect

from mainspring import Mainspring
from mainspring.web import job_url, ticket

from .scene import PATIENCE, Listener, until

SECRET = "as long as any secret should be"

MODULE = """
from fastapi import FastAPI
from mainspring import Mainspring
from mainspring.web import create_app
shop = FastAPI()
shop.mount("/jobs", create_app(Mainspring()))
"""


async def test_open_streams_end_as_they_should_and_hold_nothing_up(app: Mainspring, tmp_path: Path) -> None:
    """Also in an application of the user's own, on whose server nothing is set: no deadline, and no error is logged."""
    (tmp_path / "shop.py").write_text(MODULE)
    job = app.tasks["work"].enqueue(1)
    listening = socket.create_server(("127.0.0.1", 0))  # ours until it is the server's: nobody else gets that port
    base = f"http://127.0.0.1:{listening.getsockname()[1]}/jobs"
    command = [sys.executable, "-m", "uvicorn", "shop:shop", "--fd", str(listening.fileno()), "--log-level", "warning"]
    environment = os.environ | {"MAINSPRING_URL": app.url, "MAINSPRING_WEB_SECRET": SECRET}
    pipes: Any = {"stderr": subprocess.PIPE, "text": True, "pass_fds": [listening.fileno()]}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, **pipes) as server:
        listening.close()
        try:
            async with httpx.AsyncClient(timeout=PATIENCE) as client:
                await until(lambda: answers(client, base))
                url = job_url(job, base, secret=SECRET)
                async with client.stream("GET", url, headers={"Accept": "text/event-stream"}) as response:
                    listener = Listener(response)
                    reading = asyncio.create_task(listener.read())
                    await listener.heard("snapshot")
                    async with connect(f"{base.replace('http', 'ws', 1)}/api/v1/ws", open_timeout=PATIENCE) as followed:
                        signed = ticket(job, secret=SECRET)
                        await followed.send(f'{{"subscribe": "{job.id}", "ticket": "{signed}"}}')
                        await followed.recv()
                        server.send_signal(signal.SIGTERM)
                        await reading
                        await followed.wait_closed()
                        assert followed.close_code == 1012  # service restart
            assert await asyncio.to_thread(server.wait, PATIENCE) in (0, -signal.SIGTERM)
            assert server.stderr is not None
            assert server.stderr.read() == ""
        finally:
            server.kill()


async def answers(client: httpx.AsyncClient, base: str) -> bool:
    try:
        return (await client.get(f"{base}/static/mainspring.js")).status_code == 200
    except httpx.HTTPError:
        return False
