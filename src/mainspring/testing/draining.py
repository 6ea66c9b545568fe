"""Runs whatever is due, here and now, until nothing is left: a worker for tests.

It is put together from a worker's own parts (rooms, claims, runs, runner, settler, observers, the chore that serves
schedules), so a job goes the same way as in production, validation, JSON and middleware included. What it leaves out
is what needs time to pass: the heartbeat, waiting for hints, the grace of a stop. What it takes out is chance: jobs run
one after the other, and a retry's jitter always draws the longest delay.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from mainspring.clock import now_ms
from mainspring.errors import Directive, JobFailed, MainspringError
from mainspring.job import Job
from mainspring.model.clock import StoreClock
from mainspring.model.job import Claim
from mainspring.model.outcome import ErrorRecord, Outcome
from mainspring.model.states import State
from mainspring.store.base import (
    AsyncDriver,
    BeatRequest,
    ClaimRequest,
    ConfigureRequest,
    Filter,
    FindRequest,
)
from mainspring.testing.frozen import is_frozen
from mainspring.webhooks.webhook import QUEUE as DELIVERIES
from mainspring.worker.chores import Tend
from mainspring.worker.completer import Completer
from mainspring.worker.context import Context
from mainspring.worker.counters import Counters
from mainspring.worker.executors import Threads
from mainspring.worker.notebook import Notebook
from mainspring.worker.observers import Observers, event_name
from mainspring.worker.rooms import Rooms
from mainspring.worker.runner import Runner
from mainspring.worker.runs import Runs
from mainspring.worker.settler import Settled, Settler
from mainspring.worker.worker import Worker

if TYPE_CHECKING:
    from mainspring import Event, Mainspring
    from mainspring.events import EventName, Observer

__all__ = ["Drained", "EndlessDrain", "adrain", "drain", "is_draining"]

LIMIT = 1000
"""How many runs a drain takes for endless."""
LEASE = "1h"
"""Longer than anybody stands still in a debugger: there is no heartbeat. Renewed before each claim."""
PAUSE = 0.005
"""Seconds between two looks for more, where several jobs may run at once."""
PAGE = 100
"""How many jobs are read at once for the report."""


_draining: ContextVar[bool] = ContextVar("mainspring_draining", default=False)


class EndlessDrain(MainspringError):
    """There were still jobs due after as many runs as the drain's `limit`."""


@dataclass(frozen=True, slots=True)
class Drained:
    """What a drain has run. The counts are of runs: a job that was retried once and then completed counts in both."""

    jobs: tuple[Job[Any], ...] = ()
    """Each job that ran, in the order of their first runs, as it was at the end of the drain."""
    completed: int = 0
    retried: int = 0
    """Runs that failed, and whose job waits for its next attempt."""
    dead: int = 0
    cancelled: int = 0
    snoozed: int = 0
    parked: int = 0
    """Runs of tasks that the app does not know, or whose arguments it has no encryption key for."""
    errors: tuple[BaseException, ...] = ()
    """What the tasks raised, in that order, directives left out."""

    @property
    def ran(self) -> int:
        """How many runs there were."""
        return self.completed + self.retried + self.dead + self.cancelled + self.snoozed + self.parked


