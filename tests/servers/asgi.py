"""An ASGI app on a real server: uvicorn on a free port of this machine, in a thread."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

__all__ = ["serving"]

GRACE_SECONDS = 2
"""How long streams that are open when the server stops are waited for."""
START_SECONDS = 30


@contextmanager
def serving(app: Any, host: str = "127.0.0.1") -> Iterator[str]:
    """Serve `app` while the block runs; gives the URL of its root, without a slash at the end."""
    with socket.create_server((host, 0)) as listening:
        config = uvicorn.Config(
            app,
            log_level="warning",
            ws="websockets-sansio",
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        server = uvicorn.Server(config)
        failures: list[BaseException] = []

        def run() -> None:
            try:
                server.run([listening])
            except BaseException as failure:
                failures.append(failure)

        thread = threading.Thread(target=run, name="uvicorn")
        thread.start()
        try:
            deadline = time.monotonic() + START_SECONDS
            while not server.started:
                if not thread.is_alive() or time.monotonic() > deadline:
                    raise RuntimeError("the app did not start; uvicorn has logged why") from next(iter(failures), None)
                time.sleep(0.005)
            yield f"http://{host}:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
