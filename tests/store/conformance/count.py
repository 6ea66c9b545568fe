"""count: exact numbers by queue and state."""

from __future__ import annotations

from mainspring.model.job import NewJob
from mainspring.model.states import State
from mainspring.store.base import CountRequest, Filter, Tally

from .scene import T0, Scene


class TestCount:
    """Numbers."""

    def test_an_empty_store_counts_nothing(self, scene: Scene) -> None:
        reply = scene.ask(CountRequest(Filter(), now=T0))
        assert (reply.tallies, reply.now) == ((), T0)

    def test_every_queue_and_state_is_counted(self, scene: Scene) -> None:
        scene.join()
        scene.finish("1", "2")
        scene.finish("3", state=State.DEAD)
        scene.insert("4")
        scene.claim_one()
        scene.insert("5", "6", NewJob("7", "task", delay_ms=5), NewJob("8", "task", "other"))
        assert scene.count() == {
            ("finish", State.COMPLETED): 2,
            ("finish", State.DEAD): 1,
            ("default", State.RUNNING): 1,
            ("default", State.QUEUED): 2,
            ("default", State.SCHEDULED): 1,
            ("other", State.QUEUED): 1,
        }

    def test_a_filter_holds_for_numbers_too(self, scene: Scene) -> None:
        scene.join()
        scene.finish("1")
        scene.later(10)
        scene.insert(NewJob("2", "mail", "a"), NewJob("3", "mail", "b"), NewJob("4", "print", "a"))
        assert scene.count(Filter(queue="a")) == {("a", State.QUEUED): 2}
        assert scene.count(Filter(task="mail")) == {("a", State.QUEUED): 1, ("b", State.QUEUED): 1}
        assert scene.count(Filter(states=(State.COMPLETED, State.DEAD))) == {("finish", State.COMPLETED): 1}
        assert scene.count(Filter(until=T0 + 9)) == {("finish", State.COMPLETED): 1}
        assert scene.count(Filter(since=T0 + 10, task="print")) == {("a", State.QUEUED): 1}
        assert scene.count(Filter(ids=("1", "3"))) == {("finish", State.COMPLETED): 1, ("b", State.QUEUED): 1}

    def test_the_longest_waiting_is_told(self, scene: Scene) -> None:
        scene.join()
        scene.insert(
            NewJob("1", "task", run_at=T0 - 700), NewJob("2", "task", priority=1), NewJob("3", "task", "other")
        )
        scene.insert(NewJob("4", "task", delay_ms=5))
        tallies = scene.ask(CountRequest(Filter(), now=T0)).tallies
        assert set(tallies) == {
            Tally("default", State.QUEUED, 2, oldest_at=T0 - 700),
            Tally("other", State.QUEUED, 1, oldest_at=T0),
            Tally("default", State.SCHEDULED, 1),
        }
        (tally,) = scene.ask(CountRequest(Filter(queue="default", states=(State.QUEUED,)), now=T0)).tallies
        assert tally.oldest_at == T0 - 700
