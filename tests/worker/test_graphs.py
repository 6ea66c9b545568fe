"""Random graphs of jobs, worked off by processes of which one is killed, while jobs are cancelled and retried.

What every job must have come to is said by the graph as it was drawn: by its policies, and by what its parents came to.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mainspring import Context, Flow, Job, State
from mainspring.model.outcome import Verdict
from mainspring.nodes import Node

from .scene import wait_until
from .test_processes import Place

MODULE = '''
import asyncio, json, os
from pathlib import Path
from typing import Any
from mainspring import Bury, Cancel, Context, Mainspring, Retry

HERE = Path(__file__).parent
app = Mainspring(f"sqlite:///{HERE}/jobs.db")

def note(ctx: Context, given: Any) -> None:
    """What this run sees, in a file of this process alone."""
    seen = {parent.id: parent.state for parent in ctx.parents}
    with open(HERE / f"notes-{os.getpid()}.txt", "a") as notes:
        notes.write(json.dumps([ctx.job.id, ctx.fence, given, seen], separators=(",", ":")) + "\\n")

@app.task(retry=Retry(attempts=2, delay=0))
async def step(ctx: Context, deed: str, given: Any, after: list[str], policy: Any) -> str:
    note(ctx, given)
    id = ctx.job.id
    if deed == "die" or (deed == "mend" and not (HERE / f"mended-{id}").exists()):
        raise Bury("as it was drawn")
    if deed == "stumble" and ctx.attempt == 1:
        raise ConnectionError
    if deed == "withdraw":
        raise Cancel("withdrawn")
    if deed == "linger":
        await asyncio.sleep(0.1)
    if deed == "grow":
        ctx.flow.add(step.using(id=f"{id}.grown").job("linger", None, [], ""), after=after, on_failure=policy)
        await ctx.flow.aenqueue()
    if deed == "spawn":
        spawned = [step.using(id=f"{id}.{n}").job(what, None, [], "") for n, what in enumerate(after)]
        ctx.spawn(*spawned, then=step.using(id=f"{id}.then").job("complete", None, [], ""), on_failure=policy)
    return f"result of {id}"

@app.task(retry=1)
def plain_step(ctx: Context, deed: str, given: Any, after: list[str], policy: Any) -> str:
    note(ctx, given)
    return f"result of {ctx.job.id}"
'''

SAFE = {"complete": 12, "plain": 3, "linger": 3, "stumble": 1, "mend": 1, "grow": 2, "spawn": 1}
RISKY = SAFE | {"die": 1, "withdraw": 1}
CALLBACK_POLICIES = {"on_success": "fail", "on_complete": "run", "on_dead": "dead"}


@dataclass
class Drawn:
    """A job as it was drawn."""

    flow: str
    deed: str
    edges: dict[str, str] = field(default_factory=dict)
    """Its policies by parent."""
    takes: tuple[str, ...] = ()
    """Parents whose results are among its arguments."""
    leaves: str = ""
    """The job that makes it when it runs."""


class Graph:
    """A random flow with parts, callbacks, and jobs that make others; and what was done to it meanwhile."""

    def __init__(self, place: Place, seed: int, size: int) -> None:
        self.app = place.app
        self.folder = place.folder
        self.random = random.Random(seed)
        self.name = f"g{seed}"
        self.deeds = self.random.choice([SAFE, RISKY])
        self.cancels, self.retries = self.random.choice([0, 0, 3]), self.random.choice([0, 5, 5])
        self.drawn: dict[str, Drawn] = {}
        self.later: dict[str, Drawn] = {}
        """Jobs that others will make."""
        self.nodes: dict[str, Node[Any]] = {}
        self.callbacks: dict[str, dict[str, str]] = defaultdict(dict)
        """By flow: job and policy."""
        self.above: dict[str, str] = {}
        self.asked: set[str] = set()
        """Jobs that we cancelled."""
        self.retried: Counter[str] = Counter()
        """Dead ones, and how often."""
        self.freed: set[str] = set()
        """Cancelled jobs that were retried alone: they wait for nothing any more."""
        self.flow = self._draw(size)

    # --- drawing ---

    def _draw(self, size: int) -> Flow[Any]:
        outer = Flow(self.name)
        flows = [outer, *(Flow(f"{self.name} part {n}") for n in range(self.random.randrange(4)))]
        for _ in range(size):
            self._add(self.random.choice(flows))
        while len(flows) > 1:
            part = flows.pop()
            self._follow(part)
            self._nest(part, self.random.choice(flows))
        for _ in range(size // 10):
            self._add(outer)  # they may wait for what follows on a part
        self._follow(outer)
        self.drawn |= self.later
        return outer

    def _add(self, flow: Flow[Any]) -> None:
        parents = self.random.sample(list(self.nodes), min(len(self.nodes), self.random.choice([0, 1, 1, 2, 2, 5])))
        edges = {parent: self._policy() for parent in parents}
        takes = tuple(parent for parent in parents if self.random.random() < 0.5)
        given = {"all": [self.nodes[parent].result for parent in takes]}
        id, deed = self._name(), self._deed()
        after, policy = self._later(id, deed, flow.id)
        draft = self.app.tasks["plain_step" if deed == "plain" else "step"].using(id=id)
        self.nodes[id] = flow.add(
            draft.job(deed, given, after, policy),
            after=[self.nodes[parent] for parent in parents if parent not in takes],
            on_failure={self.nodes[parent]: how for parent, how in edges.items()},  # type: ignore[misc]
        )
        ordered = dict.fromkeys(parent for parent in parents if parent not in takes) | dict.fromkeys(takes)
        self.drawn[id] = Drawn(flow.id, deed, {parent: edges[parent] for parent in ordered}, takes)

    def _later(self, id: str, deed: str, flow: str) -> tuple[list[str], str]:
        """What a job that makes others is told about them."""
        policy = self._policy()
        if deed == "grow":
            after = self.random.sample(list(self.nodes), min(len(self.nodes), 2))
            self.later[f"{id}.grown"] = Drawn(flow, "linger", dict.fromkeys(after, policy), leaves=id)
            return after, policy
        if deed == "spawn":
            deeds = ["linger", "complete" if self.deeds is SAFE else "die"]
            children = {f"{id}.{n}": Drawn(flow, what, leaves=id) for n, what in enumerate(deeds)}
            self.later |= children
            self.later[f"{id}.then"] = Drawn(flow, "complete", dict.fromkeys(children, policy), leaves=id)
            return deeds, policy
        return [], policy

    def _follow(self, flow: Flow[Any]) -> None:
        for when, policy in CALLBACK_POLICIES.items():
            if self.random.random() < 0.7:
                id = self._name()
                self.nodes[id] = getattr(flow, when)(self.app.tasks["step"].using(id=id).job("complete", None, [], ""))
                self.drawn[id] = Drawn(flow.id, "complete")
                self.callbacks[flow.id][id] = policy

    def _nest(self, part: Flow[Any], around: Flow[Any]) -> None:
        self.above[part.id] = around.id
        inside = [id for id, drawn in self.drawn.items() if self._is_in(drawn.flow, part.id)]
        before = list(self.nodes)[: list(self.nodes).index(inside[0])] if inside else []
        after = self.random.sample(before, min(len(before), self.random.randrange(3)))
        around.add(part, after=[self.nodes[id] for id in after])
        callbacks = {id for own in self.callbacks.values() for id in own}
        members = set(inside) - callbacks
        for id in members:
            if members.isdisjoint(self.drawn[id].edges):
                self.drawn[id].edges |= {parent: "fail" for parent in after if parent not in self.drawn[id].edges}

    def _name(self) -> str:
        return f"{self.name}.{len(self.nodes)}"

    def _deed(self) -> str:
        return self.random.choices(list(self.deeds), list(self.deeds.values()))[0]

    def _policy(self) -> str:
        return self.random.choice(["fail", "fail", "ignore", "run"])

    def _is_in(self, flow: str, around: str) -> bool:
        return flow == around or (flow in self.above and self._is_in(self.above[flow], around))

    # --- meanwhile ---

    def act(self) -> None:
        """Cancel or retry one of its jobs."""
        if self.cancels and self.random.random() < 0.1:
            self.cancels -= 1
            job = self.app.jobs.find(self.random.choice(list(self.nodes)), limit=1)[0]
            if job.cancel("by hand"):
                self.asked.add(job.id)
        if self.retries and self.random.random() < 0.2:
            ended = self.app.jobs.find(flow=self.flow.id, state=("dead", "cancelled"))
            dead = [job for job in ended if job.state == "dead"]
            if ended:
                self.retries -= 1
                self._retry(self.random.choice(dead or list(ended)))

    def mend(self) -> bool:
        """Retry what can be mended, once all has ended; False: there is nothing."""
        dead = self.app.jobs.find(flow=self.flow.id, state="dead", limit=1000) if self.retries else ()
        broken = [job for job in dead if self.drawn[job.id].deed == "mend"]
        for job in broken:
            self._retry(job)
        return bool(broken)

    def _retry(self, job: Job[Any]) -> None:
        if job.state == "dead":
            (self.folder / f"mended-{job.id}").touch()
            self.retried[job.id] += 1
        elif self.drawn[job.id].deed != "withdraw":
            self.freed.add(job.id)
        else:
            return
        assert job.retry()

    # --- what must be ---

    def check(self, notes: Mapping[str, Mapping[int, Any]]) -> None:
        jobs = {job.id: job for job in self.flow.jobs()}
        progress = self.flow.progress()
        assert (progress.done, progress.total) == (len(jobs), len(jobs))
        assert jobs.keys() == {id for id, drawn in self.drawn.items() if self._is_there(drawn, jobs, id)}
        edges = {id: self._edges(id, jobs) for id in jobs}
        moved = self._moved(edges)
        for id, job in jobs.items():
            try:
                self._check_end(job, edges[id], jobs, moved)
                if job.state in ("completed", "dead"):
                    self._check_runs(job, edges[id], jobs, moved, notes[id])
            except AssertionError as error:
                error.add_note(f"{job!r} {job.reason}, drawn {self.drawn[id]}, waits for {edges[id]}")
                error.add_note(f"asked {self.asked}, retried {self.retried}, freed {self.freed}")
                raise

    def _is_there(self, drawn: Drawn, jobs: Mapping[str, Job[Any]], id: str) -> bool:
        if not drawn.leaves or (id.endswith(".grown") and jobs[drawn.leaves].state != "completed"):
            return id in jobs or not drawn.leaves
        return drawn.leaves in jobs and jobs[drawn.leaves].state == "completed"

    def _edges(self, id: str, jobs: Mapping[str, Job[Any]]) -> dict[str, str]:
        """For whom a job waits; a callback waits for all others of its flow and of that one's parts."""
        edges = dict(self.drawn[id].edges)
        flow = self.drawn[id].flow
        own = self.callbacks[flow]
        if id in own:
            edges |= {each: own[id] for each in jobs if each not in own and self._is_in(self.drawn[each].flow, flow)}
        return edges

    def _moved(self, edges: Mapping[str, Mapping[str, str]]) -> set[str]:
        """Jobs that may have ended more than once: those that were retried, and all below them."""
        moved = self.freed | self.retried.keys()
        size = -1
        while size != (size := len(moved)):
            moved |= {id for id, parents in edges.items() if not moved.isdisjoint({*parents, self.drawn[id].leaves})}
        return moved

    def _check_end(
        self, job: Job[Any], edges: Mapping[str, str], jobs: Mapping[str, Job[Any]], moved: set[str]
    ) -> None:
        drawn, states = self.drawn[job.id], {id: jobs[id].state for id in edges}
        bad = {id for id, policy in edges.items() if policy == "fail" and states[id] != "completed"}
        if job.id in self.asked and job.state == "cancelled":
            return
        if bad and job.id not in self.freed:
            assert job.state == "cancelled"
            assert job.reason is not None
            assert job.reason.split()[0] == "parent"
            assert job.reason.split()[1] in bad | moved  # the first one that ended badly
            return
        if "dead" in edges.values() and job.id not in self.freed:
            died = any(states[id] == "dead" or self.retried[id] for id in edges)
            assert (job.state == "completed") is died or (died and self.freed)
            assert job.state == "completed" or job.reason == "no parent is dead"
            return
        end = {"die": "dead", "withdraw": "cancelled", "mend": "completed" if self.retried[job.id] else "dead"}
        assert job.state == end.get(drawn.deed, "completed")

    def _check_runs(
        self,
        job: Job[Any],
        edges: Mapping[str, str],
        jobs: Mapping[str, Job[Any]],
        moved: set[str],
        notes: Mapping[int, Any],
    ) -> None:
        drawn, attempts = self.drawn[job.id], job.attempts
        kept = [attempt for attempt in attempts if attempt.verdict is not Verdict.LOST]
        assert len(notes) <= len(attempts)
        if job.id not in self.freed | self.asked:
            assert len(kept) == 1 + self.retried[job.id] + (drawn.deed == "stumble"), "released once"
        given, seen = notes[max(notes)]
        results = {id: f"result of {id}" if jobs[id].state == "completed" else None for id in drawn.takes}
        assert job.started_at is not None
        for parent, policy in edges.items():
            finished_at = jobs[parent].finished_at
            assert finished_at is not None
            if job.id not in self.freed and (policy == "fail" or (parent not in moved and policy != "dead")):
                started_at = job.started_at if policy == "fail" else attempts[0].started_at
                assert started_at >= finished_at, f"it did not wait for {parent}"
                assert seen[parent] == jobs[parent].state
            elif parent in results and results[parent] not in given["all"]:
                results[parent] = None  # it had not ended then, or had ended otherwise
        if drawn.takes:
            assert given == {"all": list(results.values())}
        if not moved:
            assert seen.keys() <= edges.keys()


