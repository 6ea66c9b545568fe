"""Graphs: random ones, whose jobs must be in the states that a few lines of Python say, and large ones."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import pytest

from mainspring.model.job import Claim, Edge, NewJob, Parent, Policy
from mainspring.model.settlement import Settlement
from mainspring.model.states import FINAL, State
from mainspring.store.base import Callback, Filter, NewFlow, Room, Verb

from .edges import DAY, scene_with
from .scene import Scene, settlement

BLOCKED, SCHEDULED, QUEUED, RUNNING = State.BLOCKED, State.SCHEDULED, State.QUEUED, State.RUNNING
COMPLETED, DEAD, CANCELLED = State.COMPLETED, State.DEAD, State.CANCELLED

JOBS = 60
LEASE_MS = 1000

FLOWS = (
    NewFlow("f", "all", None, (Callback("f1", Policy.FAIL), Callback("f2", Policy.RUN), Callback("f3", Policy.DEAD))),
    NewFlow("g", "part", "f", (Callback("g1", Policy.RUN), Callback("g2", Policy.FAIL))),
)
LAST = NewJob("last", "task", parents=(Edge("f1", Policy.RUN), Edge("f2"), Edge("f3", Policy.IGNORE)))
CHILDLESS = {LAST.id, *(callback.job for flow in FLOWS for callback in flow.callbacks)}
"""No other job waits for these: what a callback waits for must not wait for it."""


# --- what must be ----------------------------------------------------------------------------------------------------


@dataclass
class Line:
    """An edge as it must be."""

    policy: Policy
    wants: bool
    state: State | None = None
    result: str | None = None

    @property
    def bad(self) -> bool:
        return self.state in (DEAD, CANCELLED)


@dataclass
class Node:
    """A job as it must be."""

    state: State
    lines: dict[str, Line]
    fell: bool = False
    """Cancelled, because a parent ended badly."""
    freed: bool = False
    """Revived alone: what it waited for is over."""
    asked: bool = False
    """To cancel."""
    result: str | None = None

    def broken(self) -> bool:
        return any(line.policy is Policy.FAIL and line.bad for line in self.lines.values())

    def in_vain(self) -> bool:
        hopes = [line.state for line in self.lines.values() if line.policy is Policy.DEAD]
        return bool(hopes) and DEAD not in hopes and self.over()

    def over(self) -> bool:
        return all(line.state is not None for line in self.lines.values())

    def fired(self) -> bool:
        return any(line.policy is Policy.DEAD and line.state is DEAD for line in self.lines.values())


class Oracle:
    """The states in which all jobs must be."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}

    def states(self) -> dict[str, State]:
        return {id: node.state for id, node in self.nodes.items()}

    def ids(self, *states: State) -> list[str]:
        return [id for id, node in self.nodes.items() if node.state in states]

    def insert(self, jobs: Iterable[NewJob]) -> None:
        self.add(jobs)
        self.follow()

    def add(self, jobs: Iterable[NewJob]) -> None:
        jobs = [job for job in jobs if job.id not in self.nodes]
        for job in jobs:
            lines = {edge.parent: Line(edge.policy, edge.wants_result) for edge in job.parents}
            self.nodes[job.id] = Node(BLOCKED, lines)
        for job in jobs:
            for callback in callbacks_for(job):
                waiting = self.nodes.get(callback.job)
                if waiting is not None and (waiting.state is BLOCKED or waiting.fell):
                    waiting.lines.setdefault(job.id, Line(callback.policy, wants=False))
        self.tell(id for id, node in self.nodes.items() if node.state in FINAL)

    def settle(self, settled: Iterable[Settlement]) -> None:
        settled = list(settled)
        for each in settled:
            node = self.nodes[each.id]
            node.state, node.result = each.state, each.result
            if node.state is SCHEDULED and node.asked:
                node.state = QUEUED
        self.add(job for each in settled for job in each.follow_ups)
        self.follow()

    def cancel(self, id: str) -> None:
        node = self.nodes[id]
        if node.state is RUNNING:
            node.asked = True
        elif node.state not in FINAL:
            node.state = CANCELLED
            self.tell([id])
            self.follow()

    def delete(self, id: str) -> None:
        if self.nodes[id].state is RUNNING:
            return
        if self.nodes[id].state not in FINAL:
            self.nodes[id].state = CANCELLED
            self.tell([id])
        del self.nodes[id]
        self.follow()

    def revive(self, id: str) -> None:
        node = self.nodes[id]
        if node.state is SCHEDULED:
            node.state = QUEUED
        if node.state in FINAL:
            node.state, node.fell, node.freed, node.asked = QUEUED, False, True, False
            self.wait_for(id)

    def wait_for(self, parent: str) -> None:
        for id, node in self.nodes.items():
            if parent in node.lines and (node.state is BLOCKED or node.fell):
                line = node.lines[parent]
                line.state = line.result = None
                if node.fell and not node.broken():
                    node.state, node.fell = BLOCKED, False
                    self.wait_for(id)

    def tell(self, parents: Iterable[str]) -> None:
        """Edges learn how a parent ended as long as that matters to the child, or may matter again."""
        for parent in parents:
            ended = self.nodes[parent]
            for node in self.nodes.values():
                line = node.lines.get(parent)
                if line is not None and line.state is None and (node.state is BLOCKED or node.fell):
                    line.state = ended.state
                    line.result = ended.result if line.wants and ended.state is COMPLETED else None

    def follow(self) -> None:
        """Who must go down goes down, as far as that reaches; then who may go is released."""
        self.tell(id for id, node in self.nodes.items() if node.state in FINAL)
        while doomed := [id for id in self.ids(BLOCKED) if self.nodes[id].broken() or self.nodes[id].in_vain()]:
            for id in doomed:
                self.nodes[id].state, self.nodes[id].fell = CANCELLED, self.nodes[id].broken()
            self.tell(doomed)
        for id in self.ids(BLOCKED):
            if self.nodes[id].over() or self.nodes[id].fired():
                self.nodes[id].state = QUEUED

    def seen_right(self, claim: Claim) -> bool:
        """Whether a claim tells of its parents what it must. How those ended that did not matter is left open."""
        node = self.nodes[claim.id]
        given: dict[str, Parent] = {parent.id: parent for parent in claim.parents}
        return node.freed or (
            given.keys() == node.lines.keys()
            and all(
                (given[id].policy, given[id].state, given[id].result) == (line.policy, line.state, line.result)
                for id, line in node.lines.items()
                if line.state is not None
            )
        )