def drain(
    app: Mainspring,
    *,
    queues: Iterable[str] | None = None,
    concurrency: int = 1,
    limit: int = LIMIT,
    raise_errors: bool = False,
) -> Drained:
    """Run every job that is due now, and what those enqueue, until nothing is left; say what ran.

        report = drain(app)
        assert report.completed == 2

    Plain functions run on the calling thread, so what the test has open there (a database transaction, a debugger) is
    theirs too. One job runs at a time, unless `concurrency` says otherwise. `queues` names those to serve, in that
    order; None: all there are, save that of an app's webhooks, whose deliveries would leave the test: see them by
    `app.jobs.find(task="mainspring.webhook")`, or name "webhooks". Jobs that are due later stay, and so do failed ones
    that wait for their next attempt: move time with `freeze`. Schedules tick only while time is frozen, so that no test
    depends on the minute in which it runs.

    With `raise_errors` the first error of a task is raised, once its job is settled. Raises `EndlessDrain` when after
    `limit` runs there is still more to do.
    """
    thread = _ThisThread()
    drained: list[Drained] = []
    failed: list[BaseException] = []
    worker = _Drain(app, queues, concurrency, limit, raise_errors)

    async def work() -> None:
        try:
            drained.append(await worker.drain(thread))
        finally:
            await app._async.aclose()

    def loop_thread() -> None:
        try:
            asyncio.run(work())
        except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
            failed.append(error)
        finally:
            thread.close()

    # The loop gets a thread of its own, and this one is left to plain functions: there may be a loop here already, and
    # Django, among others, refuses blocking calls on a thread that has one.
    looping = threading.Thread(target=loop_thread, name="mainspring-drain", daemon=True)
    looping.start()
    try:
        thread.serve()
    except BaseException:
        worker.stop()
        raise
    finally:
        looping.join()
    if failed:
        raise failed[0]
    return drained[0]


async def adrain(
    app: Mainspring,
    *,
    queues: Iterable[str] | None = None,
    concurrency: int = 1,
    limit: int = LIMIT,
    raise_errors: bool = False,
) -> Drained:
    """As `drain`, on the running event loop; plain functions run on threads, as they do in a worker."""
    return await _Drain(app, queues, concurrency, limit, raise_errors).drain(Threads(concurrency))


def is_draining() -> bool:
    """Whether this code runs inside a drain, as a task or an observer."""
    return _draining.get()


class _Drain(Worker):
    """A worker that works off what is there, and ends."""

    def __init__(
        self, app: Mainspring, queues: Iterable[str] | None, concurrency: int, limit: int, raise_errors: bool
    ) -> None:
        super().__init__(app, queues, concurrency=concurrency, lease=LEASE, name="drain")
        self._everything = queues is None
        self._limit = limit
        self._raise_errors = raise_errors
        self._settled: list[Settled] = []
        self._errors: list[BaseException] = []

    async def drain(self, threads: Threads) -> Drained:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        self._wake = lambda: task and loop.call_soon_threadsafe(task.cancel)
        driver = self._app.store.async_driver()
        inside = _draining.set(True)
        try:
            await self._drain(driver, threads)
            return await self._report(driver)
        finally:
            _draining.reset(inside)
            self._wake = lambda: None
            threads.close()
            await driver.aclose()

    async def _drain(self, driver: AsyncDriver, threads: Threads) -> None:
        app = self._app
        settings = await driver.run(ConfigureRequest(read=frozenset({"queues", "tasks"})))
        await driver.run(ConfigureRequest(app.declared(settings)))
        if self._everything:
            names = dict.fromkeys([*self._rooms.names, *(queue.name for queue in settings.queues)], 1)
            if app.webhooks.declared:
                names.pop(DELIVERIES, None)
            self._rooms = Rooms(names)
        clock = StoreClock(lambda: now_ms() / 1000, settings.now)
        notebook = Notebook(driver, clock)
        observers = Observers(_on_threads(app.observers, threads), self._event)
        counters = Counters(self.id)

        def settled(batch: Sequence[Settled]) -> None:
            counters.settled(batch)
            self._note_settled(observers, batch)

        def started(claim: Claim) -> None:
            counters.started(claim)
            observers.started(claim)

        settler = Settler(
            driver,
            clock,
            notebook,
            settled,
            self._retry_of,
            chance=lambda: 1.0,
            told=app.webhooks.told,
        )
        completer = Completer(app.store, app.tasks, clock, notebook, app.webhooks.told)
        self._runs = Runs(
            Runner(app.tasks, app.middlewares, threads, tracing=app.tracing, keyring=app.keyring),
            settler,
            self._concurrency,
            context=lambda run: Context(run, notebook, partial(Job.claimed, app), app.flows, completer),
            started=started,
        )
        telling = asyncio.create_task(observers.keep_telling(), name="mainspring observers")
        try:
            while is_frozen() and await Tend(driver, clock)() == 0:
                pass  # there were ticks; there may be more
            await self._run_all(driver, settler, observers)
        finally:
            await self._runs.finish(0, hurry=lambda: True)
            await settler.drain()
            await observers.drain()
            telling.cancel()
            await driver.run(BeatRequest(self._presence(), "leave", counters.rest()))

    async def _run_all(self, driver: AsyncDriver, settler: Settler, observers: Observers) -> None:
        left = self._limit
        while True:
            await driver.run(BeatRequest(self._presence(), "join"))
            self._runs.freed.clear()
            room = self._runs.room()
            reply = await driver.run(ClaimRequest(self.id, self._rooms.offer(room), room))
            for claim in reply.claims[:left]:
                self._runs.launch(claim)
            for claim in reply.claims[left:]:
                settler.add(claim, Outcome.returned())
            if len(reply.claims) > left:
                raise EndlessDrain(
                    f"{self._limit} jobs have run, and there is more to do, such as {reply.claims[left].task!r}; "
                    "does a job enqueue itself? If not, give a higher limit="
                )
            left -= len(reply.claims)
            if not len(self._runs):
                return
            with suppress(TimeoutError):
                # Where there is room for more, a running job may enqueue it.
                await asyncio.wait_for(self._runs.freed.wait(), PAUSE if self._runs.room() else None)
            await settler.drain()
            # An observer may enqueue jobs: they belong to this drain.
            await observers.drain()
            if self._errors and self._raise_errors:
                raise self._errors[0]

    def _note_settled(self, observers: Observers, batch: Sequence[Settled]) -> None:
        self._settled += batch
        self._errors += [error for settled in batch if (error := _error_of(settled))]
        observers.settled(batch)

    async def _report(self, driver: AsyncDriver) -> Drained:
        counts = Counter(event_name(settled) for settled in self._settled)
        ids = list(dict.fromkeys(settled.claim.id for settled in self._settled))
        jobs: dict[str, Job[Any]] = {}
        for first in range(0, len(ids), PAGE):
            where, cursor = Filter(ids=tuple(ids[first : first + PAGE])), None
            while True:
                page = await driver.run(FindRequest(where, PAGE, cursor, with_log=True))
                jobs |= {record.id: Job(self._app, record) for record in page.jobs}
                if (cursor := page.cursor) is None:
                    break
        return Drained(
            jobs=tuple(jobs[id] for id in ids if id in jobs),
            completed=counts["completed"],
            retried=counts["retried"],
            dead=counts["dead"],
            cancelled=counts["cancelled"],
            snoozed=counts["snoozed"],
            parked=counts["parked"],
            errors=tuple(self._errors),
        )