# --- working them off ------------------------------------------------------------------------------------------------


def work_off(place: Place, seeds: Sequence[int], size: int | None = None) -> int:
    """Let three worker processes, one of which is killed, work off a graph per seed; gives how many jobs there were."""
    chance = random.Random(seeds[0])
    graphs = [Graph(place, seed, size or chance.randint(1, 150)) for seed in seeds]
    for graph in graphs[::2]:
        graph.flow.enqueue()
    doomed, *_ = [place.worker(lease="10s", concurrency=8) for _ in range(3)]
    for graph in graphs[1::2]:
        graph.flow.enqueue()
    app, live = place.app, [state for state in State if state not in ("completed", "dead", "cancelled")]

    def over() -> bool:
        chance.choice(graphs).act()
        return app.jobs.count(state=live) == 0

    total = sum(len(graph.nodes) for graph in graphs)
    wait_until(lambda: over() or app.jobs.count(state=live) < total * 0.6, patience=60)
    place.kill(doomed)
    place.worker(lease="10s", concurrency=8)
    wait_until(over, patience=60, what="all has ended")
    while sum(graph.mend() for graph in graphs):
        wait_until(lambda: app.jobs.count(state=live) == 0, patience=60, what="all that was retried ends")
    notes = noted(place.folder)
    for graph in graphs:
        graph.check(notes)
    assert app.jobs.count() == app.jobs.count(state=("completed", "dead", "cancelled"))
    return app.jobs.count()


def noted(folder: Path) -> dict[str, dict[int, Any]]:
    """What each run has seen, by job and fence."""
    notes: dict[str, dict[int, Any]] = defaultdict(dict)
    for path in folder.glob("notes-*.txt"):
        for line in path.read_text().splitlines():
            id, fence, *seen = json.loads(line)
            assert fence not in notes[id], "no two runs have one fence"
            notes[id][fence] = seen
    return notes


def place_in(folder: Path) -> Place:
    place = Place(folder, MODULE, tasks=())

    async def step(ctx: Context, deed: str, given: Any, after: list[str], policy: Any) -> str: ...  # type: ignore[empty-body]

    place.app.task(name="step")(step)
    place.app.task(name="plain_step")(step)
    return place


@pytest.mark.parametrize("seed", [1])
def test_every_job_of_a_random_graph_ends_as_its_parents_and_policies_say(tmp_path: Path, seed: int) -> None:
    place = place_in(tmp_path)
    try:
        began = time.monotonic()
        assert work_off(place, range(4 * seed, 4 * seed + 4)) > 100
        assert time.monotonic() - began < 60
    finally:
        place.close()
