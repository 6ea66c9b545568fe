"""Verbs in pairs: `verb` for blocking code and `averb` for async code, both made from one body.

The body is a generator that yields *steps*, receives what came of each, and returns the verb's value. It never says
how a step is performed, so nothing in it can differ between the two:

    def _refresh(self) -> Steps[Self]:
        page = yield from ask(FindRequest(...))
        ...

    refresh, arefresh = twins(_refresh)

Its steps: a store request, `Within` (a request as a part of the caller's own transaction), `Look` (at one job),
`Watching` (listen, until the verb ends), and `Wait` (for a hint on what it listens to). `Emit` hands out one of many
values, in the bodies that `stream` runs.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

from mainspring.batch import Batcher
from mainspring.model.job import JobRecord
from mainspring.model.limits import KEEP, Keep
from mainspring.store.base import (
    AsyncBorrowed,
    AsyncDriver,
    AsyncWatch,
    Borrowed,
    Driver,
    Filter,
    FindRequest,
    Inserted,
    InsertRequest,
    Reply,
    Request,
    Store,
    Watch,
    portions,
)

__all__ = ["Async", "Blocking", "Emit", "Look", "Steps", "Wait", "Watching", "Within", "ask", "look", "twins"]

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Look:
    """See how one job stands; comes back as its `JobRecord`, or None if there is none."""

    id: str

    @property
    def request(self) -> FindRequest:
        """The same as a store request."""
        return FindRequest(Filter(ids=(self.id,)), limit=1)


class Lender(Protocol):
    """Works on connections that others have opened: a store, or the outboxes."""

    def borrow(self, connection: object) -> Borrowed: ...
    def async_borrow(self, connection: object) -> AsyncBorrowed: ...


@dataclass(frozen=True, slots=True)
class Within:
    """Perform a request on the caller's own connection, as a part of the transaction that is open there."""

    connection: object
    request: Request[Any]
    lender: Lender | None = None
    """Who works on such connections; None: the store."""


@dataclass(frozen=True, slots=True)
class Watching:
    """Listen for hints about `topics` from now until the verb ends."""

    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for a hint, at most so long; comes back as True when there was one. Only after `Watching`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Emit:
    """Hand out one value of a stream."""

    value: Any


Step = Request[Any] | Within | Look | Watching | Wait | Emit
Steps = Generator[Step, Any, T]
"""The body of a verb that gives `T`."""


def ask(request: Request[Reply], tx: object | Keep = KEEP) -> Generator[Step, Any, Reply]:
    """The step that performs `request`, within the transaction `tx` if one was given, typed: `reply = yield from
    ask(request)`."""
    reply: Reply = yield request if tx is KEEP else Within(tx, request)
    return reply


def look(id: str) -> Generator[Step, Any, JobRecord | None]:
    """The step `Look`, typed."""
    record: JobRecord | None = yield Look(id)
    return record


class Performers(Protocol):
    """The part of an app that verbs rely on."""

    @property
    def _blocking(self) -> Blocking: ...
    @property
    def _async(self) -> Async: ...


class Owner(Protocol):
    """Whatever has verbs: it knows its app."""

    @property
    def _app(self) -> Performers: ...


OwnerT = TypeVar("OwnerT", bound=Owner)


