"""PostgreSQL beside a transaction that somebody keeps open: what is gone cannot be cleared away, and is not in the way.

Every look counts as a slow one here, and the heads go by a clock that the test holds.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count

import psycopg
import pytest

from mainspring.model.job import Claim, NewJob
from mainspring.model.states import State
from mainspring.store.base import BeatRequest, ClaimRequest, InsertRequest, Room, SettleRequest, start
from mainspring.store.postgres import PostgresStore, heads
from mainspring.store.postgres.dialect import PostgresDialect
from mainspring.store.postgres.heads import LONGEST_SECONDS, SHORTEST_SECONDS, Heads

from .conformance.scene import presence, settlement
from .test_postgres_races import Crowd

DONE = 2_500
"""So many jobs are done beside the open transaction; each leaves a row that a look from the beginning meets."""
BATCH = 500
FEW = 5
PAGES_AT_MOST = 40 * FEW
"""For a claim of so few: their rows, written anew, in all indexes."""


@pytest.fixture
def pinned(postgres: str) -> Iterator[None]:
    """Somebody has looked at something, and does not end his transaction."""
    with psycopg.connect(postgres) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SELECT count(*) FROM pg_class")
        yield


@pytest.fixture(autouse=True)
def _slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "SLOW_US", 0)


class Work:
    """One worker, its claims, and the clock of its program's heads."""

    def __init__(self, store: PostgresStore, url: str) -> None:
        self.seconds = 0.0
        self.store = store
        store._heads = Heads(lambda: self.seconds)
        self.driver = store.driver()
        self.driver.run(BeatRequest(presence("worker", 600_000), "join"))
        self._url = url
        self._numbers = count()
        for queue in ("default", "urgent", "bulk", "a", "b"):
            # The first claim from a queue writes down that it is there, and is none of the plain ones.
            self.insert(1, queue)
            self.settle(self.claim(1, Room(queue, 1)))

    def insert(self, many: int, queue: str = "default", priority: int = 5, priorities: int = 1) -> list[str]:
        """So many; their priorities by turns, that neighbours in the queue are on pages far apart."""
        numbers = [next(self._numbers) for _ in range(many)]
        jobs = [NewJob(f"{n:05}", "task", queue, priority=priority + n % priorities) for n in numbers]
        self.driver.run(InsertRequest(tuple(jobs)))
        return [job.id for job in jobs]

    def claim(self, limit: int, *rooms: Room) -> list[Claim]:
        reply = self.driver.run(ClaimRequest("worker", rooms or (Room("default", limit),), limit))
        return list(reply.claims)

    def settle(self, claims: Sequence[Claim], state: State = State.COMPLETED) -> None:
        ends = tuple(settlement(claim, state) for claim in claims)
        assert self.driver.run(SettleRequest(ends)) == {end.id for end in ends}

    def do(self, many: int, queue: str = "default") -> None:
        """Claim and complete so many."""
        for _ in range(0, many, BATCH):
            self.settle(self.claim(BATCH, Room(queue, BATCH)))

    def pages(self, *queues: str, store: PostgresStore | None = None) -> int:
        """How many the next claim of a few jobs from these queues will look at, as the store asks for it now."""
        store = store or self.store
        rooms = tuple(Room(queue, FEW) for queue in queues or ("default",))
        operation = start(store, ClaimRequest("worker", rooms, FEW))
        step = next(operation)
        operation.close()
        text = PostgresDialect(store.url.rpartition("schema=")[2]).text(step)
        with psycopg.connect(self._url) as connection:
            # The first time, the catalogue is read too.
            for _ in range(2):
                row = connection.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {text}", step.parameters).fetchone()
                connection.rollback()
        assert row is not None
        plan = row[0][0]["Plan"]
        assert plan["Actual Rows"] == FEW + 1, "the jobs, and the row about the whole"
        return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


@pytest.fixture
def work(postgres_store: PostgresStore, postgres: str) -> Iterator[Work]:
    work = Work(postgres_store, postgres)
    yield work
    work.driver.close()


@pytest.mark.usefixtures("pinned")
class TestWhatIsGone:
    """It is walked past by a look from the beginning, and by no other."""

    def test_a_claim_looks_at_as_few_pages_after_thousands_of_jobs_as_before(
        self, work: Work, postgres_store: PostgresStore, postgres: str
    ) -> None:
        work.insert(DONE + BATCH, priorities=50)
        first = work.pages()
        work.do(DONE)
        assert work.pages() <= PAGES_AT_MOST
        schema = postgres_store.url.rpartition("schema=")[2]
        stranger = PostgresStore(f"{postgres}{'&' if '?' in postgres else '?'}schema={schema}")
        assert work.pages(store=stranger) > first + DONE, "the transaction pins nothing: this test tests nothing"

    def test_also_in_the_first_of_two_queues_where_nothing_is_left(self, work: Work) -> None:
        work.insert(DONE, "urgent", priorities=50)
        work.insert(BATCH, "bulk")
        work.do(DONE, "urgent")
        work.seconds += LONGEST_SECONDS
        assert work.pages("urgent", "bulk") > DONE
        work.claim(FEW, Room("urgent", FEW), Room("bulk", FEW))
        assert work.pages("urgent", "bulk") <= PAGES_AT_MOST

    def test_a_queue_that_is_named_twice_is_walked_through_once(self, work: Work) -> None:
        work.insert(DONE, "urgent", priorities=50)
        work.insert(BATCH, "bulk")
        work.do(DONE, "urgent")
        work.seconds += LONGEST_SECONDS
        assert DONE < work.pages("urgent", "urgent", "bulk") < 2 * DONE


