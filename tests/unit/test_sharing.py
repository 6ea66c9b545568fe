"""Turns: partitions share a queue by their weights, each in its own order, and closed gates hold up nobody else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.model.limits import NO_LIMITS, SHARE_UNIT, Limits, Rate, share
from mainspring.store.sql.plans.turns import Candidate, Gate, Lane, Turn, Turns

NOW = 1_700_000_000_000


def gate(concurrency: int | None = None, rate: Rate | tuple[Rate, ...] = (), *, running: int = 0) -> Gate:
    return Gate(Limits(concurrency, rate), NOW, running=running)


class Queue:
    """Jobs in lanes, read bit by bit as a store would."""

    def __init__(self, lanes: Mapping[tuple[str, str], list[Candidate]], page: int = 2) -> None:
        self.lanes = {place: sorted(jobs) for place, jobs in lanes.items()}
        self.page = page
        self.reads = 0

    def turn(self, name: str, **changes: object) -> Turn:
        turn = Turn(name, **changes)  # type: ignore[arg-type]
        turn.lanes = [Lane(*place) for place in self.lanes if place[0] == name]
        return turn

    def serve(self, turns: Turns) -> list[str]:
        """Run to the end; the ids in the order in which they were taken."""
        while lanes := turns.run():
            self.reads += 1
            for lane in lanes:
                asked = lane.read + self.page
                lane.extend(reversed(self.lanes[lane.partition, lane.gate][:asked]), asked)
        return [job.id for job, _ in turns.taken]


def jobs(prefix: str, number: int, cost: int = 1, **fields: int) -> list[Candidate]:
    return [job(f"{prefix}{n:05}", cost, **fields) for n in range(number)]


def job(id: str, cost: int = 1, priority: int = 5, run_at: int = NOW) -> Candidate:
    return Candidate(priority, run_at, id, id, cost)


def all_of(queue: Queue, limit: int, weights: Mapping[str, float], **gates: Gate) -> Turns:
    turns = Turns(gates.pop("queue", gate()), gates, limit)
    turns.join([queue.turn(name, weight=weight) for name, weight in weights.items()])
    return turns


class TestTurns:
    """Who is served how often, and when."""

    def test_equal_partitions_take_turns(self) -> None:
        queue = Queue({(name, ""): jobs(name, 3) for name in "abc"})
        served = queue.serve(all_of(queue, 9, dict.fromkeys("abc", 1.0)))
        assert [id[0] for id in served] == [*"abcabcabc"]

    @pytest.mark.parametrize("weights", [{"a": 1, "b": 1, "c": 2}, {"a": 0.5, "b": 10}, {"a": 3, "b": 7, "c": 11}])
    def test_shares_are_as_the_weights_are(self, weights: dict[str, float]) -> None:
        queue = Queue({(name, ""): jobs(name, 1000) for name in weights}, page=50)
        served = Counter(id[0] for id in queue.serve(all_of(queue, 1000, weights)))
        for name, weight in weights.items():
            assert abs(served[name] - 1000 * weight / sum(weights.values())) <= 2

    def test_a_dear_job_counts_for_its_cost(self) -> None:
        queue = Queue({("a", ""): jobs("a", 100, cost=9), ("b", ""): jobs("b", 100)})
        served = Counter(id[0] for id in queue.serve(all_of(queue, 100, {"a": 1, "b": 1})))
        assert served == {"a": 10, "b": 90}

    def test_who_is_behind_goes_first_until_it_has_caught_up(self) -> None:
        queue = Queue({(name, ""): jobs(name, 10) for name in "ab"})
        turns = Turns(gate(), {}, 6)
        turns.join([queue.turn("a", reached=3 * SHARE_UNIT), queue.turn("b", reached=0)])
        assert [id[0] for id in queue.serve(turns)] == [*"bbbaba"]
        assert turns.reached == 4 * SHARE_UNIT
        assert {name: turn.reached // SHARE_UNIT for name, turn in turns.turns.items()} == {"a": 5, "b": 4}

    def test_it_stops_where_others_may_come_first(self) -> None:
        """Behind the horizon are partitions that have not been read: those before it are served up to there."""
        queue = Queue({(name, ""): jobs(name, 10) for name in "abz"})
        turns = Turns(gate(), {}, 100)
        turns.join([queue.turn("a"), queue.turn("b")])
        turns.horizon = (0, "b")
        assert [id[0] for id in queue.serve(turns)] == [*"ab"]
        turns.join([queue.turn("z")])
        turns.horizon = None
        assert [id[0] for id in queue.serve(turns)][2:5] == [*"zab"]

    def test_lanes_are_read_together(self) -> None:
        """A hundred partitions in step are read as one, not each for itself."""
        names = [f"p{number:02}" for number in range(100)]
        queue = Queue({(name, ""): jobs(name, 8) for name in names})
        assert len(queue.serve(all_of(queue, 800, dict.fromkeys(names, 1.0)))) == 800
        assert queue.reads <= 5

    @given(st.data())
    def test_each_turn_goes_to_the_smallest_virtual_time(self, data: st.DataObject) -> None:
        """Against the definition, taken literally; each partition in its own order."""
        number = count()
        costs = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 3)), max_size=8)
        lanes = {
            name: [job(f"{next(number):03}", cost, priority) for cost, priority in data.draw(costs)] for name in "abcd"
        }
        weights = {name: data.draw(st.sampled_from([0.3, 1, 2, 5])) for name in "abcd"}
        reached = {name: data.draw(st.integers(0, 5)) * SHARE_UNIT for name in "abcd"}
        limit = data.draw(st.integers(1, 20))
        queue = Queue({(name, ""): some for name, some in lanes.items()}, data.draw(st.integers(1, 5)))
        turns = Turns(gate(), {}, limit)
        turns.join([queue.turn(name, weight=weights[name], reached=reached[name]) for name in "abcd"])
        expected, left = [], {name: sorted(some) for name, some in lanes.items() if some}
        while left and len(expected) < limit:
            name = min(left, key=lambda each: (reached[each], each))
            first = left[name].pop(0)
            expected.append(first.id)
            reached[name] += share(first.cost, weights[name])
            left = {each: some for each, some in left.items() if some}
        assert queue.serve(turns) == expected
        assert {name: turn.reached for name, turn in turns.turns.items()} == reached


class TestGates:
    """What does not pass leaves, or waits, or stops the queue."""

    def test_a_partition_without_slots_leaves_until_something_happens(self) -> None:
        queue = Queue({(name, ""): jobs(name, 5) for name in "ab"})
        turns = Turns(gate(), {}, 100)
        turns.join([queue.turn("a", gate=gate(2, running=1)), queue.turn("b")])
        assert [id[0] for id in queue.serve(turns)] == [*"abbbbb"]
        left = turns.turns["a"]
        assert (left.active, left.open_at, left.waiting) == (False, None, True)
        assert not turns.turns["b"].waiting

    def test_a_partition_at_its_rate_leaves_until_its_next_job_fits(self) -> None:
        queue = Queue({("a", ""): jobs("a", 5, cost=2)})
        turns = Turns(gate(), {}, 100)
        turns.join([queue.turn("a", gate=gate(None, Rate(5, "1s")))])
        assert len(queue.serve(turns)) == 2
        open_at = turns.turns["a"].open_at
        assert open_at is not None
        assert NOW + 1000 <= open_at <= NOW + 1010

    def test_a_paused_one_is_not_even_read(self) -> None:
        queue = Queue({("a", ""): jobs("a", 5)})
        turns = Turns(gate(), {}, 100)
        turns.join([queue.turn("a", paused=True)])
        assert (queue.serve(turns), queue.reads) == ([], 0)

    def test_a_queue_at_its_rate_stops_for_the_one_whose_turn_it_is(self) -> None:
        queue = Queue({("a", ""): jobs("a", 2, cost=3), ("b", ""): jobs("b", 5)})
        turns = Turns(gate(None, Rate(5, "1s")), {}, 100)
        turns.join([queue.turn("a"), queue.turn("b", reached=4 * SHARE_UNIT)])
        assert queue.serve(turns) == ["a00000"]
        assert turns.stopped
        assert turns.opens_at is not None
        assert NOW + 1000 <= turns.opens_at <= NOW + 1010
        assert turns.turns["a"].active
        assert turns.turns["b"].active

    def test_a_closed_tasks_jobs_are_passed_over_and_waited_for(self) -> None:
        lanes = {("a", "x"): jobs("x", 3, priority=1), ("a", ""): jobs("a", 2), ("b", "x"): jobs("y", 1, cost=7)}
        queue = Queue(lanes)
        turns = all_of(queue, 100, {"a": 1, "b": 1}, x=gate(1))
        assert queue.serve(turns) == ["x00000", "a00000", "a00001"]
        assert turns.turns["a"].waits == {"x": 1}
        assert turns.turns["b"].waits == {"x": 7}
        assert turns.turns["b"].waiting

    def test_tasks_of_a_partition_keep_their_common_order(self) -> None:
        first = [job(f"{n}", priority=n % 3) for n in range(0, 20, 2)]
        second = [job(f"{n}", priority=n % 3) for n in range(1, 20, 2)]
        queue = Queue({("", ""): first, ("", "x"): second})
        served = queue.serve(all_of(queue, 15, {"": 1}, x=gate(100)))
        assert served == [each.id for each in sorted(first + second)][:15]

    def test_in_a_sequence_each_gives_one(self) -> None:
        queue = Queue({(name, ""): jobs(name, 5) for name in "ab"}, page=1)
        turns = Turns(gate(), {}, 100, sequence=True)
        turns.join([queue.turn("a"), queue.turn("b")])
        assert queue.serve(turns) == ["a00000", "b00000"]
        assert all(turn.waiting for turn in turns.turns.values())

    @given(st.integers(0, 6), st.integers(1, 6), st.lists(st.integers(1, 9), max_size=12))
    def test_nothing_passes_that_a_limit_forbids(self, slots: int, rate: int, costs: list[int]) -> None:
        queue = Queue({("", ""): [job(f"{n:02}", cost) for n, cost in enumerate(costs)]})
        turns = Turns(gate(None, Rate(rate, "1s")), {}, 100)
        turns.join([queue.turn("", gate=gate(slots))])
        served = queue.serve(turns)
        assert len(served) <= slots
        assert sum(min(rate, costs[int(id)]) for id in served) <= rate
        assert served == [f"{n:02}" for n in range(len(served))]

    def test_a_gate_without_limits_is_none(self) -> None:
        free = Gate(NO_LIMITS, NOW, spent="whatever was kept")
        assert free.passes(10**6)
        assert (free.room, free.left, free.closed, free.spent()) == (None, None, False, "whatever was kept")
