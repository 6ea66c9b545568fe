"""Bugs to be put in on purpose: what a simulation that finds nothing is worth, is what it finds of these."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from store import reference, reference_contents

from mainspring.model.states import State
from mainspring.store.base import Operation, ReapRequest, SettleRequest
from mainspring.worker import pump, runs, settler
from mainspring.worker.run import Interruption

from . import world

__all__ = ["MUTATIONS", "mutated"]

Mutation = Callable[[pytest.MonkeyPatch], None]
MUTATIONS: dict[str, Mutation] = {}


def mutation(make: Mutation) -> Mutation:
    MUTATIONS[make.__name__.replace("_", " ")] = make
    return make


@contextmanager
def mutated(name: str) -> Iterator[None]:
    """The worker, or the store, with that bug."""
    with pytest.MonkeyPatch.context() as patch:
        MUTATIONS[name](patch)
        yield


# --- in the store ----------------------------------------------------------------------------------------------------


@mutation
def lease_guard_removed(patch: pytest.MonkeyPatch) -> None:
    """A settlement is applied whoever has the job."""

    def holds(self: Any, id: str, lease: int) -> bool:
        return id in self.jobs and self.jobs[id].state is State.RUNNING

    patch.setattr(reference.ReferenceStore, "_holds", holds)


@mutation
def state_guard_removed(patch: pytest.MonkeyPatch) -> None:
    """A settlement is applied though the job is settled."""

    def holds(self: Any, id: str, lease: int) -> bool:
        return id in self.jobs and self.jobs[id].lease == lease

    patch.setattr(reference.ReferenceStore, "_holds", holds)


@mutation
def reap_too_early(patch: pytest.MonkeyPatch) -> None:
    """A worker counts as dead one second before its lease is over."""
    reap = reference.ReferenceStore.reap

    def early(self: Any, request: ReapRequest) -> Operation[Any]:
        return reap(self, replace(request, now=(request.now or 0) + 1000))

    patch.setattr(reference.ReferenceStore, "reap", early)


@mutation
def key_not_released_on_death(patch: pytest.MonkeyPatch) -> None:
    """Who is dead keeps its keys."""
    give_back = reference_contents.Contents._give_back_at_end

    def keep(self: Any, job: Any) -> None:
        if job.state is not State.DEAD:
            give_back(self, job)

    patch.setattr(reference_contents.Contents, "_give_back_at_end", keep)


@mutation
def child_released_twice(patch: pytest.MonkeyPatch) -> None:
    """Two that end at once both find that they are the last."""
    settle = reference.ReferenceStore.settle
    released: list[str] = []

    def twice(self: Any, request: SettleRequest) -> Operation[Any]:
        for id in released:
            if id in self.jobs and self.jobs[id].state is State.RUNNING:
                self.jobs[id] = replace(self.jobs[id], state=State.QUEUED)
        blocked = [job.id for job in self.jobs.values() if job.state is State.BLOCKED]
        reply = yield from settle(self, request)
        released[:] = [id for id in blocked if id in self.jobs and self.jobs[id].state is State.QUEUED]
        return reply

    patch.setattr(reference.ReferenceStore, "settle", twice)


@mutation
def child_released_by_its_first_parent(patch: pytest.MonkeyPatch) -> None:
    """It does not wait for the others."""
    from store import reference_edges

    patch.setattr(
        reference_edges, "may_go", lambda links: any(link.state is not None for link in links.values()) or not links
    )


@mutation
def slots_not_counted(patch: pytest.MonkeyPatch) -> None:
    """A queue's concurrency is looked at as if nothing ran."""
    from store import reference_gates

    patch.setattr(
        reference_gates.Gates,
        "_capacity",
        lambda self, name: (
            0
            if self._gate(("queue", name)).paused_at is not None
            else self._limits(("queue", name)).concurrency or len(self.jobs)
        ),
    )