class TestWhatComesBeforeTheHead:
    """It waits while others fill the claims, and never longer than the time of the head."""

    def test_a_more_urgent_job_is_claimed_when_that_is_over_however_many_claims_there_were(self, work: Work) -> None:
        ids = work.insert(100)
        assert [claim.id for claim in work.claim(10)] == ids[:10]
        urgent = work.insert(1, priority=1)
        for n in range(1, 5):
            work.seconds = SHORTEST_SECONDS * n / 5
            assert [claim.id for claim in work.claim(10)] == ids[10 * n : 10 * n + 10]
        work.seconds = SHORTEST_SECONDS
        assert [claim.id for claim in work.claim(10)] == urgent + ids[50:59]

    def test_so_is_one_that_was_given_back(self, work: Work) -> None:
        ids = work.insert(30)
        work.settle(work.claim(10)[3:5], State.QUEUED)
        assert [claim.id for claim in work.claim(10)] == ids[10:20]
        work.seconds = SHORTEST_SECONDS
        assert [claim.id for claim in work.claim(10)] == ids[3:5] + ids[20:28]

    def test_where_the_others_do_not_fill_a_claim_it_is_claimed_at_once_and_comes_first(self, work: Work) -> None:
        ids = work.insert(15)
        work.claim(10)
        urgent = work.insert(2, priority=1)
        assert [claim.id for claim in work.claim(10)] == urgent + ids[10:]

    def test_a_claim_that_is_completed_gives_no_more_than_there_is_room_for(self, work: Work) -> None:
        work.insert(6, "a")
        work.insert(3, "b")
        rooms = (Room("a", 2), Room("b", 2), Room("a", 3))
        assert [claim.queue for claim in work.claim(4, *rooms)] == ["a", "a", "b", "b"]
        work.insert(9, "a", priority=1)
        claims = work.claim(20, *rooms)
        assert Counter(claim.queue for claim in claims) == {"a": 5, "b": 1}
        assert [claim.priority for claim in claims] == [1, 5, 5, 5, 5, 5]

    def test_a_queue_that_was_found_empty_gets_its_turn_again(self, work: Work) -> None:
        rooms = (Room("urgent", 2), Room("bulk", 2))
        bulk = work.insert(20, "bulk")
        assert [claim.id for claim in work.claim(2, *rooms)] == bulk[:2]
        urgent = work.insert(1, "urgent")
        assert [claim.id for claim in work.claim(2, *rooms)] == bulk[2:4]
        work.seconds = SHORTEST_SECONDS
        assert [claim.id for claim in work.claim(2, *rooms)] == [*urgent, bulk[4]]

    def test_a_request_with_a_time_of_its_own_knows_of_no_head(self, work: Work) -> None:
        work.insert(30)
        now = work.driver.run(ClaimRequest("worker", (Room("default", 10),), 10)).now
        urgent = work.insert(1, priority=1)
        claims = work.driver.run(ClaimRequest("worker", (Room("default", 10),), 10, now=now)).claims
        assert claims[0].id == urgent[0]


@pytest.mark.usefixtures("pinned")
@pytest.mark.parametrize("parameters", ["", "&listen=0"], ids=["sessions", "pooled"])
def test_nothing_is_lost_and_nothing_doubled_where_several_share_the_heads(
    postgres_store: PostgresStore, postgres: str, parameters: str
) -> None:
    schema = postgres_store.url.rpartition("schema=")[2]
    store = PostgresStore(f"{postgres}{'&' if '?' in postgres else '?'}schema={schema}{parameters}")
    crowd, chance = Crowd(store, postgres), random.Random(7)
    jobs = [NewJob(f"{n:04}", "task", "ab"[n % 3 == 0], priority=5 + n % 2) for n in range(3000)]
    returned = set[str]()

    def run(claim: Claim) -> State:
        if claim.id in returned or chance.random() > 0.05:
            return State.COMPLETED
        returned.add(claim.id)
        return State.QUEUED

    rooms = [Room("a", 9), Room("b", 6), Room("a", 15)], [Room("b", 15), Room("a", 15)]
    with crowd.claimers(*rooms, count=4, limit=15, run=run):
        for first in range(0, len(jobs), 100):
            # Also such as come to stand before the head.
            crowd.insert(*jobs[first : first + 99], NewJob(f"urgent {first}", "task", "a", priority=1))
            crowd.insert(jobs[first + 99])
        crowd.wait_for([job.id for job in jobs] + [f"urgent {first}" for first in range(0, len(jobs), 100)])
    assert returned
    runs = Counter(run.claim.id for run in crowd.runs)
    assert {id: 1 + (id in returned) for id in runs} == runs
    assert len(crowd.jobs()) == len(runs) == 3030
    crowd.driver.close()
