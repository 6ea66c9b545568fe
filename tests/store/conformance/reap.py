"""reap: a dead worker's jobs go, once, to one that is alive."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from mainspring.model.states import State
from mainspring.store.base import ReapRequest, Store, Verb

from .scene import LEASE_MS, T0, Scene, settlement


class TestReap:
    """Jobs left behind."""

    def test_a_dead_workers_jobs_are_leased_anew(self, scene: Scene) -> None:
        scene.join("dead")
        scene.insert("1", "2", "3")
        claims = scene.claim("dead", limit=2)
        scene.later(LEASE_MS + 1)
        scene.join("alive")
        reaped = sorted(scene.reap("alive"), key=lambda claim: claim.id)
        assert reaped == [replace(claim, lease=claim.lease + 1) for claim in claims]
        assert {claim.worker for claim in reaped} == {"dead"}
        job = scene.job("1")
        assert (job.state, job.worker, job.lease) == (State.RUNNING, "alive", 2)
        assert (job.attempt, job.started_at, job.crashes) == (1, T0, 0)

    def test_a_reaped_job_is_settled_by_who_reaped_it(self, scene: Scene) -> None:
        scene.join("dead")
        scene.insert("j")
        scene.claim_one("dead")
        scene.later(LEASE_MS + 1)
        scene.join("alive")
        (reaped,) = scene.reap("alive")
        assert scene.settle(settlement(reaped, State.QUEUED, attempt=0, crashes=1)) == {"j"}
        again = scene.claim_one("alive")
        assert (again.attempt, again.crashes, again.lease) == (1, 1, 3)

    def test_jobs_are_reaped_once(self, scene: Scene) -> None:
        scene.join("dead")
        scene.insert("j")
        scene.claim_one("dead")
        scene.later(LEASE_MS + 1)
        scene.join("a")
        scene.join("b")
        assert len(scene.reap("a")) == 1
        assert scene.reap("a") == scene.reap("b") == ()

    def test_live_workers_keep_theirs(self, scene: Scene) -> None:
        scene.join("busy")
        scene.join("reaper")
        scene.insert("j")
        scene.claim_one("busy")
        scene.later(LEASE_MS - 1)
        scene.beat("busy")
        scene.beat("reaper")
        scene.later(2)
        assert scene.reap("reaper") == scene.reap("busy") == ()

    def test_a_worker_that_left_leaves_its_jobs_at_once(self, scene: Scene) -> None:
        scene.join("gone")
        scene.insert("j")
        scene.claim_one("gone")
        scene.beat("gone", "leave")
        scene.join("reaper")
        assert [(claim.id, claim.worker) for claim in scene.reap("reaper")] == [("j", "gone")]

    def test_a_reaper_that_dies_in_turn_is_reaped(self, scene: Scene) -> None:
        scene.join("first")
        scene.insert("j")
        scene.claim_one("first")
        scene.later(LEASE_MS + 1)
        scene.join("second")
        scene.reap("second")
        scene.later(LEASE_MS + 1)
        scene.join("third")
        (claim,) = scene.reap("third")
        assert (claim.worker, claim.lease, claim.attempt) == ("second", 3, 1)

    def test_who_is_not_alive_reaps_nothing(self, scene: Scene) -> None:
        scene.join("dead")
        scene.insert("j")
        scene.claim_one("dead")
        scene.later(LEASE_MS + 1)
        assert scene.reap("stranger") == scene.reap("dead") == ()
        assert (scene.job("j").lease, scene.job("j").worker) == (1, "dead")

    def test_no_more_than_asked_for(self, scene: Scene) -> None:
        scene.join("dead")
        scene.insert(*"12345")
        scene.claim("dead")
        scene.later(LEASE_MS + 1)
        scene.join("alive")
        sets = [{claim.id for claim in scene.reap("alive", limit=2)} for _ in range(4)]
        assert [len(ids) for ids in sets] == [2, 2, 1, 0]
        assert set.union(*sets) == set("12345")

    def test_a_dead_worker_is_listed_until_it_owns_nothing(self, scene: Scene) -> None:
        scene.join("dead")
        scene.insert("1", "2")
        scene.claim("dead")
        scene.later(LEASE_MS + 1)
        scene.join("alive")
        scene.reap("alive", limit=1)
        assert {worker.id for worker in scene.configure().workers} == {"dead", "alive"}
        scene.reap("alive", limit=1)
        assert {worker.id for worker in scene.configure().workers} == {"alive"}

    def test_a_dead_worker_without_jobs_goes_too(self, scene: Scene) -> None:
        scene.join("dead")
        scene.later(LEASE_MS + 1)
        scene.join("alive")
        assert scene.reap("alive") == ()
        assert [worker.id for worker in scene.configure().workers] == ["alive"]

    def test_a_request_to_cancel_outlives_the_worker(self, scene: Scene) -> None:
        scene.join("dead")
        scene.insert("j")
        scene.claim_one("dead")
        scene.alter(Verb.CANCEL, "j")
        scene.later(LEASE_MS + 1)
        scene.join("alive")
        (reaped,) = scene.reap("alive")
        assert reaped.cancel_requested
        assert scene.beat("alive").cancelled == (("j", reaped.lease),)

    def test_reapers_at_once_share_the_jobs(self, scene: Scene, store: Store) -> None:
        scene.join("dead")
        ids = {f"{number:02}" for number in range(60)}
        scene.insert(*ids)
        scene.claim("dead")
        now = scene.later(LEASE_MS + 1)
        reapers = ["a", "b", "c"]
        for reaper in reapers:
            scene.join(reaper)

        def reap(reaper: str) -> list[str]:
            driver = store.driver()
            try:
                asked = (ReapRequest(reaper, 10, now=now) for _ in range(4))
                return [claim.id for request in asked for claim in driver.run(request)]
            finally:
                driver.close()

        with ThreadPoolExecutor() as pool:
            reaped = [id for mine in pool.map(reap, reapers) for id in mine]
        assert sorted(reaped) == sorted(ids)
        assert {job.lease for job in scene.find()} == {2}
