"""A server that is told to stop while jobs are followed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
from servers.postgres import free_port
from websockets.asyncio.client import connect

from mainspring import Mainspring
from mainspring.web import job_url, ticket

from .scene import Listener, until

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
    port = free_port()
    base = f"http://127.0.0.1:{port}/jobs"
    command = [sys.executable, "-m", "uvicorn", "shop:shop", "--port", str(port), "--log-level", "warning"]
    environment = os.environ | {"MAINSPRING_URL": app.url, "MAINSPRING_WEB_SECRET": SECRET}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as server:
        try:
            async with httpx.AsyncClient(timeout=20) as client:
                await until(lambda: answers(client, base))
                url = job_url(job, base, secret=SECRET)
                async with client.stream("GET", url, headers={"Accept": "text/event-stream"}) as response:
                    listener = Listener(response)
                    reading = asyncio.create_task(listener.read())
                    await listener.heard("snapshot")
                    async with connect(f"{base.replace('http', 'ws', 1)}/api/v1/ws") as socket:
                        signed = ticket(job, secret=SECRET)
                        await socket.send(f'{{"subscribe": "{job.id}", "ticket": "{signed}"}}')
                        await socket.recv()
                        server.send_signal(signal.SIGTERM)
                        await reading
                        await socket.wait_closed()
                        assert socket.close_code == 1012  # service restart
            assert await asyncio.to_thread(server.wait, 5) in (0, -signal.SIGTERM)
            assert server.stderr is not None
            assert server.stderr.read() == ""
        finally:
            server.kill()


async def answers(client: httpx.AsyncClient, base: str) -> bool:
    try:
        return (await client.get(f"{base}/static/mainspring.js")).status_code == 200
    except httpx.HTTPError:
        return False
