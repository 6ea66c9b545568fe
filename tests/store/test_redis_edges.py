"""What edges cost Redis: no script tells more than a set number of jobs, and all hear of it in the end."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from redis import Redis

from mainspring.model.job import Edge, NewJob, Policy
from mainspring.model.states import State
from mainspring.store.base import (
    AlterRequest,
    Filter,
    InsertRequest,
    Request,
    Room,
    SettleRequest,
    Verb,
    start,
)
from mainspring.store.redis import RedisStore, exchanges, passing
from mainspring.store.redis.passing import AT_ONCE
from mainspring.store.redis.scripts import Script, script

from .conformance import graphs
from .conformance.scene import ALL_ENDED, Scene, own, settlement

BLOCKED, QUEUED, COMPLETED = State.BLOCKED, State.QUEUED, State.COMPLETED
DEAD, CANCELLED = State.DEAD, State.CANCELLED

MANY = 5000


@dataclass
class Server:
    """The store's server, seen from outside."""

    client: Redis
    tag: str

    def commands(self) -> int:
        """How many it has performed."""
        return sum(each["calls"] for each in self.client.info("commandstats").values())  # type: ignore[union-attr]

    def steps(self, store: RedisStore, request: Request[Any]) -> Iterator[None]:
        """Perform a request script by script."""
        operation = start(store, request)
        reply: Any = None
        while True:
            try:
                call = operation.send(reply)
            except StopIteration:
                return
            reply = self.client.eval(script(call.script).text, 1, self.tag, call.document)
            yield

    def keys(self) -> Counter[str]:
        """How many there are of each kind: the first word of their names."""
        found = self.client.scan_iter(f"{self.tag}:*", count=10_000)
        return Counter(key.removeprefix(f"{self.tag}:").split(":")[0] for key in found)


@pytest.fixture
def server(redis_server: str, store: RedisStore) -> Iterator[Server]:
    with Redis.from_url(redis_server, protocol=2, decode_responses=True) as client:
        yield Server(client, store._location.tag)


@pytest.fixture
def store(redis_store: RedisStore) -> RedisStore:
    return redis_store


def children(scene: Scene, count: int, parent: str = "p", **fields: Any) -> None:
    jobs = [NewJob(f"c{number:05}", "task", queue="c", parents=(Edge(parent),), **fields) for number in range(count)]
    for first in range(0, count, 500):
        scene.insert(*jobs[first : first + 500])


def go_on(scene: Scene, worker: str = "other", times: int = 40) -> None:
    """A worker that has nothing to do with it looks for work elsewhere."""
    for _ in range(times):
        scene.claim(worker, Room("elsewhere", 1))


