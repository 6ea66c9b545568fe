"""One body, two verbs: how they look, and that both perform it alike."""

from __future__ import annotations

import asyncio
import inspect
import pydoc
from collections.abc import Iterator
from typing import Any

import pytest

from mainspring.errors import StoreBusy
from mainspring.model.job import NewJob
from mainspring.store.base import CountRequest, Filter, FindRequest, Inserted, InsertRequest
from mainspring.store.sqlite import SqliteStore
from mainspring.twin import Async, Blocking, Emit, Steps, Wait, Watching, ask, look, twins


class Refusing(SqliteStore):
    """A store that is busy whenever somebody counts."""

    def count(self, request: CountRequest) -> Any:
        raise StoreBusy("not now")


class Shop:
    """Something with verbs."""

    def __init__(self) -> None:
        store = Refusing("sqlite://")
        self._blocking = Blocking(store)
        self._async = Async(store)
        self.seen: list[str] = []

    @property
    def _app(self) -> Shop:
        return self

    def _sell(self, name: str, *, copies: int = 1) -> Steps[list[str]]:
        """Sell copies; gives their ids. Raises nothing."""
        sold = yield from ask(InsertRequest(tuple(NewJob(f"{name}{n}", "sell") for n in range(copies))))
        return [each.id for each in sold]

    sell, asell = twins(_sell)

    def _ask_price(self) -> Steps[str]:
        try:
            yield from ask(CountRequest(Filter()))
        except StoreBusy as busy:
            page = yield from ask(FindRequest(Filter()))
            return f"{busy}, but {len(page.jobs)} found"
        return "counted"

    ask_price, aask_price = twins(_ask_price)

    def _fail(self) -> Steps[None]:
        try:
            yield Watching(("job:1",))
            yield from ask(CountRequest(Filter()))
        finally:
            self.seen.append("cleaned up")

    fail, afail = twins(_fail)

    def _patience(self) -> Steps[tuple[bool, bool]]:
        yield Watching(("queue:default",))
        early = yield Wait(0)
        yield from ask(InsertRequest((NewJob("1", "sell"),)))
        late = yield Wait(5)
        return early, late

    patience, apatience = twins(_patience)

    def _hasty(self) -> Steps[None]:
        yield Wait(1)

    hasty, ahasty = twins(_hasty)

    def _shout(self) -> Steps[None]:
        try:
            for number in range(3):
                yield Emit(number)
        finally:
            self.seen.append("fell silent")

    shout, ashout = twins(_shout)


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop()
    yield shop
    shop._blocking.close()


def test_twins_look_as_if_written_by_hand() -> None:
    assert Shop.sell.__name__ == "sell"
    assert Shop.asell.__qualname__ == "Shop.asell"
    assert Shop.sell.__doc__ == Shop.asell.__doc__ == "Sell copies; gives their ids. Raises nothing."
    assert str(inspect.signature(Shop.sell)) == "(self, name: 'str', *, copies: 'int' = 1) -> 'list[str]'"
    assert not inspect.iscoroutinefunction(Shop.sell)
    assert inspect.iscoroutinefunction(Shop.asell)
    assert "asell(self, name: 'str', *, copies: 'int' = 1)" in pydoc.plain(pydoc.render_doc(Shop))


async def test_both_perform_the_body(shop: Shop) -> None:
    """The blocking one also on a thread whose event loop runs."""
    assert shop.sell("book", copies=2) == ["book0", "book1"]
    assert await shop.asell("lamp") == ["lamp0"]
    assert await shop.asell("box", copies=2) == ["box0", "box1"]
    await shop._async.aclose()


async def test_the_body_can_catch_what_a_step_raises(shop: Shop) -> None:
    assert shop.ask_price() == await shop.aask_price() == "not now, but 0 found"
    await shop._async.aclose()


async def test_what_the_body_does_not_catch_reaches_the_caller_and_the_body_is_cleaned_up(shop: Shop) -> None:
    with pytest.raises(StoreBusy):
        shop.fail()
    with pytest.raises(StoreBusy):
        await shop.afail()
    assert shop.seen == ["cleaned up", "cleaned up"]
    await shop._async.aclose()


def test_wait_says_whether_there_was_a_hint() -> None:
    blocking, loop_side = Shop(), Shop()
    assert blocking.patience() == (False, True)
    assert asyncio.run(loop_side.apatience()) == (False, True)
    blocking._blocking.close()


async def test_misused_steps_are_refused(shop: Shop) -> None:
    with pytest.raises(TypeError, match="without Watching"):
        shop.hasty()
    with pytest.raises(TypeError, match="without Watching"):
        await shop.ahasty()
    with pytest.raises(TypeError, match="not a stream"):
        shop.shout()
    with pytest.raises(TypeError, match="not a stream"):
        await shop.ashout()
    await shop._async.aclose()


async def test_a_stream_gives_each_value_and_ends_early_if_left_early(shop: Shop) -> None:
    assert list(shop._blocking.stream(shop._shout())) == [0, 1, 2]
    assert [value async for value in shop._async.stream(shop._shout())] == [0, 1, 2]
    stream = shop._blocking.stream(shop._shout())
    assert next(stream) == 0
    del stream
    assert shop.seen == ["fell silent"] * 3
    await shop._async.aclose()


async def test_single_inserts_that_come_together_are_committed_together(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    insert = SqliteStore.insert

    def counting(self: SqliteStore, request: InsertRequest) -> object:
        sizes.append(len(request.jobs))
        return insert(self, request)

    monkeypatch.setattr(Refusing, "insert", counting, raising=False)
    sold = await asyncio.gather(*(shop.asell(f"pen{n}-") for n in range(100)), shop.asell("set", copies=3))
    assert sold[:100] == [[f"pen{n}-0"] for n in range(100)]
    assert sorted(sizes) == [3, 100]
    await shop._async.aclose()


async def test_looks_that_come_together_are_one_request(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    await shop.asell("pen", copies=50)
    asked: list[int] = []
    find = SqliteStore.find

    def counting(self: SqliteStore, request: FindRequest) -> object:
        asked.append(len(request.filter.ids))
        return find(self, request)

    monkeypatch.setattr(Refusing, "find", counting, raising=False)
    ids = [f"pen{n}" for n in range(50)] * 2 + ["nobody"]
    records = await asyncio.gather(*(shop._async.run(look(id)) for id in ids))
    assert [record and record.id for record in records] == [*ids[:-1], None]
    assert asked == [51]
    await shop._async.aclose()


def test_each_loop_has_its_own_driver_and_closed_loops_are_forgotten() -> None:
    shop = Shop()

    async def sell(name: str) -> Inserted | None:
        await shop.asell(name)
        return None

    for number in range(5):
        asyncio.run(sell(f"book{number}"))
    assert len(shop._async._sides) == 1
    assert len(shop._blocking.run(shop_find())) == 5


def shop_find() -> Steps[list[str]]:
    page = yield from ask(FindRequest(Filter()))
    return [job.id for job in page.jobs]
