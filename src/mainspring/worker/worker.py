"""The worker: puts its parts together, starts them, and stops them in the right order."""

from __future__ import annotations

import asyncio
import atexit
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from mainspring.errors import InvalidOption, MainspringError, StoreError
from mainspring.events import Event, EventName
from mainspring.job import Job, moment
from mainspring.model.backoff import Retry
from mainspring.model.clock import StoreClock
from mainspring.model.durations import Duration, to_ms
from mainspring.model.job import Claim
from mainspring.model.options import BEAT_MS, GRACE_MS, LEASE_MS, REAP_MS, JobOptions
from mainspring.model.outcome import Outcome
from mainspring.model.sizes import to_bytes
from mainspring.model.text import quote
from mainspring.store.base import AsyncDriver, BeatReply, BeatRequest, Command, ConfigureRequest, Presence
from mainspring.worker import processes
from mainspring.worker.chores import Chore, Prune, Reap, RollUp, Sample, Tend, keep_doing
from mainspring.worker.completer import Completer
from mainspring.worker.context import Context
from mainspring.worker.counters import Counters
from mainspring.worker.executors import Threads
from mainspring.worker.machine import Machine
from mainspring.worker.notebook import Notebook
from mainspring.worker.observers import Observers
from mainspring.worker.outage import Outage
from mainspring.worker.processes.pool import Processes, Wear, checked
from mainspring.worker.pulse import Beating, Pulse
from mainspring.worker.pump import Pump
from mainspring.worker.quarantine import Quarantine
from mainspring.worker.relay import Relay
from mainspring.worker.rooms import Rooms
from mainspring.worker.run import Interruption
from mainspring.worker.runner import Runner
from mainspring.worker.runs import Runs
from mainspring.worker.settler import Settled, Settler
from mainspring.worker.vitals import Signs, Vitals, resident

if TYPE_CHECKING:
    from mainspring.app import Mainspring

__all__ = ["Worker"]

logger = logging.getLogger("mainspring.worker")

DEFAULT_CONCURRENCY = 10

GARBAGE_LOOKED_FOR_EVERY = 20_000
"""New objects, until Python looks for cycles among the youngest."""

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

SETTLE_SECONDS = 15.0
"""How long a stopping worker tries to settle with a store that does not answer."""
OBSERVE_SECONDS = 5.0
"""How long a stopping worker waits for its observers."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a worker is made of, for one working life."""

    threads: Threads
    processes: Processes
    notebook: Notebook
    observers: Observers
    settler: Settler
    runs: Runs
    pump: Pump
    chores: tuple[Chore, ...]
    counters: Counters | None
    pulse: Beating


