"""12. Sync and async: one body, two names

Every verb that goes to the store has two names: `verb` for blocking code (Django, Flask, scripts), `averb` for async
code (FastAPI, Starlette, bots). Both are made from one body, so neither knows or does anything that the other does not.
"""

from __future__ import annotations

import asyncio
import inspect
import threading

from mainspring import Job, Mainspring

app = Mainspring("sqlite://")


@app.task
async def add(a: int, b: int) -> int:
    return a + b


def in_a_flask_view() -> Job[int]:
    return add.enqueue(1, 2)


async def in_a_fastapi_view() -> Job[int]:
    return await add.aenqueue(3, 4)


async def test_the_same_job_from_both_sides(working) -> None:
    with working(app):
        sync, not_sync = in_a_flask_view(), await in_a_fastapi_view()
        assert sync.result(timeout=60) == 3
        assert await not_sync.aresult(timeout=60) == 7


def test_every_verb_has_its_twin() -> None:
    for owner in (Job, Mainspring, type(app.jobs), type(app.queues), type(app.schedules), type(app.workers)):
        for name, method in vars(owner).items():
            if name.startswith("a") and inspect.iscoroutinefunction(method):
                assert callable(getattr(owner, name[1:], None)), f"{owner.__name__}.{name} has no blocking twin"


def test_the_blocking_one_works_anywhere(working) -> None:
    """On any thread, in any loop's middle, after a fork: there is no hidden event loop behind it."""
    jobs: list[Job[int]] = []
    thread = threading.Thread(target=lambda: jobs.append(add.enqueue(1, 1)))
    thread.start()
    thread.join()

    async def inside_a_loop() -> None:
        jobs.append(add.enqueue(2, 2))

    asyncio.run(inside_a_loop())
    with working(app):
        assert [job.result(timeout=60) for job in jobs] == [2, 4]


async def test_an_app_is_closed_like_a_file() -> None:
    """At the end of a program. What is needed later is opened again."""
    async with Mainspring("sqlite://") as other:
        assert await other.jobs.acount() == 0
    with Mainspring("sqlite://") as another:
        assert another.jobs.count() == 0
