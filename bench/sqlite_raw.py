"""The raw store loop: the least SQL that a queue with claims, results and a history can do, straight through `sqlite3`.

Same file system, same WAL and FULL, same batches; no library, no leases, no keys, one index. What Mainspring does is
stated as a ratio of this.
"""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path

__all__ = ["claim_and_settle", "insert_batches", "insert_singly"]

_SCHEMA = """
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE jobs (id TEXT PRIMARY KEY, task TEXT, args TEXT, state TEXT, lease INTEGER DEFAULT 0);
    CREATE INDEX queued ON jobs (id) WHERE state = 'queued';
    CREATE TABLE finished (id TEXT PRIMARY KEY, task TEXT, args TEXT, lease INTEGER, result TEXT);
"""

_ARGS = json.dumps({"user_id": 7, "email": "a@b.c"})


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(_SCHEMA)
    return connection


def insert_singly(path: Path, jobs: int) -> float:
    """Jobs per second, a commit each."""
    connection = _open(path)
    start = time.perf_counter()
    for number in range(jobs):
        connection.execute("INSERT INTO jobs (id, task, args, state) VALUES (?, 'noop', ?, 'queued')", (number, _ARGS))
    return jobs / (time.perf_counter() - start)


def insert_batches(path: Path, jobs: int, batch: int) -> float:
    """Jobs per second, a commit per batch."""
    connection = _open(path)
    start = time.perf_counter()
    for first in range(0, jobs, batch):
        rows = [(f"{number:036d}", _ARGS) for number in range(first, first + batch)]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO jobs (id, task, args, state) VALUES (?, 'noop', ?, 'queued')", rows)
        connection.execute("COMMIT")
    return jobs / (time.perf_counter() - start)


def claim_and_settle(path: Path, jobs: int, batch: int) -> float:
    """Jobs per second: claim a batch, commit, move it to the finished ones with a result, commit."""
    insert_batches(path, jobs, 1000)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")
    start = time.perf_counter()
    while True:
        connection.execute("BEGIN IMMEDIATE")
        claims = connection.execute(
            "UPDATE jobs SET state = 'running', lease = lease + 1 WHERE rowid IN "
            "(SELECT rowid FROM jobs WHERE state = 'queued' ORDER BY id LIMIT ?) RETURNING id, task, args, lease",
            (batch,),
        ).fetchall()
        connection.execute("COMMIT")
        if not claims:
            return jobs / (time.perf_counter() - start)
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT INTO finished SELECT id, task, args, lease, ? FROM jobs WHERE id = ? AND lease = ?",
            [("null", claim[0], claim[3]) for claim in claims],
        )
        connection.executemany("DELETE FROM jobs WHERE id = ?", [(claim[0],) for claim in claims])
        connection.execute("COMMIT")
