"""No script holds the server up: with a million jobs there, what is done to a hundred thousand goes bit by bit.

What one script does is bounded in commands, each time; what that takes, in the processor's time that the server has
used: a machine that others use may stop any of them for a while.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from redis import Redis
from servers.valkey import running_valkey

from mainspring.model.job import NewJob
from mainspring.model.states import State
from mainspring.model.stats import HOUR_MS, MINUTE_MS, Cell, Report
from mainspring.store.base import (
    AlterRequest,
    BeatRequest,
    ClaimRequest,
    CountRequest,
    Filter,
    FindRequest,
    InsertRequest,
    PruneRequest,
    Reply,
    Request,
    Room,
    Verb,
    Window,
)
from mainspring.store.redis import RedisStore

from .conformance.scene import presence

MOST_COMMANDS = 10_000
MOST_MS = 10.0
MANY = 100_000
BACKLOG = 900_000
NAMESPACE = "bounds"
START = 1_700_000_000_000

FILL = """
local ns, queue, state, first, last = KEYS[1] .. ':', ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local at = tonumber(ARGV[5])
redis.call('SADD', ns .. 'queues', queue)
for number = first, last do
  local id = string.format('%s %07d', queue, number)
  redis.call('HSET', ns .. 'job:' .. id, 'state', state, 'task', 'task', 'queue', queue, 'created_at', at, 'run_at', at)
  redis.call('ZADD', ns .. state .. ':' .. queue, at, id)
  if state == 'scheduled' then
    redis.call('ZADD', ns .. 'due:' .. queue, at, id)
  elseif state == 'queued' then
    redis.call('ZADD', ns .. 'order:' .. queue, 5 * 2 ^ 43 + at, id)
  else
    redis.call('HSET', ns .. 'job:' .. id, 'finished_at', at)
  end
