"""`make demo-web`: a worker and the page, until Ctrl-C. What comes in stays in out/photos-web, for the next time.

    python -m examples.photos.web [--port 8000] [--out out/photos-web]

Exit code 0: it was asked to stop; 1: something went wrong; 2: it cannot begin, because of the port or the folder.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn
from urllib.parse import quote

import uvicorn

from examples.photos.worker import Trouble, Worker, run_worker
from mainspring import MainspringError

JOBS_APP = "examples.photos.web.jobs:app"
HOST = "127.0.0.1"
USUAL_PORT = 8000
PROCESSES = 2
"""Of the worker: kill one, and see the other go on."""
LEASE = "10s"
"""So long a photo stands still whose process was killed."""
LOOK_SECONDS = 0.5
"""How often the worker is looked after."""
GRACE_SECONDS = 2
"""How long streams to open pages are waited for at the end; they would go on for ever."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal comes; gives the exit code."""
    options = _parser().parse_args(arguments)
    # SIGINT too: whoever is started in the background without a terminal finds it ignored.
    _on_signals(_leave)
    out = Path(options.out).absolute()
    try:
        out.mkdir(parents=True, exist_ok=True)
        listening = _listen(options.port)
    except OSError as error:
        print(f"demo-web: {error}", file=sys.stderr)
        return 2
    try:
        with listening:
            _serve(listening, out, options.concurrency)
    except (Trouble, MainspringError) as error:
        print(f"demo-web: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="demo-web", description="A page that takes photos, and a worker behind it.")
    environment = os.environ.get
    parser.add_argument("--port", type=int, default=environment("PORT") or None,
                        help=f"on this machine's loopback ($PORT; default: {USUAL_PORT}, or a free one)")  # fmt: skip
    parser.add_argument("--out", default=environment("PHOTOS_WEB_OUT") or "out/photos-web",
                        help="where albums and jobs are kept ($PHOTOS_WEB_OUT; default: out/photos-web)")  # fmt: skip
    parser.add_argument("--concurrency", type=int, default=max(1, (os.cpu_count() or 2) // PROCESSES), metavar="N",
                        help=f"how many photos at once in each of {PROCESSES} processes")  # fmt: skip
    return parser


def _on_signals(do: Callable[[int, FrameType | None], object]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, do)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    """A signal becomes an exception, so that everything started is stopped on the way out."""
    raise SystemExit(0)


def _listen(port: int | None) -> socket.socket:
    try:
        return socket.create_server((HOST, USUAL_PORT if port is None else port))
    except OSError as error:
        if port is None:
            return socket.create_server((HOST, 0))
        raise OSError(f"cannot listen on port {port}: {error.strerror}; try another one, PORT=…") from None


def _serve(listening: socket.socket, out: Path, concurrency: int) -> None:
    settings = {"MAINSPRING_URL": "sqlite:///" + quote(str(out / "jobs.db")), "PHOTOS_OUT": str(out / "albums")}
    os.environ.update(settings)  # before the app is imported, which reads it
    from examples.photos.web.jobs import app
    from examples.photos.web.site import site

    pages = site(app, secret=_secret(out / "secret"))
    server = uvicorn.Server(
        uvicorn.Config(
            pages, log_level="warning", ws="websockets-sansio", timeout_graceful_shutdown=GRACE_SECONDS, lifespan="on"
        )
    )
    processes = ("-p", str(PROCESSES), "--lease", LEASE)
    with app, run_worker(out / "worker.log", settings, concurrency, JOBS_APP, processes) as worker:
        watch = Watch(worker, server)
        with watch:
            _on_signals(server.handle_exit)  # an exception would end it in the middle of anything
            print(f"Photos: http://{HOST}:{listening.getsockname()[1]}/", flush=True)
            print(f"Everything is kept in {out}. Ctrl-C ends it.", flush=True)
            server.run([listening])
            _on_signals(_leave)
        watch.check()


class Watch:
    """Ends the server when its worker has died, in a thread."""

    def __init__(self, worker: Worker, server: uvicorn.Server) -> None:
        self._worker, self._server = worker, server
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)
        self._trouble: Trouble | None = None

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *raised: object) -> None:
        self._over.set()
        self._thread.join()

    def check(self) -> None:
        """Raise what the worker died of."""
        if self._trouble is not None:
            raise self._trouble

    def _look(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            try:
                self._worker.check()
            except Trouble as trouble:
                self._trouble = trouble
                self._server.should_exit = True
                return


def _secret(file: Path) -> str:
    """What tickets are signed with: kept, so that pages that are open outlive a restart."""
    try:
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as new:
            new.write(secrets.token_urlsafe(32))
    except FileExistsError:
        pass
    return file.read_text()


if __name__ == "__main__":
    sys.exit(main())
