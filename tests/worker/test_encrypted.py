"""Encrypted arguments on each kind of store: whoever looks into it does not find them."""

from __future__ import annotations

import base64
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from mainspring import Bury, Debounce, Encrypted, Flow, Mainspring, Unique, acting
from mainspring.testing import drain

from .places import STORES, Servers

KEY, OTHER = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
CARD = "4111-1111-1111-1111"


@pytest.fixture(params=STORES)
def url(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> str:
    url = servers.url(request.param, tmp_path)
    with Mainspring(url) as app:
        app.store.migrate()
    return url


def opened(url: str, *keys: str) -> tuple[Mainspring, list[tuple[int, str]]]:
    """A program on that store, and what its runs had."""
    app = Mainspring(url, encryption_keys=keys)
    had: list[tuple[int, str]] = []

    @app.task(unique=Unique(by=("card", "order")))
    def charge(order: int, card: Encrypted[str]) -> None:
        had.append((order, card))
        if order == 13:
            raise Bury("unlucky")

    @app.task(debounce=Debounce("1h", by=("order",)))
    def remind(order: int, card: Encrypted[str]) -> None: ...

    return app, had


def contents(url: str) -> Iterator[str]:
    """All that is stored, as somebody finds it who gets hold of the database."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                yield from map(repr, connection.execute(f"SELECT * FROM {table}"))
    elif url.startswith("postgres"):
        address, _, schema = url.partition("?schema=")
        with psycopg.connect(address) as connection:
            tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema]).fetchall()
            for (table,) in tables:
                rows: Any = connection.execute(f'SELECT t::text FROM {schema}."{table}" t')  # type: ignore[arg-type]
                yield from map(repr, rows.fetchall())
    else:
        address, _, namespace = url.partition("?namespace=")
        with closing(redis.Redis.from_url(address)) as client:
            reads = {
                b"string": client.get,
                b"hash": client.hgetall,
                b"set": client.smembers,
                b"zset": lambda name: client.zrange(name, 0, -1),
                b"list": lambda name: client.lrange(name, 0, -1),
                b"stream": client.xrange,
            }
            for name in client.scan_iter(f"*{namespace}*"):
                kind: Any = client.type(name)
                yield repr((name, reads[kind](name)))  # type: ignore[operator]


def test_nothing_in_the_store_has_it_and_the_runs_do(url: str) -> None:
    app, had = opened(url, KEY)
    charge = app.tasks["charge"]
    with app, acting("ada"):
        app.schedules.put("daily", charge, every="1d", args={"order": 1, "card": CARD})
        app.schedules.run_now("daily")
        charge.enqueue(2, CARD)
        assert charge.enqueue(2, CARD).existed
        charge.using(delay="1h").enqueue(3, CARD)
        app.enqueue_many([charge.job(4, CARD), charge.job(13, CARD)])
        flow = Flow("pair")
        flow.add(charge.job(6, CARD), after=[flow.add(charge.job(5, CARD))])
        flow.enqueue()
        app.tasks["remind"].enqueue(7, CARD)
        assert app.tasks["remind"].enqueue(7, f"{CARD}-2").existed, "takes the place of the one that waits"
        drain(app)
        app.jobs.rerun(app.jobs.find(task="charge", state="dead")[0].id, {"order": 8, "card": "[secret]"})
        drain(app)
        assert sorted(had) == [(order, CARD) for order in (1, 2, 4, 5, 6, 8, 13)]
        assert (app.jobs.count(text=CARD), app.jobs.count(text=f"{app.keyring.ids[0]}.")) == (0, 9)
        (waiting,) = app.jobs.find(task="remind")
        assert app.keyring.open(waiting.record.args, "remind", waiting._options) == f'{{"order":7,"card":"{CARD}-2"}}'
        everything = "\n".join(contents(url))
    assert "$sealed" in everything
    assert CARD not in everything
    assert base64.b64encode(CARD.encode()).decode().rstrip("=") not in everything


def test_a_job_waits_for_its_key_and_is_not_lost(url: str) -> None:
    app, _ = opened(url, KEY)
    with app:
        job = app.tasks["charge"].enqueue(1, CARD)
        needed = app.keyring.ids[0]
    app, had = opened(url, OTHER)
    with app:
        assert drain(app).parked == 1
        parked = app.jobs.get(job.id)
        assert (parked.state, parked.attempt, had) == ("scheduled", 0, [])
        assert needed in (parked.reason or "")
    app, had = opened(url, OTHER, KEY)
    with app:
        assert app.tasks["charge"].enqueue(1, CARD).existed, "it is the same card, whichever key is the first one now"
        app.jobs.retry(job.id)
        assert drain(app).completed == 1
    assert had == [(1, CARD)]
