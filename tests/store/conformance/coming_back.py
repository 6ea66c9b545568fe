"""Closed partitions: nobody looks at them, and whatever opens one brings it back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mainspring.model.job import Conflict, Edge, Key, NewJob
from mainspring.model.limits import Limits, Rate
from mainspring.model.states import State
from mainspring.store.base import (
    DefineQueue,
    DefineTask,
    LimitPartition,
    LimitQueue,
    LimitTask,
    PauseQueue,
    PutSchedule,
    Room,
    Tick,
    Verb,
)

from .gates import DAY, ids, ready
from .partitions import backlog, place
from .scene import LEASE_MS, T0, Scene, needs, settlement

Way = Callable[[Scene], Iterator[Any]]
"""One way for a closed partition to come back: before the yield it is closed, after it, it must be open."""


def settled(scene: Scene) -> Iterator[None]:
    scene.configure(LimitPartition("default", "p", 1))
    running = first(scene)
    yield
    scene.settle(settlement(running))


def settled_for_a_retry(scene: Scene) -> Iterator[None]:
    scene.configure(DefineQueue("default", each=Limits(1)))
    running = first(scene)
    yield
    scene.settle(settlement(running, State.SCHEDULED, delay_ms=DAY))


def reaped(scene: Scene) -> Iterator[None]:
    scene.configure(LimitPartition("default", "p", 1))
    scene.join("dead")
    scene.insert(place("first", "p", priority=0))
    scene.claim_one("dead")
    scene.later(LEASE_MS + 1)
    (claim,) = scene.reap()
    yield
    scene.settle(settlement(claim, State.DEAD))


def resumed(scene: Scene) -> Iterator[None]:
    scene.configure(PauseQueue("default", True, "p"))
    yield
    scene.configure(PauseQueue("default", False, "p"))


def resumed_queue(scene: Scene) -> Iterator[None]:
    scene.configure(PauseQueue("default", True))
    yield
    scene.configure(PauseQueue("default", False))


def raised(scene: Scene) -> Iterator[None]:
    scene.configure(LimitPartition("default", "p", 0))
    yield
    scene.configure(LimitPartition("default", "p", 1))


def lifted(scene: Scene) -> Iterator[None]:
    scene.configure(LimitPartition("default", "p", 0))
    yield
    scene.configure(LimitPartition("default", "p", None))


def raised_for_each(scene: Scene) -> Iterator[None]:
    scene.configure(LimitPartition("default", None, 0))
    yield
    scene.configure(LimitPartition("default", None, 5))


def raised_by_the_code(scene: Scene) -> Iterator[None]:
    scene.configure(DefineQueue("default", partitions=(("p", Limits(0)),)))
    yield
    scene.configure(DefineQueue("default", partitions=(("p", Limits(1)),)))


def raised_for_each_by_the_code(scene: Scene) -> Iterator[None]:
    scene.configure(DefineQueue("default", each=Limits(0)))
    yield
    scene.configure(DefineQueue("default", each=Limits(1)))


def dropped_by_the_code(scene: Scene) -> Iterator[None]:
    scene.configure(DefineQueue("default", partitions=(("p", Limits(0)),)))
    yield
    scene.configure(DefineQueue("default"))


def raised_for_the_queue(scene: Scene) -> Iterator[None]:
    scene.configure(LimitQueue("default", 0))
    yield
    scene.configure(LimitQueue("default", 1))


def slot_of_the_queue(scene: Scene) -> Iterator[None]:
    scene.configure(LimitQueue("default", 1))
    running = first(scene, "q")
    yield
    scene.settle(settlement(running))


def rate_by_time(scene: Scene) -> Iterator[None]:
    scene.configure(DefineQueue("default", each=Limits(rate=Rate(1, "1m"))))
    first(scene)
    yield
    scene.later(60_600)


def rate_of_the_queue_by_time(scene: Scene) -> Iterator[None]:
    scene.configure(DefineQueue("default", None, (Rate(1, "1m"),)))
    first(scene, "q")
    yield
    scene.later(60_600)


def rate_raised(scene: Scene) -> Iterator[None]:
    scene.configure(DefineQueue("default", each=Limits(rate=Rate(1, "1m"))))
    first(scene)
    yield
    scene.configure(LimitPartition("default", "p", rates=(Rate(2, "1m"),)))


def rate_shortened_for_each(scene: Scene) -> Iterator[None]:
    scene.configure(DefineQueue("default", each=Limits(rate=Rate(1, "1m"))))
    first(scene)
    scene.later(2000)
    yield
    scene.configure(DefineQueue("default", each=Limits(rate=Rate(1, "1s"))))


def closed_for_a_time(scene: Scene) -> Iterator[None]:
    running = first(scene)
    scene.settle(settlement(running, State.SCHEDULED, delay_ms=DAY, closed_ms=5000))
    yield
    scene.later(5000)


def slot_of_the_task(scene: Scene) -> Iterator[None]:
    """Of one that runs in another queue."""
    scene.configure(DefineTask("task", 1))
    scene.insert(place("first", "p", queue="other"))
    claim = scene.claim_one("worker", Room("other", 1))
    yield
    scene.settle(settlement(claim))


def task_raised(scene: Scene) -> Iterator[None]:
    scene.configure(LimitTask("task", 0))
    yield
    scene.configure(LimitTask("task", 1))


def task_lifted(scene: Scene) -> Iterator[None]:
    scene.configure(DefineTask("task", 0))
    yield
    scene.configure(DefineTask("task"))


def rate_of_the_task_by_time(scene: Scene) -> Iterator[None]:
    scene.configure(DefineTask("task", None, (Rate(1, "1m"),)))
    first(scene, "q")
    yield
    scene.later(60_600)


def rate_of_the_task_raised(scene: Scene) -> Iterator[None]:
    scene.configure(DefineTask("task", None, (Rate(1, "1m"),)))
    first(scene, "q")
    yield
    scene.configure(LimitTask("task", rates=(Rate(3, "1m"),)))


def task_closed_for_a_time(scene: Scene) -> Iterator[None]:
    scene.configure(DefineTask("task", None, (Rate(9, "1s"),)))
    scene.settle(settlement(first(scene, "q"), closed_ms=5000))
    yield
    scene.later(5000)


def dear(scene: Scene) -> None:
    """The partition has two starts left in a day, and a job that costs three stands in front of all others."""
    scene.configure(DefineQueue("default", each=Limits(rate=Rate(3, "1d"))))
    first(scene)
    scene.insert(place("dear", "p", cost=3, priority=1))


def dear_one_cancelled(scene: Scene) -> Iterator[None]:
    dear(scene)
    yield
    scene.alter(Verb.CANCEL, "dear")


def dear_one_deleted(scene: Scene) -> Iterator[None]:
    dear(scene)
    yield
    scene.alter(Verb.DELETE, "dear")


def dear_one_put_off(scene: Scene) -> Iterator[None]:
    dear(scene)
    yield
    scene.alter(Verb.RESCHEDULE, "dear", scene.now + DAY)


def cheap_one_first(scene: Scene) -> Iterator[None]:
    dear(scene)
    yield
    scene.alter(Verb.REPRIORITISE, "j", 0)


def first(scene: Scene, partition: str = "p") -> Any:
    """A job in front of all others starts."""
    scene.insert(place("first", partition, priority=0))
    claim = scene.claim_one()
    assert claim.id == "first"
    return claim


OPENING = [
    *(settled, settled_for_a_retry, reaped, resumed, resumed_queue, raised, lifted, raised_for_each),
    *(raised_by_the_code, raised_for_each_by_the_code, dropped_by_the_code, raised_for_the_queue, slot_of_the_queue),
    *(rate_by_time, rate_of_the_queue_by_time, rate_raised, rate_shortened_for_each, closed_for_a_time),
    *(slot_of_the_task, task_raised, task_lifted, rate_of_the_task_by_time, rate_of_the_task_raised),
    *(task_closed_for_a_time, dear_one_cancelled, dear_one_deleted, dear_one_put_off, cheap_one_first),
]


def inserted(scene: Scene) -> Iterator[None]:
    yield
    scene.insert(place("j", "p"))


def due(scene: Scene) -> Iterator[None]:
    scene.insert(place("j", "p", delay_ms=1000))
    yield
    scene.later(1000)


def retry_due(scene: Scene) -> Iterator[None]:
    scene.insert(place("j", "p"))
    scene.settle(settlement(scene.claim_one(), State.SCHEDULED, delay_ms=1000))
    yield
    scene.later(1000)


def handed_back(scene: Scene) -> Iterator[None]:
    scene.insert(place("j", "p"))
    claim = scene.claim_one()
    yield
    scene.settle(settlement(claim, State.QUEUED))


def reaped_and_handed_back(scene: Scene) -> Iterator[None]:
    scene.join("dead")
    scene.insert(place("j", "p"))
    scene.claim_one("dead")
    scene.later(LEASE_MS + 1)
    yield
    scene.settle(settlement(scene.reap()[0], State.QUEUED))


def revived(scene: Scene) -> Iterator[None]:
    scene.insert(place("j", "p"))
    scene.settle(settlement(scene.claim_one(), State.DEAD))
    yield
    scene.alter(Verb.REVIVE, "j")


def revived_early(scene: Scene) -> Iterator[None]:
    scene.insert(place("j", "p", delay_ms=DAY))
    yield
    scene.alter(Verb.REVIVE, "j")


def rescheduled(scene: Scene) -> Iterator[None]:
    scene.insert(place("j", "p", delay_ms=DAY))
    yield
    scene.alter(Verb.RESCHEDULE, "j", scene.now - 5)


def replaced(scene: Scene) -> Iterator[None]:
    key = Key("k", on_conflict=Conflict.REPLACE)
    scene.insert(place("j", "p", delay_ms=DAY, keys=(key,)))
    yield
    scene.insert(place("other", "p", keys=(key,)))


def followed_up(scene: Scene) -> Iterator[None]:
    scene.insert(NewJob("first", "task"))
    claim = scene.claim_one()
    yield
    scene.settle(settlement(claim, follow_ups=(place("j", "p"),)))


def ticked(scene: Scene) -> Iterator[None]:
    scene.configure(PutSchedule("s", "task", '{"every":"1d"}', T0, partition="p"))
    yield
    scene.insert(ticks=[Tick("s", T0, T0 + DAY, (place("j", "p"),))])


def released(scene: Scene) -> Iterator[None]:
    scene.insert(NewJob("parent", "task"), place("j", "p", parents=(Edge("parent"),)))
    claim = scene.claim_one()
    yield
    scene.settle(settlement(claim))


ARRIVING = [
    *(inserted, due, retry_due, handed_back, reaped_and_handed_back, revived, revived_early, rescheduled, replaced),
    *(followed_up, ticked, released),
]


class TestComingBack:
    """A partition that gives nothing is looked at no more; whatever opens it again brings it back, in that request."""

    @pytest.mark.parametrize("crowd", [0, 100])
    @pytest.mark.parametrize("way", OPENING, ids=lambda way: way.__name__)
    def test_its_jobs_are_served_when_it_opens(self, scene: Scene, way: Way, crowd: int) -> None:
        """Alone, or beside many others that are closed and stay so."""
        ready(scene)
        self.closed(scene, crowd)
        steps = way(scene)
        next(steps)
        scene.insert(place("j", "p"))
        assert scene.drain(limit=5) == scene.drain(limit=5) == []
        next(steps, None)
        assert "j" in scene.drain(limit=5)

    @pytest.mark.parametrize("crowd", [0, 100])
    @pytest.mark.parametrize("way", ARRIVING, ids=lambda way: way.__name__)
    def test_jobs_that_come_to_an_empty_one_are_served(self, scene: Scene, way: Way, crowd: int) -> None:
        ready(scene)
        self.closed(scene, crowd)
        scene.insert(place("before", "p"))
        assert scene.drain() == ["before"]
        steps = way(scene)
        next(steps)
        assert scene.drain(limit=5) == scene.drain(limit=5) == []
        next(steps, None)
        assert scene.drain(limit=5) == ["j"]

    def closed(self, scene: Scene, crowd: int) -> None:
        names = [f"closed {number:03}" for number in range(crowd)]
        scene.configure(*(PauseQueue("default", True, name) for name in names))
        scene.insert(*(place(name, name, priority=-1) for name in names))
        assert scene.drain(limit=5) == []

    def test_a_retry_brings_back_one_whose_slot_it_had(self, scene: Scene) -> None:
        ready(scene, DefineQueue("default", each=Limits(1)))
        scene.insert(*backlog("p", 3))
        claim = scene.claim_one()
        assert scene.claim() == ()
        scene.settle(settlement(claim, State.SCHEDULED, delay_ms=1000))
        (second,) = scene.claim()
        assert scene.claim_reply().next_due == T0 + 1000
        scene.later(1000)
        assert scene.claim() == ()
        scene.settle(settlement(second))
        assert ids(scene.claim()) == ["p00002"]
        assert scene.claim() == ()

    @needs("scale")
    def test_thousands_of_closed_ones_hold_up_nobody_and_all_come_back(self, scene: Scene) -> None:
        ready(scene, DefineQueue("default", each=Limits(0), partitions=(("z", Limits(1)),)))
        names = [f"{number:05}" for number in range(10_000)]
        for first in range(0, len(names), 1000):
            scene.insert(*(place(name, name) for name in names[first : first + 1000]))
        scene.insert(place("z", "z"))
        assert scene.drain(limit=1000) == ["z"]
        for number in range(10):
            scene.insert(place(f"new {number}", "z"))
            assert scene.claim(limit=1) == ()
        scene.configure(LimitPartition("default", "z", 5))
        assert len(scene.claim(limit=1)) == 1
        scene.configure(PauseQueue("default", True, "z"))
        assert scene.claim(limit=1) == ()
        scene.configure(DefineQueue("default", each=Limits(1)))
        assert sorted(scene.drain(limit=2000)) == names

    @needs("scale")
    def test_thousands_that_time_opens_come_back_at_their_time(self, scene: Scene) -> None:
        ready(scene, DefineQueue("default", each=Limits(rate=Rate(1, "1m"))))
        names = [f"{number:04}" for number in range(1000)]
        scene.insert(*(place(f"{name}{n}", name) for name in names for n in range(2)))
        assert len(scene.drain(limit=500)) == 1000
        next_due = scene.claim_reply().next_due
        assert next_due is not None
        assert T0 + 60_000 <= next_due <= T0 + 60_600
        scene.now = next_due
        assert len(scene.drain(limit=400)) == 1000
        assert scene.claim_reply().next_due is None
