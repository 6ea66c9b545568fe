"""One run of chaos: sets the scene, lets the conductor loose, waits for everything to come to rest, and judges."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mainspring import Mainspring, MainspringError

from ..events import Event, FaultsOver, Found, Started, Ticking
from ..history import HistoryFile, check, read
from ..laws import Violation
from .conductor import LEASE, Conductor
from .evidence import found, more_violations, renamed, spawned
from .ground import Ground, ground
from .jobs import limits
from .programs import Program
from .records import Kept, Refused, Written, clock

__all__ = ["Report", "run"]

WORKERS = 3
CONCURRENCY = 8
GRACE = 1.0
REST_SECONDS = 180.0
"""How long after the last fault everything may take to come to rest, on a busy machine: leases run out, dead workers'
jobs are reaped, some thousand jobs are done."""
STARTING_SECONDS = 90.0
"""How long a busy machine may take to start a program."""
HOUR = 3600.0
LIVE = ("blocked", "scheduled", "queued", "running")


@dataclass(frozen=True, slots=True)
class Report:
    """What was done, and what came of it."""

    store: str
    seed: int
    seconds: float
    faults: Counter[str]
    states: Counter[str]
    starts: int
    refused: Counter[str]
    violations: list[Violation]
    surprises: list[str]
    history: list[Event]
    skipped: tuple[str, ...] = ()

    @property
    def is_clean(self) -> bool:
        return not self.violations and not self.surprises


def run(
    store: str, seed: int, seconds: float, mix: Sequence[str] = (), keep: Path | None = None, fewest: int = 0
) -> Report:
    """Chaos for so long on that kind of store, on a slow machine until that many jobs have completed. With `keep`, the
    programs' files stay in that folder."""
    folder = keep or Path(tempfile.mkdtemp(prefix="mainspring-chaos-history-"))
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*"):
        old.unlink()
    try:
        with ground(store) as place:
            return _Run(place, seed, seconds, frozenset(mix), folder, fewest).go()
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)


