"""Completed jobs on PostgreSQL are kept in a table for each day, which has to be there, and be known, in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from mainspring.model.job import NewJob
from mainspring.model.states import State
from mainspring.store.base import (
    AsyncDriver,
    BeatRequest,
    ClaimRequest,
    Filter,
    FindRequest,
    InsertRequest,
    PruneRequest,
    Reply,
    Request,
    Room,
    SettleRequest,
)
from mainspring.store.postgres import PostgresStore

from .conformance.scene import DAY, T0, presence, settlement

SESSIONS = """
SELECT array_agg(pid ORDER BY pid) FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND datname = current_database()
"""
LATER = T0 + 100 * DAY

Ask = Callable[[Request[Any]], Any]


@pytest.fixture(params=["blocking", "on a loop"])
def ask(request: pytest.FixtureRequest, postgres_store: PostgresStore) -> Iterator[Ask]:
    if request.param == "blocking":
        driver = postgres_store.driver()
        yield driver.run
        driver.close()
        return
    with asyncio.Runner() as runner:
        looped = postgres_store.async_driver()
        yield lambda asked: runner.run(_run(looped, asked))
        runner.run(looped.aclose())


async def _run(driver: AsyncDriver, request: Request[Reply]) -> Reply:
    return await driver.run(request)


def days(postgres: str, store: PostgresStore) -> list[str]:
    schema = store.url.rpartition("schema=")[2]
    with psycopg.connect(postgres, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT right(tablename, 8) FROM pg_tables WHERE schemaname = %s AND tablename ~ '^finished_[0-9]{8}$' "
            "ORDER BY 1",
            [schema],
        )
        return [day for (day,) in rows]


def test_the_days_are_opened_ahead_one_at_a_time(postgres: str, postgres_store: PostgresStore) -> None:
    """Who has missed one opening hears of it with the next, a day before it needs to know."""
    before = days(postgres, postgres_store)
    driver = postgres_store.driver()

    def opened(now: int) -> list[str]:
        driver.run(PruneRequest({State.COMPLETED: 30 * DAY}, now=now))
        return [day for day in days(postgres, postgres_store) if day not in before]

    assert opened(LATER) == ["20240222"]
    assert opened(LATER) == ["20240222", "20240223"]
    assert opened(LATER) == opened(LATER) == ["20240222", "20240223", "20240224"]
    assert opened(LATER + DAY) == ["20240222", "20240223", "20240224", "20240225"]
    driver.close()


def test_a_session_that_knows_of_no_table_for_today_is_let_go_of(
    ask: Ask, postgres: str, postgres_store: PostgresStore
) -> None:
    """PostgreSQL may miss that a table was attached, and then does not hear of it before the next one is. Here it is
    taken away for a moment, which looks the same to the session."""
    ask(InsertRequest((NewJob("job", "task", "default", "{}"),)))
    ask(BeatRequest(presence("worker"), "join"))
    (claim,) = ask(ClaimRequest("worker", (Room("default", 1),), 1)).claims
    ask(PruneRequest({}))
    today = f'"{postgres_store.url.rpartition("schema=")[2]}".finished'
    with psycopg.connect(postgres, autocommit=True) as outside, ThreadPoolExecutor(1) as other:
        day, bound = outside.execute(
            "SELECT c.oid::regclass::text, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits AS i "
            "JOIN pg_class AS c ON c.oid = i.inhrelid WHERE i.inhparent = %s::regclass "
            "AND right(c.relname, 8) = to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')",
            [today],
        ).fetchone() or ("", "")
        outside.execute(f"ALTER TABLE {today} DETACH PARTITION {day}")
        before = outside.execute(SESSIONS).fetchone()
        settled = other.submit(ask, SettleRequest((settlement(claim),)))
        while outside.execute(SESSIONS).fetchone() == before:
            assert not settled.done()
        outside.execute(f"ALTER TABLE {today} ATTACH PARTITION {day} {bound}")
        assert settled.result() == {"job"}
    (job,) = ask(FindRequest(Filter(ids=("job",)), 1)).jobs
    assert job.state is State.COMPLETED