end
"""


class Place:
    """A store with a million jobs in it, and how long its scripts took."""

    def __init__(self, url: str, client: Redis) -> None:
        self.store = RedisStore(f"{url}?namespace={NAMESPACE}")
        self.driver = self.store.driver()
        self.client = client

    def fill(self, queue: str, state: str, jobs: int, at: int = START) -> None:
        for first in range(0, jobs, 5000):
            self.client.eval(FILL, 1, f"{{{NAMESPACE}}}", queue, state, first, min(first + 5000, jobs) - 1, at)

    def ask(self, request: Request[Reply]) -> Reply:
        """One request, which is one script."""
        before = self.commands()
        reply = self.driver.run(request)
        assert self.commands() - before <= MOST_COMMANDS, request
        return reply

    def commands(self) -> int:
        """How many there were so far."""
        return sum(command["calls"] for command in self.client.info("commandstats").values())

    def count(self, state: State, queue: str) -> int:
        reply = self.ask(CountRequest(Filter(states=(state,), queue=queue)))
        return sum(tally.count for tally in reply.tallies)

    @contextmanager
    def bounded(self) -> Iterator[None]:
        """What happens meanwhile does not take the server long."""
        self.client.config_resetstat()
        before = self._used_ms()
        yield
        used, scripts = self._used_ms() - before, self.client.info("commandstats")["cmdstat_evalsha"]["calls"]
        assert used / scripts <= MOST_MS, f"{used:.0f} ms for {scripts} scripts"

    def _used_ms(self) -> float:
        """How long the server has had a processor so far."""
        used = self.client.info("cpu")
        return 1000 * float(used["used_cpu_user"] + used["used_cpu_sys"])


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with running_valkey() as server, server.client() as client:
        place = Place(server.url, client)
        place.fill("backlog", "queued", BACKLOG)
        yield place
        place.driver.close()


def alter(place: Place, verb: Verb, filter: Filter, now: int) -> int:
    request, changed = AlterRequest(verb, filter, reason="enough", now=now), 0
    while True:
        reply = place.ask(request)
        changed += reply.count
        if reply.cursor is None:
            return changed
        request = AlterRequest(verb, filter, reason="enough", cursor=reply.cursor, now=now)


@pytest.mark.timeout(300)
def test_what_is_due_all_at_once_is_promoted_bit_by_bit(place: Place) -> None:
    place.fill("due", "scheduled", MANY)
    place.ask(BeatRequest(presence("worker"), "join"))
    claimed = 0
    with place.bounded():
        while place.count(State.SCHEDULED, "due"):
            reply = place.ask(ClaimRequest("worker", (Room("due", 10),), 10))
            claimed += len(reply.claims)
            assert reply.claims
            assert reply.next_due is None or reply.next_due <= reply.now
    assert place.count(State.QUEUED, "due") == MANY - claimed


@pytest.mark.timeout(300)
def test_many_are_cancelled_replayed_and_deleted_bit_by_bit(place: Place) -> None:
    place.fill("bulk", "queued", MANY)
    chosen = Filter(queue="bulk", states=(State.QUEUED,))
    with place.bounded():
        assert alter(place, Verb.CANCEL, chosen, START) == MANY
    with place.bounded():
        assert alter(place, Verb.REVIVE, Filter(queue="bulk", states=(State.CANCELLED,)), START + 1) == MANY
    assert place.count(State.QUEUED, "bulk") == MANY
    with place.bounded():
        assert alter(place, Verb.DELETE, chosen, START + 2) == MANY
    assert place.count(State.QUEUED, "bulk") == 0


@pytest.mark.timeout(300)
def test_what_is_old_is_pruned_bit_by_bit(place: Place) -> None:
    place.fill("old", "completed", MANY)
    keep, gone = {State.COMPLETED: 0}, 0
    with place.bounded():
        while some := place.ask(PruneRequest(keep, limit=250, now=START + 1)):
            gone += some
    assert gone == MANY


@pytest.mark.timeout(300)
@pytest.mark.fault("a million jobs", "redis")
def test_pages_and_counts_among_a_million_are_quick(place: Place) -> None:
    with place.bounded():
        cursor, looked = None, 0
        while looked < 50:
            page = place.ask(FindRequest(Filter(task="nobody's"), cursor=cursor))
            assert page.jobs == ()
            cursor, looked = page.cursor, looked + 1
            assert place.count(State.QUEUED, "backlog") == BACKLOG


def test_statistics_of_many_queues_in_one_minute_are_read_bit_by_bit(place: Place) -> None:
    # Long after everything else, so that nothing else is read.
    now = START + 1000 * HOUR_MS
    queues, at = [f"busy {number}" for number in range(3000)], now // MINUTE_MS * MINUTE_MS
    for number in range(0, len(queues), 500):
        cells = tuple(Cell(at, queue, "task", {"started": 1}) for queue in queues[number : number + 500])
        place.ask(BeatRequest(presence("counter"), "leave", (Report("life", number + 1, cells),), now=now))
    with place.bounded():
        window = Window(HOUR_MS, MINUTE_MS, by="queue")
        sums = place.ask(CountRequest(Filter(), stats=window, now=now)).stats
        calls = {name: command["calls"] for name, command in place.client.info("commandstats").items()}
    assert {sum.name: sum.numbers["started"] for sum in sums} == dict.fromkeys(queues, 1)
    assert calls["cmdstat_hgetall"] == len(queues)
    assert calls["cmdstat_evalsha"] > 5, "no script reads a thousand of them"


def test_of_jobs_that_are_large_a_script_reads_fewer(place: Place) -> None:
    args = f'{{"text":"{"x" * 20_000}"}}'
    place.driver.run(InsertRequest(tuple(NewJob(f"large {n:03}", "task", "large", args) for n in range(300))))
    before = place.commands()
    page = place.driver.run(FindRequest(Filter(queue="large", text="nowhere")))
    assert page.cursor is not None
    assert page.jobs == ()
    assert place.commands() - before < 200
