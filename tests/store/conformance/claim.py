"""claim: due jobs of open queues, in order, to workers that are alive, each to one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from mainspring.model.job import Claim, Edge, NewJob
from mainspring.model.states import State
from mainspring.store.base import ClaimRequest, DefineQueue, LimitQueue, PauseQueue, Room, Store, Verb

from .scene import LEASE_MS, T0, Scene, settlement


class TestClaim:
    """What is served, in which order, and to whom."""

    def test_a_claim_tells_all_that_a_run_needs(self, scene: Scene) -> None:
        scene.insert(NewJob("j", "mail.send", "email", '{"n":1}', priority=2, options='{"timeout_ms":5}'))
        scene.later(10)
        scene.join("w")
        assert scene.claim_one("w", Room("email", 1)) == Claim(
            id="j",
            lease=1,
            task="mail.send",
            queue="email",
            args='{"n":1}',
            priority=2,
            attempt=1,
            crashes=0,
            postponed=0,
            created_at=T0,
            run_at=T0,
            started_at=T0 + 10,
            worker="w",
            history="[]",
            options='{"timeout_ms":5}',
            cancel_requested=False,
        )
        job = scene.job("j")
        assert (job.state, job.worker, job.started_at, job.lease) == (State.RUNNING, "w", T0 + 10, 1)

    def test_values_come_as_their_types(self, scene: Scene) -> None:
        """Not as whatever stands for them in the store: equal is not enough."""
        scene.join()
        scene.insert("j")
        claim, job = scene.claim_one(), scene.job("j")
        assert claim.cancel_requested is job.cancel_requested is False
        assert type(job.state) is State
        (worker,) = scene.configure().workers
        assert worker.quiet is False
        scene.alter(Verb.CANCEL, "j")
        assert scene.job("j").cancel_requested is True
        ((id, lease),) = scene.beat().cancelled
        assert (type(id), type(lease)) == (str, int)

    def test_no_job_is_given_twice(self, scene: Scene) -> None:
        scene.join("a")
        scene.join("b")
        scene.insert("1", "2", "3")
        first, second = scene.claim("a", limit=2), scene.claim("b", limit=2)
        assert [claim.id for claim in first + second] == ["1", "2", "3"]
        assert scene.claim("a") == ()

    def test_order_is_priority_then_due_time_then_id(self, scene: Scene) -> None:
        scene.join()
        scene.insert(
            NewJob("f", "task", priority=9, run_at=T0 - 9000),
            NewJob("d", "task", priority=5, run_at=T0 - 10),
            NewJob("c", "task", priority=5, run_at=T0 - 10),
            NewJob("e", "task", priority=5, run_at=T0),
            NewJob("b", "task", priority=5, run_at=T0 - 20),
            NewJob("a", "task", priority=-3, run_at=T0),
        )
        assert [claim.id for claim in scene.claim(limit=4)] == ["a", "b", "c", "d"]
        assert [claim.id for claim in scene.claim()] == ["e", "f"]

    def test_a_delayed_job_stands_where_it_became_due(self, scene: Scene) -> None:
        scene.join()
        scene.insert(NewJob("delayed", "task", delay_ms=100))
        scene.later(200)
        scene.insert("younger")
        scene.later(100)
        assert [claim.id for claim in scene.claim()] == ["delayed", "younger"]

    def test_a_scheduled_job_is_served_from_its_time_on(self, scene: Scene) -> None:
        scene.join()
        scene.insert(NewJob("j", "task", run_at=T0 + 100))
        scene.later(99)
        assert scene.claim() == ()
        assert scene.state("j") is State.SCHEDULED
        scene.later(1)
        assert [claim.id for claim in scene.claim()] == ["j"]

    def test_due_jobs_are_promoted_even_where_there_is_no_room_for_all(self, scene: Scene) -> None:
        scene.join()
        scene.insert(*(NewJob(f"{number}", "task", delay_ms=10) for number in range(5)))
        scene.later(10)
        assert len(scene.claim(limit=2)) == 2
        assert scene.count() == {("default", State.RUNNING): 2, ("default", State.QUEUED): 3}

    def test_due_jobs_of_paused_and_full_queues_are_promoted_too(self, scene: Scene) -> None:
        scene.join()
        scene.configure(PauseQueue("paused", True), LimitQueue("full", 0))
        scene.insert(*(NewJob(queue, "task", queue, delay_ms=10) for queue in ("paused", "full", "unnamed")))
        scene.later(10)
        reply = scene.claim_reply("worker", Room("paused", 5), Room("full", 5))
        assert (reply.claims, reply.next_due) == ((), None)
        assert (scene.state("paused"), scene.state("full")) == (State.QUEUED, State.QUEUED)
        assert scene.state("unnamed") is State.SCHEDULED

    def test_more_due_jobs_than_one_claim_promotes_are_all_served(self, scene: Scene) -> None:
        scene.join()
        scene.insert(*(NewJob(f"{number:04}", "task", delay_ms=1 + number % 10) for number in range(2500)))
        scene.later(10)
        claimed = list[str]()
        while claims := scene.claim(limit=700):
            claimed += [claim.id for claim in claims]
        assert sorted(claimed) == [f"{number:04}" for number in range(2500)]

    def test_next_due_lies_in_the_past_only_while_more_is_due(self, scene: Scene) -> None:
        scene.join()
        scene.configure(PauseQueue("default", True))
        scene.insert(*(NewJob(f"{number:04}", "task", delay_ms=1) for number in range(1500)))
        scene.later(1)
        for _ in range(10):
            if scene.claim_reply().next_due is None:
                break
        assert scene.count() == {("default", State.QUEUED): 1500}

    def test_rooms_are_served_in_order_up_to_the_limit(self, scene: Scene) -> None:
        scene.join()
        scene.insert(*(NewJob(f"{queue}{number}", "task", queue) for queue in "abc" for number in range(3)))
        claims = scene.claim("worker", Room("b", 2), Room("a", 10), Room("c", 10), limit=6)
        assert [claim.id for claim in claims] == ["b0", "b1", "a0", "a1", "a2", "c0"]

    def test_a_queue_may_be_named_twice(self, scene: Scene) -> None:
        scene.join()
        scene.insert(*(NewJob(f"{queue}{number}", "task", queue) for queue in "ab" for number in range(3)))
        claims = scene.claim("worker", Room("a", 1), Room("b", 1), Room("a", 5), limit=10)
        assert [claim.id for claim in claims] == ["a0", "b0", "a1", "a2"]

    def test_only_the_named_queues_are_served(self, scene: Scene) -> None:
        scene.join()
        scene.insert(NewJob("a", "task", "a"), NewJob("b", "task", "b"))
        assert [claim.id for claim in scene.claim("worker", Room("b", 5), Room("nowhere", 5))] == ["b"]

    def test_each_claim_raises_attempt_and_lease(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        for number in (1, 2, 3):
            claim = scene.claim_one()
            assert (claim.attempt, claim.lease) == (number, number)
            scene.settle(settlement(claim, State.SCHEDULED, history=f'[{{"number":{number}}}]'))
        assert scene.claim_one().history == '[{"number":3}]'

    def test_a_worker_that_never_joined_gets_nothing(self, scene: Scene) -> None:
        scene.insert("j")
        reply = scene.claim_reply("stranger")
        assert (reply.claims, reply.alive) == ((), False)
        assert scene.state("j") is State.QUEUED

    def test_a_worker_past_its_lease_gets_nothing(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        scene.later(LEASE_MS - 1)
        assert scene.claim_reply("worker", Room("empty", 1)).alive
        scene.later(2)
        reply = scene.claim_reply()
        assert (reply.claims, reply.alive) == ((), False)
        assert scene.state("j") is State.QUEUED

    def test_a_worker_that_left_gets_nothing(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        scene.beat(phase="leave")
        assert not scene.claim_reply().alive
        assert scene.state("j") is State.QUEUED

    def test_workers_claiming_at_once_share_the_jobs(self, scene: Scene, store: Store) -> None:
        workers = ["a", "b", "c", "d"]
        for worker in workers:
            scene.join(worker)
        ids = {f"{number:03}" for number in range(200)}
        scene.insert(*ids)

        def drain(worker: str) -> list[str]:
            driver, mine = store.driver(), list[str]()
            try:
                while claims := driver.run(ClaimRequest(worker, (Room("default", 7),), 7, now=T0)).claims:
                    mine += [claim.id for claim in claims]
            finally:
                driver.close()
            return mine

        with ThreadPoolExecutor() as pool:
            claimed = [id for mine in pool.map(drain, workers) for id in mine]
        assert sorted(claimed) == sorted(ids)


class TestLostReplies:
    """A worker that never got the reply to a claim gets what it was given."""

    def ask(self, scene: Scene, *held: str, limit: int = 10) -> tuple[Claim, ...]:
        rooms = (Room("default", limit),)
        return scene.ask(ClaimRequest("worker", rooms, limit, frozenset(held), now=scene.now)).claims

    def test_what_it_does_not_hold_is_given_once_more(self, scene: Scene) -> None:
        scene.join()
        scene.insert("1", "2", "3")
        lost = scene.claim(limit=2)
        assert self.ask(scene, limit=2)[:2] == lost
        assert self.ask(scene, "2", "3")[:1] == lost[:1]
        assert scene.settle(*map(settlement, lost)) == {"1", "2"}

    def test_and_then_what_is_new(self, scene: Scene) -> None:
        scene.join()
        scene.insert("1", "2")
        (lost,) = scene.claim(limit=1)
        again, new = self.ask(scene)
        assert again == lost
        assert new.id == "2"
        assert self.ask(scene, "1", "2") == ()

    def test_who_has_no_room_gets_nothing_new(self, scene: Scene) -> None:
        scene.join()
        scene.insert("1", "2", "3")
        lost = scene.claim(limit=2)
        assert self.ask(scene, limit=0) == lost
        assert self.ask(scene, "1", "2", limit=0) == ()

    def test_others_jobs_stay_theirs(self, scene: Scene) -> None:
        scene.join()
        scene.join("other")
        scene.insert("1")
        scene.claim("other")
        assert self.ask(scene) == ()

    def test_parents_come_with_them(self, scene: Scene) -> None:
        scene.join()
        scene.finish("p")
        scene.insert(NewJob("c", "task", parents=(Edge("p"),)))
        (lost,) = scene.claim()
        assert [parent.id for parent in lost.parents] == ["p"]
        assert self.ask(scene) == (lost,)

    def test_who_is_given_up_gets_nothing(self, scene: Scene) -> None:
        scene.join(lease_ms=1000)
        scene.insert("1")
        scene.claim()
        scene.later(1000)
        assert self.ask(scene) == ()


class TestNextDue:
    """When an idle worker must look again."""

    def test_it_is_the_earliest_scheduled_time_of_the_named_queues(self, scene: Scene) -> None:
        scene.join()
        scene.insert(
            NewJob("a", "task", "a", run_at=T0 + 300),
            NewJob("b", "task", "b", run_at=T0 + 200),
            NewJob("c", "task", "c", run_at=T0 + 100),
        )
        reply = scene.claim_reply("worker", Room("a", 5), Room("b", 5))
        assert (reply.claims, reply.next_due, reply.now) == ((), T0 + 200, T0)

    def test_it_is_none_where_nothing_is_scheduled(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j", NewJob("elsewhere", "task", "elsewhere", delay_ms=5))
        assert scene.claim_reply().next_due is None

    def test_what_was_promoted_counts_no_more(self, scene: Scene) -> None:
        scene.join()
        scene.insert(NewJob("soon", "task", delay_ms=10), NewJob("late", "task", delay_ms=20))
        assert scene.claim_reply().next_due == T0 + 10
        scene.later(10)
        reply = scene.claim_reply()
        assert ([claim.id for claim in reply.claims], reply.next_due) == (["soon"], T0 + 20)

    def test_a_retry_is_due_after_its_delay(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        scene.settle(settlement(scene.claim_one(), State.SCHEDULED, delay_ms=700))
        assert scene.claim_reply().next_due == T0 + 700


class TestPaused:
    """Paused queues."""

    def test_a_paused_queue_gives_nothing_until_it_is_resumed(self, scene: Scene) -> None:
        scene.join()
        scene.configure(PauseQueue("default", True))
        scene.insert("queued", NewJob("due", "task", run_at=T0 - 1), NewJob("later", "task", delay_ms=5))
        scene.later(10)
        assert scene.claim() == ()
        scene.configure(PauseQueue("default", False))
        assert [claim.id for claim in scene.claim()] == ["due", "queued", "later"]

    def test_a_paused_queue_does_not_hold_up_the_others(self, scene: Scene) -> None:
        scene.join()
        scene.configure(PauseQueue("a", True))
        scene.insert(NewJob("a", "task", "a"), NewJob("b", "task", "b"))
        assert [claim.id for claim in scene.claim("worker", Room("a", 5), Room("b", 5), limit=5)] == ["b"]

    def test_what_runs_when_a_queue_is_paused_may_end(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        claim = scene.claim_one()
        scene.configure(PauseQueue("default", True))
        assert scene.settle(settlement(claim)) == {"j"}


class TestConcurrency:
    """A queue's limit, counted over all workers."""

    def test_the_limit_counts_over_all_workers(self, scene: Scene) -> None:
        scene.join("a")
        scene.join("b")
        scene.configure(LimitQueue("default", 3))
        scene.insert(*"12345")
        assert len(scene.claim("a", limit=2)) == 2
        assert len(scene.claim("b")) == 1
        assert scene.claim("a") == scene.claim("b") == ()

    def test_two_rooms_of_one_queue_share_its_limit(self, scene: Scene) -> None:
        scene.join()
        scene.configure(LimitQueue("default", 3))
        scene.insert(*"12345")
        assert len(scene.claim("worker", Room("default", 2), Room("default", 5))) == 3

    def test_a_settled_job_makes_room(self, scene: Scene) -> None:
        scene.join()
        scene.configure(LimitQueue("default", 1))
        scene.insert("1", "2", "3")
        scene.settle(settlement(scene.claim_one()))
        second = scene.claim()
        assert [claim.id for claim in second] == ["2"]
        scene.settle(settlement(second[0], State.SCHEDULED, delay_ms=1000))
        assert [claim.id for claim in scene.claim()] == ["3"]

    def test_a_dead_workers_jobs_count_until_they_are_settled(self, scene: Scene) -> None:
        scene.configure(LimitQueue("default", 1))
        scene.insert("1", "2")
        scene.join("dead")
        scene.claim_one("dead")
        scene.later(LEASE_MS + 1)
        scene.join("alive")
        assert scene.claim("alive") == ()
        (reaped,) = scene.reap("alive")
        assert scene.claim("alive") == ()
        scene.settle(settlement(reaped, State.DEAD))
        assert [claim.id for claim in scene.claim("alive")] == ["2"]

    def test_one_queues_limit_does_not_touch_another(self, scene: Scene) -> None:
        scene.join()
        scene.configure(LimitQueue("a", 1))
        scene.insert(*(NewJob(f"{queue}{number}", "task", queue) for queue in "ab" for number in range(3)))
        assert [claim.id for claim in scene.claim("worker", Room("a", 9), Room("b", 9))] == ["a0", "b0", "b1", "b2"]

    def test_a_limit_of_nought_gives_nothing(self, scene: Scene) -> None:
        scene.join()
        scene.configure(LimitQueue("default", 0))
        scene.insert("j")
        assert scene.claim() == ()

    def test_a_limit_below_what_runs_waits_until_there_is_room(self, scene: Scene) -> None:
        scene.join()
        scene.insert(*"1234")
        running = scene.claim(limit=3)
        scene.configure(LimitQueue("default", 1))
        assert scene.claim() == ()
        scene.settle(*map(settlement, running[:2]))
        assert scene.claim() == ()
        scene.settle(settlement(running[2]))
        assert [claim.id for claim in scene.claim()] == ["4"]

    def test_the_codes_limit_holds_like_an_operators(self, scene: Scene) -> None:
        scene.join()
        scene.configure(DefineQueue("default", 2))
        scene.insert(*"123")
        assert len(scene.claim()) == 2

    def test_a_lifted_limit_lets_all_through(self, scene: Scene) -> None:
        scene.join()
        scene.configure(DefineQueue("default", 1))
        scene.insert(*"123")
        assert len(scene.claim()) == 1
        scene.configure(LimitQueue("default", None))
        assert len(scene.claim()) == 2

    def test_a_cancelled_running_job_counts_until_it_ends(self, scene: Scene) -> None:
        scene.join()
        scene.configure(LimitQueue("default", 1))
        scene.insert("1", "2")
        scene.claim_one()
        scene.alter(Verb.CANCEL, "1")
        assert scene.claim() == ()

    def test_workers_claiming_at_once_keep_the_limit(self, scene: Scene, store: Store) -> None:
        workers = ["a", "b", "c", "d"]
        for worker in workers:
            scene.join(worker)
        scene.configure(LimitQueue("default", 5))
        scene.insert(*(f"{number:03}" for number in range(50)))

        def claim(worker: str) -> int:
            driver = store.driver()
            try:
                asked = (ClaimRequest(worker, (Room("default", 1),), 1, now=T0) for _ in range(5))
                return sum(len(driver.run(request).claims) for request in asked)
            finally:
                driver.close()

        with ThreadPoolExecutor() as pool:
            assert sum(pool.map(claim, workers)) == 5
        assert scene.count() == {("default", State.RUNNING): 5, ("default", State.QUEUED): 45}