def twins(
    body: Callable[Concatenate[OwnerT, P], Steps[T]],
) -> tuple[Callable[Concatenate[OwnerT, P], T], Callable[Concatenate[OwnerT, P], Coroutine[Any, Any, T]]]:
    """The blocking and the async method that run `body`, named after it: `_verb` gives `verb` and `averb`."""

    def verb(owner: OwnerT, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return owner._app._blocking.run(body(owner, *args, **kwargs))

    async def averb(owner: OwnerT, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await owner._app._async.run(body(owner, *args, **kwargs))

    name = body.__name__.lstrip("_")
    _present(verb, body, name)
    _present(averb, body, "await_" if name == "wait" else f"a{name}")
    return verb, averb


def _present(method: Callable[..., Any], body: Callable[..., Steps[Any]], name: str) -> None:
    """Make `help()` and `inspect` show the method as if it had been written by hand."""
    gives = body.__annotations__.get("return", "Any").removeprefix("Steps[").removesuffix("]")
    method.__name__ = name
    method.__qualname__ = f"{body.__qualname__.rpartition('.')[0]}.{name}"
    method.__module__ = body.__module__
    method.__doc__ = body.__doc__
    method.__annotations__ = body.__annotations__ | {"return": gives}
    method.__signature__ = inspect.signature(body).replace(return_annotation=gives)  # type: ignore[attr-defined]


# --- for blocking callers --------------------------------------------------------------------------------------------


class Blocking:
    """Performs steps on the caller's own thread, whether or not an event loop runs there, also after a fork."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._made: dict[str, Driver] = {}

    @property
    def driver(self) -> Driver:
        """The one blocking driver, made when first needed."""
        driver = self._made.get("driver")
        if driver is None:
            # No lock: a fork could copy it while another thread holds it, and then nobody would ever open it again.
            # Of two threads that come here at once the second one's driver, which has opened nothing, is dropped.
            driver = self._made.setdefault("driver", self._store.driver())
        return driver

    def run(self, steps: Steps[T]) -> T:
        """Perform a verb and give its value."""
        driver = self.driver
        performer = _Performer(self._store, driver)
        try:
            step = next(steps)
            while True:
                try:
                    # Most verbs are one request, and each of them comes by here.
                    reply = driver.run(step) if isinstance(step, Request) else performer.perform(step)
                except Exception as failure:  # noqa: BLE001 - the body decides about it
                    step = steps.throw(failure)
                else:
                    step = steps.send(reply)
        except StopIteration as end:
            value: T = end.value
            return value
        finally:
            steps.close()
            performer.close()

    def stream(self, steps: Steps[None]) -> Iterator[Any]:
        """Perform a verb and give each value as it is emitted."""
        performer = _Performer(self._store, self.driver)
        try:
            step = next(steps)
            while True:
                try:
                    reply = (yield step.value) if isinstance(step, Emit) else performer.perform(step)
                except Exception as failure:  # noqa: BLE001 - the body decides about it
                    step = steps.throw(failure)
                else:
                    step = steps.send(reply)
        except StopIteration:
            return
        finally:
            steps.close()
            performer.close()

    def close(self) -> None:
        """Let go of all connections; the next verb opens what it needs."""
        if driver := self._made.pop("driver", None):
            driver.close()


class _Performer:
    """Performs the steps of one verb for a blocking caller."""

    __slots__ = ("_driver", "_store", "_watch")

    def __init__(self, store: Store, driver: Driver) -> None:
        self._store = store
        self._driver = driver
        self._watch: Watch | None = None

    def perform(self, step: Step) -> Any:
        if isinstance(step, Request):
            return self._driver.run(step)
        if isinstance(step, Within):
            return (step.lender or self._store).borrow(step.connection).run(step.request)
        if isinstance(step, Look):
            return next(iter(self._driver.run(step.request).jobs), None)
        if isinstance(step, Watching):
            self._watch = self._driver.watch(step.topics)
            return None
        if isinstance(step, Emit):
            raise TypeError(f"{step} in a verb that is not a stream")
        return _listening(self._watch, step).wait(step.seconds)

    def close(self) -> None:
        if self._watch is not None:
            self._watch.close()


# --- for async callers -----------------------------------------------------------------------------------------------


class Async:
    """Performs steps on the caller's event loop, each loop with a driver of its own. Inserts and looks go in groups."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._sides: dict[asyncio.AbstractEventLoop, _LoopSide] = {}

    def _side(self) -> _LoopSide:
        loop = asyncio.get_running_loop()
        side = self._sides.get(loop)
        if side is None:
            # Drivers hold on to their loop, so weak keys would never die: closed loops are swept out here instead.
            for other in list(self._sides):
                if other.is_closed():
                    self._sides.pop(other, None)
            side = self._sides[loop] = _LoopSide(self._store)
        return side

    async def run(self, steps: Steps[T]) -> T:
        """Perform a verb and give its value."""
        async with aclosing(_AsyncRun(self._side(), steps)) as run:
            if (emitted := await run.advance()) is not None:
                raise TypeError(f"{emitted} in a verb that is not a stream")
            return run.value

    async def stream(self, steps: Steps[None]) -> AsyncIterator[Any]:
        """Perform a verb and give each value as it is emitted."""
        async with aclosing(_AsyncRun(self._side(), steps)) as run:
            while (emitted := await run.advance()) is not None:
                yield emitted.value

    async def listen(self) -> AsyncWatch:
        """A watch on this loop that listens for nothing yet."""
        return await self._side().driver.watch(())

    async def aclose(self) -> None:
        """Let go of this loop's connections, once what was handed in is stored."""
        if side := self._sides.pop(asyncio.get_running_loop(), None):
            await side.inserts.drain()
            await side.driver.aclose()


class _LoopSide:
    """What one event loop keeps: its driver, and the single inserts and looks that gather."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.driver: AsyncDriver = store.async_driver()
        self.inserts = Batcher[InsertRequest, Inserted](self._insert, size=lambda each: portions(each.jobs[0].args))
        # A hint may wake everybody who waits for a result: then one request looks for all of them.
        self.looks = Batcher[str, JobRecord | None](self._look)

    async def _insert(self, requests: list[InsertRequest]) -> tuple[Inserted, ...]:
        jobs = tuple(request.jobs[0] for request in requests)
        return await self.driver.run(InsertRequest(jobs, fresh=all(request.fresh for request in requests)))

    async def _look(self, ids: list[str]) -> list[JobRecord | None]:
        found: dict[str, JobRecord] = {}
        wanted, cursor = Filter(ids=tuple(dict.fromkeys(ids))), None
        while True:
            page = await self.driver.run(FindRequest(wanted, len(ids), cursor))
            found |= {record.id: record for record in page.jobs}
            cursor = page.cursor
            if cursor is None:
                return [found.get(id) for id in ids]

    async def perform(self, request: Request[Any]) -> Any:
        # Single jobs gather. Larger sets are a batch already, and join no other: they stay one transaction each.
        if isinstance(request, InsertRequest) and _gathers(request):
            return (await self.inserts.add(request),)
        return await self.driver.run(request)


def _gathers(request: InsertRequest) -> bool:
    """Whether it can share a transaction: a job with parents would take the others with it if one of them is gone."""
    alone = len(request.jobs) == 1 and not request.jobs[0].parents
    return alone and not request.ticks and not request.flows and request.now is None


class _AsyncRun(Generic[T]):
    """One verb under way for an async caller."""

    __slots__ = ("_side", "_steps", "_watch", "value")

    value: T

    def __init__(self, side: _LoopSide, steps: Steps[T]) -> None:
        self._side = side
        self._steps = steps
        self._watch: AsyncWatch | None = None

    async def advance(self) -> Emit | None:
        """As `_Run.advance`."""
        reply: Any = None
        error: Exception | None = None
        try:
            while True:
                step = self._steps.send(reply) if error is None else self._steps.throw(error)
                if isinstance(step, Emit):
                    return step
                reply = error = None
                try:
                    reply = await self._perform(step)
                except Exception as failure:  # noqa: BLE001 - the body decides about it
                    error = failure
        except StopIteration as end:
            self.value = end.value
            return None

    async def _perform(self, step: Request[Any] | Within | Look | Watching | Wait) -> Any:
        if isinstance(step, Request):
            return await self._side.perform(step)
        if isinstance(step, Within):
            return await (step.lender or self._side.store).async_borrow(step.connection).run(step.request)
        if isinstance(step, Look):
            return await self._side.looks.add(step.id)
        if isinstance(step, Watching):
            self._watch = await self._side.driver.watch(step.topics)
            return None
        return await _listening(self._watch, step).wait(step.seconds)

    async def aclose(self) -> None:
        self._steps.close()
        if self._watch is not None:
            await self._watch.aclose()


W = TypeVar("W", Watch, AsyncWatch)


def _listening(watch: W | None, step: Wait) -> W:
    """What a verb listens with."""
    if watch is None:
        raise TypeError(f"{step} without {Watching.__name__} before it")
    return watch
