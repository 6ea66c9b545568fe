"""19. Your own transactions: one commit for your data and for the job

With `using(tx=connection)` a job is enqueued by your own transaction: commit and it is there, roll back and it never
was. With `ctx.complete(result, tx=connection)` a task completes its job the same way: what it did in the database, and
that it is done, are one commit. Here with the standard library's SQLite; on PostgreSQL with psycopg, asyncpg,
SQLAlchemy or Django.

With jobs in Redis and data in a database, no transaction has both. Then `app.outbox(connection)` writes the job beside
the data, and the workers bring it over.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from mainspring import Context, Mainspring, State


@pytest.fixture
def file(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, paid INTEGER NOT NULL DEFAULT 0)")
    return tmp_path / "shop.db"


def test_the_job_is_there_exactly_when_the_order_is(file: Path) -> None:
    app = Mainspring(f"sqlite:///{file}")

    @app.task
    def send_receipt(order: int) -> None: ...

    def buy(order: int, declined: bool = False) -> None:
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute("INSERT INTO orders (id) VALUES (?)", [order])
            send_receipt.using(tx=connection).enqueue(order)
            if declined:
                raise ValueError("the card was declined")

    buy(1)
    with pytest.raises(ValueError, match="declined"):
        buy(2, declined=True)
    assert [job.args for job in app.jobs.find()] == [{"order": 1}]
    app.close()


def test_the_work_and_its_completion_are_one_commit(file: Path, working) -> None:
    app = Mainspring(f"sqlite:///{file}")

    @app.task(retry=1)
    def charge(ctx: Context, order: int, fails: bool = False) -> str:
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute("INSERT INTO orders VALUES (?, 1)", [order])
            ctx.complete(f"paid {order}", tx=connection)
            if fails:
                raise ConnectionError("before the commit")
        return "this counts for nothing"

    with working(app):
        good, bad = charge.enqueue(1), charge.enqueue(2, fails=True)
        assert good.result(timeout=60) == "paid 1"
        for _ in bad.watch():
            pass
    assert bad.refresh().state is State.DEAD
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT id FROM orders").fetchall() == [(1,)]
    app.close()


def test_the_jobs_are_elsewhere(file: Path, tmp_path: Path, working: Callable[[Mainspring], Any]) -> None:
    app = Mainspring(
        f"sqlite:///{tmp_path}/jobs.db", outbox=f"sqlite:///{file}"
    )  # as well "redis://…", "postgresql://…"
    app.relayed.migrate()  # type: ignore[union-attr]  # or `mainspring migrate --outbox URL`

    @app.task
    def send_receipt(order: int) -> str:
        return f"receipt for order {order}"

    with closing(sqlite3.connect(file)) as connection:
        with connection:
            connection.execute("INSERT INTO orders (id) VALUES (1)")
            job = app.outbox(connection).enqueue(send_receipt.job(1))
        with suppress(ValueError), connection:
            connection.execute("INSERT INTO orders (id) VALUES (2)")
            app.outbox(connection).enqueue(send_receipt.job(2))
            raise ValueError("the card was declined")

    with working(app):
        assert job.result(timeout=60) == "receipt for order 1"
    assert app.jobs.count() == 1
    app.close()
