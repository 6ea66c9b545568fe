"""Where a chaos run takes place: one store, the way there for each program, and what can be done to both."""

from __future__ import annotations

import ctypes
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from pathlib import Path

import psycopg
from servers.postgres import PostgresServer, unprivileged_user
from servers.proxy import Proxy, proxy_to
from servers.valkey import ValkeyServer

__all__ = ["GROUNDS", "Disk", "Ground", "PostgresGround", "RedisGround", "SqliteGround"]

ORDERS = "CREATE TABLE chaos_orders (name TEXT PRIMARY KEY, lease INTEGER)"


class Disk:
    """A small disk of the run's own, where one can be mounted (`small`), or a folder."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder = folder
        self.small = megabytes > 0 and _mount(folder, megabytes)

    def fill(self) -> None:
        """Leave no room on it."""
        ballast = self.folder / "ballast"
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(64 * 1024))

    def free(self) -> None:
        """Give the room back."""
        (self.folder / "ballast").unlink(missing_ok=True)

    def close(self) -> None:
        if self.small:
            # Whoever still has a file open there loses nothing by it.
            ctypes.CDLL(None).umount2(bytes(self.folder), 2)


def _mount(folder: Path, megabytes: int) -> bool:
    if os.geteuid() != 0:
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mount(b"tmpfs", bytes(folder), b"tmpfs", 0, f"size={megabytes}m,mode=755".encode()) == 0)


class Ground:
    """One kind of store. `url` is where a program of that name finds it."""

    name: str
    has_server = True
    clocks_of_its_own = True
    """Whether the time comes from a server, so that wrong clocks of programs change nothing."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.proxies: dict[str, Proxy] = {}
        self._open: list[AbstractContextManager[Proxy]] = []

    @property
    def address(self) -> str:
        """The store, past all that stands in the way."""
        raise NotImplementedError

    @property
    def orders(self) -> str:
        """The database that transactions of the programs' own write to; "": there is none."""
        return ""

    def url(self, who: str) -> str:
        """By a way of that program's own."""
        if who not in self.proxies:
            opened = proxy_to(self.address)
            self._open.append(opened)
            self.proxies[who] = opened.__enter__()
        return self.proxies[who].url(self.address)

    def apart(self) -> str:
        """A place in it that nobody has used, as a URL."""
        name = f"apart_{time.monotonic_ns()}"
        if not self.has_server:
            return f"sqlite:///{self.disk.folder / name}.db"
        return f"{self.address}?{'schema' if self.name == 'postgres' else 'namespace'}={name}"

    def start(self) -> None:
        """Start the server, if it is down."""

    def kill(self) -> None:
        """kill -9."""

    def restart(self) -> None:
        """Drop everything and come back."""
        self.kill()
        self.start()

    def frozen(self) -> AbstractContextManager[None]:
        return nullcontext()

    def written(self) -> list[tuple[str, int | None]]:
        """What transactions have written."""
        return []

    def close(self) -> None:
        for proxy in self._open:
            proxy.__exit__(None, None, None)
        self.kill()


class SqliteGround(Ground):
    """A file."""

    name = "sqlite"
    has_server = False
    clocks_of_its_own = False

    def __init__(self, disk: Disk) -> None:
        super().__init__(disk)
        self._path = disk.folder / "jobs.db"
        with closing(sqlite3.connect(self._path)) as connection:
            connection.execute("PRAGMA journal_mode = wal")
            connection.execute(ORDERS)
            connection.commit()

    @property
    def address(self) -> str:
        return f"sqlite:///{self._path}"

    @property
    def orders(self) -> str:
        return str(self._path)

    def url(self, who: str) -> str:
        return self.address

    def written(self) -> list[tuple[str, int | None]]:
        with closing(sqlite3.connect(self._path)) as connection:
            return connection.execute("SELECT name, lease FROM chaos_orders").fetchall()


class PostgresGround(Ground):
    """A server that syncs what it commits."""

    name = "postgres"

    def __init__(self, disk: Disk) -> None:
        super().__init__(disk)
        user = unprivileged_user()
        if user:
            shutil.chown(disk.folder, user)
        folder = disk.folder / "server"
        folder.mkdir(mode=0o755)
        self._server = PostgresServer(folder, durable=True)
        self._runs = False
        self.start()
        with psycopg.connect(self.address, autocommit=True) as connection:
            connection.execute(ORDERS)

    @property
    def address(self) -> str:
        return self._server.url

    @property
    def orders(self) -> str:
        return self._server.url

    def start(self) -> None:
        if self._runs and self._server.alive:
            return
        self._server.kill()
        self._server.start()
        self._runs = True

    def kill(self) -> None:
        self._server.kill()
        self._runs = False

    def restart(self) -> None:
        if self._server.alive:
            self._server.restart("immediate")
        else:
            self.start()

    def frozen(self) -> AbstractContextManager[None]:
        return self._server.frozen() if self._server.alive else nullcontext()

    def written(self) -> list[tuple[str, int | None]]:
        with psycopg.connect(self.address) as connection:
            return connection.execute("SELECT name, lease FROM chaos_orders").fetchall()


class RedisGround(Ground):
    """A server that syncs each write, so that a kill costs nothing that it has answered."""

    name = "redis"

    def __init__(self, disk: Disk) -> None:
        super().__init__(disk)
        folder = disk.folder / "server"
        folder.mkdir()
        self._server = ValkeyServer(folder, appendonly="yes", appendfsync="always")
        self.start()

    @property
    def address(self) -> str:
        return self._server.url

    def start(self) -> None:
        if not self._server.runs:
            self._server.start()

    def kill(self) -> None:
        self._server.kill()

    def frozen(self) -> AbstractContextManager[None]:
        return self._server.frozen() if self._server.runs else nullcontext()


GROUNDS: dict[str, Callable[[Disk], Ground]] = {
    "sqlite": SqliteGround,
    "postgres": PostgresGround,
    "redis": RedisGround,
}

MEGABYTES = {"sqlite": 64, "postgres": 512, "redis": 256}


@contextmanager
def ground(store: str, megabytes: int | None = None) -> Iterator[Ground]:
    """That kind of store, meanwhile, on a small disk (0: on none of its own)."""
    folder = Path(tempfile.mkdtemp(prefix="mainspring-chaos-"))
    disk = Disk(folder, MEGABYTES[store] if megabytes is None else megabytes)
    try:
        made = GROUNDS[store](disk)
        try:
            yield made
        finally:
            made.close()
    finally:
        disk.close()
        shutil.rmtree(folder, ignore_errors=True)
