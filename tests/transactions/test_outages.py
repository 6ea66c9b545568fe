"""The server dies again and again while tasks complete in their own transactions: each job's work is done once."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress

import psycopg
import pytest
from servers.postgres import running_postgres
from worker.scene import until, working

from mainspring import Context, Mainspring, Retry

pytestmark = pytest.mark.timeout(300)

JOBS = 300
KILLS = 3


async def test_work_is_done_once_however_often_the_server_dies() -> None:
    # Durable: what it has acknowledged must be there after kill -9.
    with running_postgres(durable=True) as server:
        app = Mainspring(server.url)
        app.store.migrate()
        with psycopg.connect(server.url) as connection:
            # No unique key: a second time would be seen.
            connection.execute("CREATE TABLE orders (job text)")
        failed = Counter[str]()

        @app.task(retry=Retry(attempts=1000, delay="50ms", factor=1))
        async def charge(ctx: Context, number: int) -> None:
            try:
                async with await psycopg.AsyncConnection.connect(server.url) as connection:
                    await connection.execute("INSERT INTO orders VALUES (%s)", [ctx.job.id])
                    await ctx.acomplete(number, tx=connection)
                    if number % 10 == 0 and ctx.attempt == 1:
                        raise ArithmeticError("rolled back")
                if number % 10 == 5:
                    raise ArithmeticError("committed")
            except Exception as error:
                failed[type(error).__name__] += 1
                raise

        ids = {job.id: number for number, job in enumerate(app.enqueue_many(charge.job(n) for n in range(JOBS)))}
        async with working(app, concurrency=10):
            for kill in range(KILLS):
                await until(lambda mark=(kill + 1) * JOBS // 5: _completed(app) > mark, 60)  # type: ignore[misc]
                server.kill()
                time.sleep(0.2)
                server.start()
            await until(lambda: _completed(app) == JOBS, 90)
        with psycopg.connect(server.url) as connection:
            done = Counter(row[0] for row in connection.execute("SELECT job FROM orders"))
        assert done == dict.fromkeys(ids, 1)
        assert failed.keys() - {"ArithmeticError"}, "nobody noticed anything"
        for job in app.jobs.find(limit=1000, state="completed"):
            assert job.result() == ids[job.id]
        await app.aclose()


def _completed(app: Mainspring) -> int:
    with suppress(Exception):
        return app.jobs.count(state="completed")
    return 0