class _Run:
    def __init__(
        self, place: Ground, seed: int, seconds: float, mix: frozenset[str], folder: Path, fewest: int
    ) -> None:
        self._place = place
        self._fewest = fewest
        self._seed = seed
        self._seconds = seconds
        self._folder = folder
        self._history = HistoryFile(folder / "conductor.jsonl")
        self._app = Mainspring(place.address)
        self._chance = random.Random(seed)
        self._workers = [self._worker(number) for number in range(1, WORKERS + 1)]
        self._enqueuers = [self._enqueuer(1, "blocking"), self._enqueuer(2, "on a loop")]
        self._operator = self._program("operator", "operating", str(self._chance.getrandbits(32)))
        programs = [*self._workers, *self._enqueuers, self._operator]
        self._conductor = Conductor(
            self._chance.getrandbits(32), place, self._app, {each.name: each for each in programs}, self._history, mix
        )

    def _worker(self, number: int) -> Program:
        options = ["-c", str(CONCURRENCY), "--lease", f"{LEASE:g}s", "--grace", f"{GRACE:g}s"]
        name = f"worker {number}"
        wrong = (0.0, HOUR, -HOUR)[number - 1] if self._place.clocks_of_its_own else 0.0
        command = ["mainspring", "worker", "faults.chaos.jobs:app", *options, "--name", name]
        return Program(name, command, self._folder, self._environment(name) | {"CHAOS_CLOCK_OFFSET": str(wrong)})

    def _enqueuer(self, number: int, kind: str) -> Program:
        wrong = HOUR if number == 2 and self._place.clocks_of_its_own else 0.0
        return self._program(f"enqueuer {number}", "enqueuer", str(self._chance.getrandbits(32)), kind, wrong=wrong)

    def _program(self, name: str, module: str, *arguments: str, wrong: float = 0.0) -> Program:
        environment = self._environment(name) | {"CHAOS_CLOCK_OFFSET": str(wrong)}
        return Program(name, [f"faults.chaos.{module}", *arguments], self._folder, environment)

    def _environment(self, name: str) -> dict[str, str]:
        return {"MAINSPRING_URL": self._place.url(name), "CHAOS_ORDERS": self._place.orders, "PYTHONUNBUFFERED": "1"}

    def go(self) -> Report:
        programs = [*self._workers, *self._enqueuers, self._operator]
        try:
            self._app.store.migrate()
            for limited in limits(clock()):
                self._history.add(limited)
            self._workers[0].start()
            first = self._first_tick()
            for program in programs:
                program.start()
            self._await(programs)
            self._conductor.conduct(self._seconds, self._enough)
            self._end_of_faults(first)
            self._rest()
            for worker in self._workers:
                self._stop(worker, GRACE + 20)
            return self._judge()
        finally:
            for program in programs:
                program.close()
            self._app.close()

    def _await(self, programs: Sequence[Program]) -> None:
        """Until all are at work: what befalls them before teaches little."""
        deadline = time.monotonic() + STARTING_SECONDS
        while not all(program.came_up for program in programs) and time.monotonic() < deadline:
            time.sleep(0.05)

    def _enough(self) -> bool:
        """Whether so many jobs have completed that something can have gone wrong."""
        with suppress(MainspringError):
            return self._app.jobs.count(state="completed") >= self._fewest
        return False

    def _first_tick(self) -> int:
        """The first slot of the schedule, once a worker has written it to the store."""
        deadline = time.monotonic() + STARTING_SECONDS
        while not (schedules := self._app.schedules.list()):
            assert time.monotonic() < deadline, self._workers[0].last_words()
            time.sleep(0.01)
        at = schedules[0].next_at
        last = schedules[0].last_at
        return round((last or at).timestamp() * 1000)

    def _end_of_faults(self, first: int) -> None:
        for program in (*self._enqueuers, self._operator):
            self._stop(program, 30)
        # Workers that are gone for now come back.
        for worker in self._workers:
            if not worker.runs:
                worker.start()
        self._insist(lambda: self._app.schedules.pause("tick"))
        until = int(clock()) * 1000
        self._insist(lambda: self._app.queues.list())
        last = self._app.schedules.list()[0].last_at
        self._history.add(FaultsOver(at=clock()))
        until = min(until, round(last.timestamp() * 1000)) if last else first
        self._history.add(Ticking(at=clock(), schedule="tick", every_ms=1000, since_ms=first, until_ms=until))

    def _insist(self, ask: Callable[[], object]) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                ask()
                return
            except MainspringError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def _stop(self, program: Program, seconds: float) -> None:
        program.terminate()
        code = program.wait(seconds)
        if code is None or not program.ended_well:
            self._conductor.surprises.append(
                f"{program.name}, told to stop, ended with {code} (None: not in {seconds:g} s):\n{program.last_words()}"
            )
        program.fault("stopped")

    def _rest(self) -> None:
        """Until nothing is left to do, or it takes too long."""
        deadline = time.monotonic() + REST_SECONDS
        while time.monotonic() < deadline:
            with suppress(MainspringError):
                if self._app.jobs.count(state=LIVE) == 0:
                    return
            for worker in self._workers:
                if worker.code == 11:  # a job killed it, as is that job's way
                    worker.start()
            time.sleep(0.1)

    def _judge(self) -> Report:
        for event in found(self._app):
            self._history.add(event)
        for name, lease in self._place.written():
            self._history.add(Written(at=clock(), job=name.removeprefix("done "), lease=lease))
        events = read(self._folder.glob("*.jsonl"))
        events = renamed(sorted([*events, *spawned(events)], key=lambda event: event.at))
        violations = [*check(events), *more_violations(events, LEASE), *self._numbers(events)]
        return Report(
            store=self._place.name,
            seed=self._seed,
            seconds=self._seconds,
            faults=self._conductor.done,
            states=Counter(event.state for event in events if isinstance(event, Found)),
            starts=sum(isinstance(event, Started) for event in events),
            refused=Counter(event.error.partition(":")[0] for event in events if isinstance(event, Refused)),
            violations=violations,
            surprises=self._conductor.surprises,
            history=events,
        )

    def _numbers(self, events: Sequence[Event]) -> list[Violation]:
        """12: counting gives what finding gives."""
        found_states = Counter(event.state for event in events if isinstance(event, Kept))
        counted = {state: self._app.jobs.count(state=state) for state in (*LIVE, "completed", "dead", "cancelled")}
        if {state: count for state, count in counted.items() if count} == dict(found_states):
            return []
        return [Violation("conservation", clock(), "all jobs", f"counted {counted}, found {dict(found_states)}")]