def _error_of(settled: Settled) -> BaseException | None:
    """What went wrong in a run; None: nothing did, or the task itself directed its job."""
    exception = settled.outcome.exception
    if exception is not None and not isinstance(exception, Directive):
        return exception
    if settled.settlement.state is not State.DEAD:
        return None
    error = settled.outcome.error or ErrorRecord("", "", "")
    return JobFailed(settled.claim.id, settled.settlement.reason or "", error.type, error.message, error.traceback)


def _on_threads(
    observers: Mapping[EventName, tuple[Observer, ...]], threads: Threads
) -> dict[EventName, tuple[Observer, ...]]:
    """The observers, the plain ones of which are called where plain tasks are."""

    def there(observer: Observer) -> Observer:
        if inspect.iscoroutinefunction(observer):
            return observer

        @functools.wraps(observer)
        async def tell(event: Event) -> None:
            await threads.run(partial(observer, event))

        return tell

    return {name: tuple(there(observer) for observer in those) for name, those in observers.items()}


class _ThisThread(Threads):
    """Plain functions run on the one thread that calls `serve`."""

    def __init__(self) -> None:
        super().__init__(0)

    def serve(self) -> None:
        """Call what comes in, until `close`."""
        while (call := self._calls.get()) is not None:
            if call.future.cancelled():
                continue
            call.perform()
            with suppress(RuntimeError):  # the loop is closed: nobody waits for this any more
                call.future.get_loop().call_soon_threadsafe(self._done, call)
            if isinstance(call.error, KeyboardInterrupt):
                raise call.error

    def close(self) -> None:
        self._calls.put(None)