def callbacks_for(job: NewJob) -> Iterator[Callback]:
    """The callbacks that a job is waited for by."""
    own = [flow for flow in FLOWS if flow.id == job.flow]
    for flow in own:
        if all(callback.job != job.id for callback in flow.callbacks):
            yield from flow.callbacks
        if flow.parent is not None:
            yield from FLOWS[0].callbacks


# --- what happens ----------------------------------------------------------------------------------------------------


@dataclass
class Tale:
    """A random history of a random graph. With `revivals` no job waits both for a success and for a death: what a
    revival makes of such a one is nobody's promise."""

    scene: Scene
    rng: random.Random
    revivals: bool
    oracle: Oracle = field(default_factory=Oracle)
    made: int = 0
    inserted: list[NewJob] = field(default_factory=list)
    running: dict[str, Claim] = field(default_factory=dict)
    stale: list[Settlement] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def begin(self) -> None:
        self.scene.join("reaper", lease_ms=DAY)
        jobs = [NewJob(callback.job, "task", flow=flow.id) for flow in FLOWS for callback in flow.callbacks]
        jobs += self.new_jobs(6, flow="g") + self.new_jobs(6, flow="f")
        self.put([*jobs, LAST], FLOWS)

    def new_jobs(self, count: int, flow: str | None = None) -> list[NewJob]:
        count = min(count, JOBS - self.made)
        # Names in no order, so that nothing rests on parents being older by name than their children.
        ids = [f"{self.rng.randrange(1000):03} {self.made + number}" for number in range(count)]
        self.made += count
        jobs: list[NewJob] = []
        known = [id for id in self.oracle.ids(*State) if id not in CHILDLESS]
        for id in ids:
            parents = self.rng.sample(known, min(len(known), self.rng.choice((0, 1, 1, 2, 2, 3, 4))))
            belongs = flow or self.rng.choice((None, None, "f", "g"))
            jobs.append(NewJob(id, "task", flow=belongs, parents=self.edges(parents)))
            known += [id] * 2  # new ones more often than old ones: deep graphs
        return jobs

    def edges(self, parents: list[str]) -> tuple[Edge, ...]:
        kinds = self.rng.choice([[Policy.FAIL, Policy.IGNORE, Policy.RUN], [Policy.DEAD, Policy.DEAD, Policy.RUN]])
        policies = kinds if self.revivals else list(Policy)
        chosen = dict.fromkeys(parents)
        return tuple(Edge(parent, self.rng.choice(policies), self.rng.random() < 0.5) for parent in chosen)

    def put(self, jobs: list[NewJob], flows: Iterable[NewFlow] = ()) -> None:
        self.rng.shuffle(jobs)
        shown = [(job.id, job.flow, [(edge.parent, edge.policy.value) for edge in job.parents]) for job in jobs]
        self.told.append(f"insert {shown}")
        existed = [reply.existed for reply in self.scene.insert(*jobs, flows=flows)]
        assert existed == [job.id in self.oracle.nodes for job in jobs], self.story()
        self.oracle.insert(jobs)
        self.inserted += jobs

    # Each of these does one thing, if there is anything to do it to.

    def insert(self) -> None:
        self.put(self.new_jobs(self.rng.randint(1, 6)))

    def insert_again(self) -> None:
        there = [job for job in self.inserted if job.id in self.oracle.nodes]
        others = self.oracle.ids(*State)
        changed = [replace(job, parents=(Edge(self.rng.choice(others)),)) for job in there]
        self.put(self.rng.sample(there, min(4, len(there))) + self.rng.sample(changed, min(2, len(there))))

    def claim(self) -> None:
        self.scene.later(10)
        self.scene.join("worker", lease_ms=LEASE_MS)
        for id in self.oracle.ids(SCHEDULED):
            self.oracle.nodes[id].state = QUEUED
        limit, queued = self.rng.randint(1, 8), self.oracle.ids(QUEUED)
        claims = self.scene.claim(limit=limit)
        self.told.append(f"claim {[claim.id for claim in claims]}")
        assert len(claims) == min(limit, len(queued)), self.story()
        assert {claim.id for claim in claims} <= set(queued), self.story()
        for claim in claims:
            assert self.oracle.seen_right(claim), self.story(claim, self.oracle.nodes[claim.id])
            self.oracle.nodes[claim.id].state = RUNNING
            self.running[claim.id] = claim

    def settle(self, *, well: bool = False) -> None:
        ids = sorted(self.running)
        ids = ids if well else self.rng.sample(ids, self.rng.randint(0, len(ids)))
        outcomes = (COMPLETED,) if well else (COMPLETED,) * 6 + (DEAD, DEAD, CANCELLED, SCHEDULED, QUEUED)
        settled = []
        for id in ids:
            state, result = self.rng.choice(outcomes), str(self.rng.randrange(100))
            follow_ups = self.new_jobs(1) if not well and self.rng.random() < 0.2 else []
            settled.append(
                settlement(self.running.pop(id), state, delay_ms=5, result=result, follow_ups=tuple(follow_ups))
            )
            self.inserted += follow_ups
        late = [replace(self.rng.choice(self.stale), follow_ups=())] if self.stale else []
        late = [each for each in late if each.id not in ids]
        shown = [(each.id, each.state.value, [new.id for new in each.follow_ups]) for each in settled]
        self.told.append(f"settle {shown}, late {[each.id for each in late]}")
        assert self.scene.settle(*late, *settled) == set(ids), self.story()
        self.oracle.settle(settled)
        self.stale += settled

    def lose(self) -> None:
        """The worker dies; another takes its jobs over, and what the dead one says comes too late."""
        self.scene.later(LEASE_MS)
        reaped = self.scene.reap("reaper")
        self.told.append(f"lose {[claim.id for claim in reaped]}")
        for claim in reaped:
            self.stale.append(settlement(self.running[claim.id], self.rng.choice([COMPLETED, DEAD])))
            self.running[claim.id] = claim

    def cancel(self) -> None:
        self.alter(Verb.CANCEL, self.oracle.ids(*State))

    def delete(self) -> None:
        self.alter(Verb.DELETE, self.oracle.ids(*State))

    def revive(self) -> None:
        if self.revivals:
            self.alter(Verb.REVIVE, self.oracle.ids(*FINAL) + self.oracle.ids(DEAD) * 3)

    def alter(self, verb: Verb, among: list[str]) -> None:
        if among:
            id = self.rng.choice(among)
            self.told.append(f"{verb.value} {id!r}")
            self.scene.alter(verb, id)
            getattr(self.oracle, verb.value)(id)

    def check(self) -> None:
        found, expected = {job.id: job.state for job in self.scene.find(limit=200)}, self.oracle.states()
        wrong = {id: (found.get(id), expected.get(id)) for id in found | expected if found.get(id) != expected.get(id)}
        assert not wrong, self.story(wrong)

    def story(self, *more: object) -> str:
        return "\n".join([*self.told, *map(str, more)])


