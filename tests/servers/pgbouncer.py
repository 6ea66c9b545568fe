"""PgBouncer before a PostgreSQL server, in transaction mode: each transaction may run in another server process."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from servers.ports import free_port
from servers.postgres import unprivileged_user

STARTING_SECONDS = 60.0
SERVER_CONNECTIONS = 6
"""Few, and taken in turns, so that whoever comes next gets another process than last time; one more than a worker may
use at once, so that a test may hold up its loop with a blocking call."""


@contextmanager
def running_pgbouncer(server: str, **settings: object) -> Iterator[str]:
    """The address of a pooler that runs meanwhile, by which the same database is reached."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        if os.environ.get("CI"):
            raise RuntimeError("no program pgbouncer, which must be there in CI: apt-get install pgbouncer")
        pytest.skip("no program pgbouncer on this machine: apt-get install pgbouncer")
    parts = urlsplit(server)
    port = free_port()
    address = urlunsplit(parts._replace(netloc=f"{parts.username}@127.0.0.1:{port}"))
    folder = Path(tempfile.mkdtemp(prefix="mainspring-pgbouncer-"))
    process = None
    try:
        (folder / "users").write_text(f'"{parts.username}" ""\n')
        lines = {
            "listen_addr": "127.0.0.1",
            "listen_port": port,
            "unix_socket_dir": "",
            "auth_type": "trust",
            "auth_file": folder / "users",
            "pool_mode": "transaction",
            "default_pool_size": SERVER_CONNECTIONS,
            "server_round_robin": 1,
            "logfile": folder / "log",
        } | settings
        config = [f"[databases]\n* = host={parts.hostname} port={parts.port}\n[pgbouncer]"]
        config += [f"{name} = {value}" for name, value in lines.items()]
        (folder / "config").write_text("\n".join(config) + "\n")
        user = unprivileged_user()
        if user:
            for path in (folder, folder / "users", folder / "config"):
                shutil.chown(path, user)
        process = subprocess.Popen([program, "-q", folder / "config"], user=user, cwd=folder)
        _wait(address, process, folder / "log")
        yield address
    finally:
        if process is not None:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + STARTING_SECONDS
    while True:
        try:
            psycopg.connect(address, connect_timeout=2).close()
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline or process.poll() is not None:
                raise RuntimeError(log.read_text()[-3000:]) from error
            time.sleep(0.05)
        else:
            return
