"""Does to the programs and to the store what the world does, at moments and in ways drawn from a seed."""

from __future__ import annotations

import heapq
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress

from mainspring import Mainspring, MainspringError

from ..events import Fault
from ..history import HistoryFile
from .ground import Ground
from .programs import Program
from .records import clock

__all__ = ["LEASE", "Conductor"]

LEASE = 5.0
"""Seconds of the workers' leases."""
EVERYBODY = ""
FEWEST = 5
"""So much is done at least, where chance lets little be done in the time."""


class Conductor:
    """One thread, one agenda: each mischief puts on it when it ends. Nobody suffers two at a time."""

    def __init__(
        self,
        seed: int,
        ground: Ground,
        app: Mainspring,
        programs: Mapping[str, Program],
        history: HistoryFile,
        mix: frozenset[str],
    ) -> None:
        self._app = app
        self._chance = random.Random(seed)
        self._ground = ground
        self._programs = programs
        self._workers = [program for name, program in programs.items() if name.startswith("worker")]
        self._others = [program for name, program in programs.items() if name.startswith("enqueuer")]
        self._history = history
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._suffers: set[str] = set()
        self._over = False
        self.done: Counter[str] = Counter()
        """How often what was done."""
        self.surprises: list[str] = []
        """Programs that ended by themselves, and nobody knows why."""
        self._kinds = {name: weight for name, weight in self._all().items() if not mix or name in mix}
        if not self._kinds:
            raise SystemExit(
                f"on {ground.name} there is no {', '.join(sorted(mix))}; there is: {', '.join(self._all())}"
            )

    def _all(self) -> dict[str, int]:
        """What can be done here, and how readily it is."""
        kinds = {
            "kill a worker": 5,
            "freeze a worker": 3,
            "freeze until overtaken": 2,
            "stop a worker": 4,
            "hurry a worker": 1,
            "kill an enqueuer": 2,
        }
        if self._ground.has_server:
            kinds |= {
                "kill the server": 2,
                "restart the server": 1,
                "freeze the server": 1,
                "cut": 3,
                "delay": 2,
                "lose replies": 4,
                "half-open": 2,
                "forget": 2,
                "refuse": 1,
            }
        if self._ground.disk.small:
            kinds["fill the disk"] = 1
        return kinds

    # --- time ---

    def conduct(self, seconds: float, enough: Callable[[], bool]) -> None:
        """Make trouble for so long, and until there was some, and enough got done beside it; then mend what is broken.
        It lasts at most four times as long."""
        began = time.monotonic()
        due = began + 1

        def goes_on() -> bool:
            lasted = time.monotonic() - began
            return lasted < seconds or (lasted < 4 * seconds and not (self.done.total() >= FEWEST and enough()))

        while goes_on():
            self._attend()
            if time.monotonic() >= due:
                self._trouble()
                due = time.monotonic() + self._chance.expovariate(1 / 1.5)
            time.sleep(0.02)
        self._over = True
        while self._agenda:
            _, _, mend = heapq.heappop(self._agenda)
            mend()
        self._attend()

    def _attend(self) -> None:
        """Do what is due, and start again whoever has ended."""
        while self._agenda and self._agenda[0][0] <= time.monotonic():
            heapq.heappop(self._agenda)[2]()
        for program in self._programs.values():
            if not program.runs and program.name not in self._suffers and program.code is not None:
                self._ended(program)

    def _ended(self, program: Program) -> None:
        if program.code == 11:
            self.done["a job killed its worker"] += 1
        elif program in self._workers and program.ended_well:
            program.fault("stopped")
        else:
            self.surprises.append(f"{program.name} ended with {program.code}:\n{program.last_words()}")
        self._away(program)

    def _in(self, seconds: float, deed: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (time.monotonic() + seconds, next(self._numbers), deed))

    def _trouble(self) -> None:
        names = list(self._kinds)
        name = self._chance.choices(names, [self._kinds[name] for name in names])[0]
        if getattr(self, "_" + name.replace(" ", "_").replace("-", "_"))():
            self.done[name] += 1

    def _victim(self, among: list[Program]) -> Program | None:
        free = [program for program in among if program.name not in self._suffers and program.runs]
        victim = self._chance.choice(free) if free else None
        if victim is not None:
            self._suffers.add(victim.name)
        return victim

    def _away(self, program: Program) -> None:
        """It is gone, and comes back after a while."""
        self._suffers.add(program.name)

        def back() -> None:
            program.start()
            self._suffers.discard(program.name)

        self._in(self._chance.uniform(0, 2), back)

    # --- programs ---

    def _kill_a_worker(self) -> bool:
        return self._kill(self._victim(self._workers))

    def _kill_an_enqueuer(self) -> bool:
        return self._kill(self._victim(self._others))

    def _kill(self, victim: Program | None) -> bool:
        if victim is None:
            return False
        victim.kill()
        self._away(victim)
        return True

    def _freeze_a_worker(self) -> bool:
        """SIGSTOP, more often than not past its lease, then SIGCONT."""
        if (victim := self._frozen_victim()) is None:
            return False
        self._in(self._chance.uniform(0.5, 2 * LEASE + 3), lambda: self._thaw(victim))
        return True

    def _freeze_until_overtaken(self) -> bool:
        """SIGSTOP until somebody else runs what it ran; then SIGCONT: what it comes to may change nothing."""
        if (victim := self._frozen_victim()) is None:
            return False
        began = clock()

        def look() -> None:
            if self._over or clock() > began + 3 * LEASE or self._is_run_again(began):
                self._thaw(victim)
            else:
                self._in(0.1, look)

        self._in(LEASE, look)
        return True

    def _frozen_victim(self) -> Program | None:
        victim = self._victim(self._workers)
        if victim is not None:
            victim.freeze()
        return victim

    def _thaw(self, victim: Program) -> None:
        victim.thaw()
        self._suffers.discard(victim.name)

    def _is_run_again(self, began: float) -> bool:
        """Whether a job is running again that was with somebody who has not been heard of since then."""
        with suppress(MainspringError):
            for job in self._app.jobs.find(state="running", task="slow", limit=100):
                record = job.record
                if record.crashes and (record.started_at or 0) / 1000 > began:
                    return True
        return False

    def _stop_a_worker(self) -> bool:
        return self._end(hurry=False)

    def _hurry_a_worker(self) -> bool:
        return self._end(hurry=True)

    def _end(self, hurry: bool) -> bool:
        victim = self._victim(self._workers)
        if victim is None:
            return False
        victim.terminate()
        if hurry:
            self._in(0.2, victim.hurry)
        # How it ends is looked at once nobody holds it any more.
        self._in(0.3, lambda: self._suffers.discard(victim.name))
        return True

    # --- the server ---

    def _everybody(self, break_it: Callable[[], None], mend: Callable[[], None], seconds: float) -> bool:
        if EVERYBODY in self._suffers:
            return False
        self._suffers.add(EVERYBODY)
        self._note(EVERYBODY, "cut")
        break_it()

        def whole_again() -> None:
            mend()
            self._note(EVERYBODY, "mended")
            self._suffers.discard(EVERYBODY)

        self._in(seconds, whole_again)
        return True

    def _kill_the_server(self) -> bool:
        return self._everybody(self._ground.kill, self._ground.start, self._chance.uniform(0, 4))

    def _restart_the_server(self) -> bool:
        return self._everybody(self._ground.restart, self._ground.start, 0.5)

    def _freeze_the_server(self) -> bool:
        frozen = ExitStack()
        return self._everybody(
            lambda: frozen.enter_context(self._ground.frozen()), frozen.close, self._chance.uniform(0.5, 8)
        )

    def _fill_the_disk(self) -> bool:
        def mend() -> None:
            self._ground.disk.free()
            self._ground.start()

        return self._everybody(self._ground.disk.fill, mend, self._chance.uniform(0.5, 3))

    # --- the way to the server ---

    def _note(self, process: str, what: str) -> None:
        self._history.add(Fault(at=clock(), process=process, what=what))  # type: ignore[arg-type]

    def _on_the_way(
        self, what: str, break_it: Callable[[str], None], mend: Callable[[str], None], seconds: float
    ) -> bool:
        free = [name for name in self._ground.proxies if f"way of {name}" not in self._suffers]
        if not free:
            return False
        name = self._chance.choice(free)
        self._suffers.add(f"way of {name}")
        self._note(name, what)
        break_it(name)

        def whole_again() -> None:
            mend(name)
            self._note(name, "mended")
            self._suffers.discard(f"way of {name}")

        self._in(seconds, whole_again)
        return True

    def _cut(self) -> bool:
        return self._on_the_way("cut", lambda name: self._ground.proxies[name].cut(), lambda name: None, 0.0)

    def _delay(self) -> bool:
        seconds = self._chance.uniform(0.02, 0.4)

        def slow(name: str, by: float) -> None:
            self._ground.proxies[name].delay = by

        return self._on_the_way(
            "slow", lambda name: slow(name, seconds), lambda name: slow(name, 0.0), self._chance.uniform(1, 4)
        )

    def _lose_replies(self) -> bool:
        share, drawn = self._chance.uniform(0.02, 0.3), random.Random(self._chance.random())

        def lossy(name: str) -> None:
            self._ground.proxies[name].loses = lambda answer: drawn.random() < share

        def whole(name: str) -> None:
            self._ground.proxies[name].loses = lambda answer: False

        return self._on_the_way("lossy", lossy, whole, self._chance.uniform(0.5, 4))

    def _half_open(self) -> bool:
        return self._on_the_way(
            "cut",
            lambda name: self._ground.proxies[name].freeze(),
            lambda name: self._ground.proxies[name].thaw(),
            self._chance.uniform(0.5, LEASE + 4),
        )

    def _forget(self) -> bool:
        return self._on_the_way("cut", lambda name: self._ground.proxies[name].forget(), lambda name: None, 0.0)

    def _refuse(self) -> bool:
        def refusing(name: str, yes: bool) -> None:
            self._ground.proxies[name].refuses = yes
            if yes:
                self._ground.proxies[name].cut()

        return self._on_the_way(
            "cut", lambda name: refusing(name, True), lambda name: refusing(name, False), self._chance.uniform(0.5, 4)
        )
