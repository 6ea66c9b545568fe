"""watch: hints to look again. They may merge, miss or be false alarms; what happens while one listens is heard."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from mainspring.model.job import NewJob, Note
from mainspring.model.limits import Limits, Rate
from mainspring.model.states import State
from mainspring.store.base import AsyncWatch, DefineQueue, LimitPartition, LimitQueue, PauseQueue, Store, Verb, Watch

from .scene import Scene, needs, settlement

PATIENCE = 30.0
"""How many seconds a hint may take before a test calls it lost."""


def insert(scene: Scene) -> None:
    scene.insert("new")


def schedule(scene: Scene) -> None:
    scene.insert(NewJob("new", "task", delay_ms=1000))


def hand_back(scene: Scene) -> None:
    scene.settle(settlement(scene.claim_one(), State.QUEUED))


def follow_up(scene: Scene) -> None:
    scene.settle(settlement(scene.claim_one("worker"), follow_ups=(NewJob("new", "task"),)))


def end(scene: Scene) -> None:
    scene.settle(settlement(scene.claim_one()))


def progress(scene: Scene) -> None:
    scene.note(Note("old", scene.claim_one().lease, progress=50.0))


def revive(scene: Scene) -> None:
    scene.alter(Verb.CANCEL, "old")
    scene.alter(Verb.REVIVE, "old")


def hurry(scene: Scene) -> None:
    scene.alter(Verb.RESCHEDULE, "old", scene.now + 5000)
    scene.alter(Verb.RESCHEDULE, "old", scene.now)


def resume(scene: Scene) -> None:
    scene.configure(PauseQueue("default", True))
    scene.configure(PauseQueue("default", False))


def cancel(scene: Scene) -> None:
    scene.alter(Verb.CANCEL, "old")


def cancel_running(scene: Scene) -> None:
    scene.claim_one()
    scene.alter(Verb.CANCEL, "old")


def raise_limit(scene: Scene) -> None:
    scene.configure(LimitQueue("default", 0))
    scene.configure(LimitQueue("default", 5))


def resume_partition(scene: Scene) -> None:
    scene.configure(PauseQueue("default", True, "p"))
    scene.configure(PauseQueue("default", False, "p"))


def raise_partition_limit(scene: Scene) -> None:
    scene.configure(LimitPartition("default", "p", 1))
    scene.configure(LimitPartition("default", "p", 2))


def raise_each_limit(scene: Scene) -> None:
    scene.configure(DefineQueue("default", each=Limits(1)))
    scene.configure(DefineQueue("default", each=Limits(2)))


def raise_rate(scene: Scene) -> None:
    scene.configure(LimitQueue("default", rates=(Rate(1, "1m"),)))
    scene.configure(LimitQueue("default", rates=(Rate(2, "1m"),)))


def free_a_slot(scene: Scene) -> None:
    scene.configure(LimitQueue("default", 1))
    scene.settle(settlement(scene.claim_one()))


def claim(scene: Scene) -> None:
    scene.claim_one()


HINTS = pytest.mark.parametrize(
    ("topic", "change"),
    [
        *(("queue:default", change) for change in (insert, schedule, hand_back, follow_up, revive, hurry)),
        *(("queue:default", change) for change in (resume, raise_limit, free_a_slot)),
        *(
            ("queue:default", change)
            for change in (resume_partition, raise_partition_limit, raise_each_limit, raise_rate)
        ),
        *(("job:old", change) for change in (claim, progress, hand_back, end, cancel, cancel_running, revive)),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)


@contextmanager
def listening(store: Store, *topics: str) -> Iterator[Watch]:
    """A watch on a driver of its own."""
    driver = store.driver()
    watch = driver.watch(topics)
    try:
        yield watch
    finally:
        watch.close()
        driver.close()


class Stage:
    """What both kinds of listeners listen to."""

    @pytest.fixture
    def stage(self, scene: Scene) -> Scene:
        """A worker and one queued job, "old"."""
        scene.join()
        scene.insert("old")
        return scene


@needs("hints")
class TestWatch(Stage):
    """Blocking listeners."""

    @HINTS
    def test_a_change_is_heard_by_who_waits(
        self, stage: Scene, store: Store, topic: str, change: Callable[[Scene], None]
    ) -> None:
        with listening(store, topic) as watch:
            heard = list[bool]()
            thread = threading.Thread(target=lambda: heard.append(watch.wait(PATIENCE)))
            thread.start()
            change(stage)
            thread.join()
        assert heard == [True]

    def test_a_change_between_two_waits_is_heard_by_the_second(self, stage: Scene, store: Store) -> None:
        with listening(store, "queue:default") as watch:
            stage.insert("1")
            assert watch.wait(PATIENCE)
            stage.insert("2")
            assert watch.wait(PATIENCE)

    def test_one_of_several_topics_is_enough(self, stage: Scene, store: Store) -> None:
        with listening(store, "queue:nowhere", "job:gone", "queue:default") as watch:
            stage.insert("1")
            assert watch.wait(PATIENCE)

    def test_all_listeners_hear(self, stage: Scene, store: Store) -> None:
        with listening(store, "queue:default") as one, listening(store, "queue:default") as two:
            stage.insert("1")
            assert one.wait(PATIENCE)
            assert two.wait(PATIENCE)

    def test_the_drivers_own_changes_are_heard_too(self, stage: Scene) -> None:
        watch = stage.driver.watch(("queue:default",))
        stage.insert("1")
        assert watch.wait(PATIENCE)
        watch.close()

    def test_a_wait_without_news_comes_back_in_time(self, stage: Scene, store: Store) -> None:
        with listening(store, "queue:default") as watch:
            began = time.monotonic()
            while watch.wait(0.05):
                assert time.monotonic() - began < PATIENCE, "false alarms without end"
            assert time.monotonic() - began < PATIENCE

    def test_hostile_topics_are_names_like_others(self, stage: Scene, store: Store) -> None:
        name = 'it\'s "a" *queue* ☃ ' + "x" * 150
        with listening(store, f"queue:{name}") as watch:
            stage.insert(NewJob("1", "task", name))
            assert watch.wait(PATIENCE)


@needs("hints")
class TestAsyncWatch(Stage):
    """Listeners on an event loop."""

    @HINTS
    def test_a_change_is_heard_by_who_waits(
        self, stage: Scene, store: Store, topic: str, change: Callable[[Scene], None]
    ) -> None:
        async def listen() -> bool:
            driver = store.async_driver()
            watch = await driver.watch((topic,))
            waiting = asyncio.ensure_future(watch.wait(PATIENCE))
            await asyncio.sleep(0)
            await asyncio.to_thread(change, stage)
            heard = await waiting
            await watch.aclose()
            await driver.aclose()
            return heard

        assert asyncio.run(listen())

    def test_a_change_since_it_was_opened_is_heard(self, stage: Scene, store: Store) -> None:
        async def listen() -> tuple[bool, bool]:
            driver = store.async_driver()
            watch = await driver.watch(("queue:default",))
            await asyncio.to_thread(stage.insert, "1")
            first = await watch.wait(PATIENCE)
            await asyncio.to_thread(stage.insert, "2")
            second = await watch.wait(PATIENCE)
            await watch.aclose()
            await driver.aclose()
            return first, second

        assert asyncio.run(listen()) == (True, True)

    def test_waiting_does_not_hold_up_the_loop(self, stage: Scene, store: Store) -> None:
        """Which goes on turning until there is something to hear."""
        wanted = 10

        async def turns_in_one_wait(watch: AsyncWatch) -> int:
            while await watch.wait(0.1):
                pass  # there may be more hints than news
            waiting, turns = asyncio.ensure_future(watch.wait(PATIENCE)), 0
            while not waiting.done() and turns < wanted:
                turns += 1
                await asyncio.sleep(0.001)
            await asyncio.to_thread(resume, stage)
            await waiting
            return turns

        async def listen() -> int:
            driver = store.async_driver()
            watch = await driver.watch(("queue:default",))
            # More than once, for a false alarm may end a wait still.
            turns = max([await turns_in_one_wait(watch) for _ in range(3)])
            await watch.aclose()
            await driver.aclose()
            return turns

        assert asyncio.run(listen()) == wanted

    def test_topics_are_added_to_an_open_watch_and_dropped(self, stage: Scene, store: Store) -> None:
        """Hints about those that were added are heard from then on; of others at most that there may be something."""

        async def listen() -> tuple[frozenset[str] | None, frozenset[str] | None]:
            driver = store.async_driver()
            watch = await driver.watch(())
            await watch.add(["job:old", *(f"job:{number}" for number in range(2000))])
            while await watch.wait(0.1):
                pass  # what there was before is of no interest
            watch.heard()
            await asyncio.to_thread(progress, stage)
            assert await watch.wait(PATIENCE)
            await asyncio.sleep(0.05)
            first = watch.heard()
            await watch.drop(["job:old"])
            await asyncio.to_thread(stage.alter, Verb.CANCEL, "old")
            await watch.wait(0.2)
            second = watch.heard()
            await watch.aclose()
            await driver.aclose()
            return first, second

        first, second = asyncio.run(listen())
        assert first is None or "job:old" in first
        assert second is None or "job:old" not in second
