"""The raw store loop: the least SQL that a queue with claims, results and a history can do, straight through psycopg.

Same server, same `synchronous_commit`, same batches; no library, no leases in other tables, no keys, one index on each
table besides its primary key. What Mainspring does is stated as a ratio of this. One statement after the other on one
connection: pipelining the settle with the next claim made no difference on loopback. The jobs are analysed first, since
without that the plans are a lottery.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import psycopg

__all__ = ["SCHEMA", "claim_and_settle", "insert_awaited", "insert_batches", "insert_singly"]

SCHEMA = "mainspring_raw"

_TABLES = f"""
    DROP SCHEMA IF EXISTS {SCHEMA} CASCADE;
    CREATE SCHEMA {SCHEMA};
    CREATE TABLE jobs (
        id text COLLATE "C" PRIMARY KEY, task text NOT NULL, queue text COLLATE "C" NOT NULL, state text NOT NULL,
        args text NOT NULL, priority integer NOT NULL, lease integer NOT NULL DEFAULT 0, created_at bigint NOT NULL,
        run_at bigint NOT NULL, started_at bigint, worker text COLLATE "C"
    ) WITH (
        fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_vacuum_cost_delay = 0
    );
    CREATE INDEX queued ON jobs (queue, priority, run_at, id) WHERE state = 'queued';
    CREATE TABLE finished (
        id text COLLATE "C" PRIMARY KEY, task text NOT NULL, queue text COLLATE "C" NOT NULL, state text NOT NULL,
        args text NOT NULL, priority integer NOT NULL, lease integer NOT NULL, created_at bigint NOT NULL,
        run_at bigint NOT NULL, started_at bigint, worker text COLLATE "C", finished_at bigint NOT NULL, result text
    );
    CREATE INDEX page ON finished (state, finished_at, id);
"""

_INSERT = """
    INSERT INTO jobs (id, task, queue, state, args, priority, created_at, run_at)
    VALUES (%s, 'noop', 'default', 'queued', %s, 5, 0, 0)
"""

_COPY = "COPY jobs (id, task, queue, state, args, priority, created_at, run_at) FROM STDIN"

_CLAIM = """
    UPDATE jobs SET state = 'running', lease = lease + 1, worker = 'raw', started_at = 1
    WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM jobs WHERE state = 'queued' AND queue = 'default'
        ORDER BY priority, run_at, id LIMIT %s FOR NO KEY UPDATE SKIP LOCKED
    ))
    RETURNING id, lease, task, args
"""

_SETTLE = """
    WITH s AS (SELECT * FROM unnest(%s::text[], %s::integer[], %s::text[]) AS s (id, lease, result)),
    gone AS (
        DELETE FROM jobs AS j USING s WHERE j.id = s.id AND j.lease = s.lease
        RETURNING j.id, j.task, j.queue, 'completed', j.args, j.priority, j.lease, j.created_at, j.run_at,
                  j.started_at, j.worker, 2, s.result
    )
    INSERT INTO finished SELECT * FROM gone RETURNING id
"""

_ARGS = json.dumps({"user_id": 7, "email": "a@b.c"})


_SETTINGS: dict[str, Any] = {"autocommit": True, "options": f"-c search_path={SCHEMA}", "prepare_threshold": 0}


def _connect(url: str) -> psycopg.Connection[tuple[Any, ...]]:
    return psycopg.connect(url, **_SETTINGS)


def _open(url: str) -> psycopg.Connection[tuple[Any, ...]]:
    connection = _connect(url)
    connection.execute(_TABLES, prepare=False)
    return connection


def insert_singly(url: str, jobs: int) -> float:
    """Jobs per second, a commit each."""
    with _open(url) as connection:
        start = time.perf_counter()
        for number in range(jobs):
            connection.execute(_INSERT, (f"{number:036d}", _ARGS))
        return jobs / (time.perf_counter() - start)


def insert_awaited(url: str, jobs: int) -> float:
    """Jobs per second, a commit each, on an event loop."""

    async def insert() -> float:
        async with await psycopg.AsyncConnection.connect(url, **_SETTINGS) as connection:
            start = time.perf_counter()
            for number in range(jobs):
                await connection.execute(_INSERT, (f"{number:036d}", _ARGS))
            return jobs / (time.perf_counter() - start)

    _open(url).close()
    return asyncio.run(insert())


def insert_batches(url: str, jobs: int, batch: int) -> float:
    """Jobs per second, a COPY and a commit per batch."""
    with _open(url) as connection:
        start = time.perf_counter()
        for first in range(0, jobs, batch):
            with connection.cursor().copy(_COPY) as copy:
                for number in range(first, first + batch):
                    copy.write_row((f"{number:036d}", "noop", "default", "queued", _ARGS, 5, 0, 0))
        return jobs / (time.perf_counter() - start)


def claim_and_settle(url: str, jobs: int, batch: int) -> float:
    """Jobs per second: claim a batch, commit; move it to the finished ones with a result, commit."""
    insert_batches(url, jobs, 1000)
    with _connect(url) as connection:
        connection.execute("ANALYZE jobs")
        start = time.perf_counter()
        while claims := connection.execute(_CLAIM, (batch,)).fetchall():
            ids, leases = [claim[0] for claim in claims], [claim[1] for claim in claims]
            connection.execute(_SETTLE, (ids, leases, ["null"] * len(claims))).fetchall()
        return jobs / (time.perf_counter() - start)
