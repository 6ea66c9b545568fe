"""count: exact numbers by queue and state."""

from __future__ import annotations

from dataclasses import replace

from mainspring.model.job import NewJob
from mainspring.model.states import State
from mainspring.store.base import CountRequest, DefineTask, Filter, Tally

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


class TestQuickCount:
    """Numbers that are told quickly, however many jobs there are."""

    def test_no_queue_and_state_need_be_counted_further_than_asked(self, scene: Scene) -> None:
        scene.join()
        scene.finish("1", "2", state=State.DEAD)
        scene.insert(*(f"many {number}" for number in range(20)), NewJob("one", "task", "few"))
        scene.insert(NewJob("later", "task", delay_ms=5))
        reply = scene.ask(CountRequest(Filter(), each=10, now=scene.now))
        assert reply.cursor is None
        tallies = {(tally.queue, tally.state): tally for tally in reply.tallies}
        many = tallies["default", State.QUEUED]
        assert (many.count, many.more) in ((10, True), (20, False))
        for place, count in (
            (("few", State.QUEUED), 1),
            (("default", State.SCHEDULED), 1),
            (("finish", State.DEAD), 2),
        ):
            assert (tallies[place].count, tallies[place].more) == (count, False)
        assert not reply.cut

    def test_the_longest_waiting_is_told_among_all_priorities_and_partitions(self, scene: Scene) -> None:
        scene.insert(
            *(NewJob(f"{n}", "t", priority=n % 3, partition=f"p{n % 2}", run_at=T0 - 10 * (n % 7)) for n in range(20)),
            NewJob("other", "t", "b", run_at=T0 - 5),
        )
        reply = scene.ask(CountRequest(Filter(), each=100, now=T0))
        assert {tally.queue: tally.oldest_at for tally in reply.tallies} == {"default": T0 - 60, "b": T0 - 5}
        (tally,) = scene.ask(CountRequest(Filter(queue="b", states=(State.QUEUED,)), each=1, now=T0)).tallies
        assert (tally.queue, tally.oldest_at) == ("b", T0 - 5)

    def test_pieces_add_up_to_the_exact_number(self, scene: Scene) -> None:
        scene.join()
        scene.finish(*(f"final {number}" for number in range(7)))
        scene.insert(*(NewJob(f"{number}", ("mail", "print")[number % 2], "ab"[number % 2]) for number in range(13)))
        scene.insert(*(NewJob(f"later {number}", "mail", "a", delay_ms=9) for number in range(5)))
        for filter in (Filter(task="mail"), Filter(text="{"), Filter(queue="a", task="mail", until=T0), Filter()):
            request, counts = CountRequest(filter, most=3, now=scene.now), dict[tuple[str, State], int]()
            for _ in range(20):
                reply = scene.ask(request)
                for tally in reply.tallies:
                    counts[tally.queue, tally.state] = counts.get((tally.queue, tally.state), 0) + tally.count
                if reply.cursor is None:
                    break
                request = replace(request, cursor=reply.cursor)
            assert counts == scene.count(filter), filter


class TestAhead:
    """How many are served before a job."""

    def ahead(self, scene: Scene, id: str, each: int = 100) -> int:
        """The number, of which there is none where it is 0."""
        reply = scene.ask(CountRequest(Filter(), ahead_of=id, each=each, now=scene.now))
        assert all(tally.state is State.QUEUED and tally.count and not tally.more for tally in reply.tallies)
        return sum(tally.count for tally in reply.tallies)

    def test_it_is_those_that_go_before_it_by_priority_time_and_id(self, scene: Scene) -> None:
        first = NewJob("z", "task", priority=4)
        scene.insert(first, NewJob("b", "task"), NewJob("a", "task"), NewJob("c", "task", run_at=T0 - 5))
        scene.insert(NewJob("later", "task", priority=1, delay_ms=5), NewJob("y", "task", "other", priority=1))
        assert [self.ahead(scene, id) for id in "zcaby"] == [0, 1, 2, 3, 0]

    def test_only_its_own_partition_counts(self, scene: Scene) -> None:
        scene.insert(*(NewJob(f"{n}", "task", partition="pq"[n % 2]) for n in range(9)), NewJob("9", "task"))
        assert [self.ahead(scene, id) for id in "789"] == [3, 4, 0]

    def test_at_whichever_gate_they_wait(self, scene: Scene) -> None:
        scene.insert(NewJob("before", "slow"))
        scene.configure(DefineTask("slow", 1), DefineTask("dear", 1))
        scene.insert(*(NewJob(f"{n}", ("slow", "mail", "dear")[n % 3]) for n in range(9)))
        assert [self.ahead(scene, id) for id in "08"] == [0, 8]
        assert self.ahead(scene, "before") == 9

    def test_nothing_is_ahead_of_what_is_not_queued(self, scene: Scene) -> None:
        scene.join()
        scene.insert("a", "b", NewJob("later", "task", delay_ms=5))
        scene.claim_one()
        assert [self.ahead(scene, id) for id in ("a", "b", "later", "nobody")] == [0, 0, 0, 0]

    def test_it_need_not_be_counted_further_than_asked(self, scene: Scene) -> None:
        scene.insert(*(NewJob(f"{n:02}", "task", priority=n % 3) for n in range(30)))
        (tally,) = scene.ask(CountRequest(Filter(), ahead_of="29", each=10, now=T0)).tallies
        assert (tally.count, tally.more) in ((10, True), (29, False))