class TestManyChildren:
    """A parent with 5,000 children, and a chain of 5,000 jobs."""

    @pytest.mark.parametrize(("state", "becomes"), [(COMPLETED, QUEUED), (DEAD, CANCELLED)])
    def test_no_script_tells_more_than_a_few_hundred(
        self, store: RedisStore, scene: Scene, server: Server, state: State, becomes: State
    ) -> None:
        scene.join()
        scene.insert(own("p"))
        children(scene, MANY)
        (claim,) = scene.start("p")
        told, seen = [], 0
        for _ in server.steps(store, SettleRequest((settlement(claim, state),), now=scene.now)):
            told.append(server.client.zcard(f"{server.tag}:{becomes}:c") - seen)
            seen += told[-1]
        assert max(told) == AT_ONCE
        assert sum(told) >= 1000

    @pytest.mark.parametrize(("state", "becomes"), [(COMPLETED, QUEUED), (DEAD, CANCELLED)])
    def test_others_go_on_when_the_worker_that_ended_it_is_gone(
        self, scene: Scene, server: Server, state: State, becomes: State
    ) -> None:
        scene.join()
        scene.insert(own("p"))
        children(scene, MANY)
        scene.end("p", state=state)
        assert 1000 <= scene.count()["c", becomes] < MANY
        scene.beat("worker", "leave")
        scene.join("other")
        told, commands = [scene.count()["c", becomes]], [server.commands()]
        for _ in range((MANY - 1000) // AT_ONCE):
            go_on(scene, times=1)
            told.append(scene.count()["c", becomes])
            commands.append(server.commands())
        assert {after - before for before, after in pairwise(told)} == {AT_ONCE}
        assert max(after - before for before, after in pairwise(commands)) < 8 * AT_ONCE
        go_on(scene, times=2)
        assert scene.count()["c", becomes] == MANY
        assert scene.count().get(("c", BLOCKED)) is None
        assert server.keys()["unfinished"] == server.keys()["ended"] == 0

    def test_reaps_go_on_too(self, scene: Scene) -> None:
        scene.join()
        scene.insert(own("p"))
        children(scene, 2000)
        scene.end("p")
        for _ in range(5):
            scene.reap("worker")
        assert scene.count()["c", QUEUED] == 2000

    def test_they_are_told_how_a_parent_ended_that_is_gone_by_then(self, scene: Scene) -> None:
        scene.join()
        scene.insert(own("p"))
        children(scene, 2000, keys=())
        scene.insert(own("one", Edge("p", wants_result=True), "c00000"))
        scene.end("p", result="7")
        scene.later(10)
        assert scene.prune(ALL_ENDED) == 1
        go_on(scene, "worker")
        assert scene.count()["c", QUEUED] == 2000
        assert scene.parents("one")[0].result == "7"

    def test_whoever_takes_its_id_has_children_of_its_own(self, scene: Scene) -> None:
        scene.join()
        scene.insert(own("p"))
        children(scene, 2000)
        scene.end("p", state=DEAD)
        scene.alter(Verb.DELETE, "p")
        scene.insert(own("p"), own("new", "p"))
        go_on(scene, "worker")
        assert scene.state("new") is BLOCKED
        assert scene.count()["c", CANCELLED] == 2000
        scene.end("p")
        assert scene.state("new") is QUEUED

    def test_a_chain_goes_down_and_comes_back(self, scene: Scene) -> None:
        scene.join()
        scene.insert(own("c00000"))
        chain = [NewJob(f"c{place:05}", "task", parents=(Edge(f"c{place - 1:05}"),)) for place in range(1, MANY)]
        for first in range(0, MANY, 500):
            scene.insert(*chain[first : first + 500])
        scene.end("c00000", state=DEAD)
        go_on(scene, "worker")
        assert scene.count() == {("c00000", DEAD): 1, ("default", CANCELLED): MANY - 1}
        assert scene.job(f"c{MANY - 1:05}").reason == f"parent c{MANY - 2:05} was cancelled"
        assert scene.alter(Verb.REVIVE, "c00000") == 1
        go_on(scene, "worker")
        assert scene.count() == {("c00000", QUEUED): 1, ("default", BLOCKED): MANY - 1}

    def test_a_job_that_a_dead_parent_releases_waits_for_the_end_of_the_cascade(self, scene: Scene) -> None:
        """Which takes it down."""
        scene.join()
        scene.insert(own("p"))
        children(scene, 2000)
        last = [NewJob("c02000", "task", parents=tuple(Edge(f"c{number:05}") for number in range(2000)))]
        scene.insert(*last, own("both", Edge("p", Policy.DEAD), "c02000"))
        scene.end("p", state=DEAD)
        go_on(scene, "worker")
        assert scene.state("both") is CANCELLED


class TestRevivingMany:
    """Children of a job that is revived, more than one script tells."""

    def dead(self, scene: Scene) -> None:
        scene.join()
        scene.insert(own("p"))
        children(scene, MANY)
        scene.end("p", state=DEAD)
        go_on(scene, "worker")
        assert scene.count()["c", CANCELLED] == MANY

    def test_no_script_brings_back_more_than_a_few_hundred(
        self, store: RedisStore, scene: Scene, server: Server
    ) -> None:
        self.dead(scene)
        told, seen = [], 0
        for _ in server.steps(store, AlterRequest(Verb.REVIVE, Filter(ids=("p",)), now=scene.now)):
            told.append(server.client.zcard(f"{server.tag}:blocked:c") - seen)
            seen += told[-1]
        assert max(told) == AT_ONCE
        assert sum(told) == 1000
        go_on(scene, "worker")
        assert scene.count()["c", BLOCKED] == MANY

    @pytest.mark.parametrize(("state", "becomes"), [(COMPLETED, QUEUED), (DEAD, CANCELLED)])
    def test_those_that_are_not_back_yet_hear_of_the_next_end(
        self, scene: Scene, server: Server, state: State, becomes: State
    ) -> None:
        self.dead(scene)
        scene.alter(Verb.REVIVE, "p")
        # The claim goes on a bit, but is not at the end.
        scene.end("p", state=state)
        assert server.keys()["unfinished"] == 1
        go_on(scene, "worker")
        assert scene.count()["c", becomes] == MANY
        assert server.keys()["unfinished"] == server.keys()["ended"] == 0

    def test_one_that_is_revived_before_all_have_heard_of_its_end(self, scene: Scene, server: Server) -> None:
        scene.join()
        scene.insert(own("p"))
        children(scene, MANY)
        scene.end("p", state=DEAD)
        scene.alter(Verb.REVIVE, "p")
        go_on(scene, "worker")
        assert scene.count() == {("p", QUEUED): 1, ("c", BLOCKED): MANY}
        scene.end("p")
        go_on(scene, "worker")
        assert scene.count()["c", QUEUED] == MANY

    def test_everything_at_once(self, scene: Scene) -> None:
        """The children are in the selection too, and come back with their parent in whatever batch."""
        self.dead(scene)
        request = AlterRequest(Verb.REVIVE, Filter(states=(DEAD,)), now=scene.now)
        assert sum(reply.count for reply in scene.batches(request)) == 1
        go_on(scene, "worker")
        assert scene.count() == {("p", QUEUED): 1, ("c", BLOCKED): MANY}


class TestCosts:
    """In commands, which the server counts."""

    def test_jobs_without_edges_pay_nothing_for_those_that_have_some(self, scene: Scene, server: Server) -> None:
        def round_of_plain_jobs(names: str) -> tuple[int, ...]:
            counts = [server.commands()]
            scene.insert(*names)
            counts.append(server.commands())
            claims = scene.claim()
            counts.append(server.commands())
            scene.settle(*map(settlement, claims))
            counts.append(server.commands())
            return tuple(after - before for before, after in pairwise(counts))

        scene.join()
        round_of_plain_jobs("abcde")
        before = round_of_plain_jobs("fghij")
        scene.insert(own("p"), own("c", "p"), own("d", "c"))
        scene.end("p", state=DEAD)
        assert round_of_plain_jobs("klmno") == before

    def test_an_end_costs_a_child_the_same_however_many_parents_it_has(self, scene: Scene, server: Server) -> None:
        costs = []
        scene.join()
        for count in (20, 2000):
            names = [f"{count} {number:05}" for number in range(count)]
            scene.insert(*(NewJob(name, "task", queue=str(count)) for name in names))
            scene.insert(own(f"last {count}", *names))
            claims = scene.claim("worker", Room(str(count), 10), limit=10)
            before = server.commands()
            scene.settle(*map(settlement, claims))
            costs.append(server.commands() - before)
            before = server.commands()
            scene.claim("worker", Room(str(count), 10), limit=10)
        assert costs[0] == costs[1]

    def test_nothing_is_left_of_edges_and_flows_whose_jobs_are_gone(self, scene: Scene, server: Server) -> None:
        scene.join()
        scene.insert(own("p"), own("q"), own("c", "p", "q"), own("d", "c", "p"), own("e", Edge("p", Policy.DEAD), "q"))
        scene.insert(own("f", Edge("q", Policy.RUN), "p"))
        scene.end("p", state=DEAD)
        scene.alter(Verb.REVIVE, "p")
        scene.end("p", "q", state=DEAD)
        for id in "qecpfd":
            scene.alter(Verb.DELETE, id)
        assert scene.find() == []
        left = server.keys()
        assert not any(
            left[kind]
            for kind in ("parents", "children", "told", "bad-parents", "dead-parents", "outlived-parents", "ended")
        )


def one_by_one(name: str) -> Script:
    """A script that tells one child, and leaves the others to the next."""
    text = script(name).text.replace("{ jobs = 250, edges = 2000,", "{ jobs = 1, edges = 2,")
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


class TestPortions:
    """However few children a script tells, the end is the same."""

    @pytest.fixture(autouse=True)
    def small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert one_by_one("settle") != script("settle")
        monkeypatch.setattr(exchanges, "script", one_by_one)
        monkeypatch.setattr(passing, "AT_ONCE", 1)

    @pytest.mark.parametrize("seed", range(20))
    def test_every_job_of_a_random_graph_ends_as_it_must(self, scene: Scene, server: Server, seed: int) -> None:
        tale = graphs.Tale(scene, random.Random(seed), revivals=seed % 3 != 0)
        tale.begin()
        for _ in range(60):
            getattr(tale, tale.rng.choice(graphs.STEPS))()
            while server.client.exists(f"{server.tag}:unfinished"):
                scene.reap("nobody")
            tale.check()


def test_jobs_may_be_called_as_queues_are(scene: Scene) -> None:
    scene.join()
    scene.insert(own("p"), own("q"), own("c", "p", policy=Policy.DEAD), own("d", "c", "q", policy=Policy.DEAD))
    scene.insert(own("e", Edge("d"), Edge("q", Policy.RUN)))
    for id in "pcqd":
        scene.end(id, state=DEAD)
    assert scene.states("p", "c", "d", "e") == [DEAD, DEAD, DEAD, CANCELLED]
    scene.alter(Verb.REVIVE, "d")
    scene.end("d")
    assert scene.states("d", "e") == [COMPLETED, QUEUED]


def test_an_insert_of_a_job_with_many_parents_is_one_request(scene: Scene) -> None:
    names = [f"{number:05}" for number in range(3000)]
    scene.ask(InsertRequest(tuple(NewJob(name, "task") for name in names), now=scene.now))
    scene.insert(own("last", *names))
    assert len(scene.parents("last")) == 3000
