"""What many tabs ask for is read once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from mainspring import Mainspring
from mainspring.web.pages import glance as glance_module
from mainspring.web.pages.glance import LONGEST, SECONDS, Glance

from ..asking import Hand
from .conftest import Visitor


@pytest.fixture(autouse=True)
def hand(monkeypatch: pytest.MonkeyPatch) -> Hand:
    hand = Hand()
    monkeypatch.setattr(glance_module, "time", SimpleNamespace(monotonic=hand))
    return hand


async def test_many_who_ask_at_once_cost_one_read() -> None:
    glance, reads = Glance(), 0

    async def read() -> int:
        nonlocal reads
        reads += 1
        await asyncio.sleep(0.01)
        return reads

    assert set(await asyncio.gather(*(glance.at("key", read) for _ in range(20)))) == {1}
    assert await glance.at("key", read) == 1
    assert await glance.at("other", read) == 2
    glance.forget()
    assert await glance.at("key", read) == 3


async def test_who_comes_a_while_later_is_shown_what_is_so_by_then(hand: Hand) -> None:
    """A moment later; but what took long to read is not read again so soon."""
    glance, reads = Glance(), 0

    async def read(took: float = 0) -> int:
        nonlocal reads
        reads += 1
        hand.now += took
        return reads

    assert await glance.at("key", read) == 1
    hand.now += SECONDS - 0.01
    assert await glance.at("key", read) == 1
    hand.now += 0.02
    assert await glance.at("key", lambda: read(60)) == 2
    hand.now += LONGEST - 0.01
    assert await glance.at("key", read) == 2
    hand.now += 0.02
    assert await glance.at("key", read) == 3


async def test_a_read_that_failed_is_not_kept() -> None:
    glance, reads = Glance(), 0

    async def read() -> int:
        nonlocal reads
        reads += 1
        if reads == 1:
            raise OSError("gone")
        return reads

    with pytest.raises(OSError, match="gone"):
        await glance.at("key", read)
    assert await glance.at("key", read) == 2


async def test_who_gives_up_does_not_take_it_from_the_others() -> None:
    glance, go_on = Glance(), asyncio.Event()

    async def read() -> str:
        await go_on.wait()
        return "read"

    first, second = (asyncio.ensure_future(glance.at("key", read)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert await glance.soon("key", read, patience=0.001) is None
    go_on.set()
    assert await second == "read"


async def test_the_dashboard_in_twenty_tabs_costs_the_store_what_one_does(
    app: Mainspring, visit: Callable[..., Visitor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted in operations of the store, on each kind of page that follows what happens."""
    job = await app.tasks["odd"].aenqueue("x")
    asked = 0
    for operation in ("find", "count", "configure"):
        original = getattr(type(app.store), operation)

        def counted(store: Any, request: Any, original: Any = original) -> Any:
            nonlocal asked
            asked += 1
            return original(store, request)

        monkeypatch.setattr(type(app.store), operation, counted)

    async def cost(tabs: int) -> int:
        nonlocal asked
        visitor, asked = visit(app), 0
        paths = ["/", "/jobs", "/queues", "/workers", "/flows", "/dead", "/schedules", f"/job?id={job.id}"]
        answers = await asyncio.gather(*(visitor.client.get(path) for path in paths for _ in range(tabs)))
        assert {answer.status_code for answer in answers} == {200}
        await visitor.site.state.glance.rest()
        return asked

    one = await cost(1)
    assert 0 < await cost(20) <= one
