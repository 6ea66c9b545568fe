"""What somebody else's long transaction costs: a drain on PostgreSQL with and without a pinned horizon.

    python -m bench.pinned [--jobs 200000] [--json]

Beside a REPEATABLE READ transaction that stays open nothing can be vacuumed, and no index entry of a row that is gone
can be marked as such: they pile up at the head of the queue, where every claim begins. The figure is the ratio of the
two drains of one run; it must not fall below 0.5.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg

from mainspring import Mainspring

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from servers.postgres import running_postgres

CONCURRENCY = 100
BAR = 0.5


@contextmanager
def pinned(server: str) -> Iterator[None]:
    """Somebody has looked at something, and does not end his transaction."""
    with closing(psycopg.connect(server)) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SELECT count(*) FROM pg_class")
        yield


def drained(url: str, jobs: int) -> float:
    """Jobs per second, by one worker process, of so many that wait."""
    with Mainspring(url) as app:
        app.store.migrate()

        @app.task
        async def noop(user_id: int, email: str) -> None: ...

        for first in range(0, jobs, 10_000):
            app.enqueue_many(noop.job(number, email="a@b.c") for number in range(first, min(first + 10_000, jobs)))
    said = subprocess.run(
        [sys.executable, "-m", "bench.noop", "drain", "default", str(jobs), str(CONCURRENCY)],
        env=os.environ | {"MAINSPRING_URL": url},
        check=True,
        stdout=subprocess.PIPE,
    )
    figures = json.loads(said.stdout)
    return float(figures["ran"] / figures["seconds"])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.pinned", description=__doc__)
    parser.add_argument("--jobs", type=int, default=200_000)
    parser.add_argument("--json", action="store_true", help="print only the JSON document")
    options = parser.parse_args()
    figures: dict[str, float] = {}
    with running_postgres(durable=True) as server:
        for name in ("free", "pinned"):
            url = f"{server.url}?schema={name}"
            started = time.perf_counter()
            if name == "pinned":
                with pinned(server.url):
                    figures[name] = drained(url, options.jobs)
            else:
                figures[name] = drained(url, options.jobs)
            if not options.json:
                print(f"{name}: {figures[name]:,.0f} jobs/s ({time.perf_counter() - started:.0f} s in all)", flush=True)
    figures["ratio"] = figures["pinned"] / figures["free"]
    print(json.dumps({"jobs": options.jobs, "concurrency": CONCURRENCY, **figures, "bar": BAR}))


if __name__ == "__main__":
    main()