class Worker:
    """Runs the jobs of an app, in this process: `app.worker(concurrency=20).run()`.

    `queues` is a sequence of names, served in strict order, or a mapping of names to weights; None serves all queues
    that the app's tasks name, alike. `concurrency` is how many jobs run at once. `lease` is how long after its last
    heartbeat the worker counts as alive, `grace` how long it lets its jobs finish when it is told to stop. A process
    that runs jobs (`executor="process"`) is replaced after `process_jobs`, or when it keeps more than `process_memory`
    between two of them. Without `stats` it does not count what it does for `app.stats`. Raises `InvalidOption`; so does
    running it for a task that no process could find.
    """

    def __init__(
        self,
        app: Mainspring,
        queues: Mapping[str, int] | Iterable[str] | None = None,
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        lease: Duration = LEASE_MS / 1000,
        grace: Duration = GRACE_MS / 1000,
        name: str | None = None,
        process_jobs: int | None = None,
        process_memory: str | int = "512MB",
        stats: bool = True,
        machine: Machine = Machine(),  # noqa: B008 - frozen
    ) -> None:
        if type(concurrency) is not int or concurrency < 1:
            raise InvalidOption(f"concurrency={quote(concurrency)} is not a whole number from 1 on")
        if isinstance(queues, str):
            raise InvalidOption(f"queues={quote(queues)} is a single text; give a list: queues=[{quote(queues)}]")
        self.name = name or f"{socket.gethostname()}:{os.getpid()}"
        self._machine = machine
        self._monotonic = machine.monotonic
        self.id = machine.new_id()
        self._app = app
        self._concurrency = concurrency
        self._wear = Wear(process_jobs, to_bytes(process_memory))
        self._apart = checked(app.tasks, app.url)
        self._stats = stats
        self._lease_ms = to_ms(lease)
        self._grace = to_ms(grace) / 1000
        if self._lease_ms < 1000:
            raise InvalidOption(f"lease={quote(lease)} is under a second: too short for a heartbeat to keep")
        if queues is None:
            queues = dict.fromkeys(["default", *(queue.name for queue in app.declared_queues)], 1)
        self._rooms = Rooms(queues)
        self.vitals = Vitals()
        self.dismissed = False
        """True once an operator has told it to stop."""
        self._quiet = False
        self._stop_asked = 0
        self._signals = 0
        self._abandoned = False
        """True once a task was given up that goes on."""
        self._rejoining: asyncio.Task[None] | None = None
        self._good_until = float("-inf")
        """Until when its lease is surely good: so long after it asked for the renewal that the store granted last."""
        self._wake: Callable[[], object] = lambda: None
        self._memory_apart: Callable[[], int] = lambda: 0
        """How many bytes of memory the processes have in which its jobs run."""

    def run(self) -> None:
        """Work until SIGTERM or SIGINT, then stop gracefully; a second signal stops at once. The process is a worker's
        from here on."""
        # A job is some dozens of objects, in no cycle: looking for cycles among every 700 new ones was 8 % of the work.
        gc.set_threshold(max(GARBAGE_LOOKED_FOR_EVERY, gc.get_threshold()[0]))
        runner = asyncio.Runner(loop_factory=_loop_factory())
        try:
            runner.run(self._run_with_signals())
        finally:
            # Closing waits for every task; one that cannot be cancelled would keep the process from ending.
            if not self._abandoned:
                runner.close()

    async def arun(self) -> None:
        """Work until `stop()`, then return when all is settled. Raises `StoreError` if the store cannot be opened."""
        if processes.in_job_process:
            raise MainspringError(
                "a process that is to run jobs has started a worker while it imported your script; put what starts it "
                'under `if __name__ == "__main__":`'
            )
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        self._wake = lambda: loop.call_soon_threadsafe(stop.set)
        if self._stop_asked:
            stop.set()
        driver = self._app.store.async_driver()
        try:
            await self._work(driver, stop)
        finally:
            self._wake = lambda: None
            await driver.aclose()

    def stop(self) -> None:
        """Stop gracefully: claim no more, let jobs finish for the grace period, hand the rest back. Called a second
        time: hand back at once. From any thread."""
        self._stop_asked += 1
        self._wake()

    def stop_at_least(self, times: int) -> None:
        """As if `stop` had been called so often by now, by whomever."""
        self._stop_asked = max(self._stop_asked, times)
        self._wake()

    def signs(self) -> Signs:
        """How the worker finds itself now. From any thread."""
        stopping = bool(self._stop_asked)
        return self.vitals.signs(self.name, self._lease_ms / 1000, quiet=self._quiet, stopping=stopping)

    async def _run_with_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._signalled, number)
        try:
            await self.arun()
        finally:
            if self._stop_asked:
                # Who asks again when all is done already is not to make a failure of it: the loop, as it closes, would
                # leave the signals to what they do to any process.
                for number in STOP_SIGNALS:
                    loop.remove_signal_handler(number)
                    signal.signal(number, lambda *_: sys.exit(0))
                # And so does Python as it ends, save for those that are ignored.
                atexit.register(_ignore_signals)

    def _signalled(self, number: signal.Signals) -> None:
        # Counted by themselves: the first may come just after a supervisor or an operator has said the same.
        self._signals += 1
        if self._signals > 1:
            logger.warning("%s again: handing the running jobs back now", number.name)
        else:
            logger.info("%s: stopping; running jobs have %g s to finish", number.name, self._grace)
        self.stop_at_least(self._signals)

    # --- one working life ---

    async def _work(self, driver: AsyncDriver, stop: asyncio.Event) -> None:
        settings = await driver.run(ConfigureRequest(read=frozenset({"tasks"})))
        await driver.run(ConfigureRequest(self._app.declared(settings)))
        parts = self._assemble(driver, StoreClock(self._monotonic, settings.now))
        self._driver, self._runs = driver, parts.runs
        self._memory_apart = parts.processes.memory
        self.vitals.attach(asyncio.get_running_loop(), parts.runs.__len__)
        await self._join(self.id)
        parts.pulse.start()
        # What brings work in stops first, what carries it out goes on until all is settled.
        intake = [
            asyncio.create_task(parts.pump.run(), name="mainspring pump"),
            asyncio.create_task(keep_doing(parts.chores), name="mainspring chores"),
        ]
        if self._app.relayed is not None:
            # Not one of the chores: a database that does not answer must not hold these up.
            relay = Relay(self._app.relayed, driver)
            intake.append(asyncio.create_task(relay.run(), name="mainspring relay"))
        outlet = [
            asyncio.create_task(parts.notebook.keep_writing(), name="mainspring notebook"),
            asyncio.create_task(parts.observers.keep_telling(), name="mainspring observers"),
        ]
        stopped = asyncio.create_task(stop.wait(), name="mainspring stop")
        logger.info("worker %s serves %s", self.name, ", ".join(self._rooms.names))
        try:
            ended, _ = await asyncio.wait([*intake, *outlet, stopped], return_when=asyncio.FIRST_COMPLETED)
            for part in ended - {stopped}:
                part.result()  # a part that ends by itself has failed: say why, and loudly
        finally:
            self._quiet = True
            parts.runs.warn()
            await _cancel(*intake, stopped)
            await self._finish(parts)
            await _cancel(*outlet, *filter(None, [self._rejoining]))
            if parts.processes:
                await asyncio.to_thread(parts.processes.close)
            # It has beaten until the last settle; only now does the worker leave.
            await parts.pulse.stop()
            with suppress(StoreError):
                reports = parts.counters.rest() if parts.counters is not None else ()
                await driver.run(BeatRequest(self._presence(), "leave", reports))
            parts.observers.close()
            parts.threads.close()
            logger.info("worker %s has stopped", self.name)

    def _assemble(self, driver: AsyncDriver, clock: StoreClock) -> _Parts:
        threads = Threads(self._concurrency)
        notebook = Notebook(driver, clock)
        pool = Processes(self._concurrency, self._wear, self._app.url, notebook, self._apart)
        observers = Observers(self._app.observers, self._event)

        counters = Counters(self._machine.new_id()) if self._stats else None

        def settled(batch: Sequence[Settled]) -> None:
            if counters is not None:
                counters.settled(batch)
            observers.settled(batch)
            runs.freed.set()  # many unsettled runs may have kept the pump waiting

        def started(claim: Claim) -> None:
            if counters is not None:
                counters.started(claim)
            observers.started(claim)

        told = self._app.webhooks.told
        settler = Settler(driver, clock, notebook, settled, self._retry_of, told=told)
        completer = Completer(self._app.store, self._app.tasks, clock, notebook, told)
        job_of, flows = partial(Job.claimed, self._app), self._app.flows
        runs = Runs(
            Runner(
                self._app.tasks,
                self._app.middlewares,
                threads,
                pool,
                keyring=self._app.keyring,
                tracing=self._app.tracing,
            ),
            settler,
            self._concurrency,
            context=lambda run: Context(run, notebook, job_of, flows, completer),
            started=started,
            vitals=self.vitals,
            quarantine=Quarantine(),
            owns=self._owns,
            monotonic=self._monotonic,
        )
        pump = Pump(
            driver,
            clock,
            self._rooms,
            runs,
            worker=lambda: self.id,
            quiet=lambda: self._quiet,
            lost=self._give_up,
            vitals=self.vitals,
        )
        runs.claiming = pump.under_way
        pulse = Pulse(
            presence=self._presence,
            heard=self._heard,
            renewed=self._renewed,
            running_here=runs.on,
            beat_seconds=min(BEAT_MS, self._lease_ms / 3) / 1000,
            vitals=self.vitals,
            counters=counters,
            monotonic=self._monotonic,
        )
        return _Parts(
            threads=threads,
            processes=pool,
            notebook=notebook,
            observers=observers,
            settler=settler,
            runs=runs,
            pump=pump,
            chores=(
                Reap(
                    driver,
                    lambda: self.id,
                    lambda claim: settler.add(claim, Outcome.lost()),
                    pump,
                    seconds=min(REAP_MS, self._lease_ms / 5) / 1000,
                ),
                Tend(driver, clock),
                Prune(driver),
                RollUp(driver),
                *([] if counters is None else [Sample(driver, clock, self._presence, self._monotonic)]),
            ),
            counters=counters,
            pulse=self._machine.beating(pulse, self._app.store),
        )

    async def _finish(self, parts: _Parts) -> None:
        """Bring to an end what was begun: the last claim, the runs, their settlements, what observers hear of them."""
        await parts.pump.finish()
        await parts.runs.finish(self._grace, hurry=lambda: self._stop_asked > 1)
        self._abandoned = parts.runs.abandoned
        try:
            await asyncio.wait_for(parts.settler.drain(), SETTLE_SECONDS)
        except TimeoutError:
            logger.error("%d ended jobs could not be settled: they will run again elsewhere", parts.settler.backlog)
        try:
            await asyncio.wait_for(parts.observers.drain(), OBSERVE_SECONDS)
        except TimeoutError:
            logger.error("an observer does not end; what it was not told yet, it will not be told")

    # --- what its parts ask of it and tell it ---

    def _owns(self, claim: Claim) -> bool:
        """Whether the lease that it was claimed under is surely good still: renewed less than a lease ago, by the clock
        of this machine."""
        return claim.worker == self.id and self._monotonic() < self._good_until

    def _renewed(self, worker: str, asked_at: float) -> None:
        if worker == self.id:
            self._good_until = asked_at + self._lease_ms / 1000

    def _presence(self) -> Presence:
        return Presence(
            id=self.id,
            name=self.name,
            queues=self._rooms.names,
            tasks=tuple(self._app.tasks),
            concurrency=self._concurrency,
            running=len(self._runs),
            lease_ms=self._lease_ms,
            quiet=self._quiet,
            memory=resident() + self._memory_apart(),
        )

    def _heard(self, worker: str, reply: BeatReply) -> None:
        """What the store said to a heartbeat."""
        if worker != self.id:
            return
        if not reply.alive:
            self._give_up(worker)
        self._runs.cancel(reply.cancelled)
        if reply.command is Command.STOP and not self._stop_asked:
            logger.info("an operator asked this worker to stop")
            self.dismissed = True
            self.stop()
        elif reply.command is Command.QUIET and not self._quiet:
            logger.info("an operator asked this worker to be quiet: it claims no more jobs")
            self._quiet = True

    def _give_up(self, worker: str) -> None:
        """The store gave this worker up: what it runs belongs to others. Start over under a new id."""
        if worker != self.id or self._rejoining is not None:
            return
        logger.warning("worker %s went unheard for longer than its lease; its jobs went to others", self.name)
        self._runs.interrupt_all(Interruption.LOST)
        self._rejoining = asyncio.create_task(self._rejoin(), name="mainspring rejoin")

    async def _rejoin(self) -> None:
        id = self._machine.new_id()
        await Outage("registering").outlast(lambda: self._join(id))
        self._rejoining = None

    async def _join(self, id: str) -> None:
        asked_at = self._monotonic()
        await self._driver.run(BeatRequest(replace(self._presence(), id=id), "join"))
        # Only now: what the store says of an id that it does not know yet is not to be taken for the end of it.
        self.id, self._good_until = id, asked_at + self._lease_ms / 1000
        self.vitals.heard(renewed=True)

    def _retry_of(self, claim: Claim) -> Retry:
        task = self._app.tasks.get(claim.task)
        if task is None:
            return Retry()
        if claim.options is None:
            return task.options.retry
        try:
            return JobOptions.from_text(claim.options).over(task.options).retry
        except Exception:  # noqa: BLE001 - stored text may be anything; the run has shown the error already
            return task.options.retry

    def _event(self, name: EventName, claim: Claim, settled: Settled | None) -> Event:
        job: Job[Any] = Job.claimed(self._app, claim)
        if settled is None:
            return Event(name, job, moment(claim.started_at))
        return Event(name, job, moment(settled.at), settled.outcome.error, settled.settlement.reason)


def _ignore_signals() -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