STEPS = [*["insert"] * 3, *["claim", "settle"] * 4, *["revive"] * 2, "insert_again", "lose", "cancel", "delete"]


class TestRandomGraphs:
    """Up to 60 jobs and the callbacks of two flows, with all that can happen to them."""

    @pytest.mark.parametrize("seed", range(20))
    def test_every_job_ends_as_its_parents_and_policies_imply(self, scene: Scene, seed: int) -> None:
        tale = Tale(scene, random.Random(seed), revivals=seed % 3 != 0)
        tale.begin()
        for _ in range(60):
            getattr(tale, tale.rng.choice(STEPS))()
            tale.check()
        while tale.oracle.ids(SCHEDULED, QUEUED, RUNNING):
            tale.claim()
            tale.settle(well=True)
            tale.check()
        assert tale.oracle.ids(BLOCKED) == [], tale.story()


class TestLargeGraphs:
    """Size: 1,000 jobs go with their parent in one request, the rest with the next ones."""

    def test_a_chord_of_2000(self, scene: Scene) -> None:
        names = [f"{number:04}" for number in range(2000)]
        last = NewJob("last", "task", parents=tuple(Edge(name, wants_result=True) for name in reversed(names)))
        scene_with(scene, last, *(NewJob(name, "task") for name in names))
        claims = scene.claim(limit=5000)
        assert [claim.id for claim in claims] == names
        scene.settle(*(settlement(claim, result=str(int(claim.id))) for claim in claims[1:]))
        assert scene.state("last") is BLOCKED
        scene.settle(settlement(claims[0], result="0"))
        (claim,) = scene.claim()
        assert [parent.result for parent in claim.parents] == [str(number) for number in reversed(range(2000))]

    def test_a_chain_of_1000_goes_down_and_comes_back_whole(self, scene: Scene) -> None:
        chain = [NewJob(f"{number:04}", "task", parents=(Edge(f"{number - 1:04}"),)) for number in range(1, 1000)]
        scene_with(scene, NewJob("0000", "task"), *chain)
        for _ in range(2):
            scene.settle(settlement(scene.claim_one(), DEAD))
            assert scene.count() == {("default", DEAD): 1, ("default", CANCELLED): 999}
            assert scene.job("0999").reason == "parent 0998 was cancelled"
            assert scene.alter(Verb.REVIVE, "0000") == 1
            assert scene.count() == {("default", QUEUED): 1, ("default", BLOCKED): 999}
        for number in range(10):
            (claim,) = scene.claim()
            assert claim.id == f"{number:04}"
            scene.settle(settlement(claim))

    @pytest.mark.parametrize(("state", "becomes"), [(COMPLETED, QUEUED), (DEAD, CANCELLED)])
    def test_one_parent_of_2500(self, scene: Scene, state: State, becomes: State) -> None:
        children = [NewJob(f"{number:04}", "task", parents=(Edge("p"),)) for number in range(2500)]
        scene_with(scene, *children, NewJob("p", "parent"))
        scene.settle(settlement(scene.claim_one(), state))
        assert scene.count()["default", becomes] >= 1000
        for _ in range(5):
            scene.beat()
            scene.claim("worker", Room("other", 9))
            scene.reap()
        assert scene.count(Filter(task="task", states=(BLOCKED, becomes))) == {("default", becomes): 2500}