@mutation
def rate_forgets_at_the_full_second(patch: pytest.MonkeyPatch) -> None:
    """A fixed window: twice as many at its edge."""
    from store import reference_gates

    spent = reference_gates.Gates._pass

    def forgetful(self: Any, job: Any, now: int) -> None:
        for name in self._gates_of(job):
            gate = self._gate(name)
            if gate.spent is not None and now // 1000 != getattr(self, "window", now // 1000):
                self.gates[name] = replace(gate, spent=None)
        self.window = now // 1000
        spent(self, job, now)

    patch.setattr(reference_gates.Gates, "_pass", forgetful)


# --- in the worker ---------------------------------------------------------------------------------------------------


@mutation
def hand_back_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A worker that stops cancels its jobs and tells nobody."""
    end = runs.Runs._end

    def forget(self: Any, run: Any, outcome: Any) -> None:
        if run.interruption is Interruption.RETURNED:
            run.interruption = Interruption.LOST
        end(self, run, outcome)

    patch.setattr(runs.Runs, "_end", forget)


@mutation
def pulse_moved_onto_the_loop(patch: pytest.MonkeyPatch) -> None:
    """What blocks the loop stops the heart."""
    patch.setattr(world.PulseTask, "strand", property(lambda self: self._process.main))


@mutation
def claim_doubt_ignored(patch: pytest.MonkeyPatch) -> None:
    """Nobody asks what was given out in a reply that was lost."""
    patch.setattr(pump.Pump, "doubt", lambda self: None)


@mutation
def late_claims_not_looked_for(patch: pytest.MonkeyPatch) -> None:
    """Nor in one that nobody knows of."""
    patch.setattr(pump, "COMPARE_SECONDS", float("inf"))


@mutation
def quiet_worker_never_asks(patch: pytest.MonkeyPatch) -> None:
    """Who claims no more forgets that a reply was lost."""
    patch.setattr(pump.Pump, "_in_doubt", property(lambda self: not self._quiet() and self._doubts > self._cleared))


@mutation
def stopping_worker_never_asks(patch: pytest.MonkeyPatch) -> None:
    """Nor does who stops."""
    finish = pump.Pump.finish

    async def forget(self: Any) -> None:
        self._cleared, self.doubt = self._doubts, lambda: None
        await finish(self)

    patch.setattr(pump.Pump, "finish", forget)


@mutation
def settle_dropped_on_shutdown(patch: pytest.MonkeyPatch) -> None:
    """A worker that stops does not wait for what it has handed in."""

    async def leave(self: Any) -> None:
        pass

    patch.setattr(settler.Settler, "drain", leave)


@mutation
def stale_claims_begun(patch: pytest.MonkeyPatch) -> None:
    """A worker that stood still begins what it had claimed, whoever has that now."""
    patch.setattr(world.Worker, "_owns", lambda self, claim: True)


@mutation
def taken_over_and_run(patch: pytest.MonkeyPatch) -> None:
    """What is on its way to the chore that reaps is given to the pump as well."""

    class Open:
        async def __aenter__(self) -> None:
            pass

        async def __aexit__(self, *_: object) -> None:
            pass

    init = pump.Pump.__init__

    def unlocked(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        self.alone = Open()

    patch.setattr(pump.Pump, "__init__", unlocked)


@mutation
def tick_without_its_slot(patch: pytest.MonkeyPatch) -> None:
    """Whoever comes second ticks as well."""
    from store import reference_settings

    def win(self: Any, tick: Any) -> bool:
        schedule = self.schedules[tick.schedule]
        self.schedules[tick.schedule] = replace(schedule, next_at=tick.next_at + 2000, last_at=tick.expected_at)
        return True

    patch.setattr(reference_settings.Configured, "_win", win)


@mutation
def attempt_used_by_a_hand_back(patch: pytest.MonkeyPatch) -> None:
    """Deploys cost attempts."""
    decide = settler.decide

    def dear(claim: Any, outcome: Any, now: int, **options: Any) -> Any:
        settlement = decide(claim, outcome, now, **options)
        return replace(settlement, attempt=claim.attempt) if outcome.verdict == "returned" else settlement

    patch.setattr(settler, "decide", dear)
