"""The hub: nothing that happens between two of its steps goes unheard."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest

from mainspring import Mainspring
from mainspring.store.sqlite.hints import SqliteAsyncWatch
from mainspring.web.live.hub import Hub
from mainspring.web.tickets import EVERYTHING

from .scene import until


async def test_a_job_is_listened_for_before_it_is_read(app: Mainspring, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that somebody begins to follow while the store is told of others: what changed in between would be heard
    of only when all are looked at again."""
    steps: list[tuple[str, str]] = []
    held, goes_on = asyncio.Event(), asyncio.Event()
    add, look = SqliteAsyncWatch.add, type(app.jobs.followed).alook

    async def slow(self: SqliteAsyncWatch, topics: Collection[str]) -> None:
        held.set()
        await goes_on.wait()
        steps.extend(("listened", topic.removeprefix("job:")) for topic in topics)
        await add(self, topics)

    async def noted(self: object, bookmarks: Collection[object]) -> object:
        steps.extend(("read", mark.job) for mark in bookmarks)  # type: ignore[attr-defined]
        return await look(self, bookmarks)  # type: ignore[arg-type]

    monkeypatch.setattr(SqliteAsyncWatch, "add", slow)
    monkeypatch.setattr(type(app.jobs.followed), "alook", noted)
    one, other = (app.tasks["work"].enqueue(n).id for n in range(2))
    told: list[str] = []
    hub = Hub(app.jobs.followed)
    hub.open(one, None, EVERYTHING, lambda stream: told.append(stream.job))
    await held.wait()
    hub.open(other, None, EVERYTHING, lambda stream: told.append(stream.job))
    goes_on.set()
    await until(lambda: len(told) == 2)
    await hub.aclose()
    for job in (one, other):
        assert steps.index(("listened", job)) < steps.index(("read", job))
