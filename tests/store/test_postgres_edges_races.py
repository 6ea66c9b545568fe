"""What SQLite's single writer cannot get wrong, on PostgreSQL: ends, inserts and alterations that cross each other.

Each test plays its scene again and again for a while, with a thread for each who acts, all let go at once.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from mainspring.errors import UnknownParent
from mainspring.model.job import Claim, Conflict, Edge, Key, NewJob, Policy, Until
from mainspring.model.states import FINAL, State
from mainspring.store.base import Callback, Filter, NewFlow, Room, Verb

from .conformance.scene import Scene, settlement
from .test_postgres import store  # noqa: F401

SECONDS = 2.0
FEWEST = 6
THREADS = 8

BLOCKED, QUEUED, RUNNING = State.BLOCKED, State.QUEUED, State.RUNNING
COMPLETED, CANCELLED, DEAD = State.COMPLETED, State.CANCELLED, State.DEAD


def rounds() -> Iterator[str]:
    """Names for as many rounds as there is time for, and for a few at least."""
    until, number = time.monotonic() + SECONDS, 0
    while time.monotonic() < until or number < FEWEST:
        number += 1
        yield f"{number:05}"


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(THREADS) as pool:
        yield pool


@pytest.fixture
def race(pool: ThreadPoolExecutor) -> Callable[..., list[Any]]:
    """Does all that it is given at once; gives what came of each."""

    def race(*acts: Callable[[], Any]) -> list[Any]:
        start = threading.Barrier(len(acts))

        def run(act: Callable[[], Any]) -> Any:
            start.wait(60)
            return act()

        return list(pool.map(run, acts))

    return race


Race = Callable[..., list[Any]]


def claims_of(scene: Scene, *ids: str) -> list[Claim]:
    """Insert jobs without parents, and claim them."""
    scene.insert(*(NewJob(id, "task", queue=ids[0]) for id in ids))
    return claimed(scene, ids[0], len(ids))


def claimed(scene: Scene, queue: str, number: int) -> list[Claim]:
    claims = scene.claim("worker", Room(queue, number), limit=number)
    assert len(claims) == number
    return list(claims)


def settling(scene: Scene, claim: Claim, state: State = COMPLETED, **changes: Any) -> Callable[[], Any]:
    return partial(scene.settle, settlement(claim, state, **changes))


def child(id: str, *parents: str, policy: Policy = Policy.FAIL, **fields: Any) -> NewJob:
    """A job that nobody claims by chance."""
    return NewJob(id, "task", queue=id, parents=tuple(Edge(parent, policy) for parent in parents), **fields)


class TestCommonChildren:
    """Parents of the same children end at the same time."""

    def test_none_is_stuck(self, scene: Scene, race: Race) -> None:
        scene.join()
        for name in rounds():
            parents = [f"{name} p{number}" for number in range(THREADS)]
            children = [f"{name} c{number}" for number in range(4)]
            claims = claims_of(scene, *parents)
            scene.insert(*(child(id, *parents) for id in children))
            race(*(settling(scene, claim) for claim in claims))
            assert scene.states(*children) == [QUEUED] * 4

    def test_each_policy_sees_all_ends(self, scene: Scene, race: Race) -> None:
        scene.join()
        for name in rounds():
            parents = [f"{name} p{number}" for number in range(6)]
            claims = claims_of(scene, *parents)
            scene.insert(
                *(child(f"{name} {policy}", *parents, policy=policy) for policy in Policy),
                child(f"{name} below", f"{name} fail"),
                child(f"{name} beside", f"{name} fail", parents[0], policy=Policy.RUN),
            )
            ends = [random.choice([COMPLETED, COMPLETED, COMPLETED, DEAD, CANCELLED]) for _ in claims]
            race(*(settling(scene, claim, end) for claim, end in zip(claims, ends, strict=True)))
            good, fires = set(ends) == {COMPLETED}, DEAD in ends
            expected = {
                f"{name} fail": QUEUED if good else CANCELLED,
                f"{name} ignore": QUEUED,
                f"{name} run": QUEUED,
                f"{name} dead": QUEUED if fires else CANCELLED,
                f"{name} below": BLOCKED if good else CANCELLED,
                f"{name} beside": BLOCKED if good else QUEUED,
            }
            assert dict(zip(expected, scene.states(*expected), strict=True)) == expected

    def test_batches_that_share_children_in_every_order(self, scene: Scene, race: Race) -> None:
        """Each settles parents of all children, in an order of its own."""
        scene.join()
        for name in rounds():
            parents = [f"{name} p{number:02}" for number in range(40)]
            children = [f"{name} c{number:02}" for number in range(20)]
            claims = claims_of(scene, *parents)
            scene.insert(*(child(id, *random.sample(parents, 10)) for id in random.sample(children, 20)))
            random.shuffle(claims)

            race(*(partial(scene.settle, *map(settlement, claims[first::4])) for first in range(4)))
            assert scene.states(*children) == [QUEUED] * 20


class TestNewChildren:
    """Children come while their parents end."""

    @pytest.mark.parametrize("end", sorted(FINAL))
    def test_one_that_comes_as_its_parent_ends_hears_of_it(self, scene: Scene, race: Race, end: State) -> None:
        scene.join()
        for name in rounds():
            first, second = claims_of(scene, f"{name} p1", f"{name} p2")
            ids = [f"{name} c{number}" for number in range(4)]
            race(
                settling(scene, first, end),
                settling(scene, second),
                *(partial(scene.insert, child(id, first.id, second.id)) for id in ids),
            )
            assert scene.states(*ids) == [QUEUED if end is COMPLETED else CANCELLED] * 4

    def test_one_that_comes_as_its_parent_goes_down_goes_down_too(self, scene: Scene, race: Race) -> None:
        scene.join()
        for name in rounds():
            (claim,) = claims_of(scene, f"{name} p")
            scene.insert(child(f"{name} c", claim.id), child(f"{name} d", f"{name} c"))
            ids = [f"{name} e{number}" for number in range(4)]
            race(
                settling(scene, claim, DEAD),
                *(partial(scene.insert, child(id, f"{name} {random.choice('cd')}")) for id in ids),
            )
            assert scene.states(*ids) == [CANCELLED] * 4

    @pytest.mark.parametrize("verb", [Verb.CANCEL, Verb.DELETE])
    def test_one_that_comes_as_its_parent_is_taken_away_is_cancelled(
        self, scene: Scene, race: Race, verb: Verb
    ) -> None:
        for name in rounds():
            scene.insert(f"{name} p")

            def insert(id: str, parent: str) -> bool:
                try:
                    scene.insert(child(id, parent))
                except UnknownParent:
                    return False
                return True

            ids = [f"{name} c{number}" for number in range(4)]
            _, *there = race(
                partial(scene.alter, verb, f"{name} p"),
                *(partial(insert, id, f"{name} p") for id in ids),
            )
            assert verb is Verb.DELETE or all(there)
            assert scene.states(*(id for id, is_there in zip(ids, there, strict=True) if is_there)) == [
                CANCELLED
            ] * sum(there)


class TestFlows:
    """Members come while others end."""

    def test_a_callback_waits_for_all_that_came_in_time(self, scene: Scene, race: Race) -> None:
        scene.join()
        for name in rounds():
            callback, last = f"{name} callback", f"{name} a"
            flow = NewFlow(name, name, None, (Callback(callback, Policy.RUN),))
            scene.insert(child(callback, flow=name), NewJob(last, "task", queue=last, flow=name), flows=[flow])
            (claim,) = claimed(scene, last, 1)
            ids = [f"{name} m{number}" for number in range(4)]
            race(
                settling(scene, claim),
                *(partial(scene.insert, NewJob(id, "task", queue=name, flow=name)) for id in ids),
            )
            waits_for = {parent.id for parent in scene.parents(callback) if parent.state is None}
            assert scene.state(callback) is (BLOCKED if waits_for else QUEUED)
            race(*(settling(scene, claim) for claim in claimed(scene, name, 4)))
            assert scene.state(callback) is QUEUED
            assert all(parent.state for parent in scene.parents(callback))

    def test_members_that_are_followed_by_others(self, scene: Scene, race: Race) -> None:
        scene.join()
        for name in rounds():
            callback = f"{name} callback"
            flow = NewFlow(name, name, None, (Callback(callback, Policy.FAIL),))
            members = [NewJob(f"{name} {number}", "task", queue=name, flow=name) for number in range(6)]
            scene.insert(child(callback, flow=name), *members, flows=[flow])
            for generation in range(3):
                acts = []
                for claim in claimed(scene, name, 6):
                    after = NewJob(f"{claim.id}'", "task", queue=name, flow=name)
                    acts.append(settling(scene, claim, follow_ups=(after,) if generation < 2 else ()))
                race(*acts)
                assert scene.state(callback) is (BLOCKED if generation < 2 else QUEUED)

    @pytest.mark.parametrize("place", ["inner", "outer"])
    def test_a_flow_to_which_jobs_are_added_is_not_forgotten(self, scene: Scene, race: Race, place: str) -> None:
        for name in rounds():
            flows = [NewFlow(f"{name} outer", "outer"), NewFlow(f"{name} inner", "inner", f"{name} outer")]
            scene.insert(flows=flows)
            flow = next(flow for flow in flows if flow.name == place)
            race(
                partial(scene.insert, NewJob(name, "task", flow=flow.id), flows=[flow]),
                partial(scene.prune, {}),
                partial(scene.prune, {}),
            )
            scene.prune({})
            assert dict(scene.flow(flow.id).counts) == {QUEUED: 1}
            scene.alter(Verb.DELETE, name)


class TestComingBack:
    """Ends are taken back while others end."""

    def test_two_that_stood_in_the_way_come_back_together(self, scene: Scene, race: Race) -> None:
        scene.join()
        for name in rounds():
            claims = claims_of(scene, *(f"{name} p{number}" for number in range(3)))
            parents = [claim.id for claim in claims]
            scene.insert(child(f"{name} c", *parents), child(f"{name} d", f"{name} c"))
            scene.settle(*(settlement(claim, DEAD) for claim in claims))
            assert scene.states(f"{name} c", f"{name} d") == [CANCELLED] * 2
            race(*(partial(scene.alter, Verb.REVIVE, id) for id in parents))
            assert scene.states(f"{name} c", f"{name} d") == [BLOCKED] * 2
            race(*(settling(scene, claim) for claim in claimed(scene, parents[0], 3)))
            assert scene.states(f"{name} c", f"{name} d") == [QUEUED, BLOCKED]

    @pytest.mark.parametrize("end", sorted(FINAL))
    def test_one_comes_back_while_another_ends(self, scene: Scene, race: Race, end: State) -> None:
        scene.join()
        for name in rounds():
            first, second = claims_of(scene, f"{name} p1", f"{name} p2")
            scene.insert(
                child(f"{name} fail", first.id, second.id), child(f"{name} run", first.id, second.id, policy=Policy.RUN)
            )
            scene.settle(settlement(first, DEAD))
            race(partial(scene.alter, Verb.REVIVE, first.id), settling(scene, second, end))
            fail, run = scene.states(f"{name} fail", f"{name} run")
            assert fail is (BLOCKED if end is COMPLETED else CANCELLED)
            assert run in (BLOCKED, QUEUED)
            assert (run is BLOCKED) == any(parent.state is None for parent in scene.parents(f"{name} run"))
            scene.settle(*map(settlement, claimed(scene, first.queue, 1)))
            assert scene.states(f"{name} fail", f"{name} run") == [QUEUED if end is COMPLETED else CANCELLED, QUEUED]

    def test_a_child_comes_while_its_parent_comes_back(self, scene: Scene, race: Race) -> None:
        scene.join()
        for name in rounds():
            (claim,) = claims_of(scene, f"{name} p")
            scene.settle(settlement(claim, DEAD))
            ids = [f"{name} c{number}" for number in range(3)]
            race(
                partial(scene.alter, Verb.REVIVE, claim.id),
                *(partial(scene.insert, child(id, claim.id)) for id in ids),
            )
            assert scene.states(*ids) == [BLOCKED] * 3
            scene.settle(*map(settlement, claimed(scene, claim.queue, 1)))
            assert scene.states(*ids) == [QUEUED] * 3


class TestCrossings:
    """Requests that meet the same job."""

    def test_who_is_claimed_while_he_is_cancelled_is_asked_to(self, scene: Scene, race: Race) -> None:
        scene.join()
        for name in rounds():
            ids = tuple(f"{name} {number}" for number in range(10))
            scene.insert(*(NewJob(id, "task", queue=name) for id in ids))
            count, claims = race(
                partial(scene.alter, Verb.CANCEL, Filter(ids=ids)),
                partial(scene.claim, "worker", Room(name, 5)),
            )
            assert count == 10
            for job in scene.find(Filter(ids=ids)):
                assert (job.state, job.cancel_requested) in ((RUNNING, True), (CANCELLED, False))
            assert {job.id for job in scene.find(Filter((), (RUNNING,), name))} == {claim.id for claim in claims}

    def test_what_is_reported_is_what_was_done(self, scene: Scene, race: Race) -> None:
        """Each job is deleted, cancelled or put off by one of several, and reported by that one."""
        for name in rounds():
            ids = tuple(f"{name} {number}" for number in range(20))
            scene.insert(*ids)
            chosen = Filter(ids=ids, states=(QUEUED,))
            deleted, cancelled, put_off = race(
                partial(scene.alter, Verb.DELETE, chosen),
                partial(scene.alter, Verb.CANCEL, chosen),
                partial(scene.alter, Verb.RESCHEDULE, chosen, scene.now + 5),
            )
            assert deleted + cancelled + put_off == 20
            states = [job.state for job in scene.find(Filter(ids=ids))]
            assert (20 - len(states), states.count(CANCELLED)) == (deleted, cancelled)

    def test_one_that_is_sent_again_as_it_ends_is_there_once(self, scene: Scene, race: Race) -> None:
        scene.join()
        for name in rounds():
            (claim,) = claims_of(scene, name)
            ended, *sent = race(
                settling(scene, claim),
                *(partial(scene.insert, NewJob(name, "task", queue=name)) for _ in range(4)),
            )
            assert ended == {name}
            assert [reply.existed for (reply,) in sent] == [True] * 4
            (job,) = scene.find(Filter(ids=(name,)))
            assert job.state is COMPLETED


class TestKeys:
    """Keys are wanted, held and given back at once."""

    def test_one_job_with_a_key_that_is_sent_many_times_is_never_turned_away(self, scene: Scene, race: Race) -> None:
        for name in rounds():
            job = NewJob(name, "task", keys=(Key(name, on_conflict=Conflict.REJECT),))
            replies = [reply for (reply,) in race(*(partial(scene.insert, job) for _ in range(6)))]
            assert {(reply.id, reply.rejected) for reply in replies} == {(name, None)}
            assert sorted(reply.existed for reply in replies) == [False] + [True] * 5

    @pytest.mark.parametrize("until", [Until.STARTED, Until.SETTLED])
    def test_what_is_to_replace_a_job_that_starts_is_not_lost(self, scene: Scene, race: Race, until: Until) -> None:
        scene.join()
        for name in rounds():
            key = Key(name, until, on_conflict=Conflict.REPLACE)
            old = NewJob(f"{name} old", "task", queue=name, args='{"n":1}', keys=(key,))
            scene.insert(old)
            new = replace(old, id=f"{name} new", args='{"n":2}')
            claims, (reply,) = race(
                partial(scene.claim, "worker", Room(name, 1)),
                partial(scene.insert, new),
            )
            args = {job.id: job.args for job in scene.find(Filter(queue=name))}
            if reply.existed:
                replaced = args == {old.id: new.args}
                assert replaced or (until is Until.SETTLED and args == {old.id: old.args} and claims)
            else:
                assert until is Until.STARTED
                assert args == {old.id: old.args, new.id: new.args}

    def test_who_wants_a_key_as_it_is_given_back_gets_it_or_its_holder(self, scene: Scene, race: Race) -> None:
        scene.join()
        for name in rounds():
            scene.insert(NewJob(name, "task", queue=name, keys=(Key(name),)))
            (claim,) = claimed(scene, name, 1)
            _, *replies = race(
                settling(scene, claim),
                *(
                    partial(scene.insert, NewJob(f"{name} {number}", "task", queue=name, keys=(Key(name),)))
                    for number in range(4)
                ),
            )
            new = [reply.id for (reply,) in replies if not reply.existed]
            assert len(new) <= 1
            assert {reply.id for (reply,) in replies} <= {name, *new}
            assert scene.count(Filter(queue=name, states=(QUEUED,))) == ({(name, QUEUED): 1} if new else {})
