"""`mainspring bench`: how fast this machine, this Python and this kind of store are together, measured aside."""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from mainspring.app import Mainspring
from mainspring.cli.options import App, Json, Url, perhaps_new
from mainspring.cli.output import Column, print_json, say, table
from mainspring.cli.target import store_file
from mainspring.errors import ConfigurationError, StoreUnavailable

if TYPE_CHECKING:
    from mainspring.worker.worker import Worker

__all__ = ["bench"]

ONE_BY_ONE_SECONDS = 1.0
LOOK_SECONDS = 0.003

COLUMNS = (
    Column("MEASURED", whole=True),
    Column("JOBS", right=True),
    Column("SECONDS", right=True),
    Column("JOBS/S", right=True),
)


def bench(
    context: typer.Context,
    jobs: Annotated[int, typer.Option("--jobs", "-n", min=100, max=1_000_000, metavar="N", help="How many.")] = 10_000,
    concurrency: Annotated[int, typer.Option("--concurrency", "-c", min=1, metavar="N", help="Of the worker.")] = 100,
    app: App = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Measure how fast empty jobs are enqueued and run.

    One process does it all. Your store is left alone: a new one is made beside it, of the same kind on the same disk,
    and deleted afterwards. Each number is of a single run: close other programs, and run it a few times.
    """
    beside = perhaps_new(context, app, url).url
    with _aside(beside) as aside:
        results = list(_measure(aside, jobs, concurrency))
    if as_json:
        print_json({"url": beside, "concurrency": concurrency, "results": results})
        return
    say(f"a new store beside {beside}, concurrency {concurrency}")
    rows = [
        (each["name"], f"{each['jobs']:,}", f"{each['seconds']:.2f}", f"{each['per_second']:,}") for each in results
    ]
    table(COLUMNS, rows)


@contextmanager
def _aside(url: str) -> Iterator[Mainspring]:
    """An app with a store of its own, of the same kind and in the same place."""
    if url == "sqlite://":
        with Mainspring(url) as app:
            yield app
        return
    file = store_file(url)
    if file is None:
        raise ConfigurationError(f"only SQLite stores can be measured so far, and {url} is none")
    folder = file.parent
    if not folder.is_dir():
        raise StoreUnavailable(f"the folder {folder} does not exist; create it first")
    try:
        temporary = tempfile.TemporaryDirectory(prefix=".mainspring-bench-", dir=folder)
    except OSError as error:
        raise StoreUnavailable(f"no file can be made in {folder}: {error.strerror}") from None
    with temporary as inner, Mainspring(f"sqlite:///{quote(inner)}/bench.db") as app:
        yield app


def _measure(app: Mainspring, jobs: int, concurrency: int) -> Iterator[dict[str, Any]]:
    worker: Worker
    ran = 0

    @app.task
    async def nothing(number: int) -> None:
        nonlocal ran
        ran += 1
        if ran == expected:
            ending.append(asyncio.create_task(_stop_when_settled(app, expected, worker, ended)))

    expected, ending, ended = 0, list[asyncio.Task[None]](), list[float]()
    app.jobs.count()  # opens the store, which is not what is measured
    started = time.perf_counter()
    while expected < jobs and time.perf_counter() - started < ONE_BY_ONE_SECONDS:
        nothing.enqueue(expected)
        expected += 1
    yield _result("enqueue one by one", expected, time.perf_counter() - started)
    rest = jobs - expected
    if rest:
        seconds = _timed(lambda: app.enqueue_many(nothing.job(number) for number in range(rest)))
        yield _result("enqueue_many", rest, seconds)
        expected = jobs
    logging.getLogger("mainspring.worker").setLevel(logging.WARNING)
    worker = app.worker(concurrency=concurrency)
    started = time.perf_counter()
    worker.run()
    if not ended:
        raise KeyboardInterrupt  # the worker took the signal, and has stopped as it should
    yield _result("run to the end", expected, ended[0] - started)


async def _stop_when_settled(app: Mainspring, jobs: int, worker: Worker, ended: list[float]) -> None:
    while await app.jobs.acount(state="completed") < jobs:  # noqa: ASYNC110 - the store knows, no event does
        await asyncio.sleep(LOOK_SECONDS)
    ended.append(time.perf_counter())
    worker.stop()


def _timed(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def _result(name: str, jobs: int, seconds: float) -> dict[str, Any]:
    return {"name": name, "jobs": jobs, "seconds": round(seconds, 4), "per_second": round(jobs / seconds)}
