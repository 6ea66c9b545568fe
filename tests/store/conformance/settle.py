"""settle: what a run came to is written if, and only if, its lease still holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mainspring.model.job import NewJob, Note
from mainspring.model.states import FINAL, State
from mainspring.store.base import Verb

from .scene import LEASE_MS, T0, Scene, lines, settlement


class TestSettle:
    """Every way in which a run can end."""

    @pytest.mark.parametrize("state", sorted(FINAL))
    def test_a_final_settlement_is_written_whole(self, scene: Scene, state: State) -> None:
        scene.join()
        scene.insert("j")
        claim = scene.claim_one()
        scene.later(40)
        ended = settlement(claim, state, history='[{"n":1}]', result="7", error='{"type":"E"}', reason="why", crashes=2)
        assert scene.settle(ended) == {"j"}
        job = scene.job("j")
        assert (job.state, job.result, job.error, job.reason) == (state, "7", '{"type":"E"}', "why")
        assert (job.history, job.attempt, job.crashes, job.lease) == ('[{"n":1}]', 1, 2, 1)
        assert (job.created_at, job.started_at, job.finished_at, job.worker) == (T0, T0, T0 + 40, "worker")

    def test_a_retry_is_scheduled_after_its_delay(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        claim = scene.claim_one()
        scene.later(10)
        back = settlement(
            claim, State.SCHEDULED, delay_ms=500, error='{"type":"E"}', reason="retry", history='[{"n":1}]'
        )
        assert scene.settle(back) == {"j"}
        job = scene.job("j")
        assert (job.state, job.run_at, job.attempt, job.finished_at) == (State.SCHEDULED, T0 + 510, 1, None)
        assert (job.error, job.reason, job.history) == ('{"type":"E"}', "retry", '[{"n":1}]')
        scene.later(500)
        assert scene.claim_one().attempt == 2

    def test_a_snoozed_job_uses_no_attempt(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        scene.settle(settlement(scene.claim_one(), State.SCHEDULED, delay_ms=5, attempt=0, postponed=1))
        assert (scene.job("j").attempt, scene.job("j").postponed) == (0, 1)
        scene.later(5)
        claim = scene.claim_one()
        assert (claim.attempt, claim.postponed, claim.lease) == (1, 1, 2)

    def test_a_job_handed_back_is_queued_at_once(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        scene.settle(settlement(scene.claim_one(), State.QUEUED, attempt=0, reason="handed back"))
        job = scene.job("j")
        assert (job.state, job.attempt, job.reason) == (State.QUEUED, 0, "handed back")
        assert scene.claim_one().lease == 2

    def test_every_field_is_absolute(self, scene: Scene) -> None:
        """What an earlier try left behind does not show through a later settlement that says nothing of it."""
        scene.join()
        scene.insert("j")
        scene.settle(settlement(scene.claim_one(), State.SCHEDULED, error='{"type":"E"}', reason="retry", crashes=1))
        scene.settle(settlement(scene.claim_one(), State.SCHEDULED, crashes=0))
        job = scene.job("j")
        assert (job.error, job.reason, job.crashes) == (None, None, 0)
        scene.settle(settlement(scene.claim_one(), State.SCHEDULED, error='{"type":"E"}', reason="retry"))
        scene.settle(settlement(scene.claim_one(), result="1"))
        job = scene.job("j")
        assert (job.error, job.reason, job.result) == (None, None, "1")

    def test_a_set_is_settled_at_once_each_in_its_own_way(self, scene: Scene) -> None:
        scene.join()
        scene.insert(*"123456")
        claims = scene.claim()
        states = [*sorted(FINAL), State.QUEUED, State.SCHEDULED]
        settled = [settlement(claim, state, delay_ms=9) for claim, state in zip(claims, states, strict=False)]
        assert scene.settle(*settled) == set("12345")
        assert [scene.state(id) for id in "123456"] == [*states, State.RUNNING]

    def test_a_settlement_sent_twice_has_one_effect(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        ended = settlement(scene.claim_one(), result="1")
        assert scene.settle(ended) == {"j"}
        scene.later(10)
        assert scene.settle(ended) == frozenset()
        assert scene.job("j").finished_at == T0

    def test_no_settlements_are_no_trouble(self, scene: Scene) -> None:
        assert scene.settle() == frozenset()

    def test_notes_are_written_before_their_job_ends(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        claim = scene.claim_one()
        scene.note(Note("j", claim.lease, lines=lines("one")))
        note = Note("j", claim.lease, progress=100.0, progress_text="done", lines=lines("two"), first=1)
        assert scene.settle(settlement(claim), notes=[note]) == {"j"}
        job = scene.job("j")
        assert (job.progress, job.progress_text) == (100.0, "done")
        assert job.log == lines("one", "two")

    @pytest.mark.parametrize("state", [State.COMPLETED, State.SCHEDULED])
    def test_lines_that_were_written_before_are_not_doubled(self, scene: Scene, state: State) -> None:
        """By a note whose reply was lost, or by this very request, sent twice."""
        scene.join()
        scene.insert("j")
        claim = scene.claim_one()
        early = Note("j", claim.lease, lines=lines("one", "two"))
        scene.note(early)
        late = Note("j", claim.lease, lines=lines("one", "two", "three"))
        assert scene.settle(settlement(claim, state, delay_ms=5), notes=[late]) == {"j"}
        assert scene.settle(settlement(claim, state, delay_ms=5), notes=[late]) == frozenset()
        assert scene.note(early) == frozenset()
        assert scene.job("j").log == lines("one", "two", "three")

    @pytest.mark.parametrize(
        ("state", "reason"),
        [
            (State.CANCELLED, "not wanted"),
            (State.QUEUED, "not wanted"),
            (State.SCHEDULED, "not wanted"),
            (State.DEAD, "its own"),
            (State.COMPLETED, "its own"),
        ],
    )
    def test_why_it_was_cancelled_stays_with_the_job(self, scene: Scene, state: State, reason: str) -> None:
        scene.join()
        scene.insert("j")
        claim = scene.claim_one()
        scene.alter(Verb.CANCEL, "j", reason="not wanted")
        scene.settle(settlement(claim, state, reason="its own"))
        assert scene.job("j").reason == reason

    def test_a_cancelled_job_that_goes_back_is_due_at_once(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        claim = scene.claim_one()
        scene.alter(Verb.CANCEL, "j")
        scene.later(10)
        scene.settle(settlement(claim, State.SCHEDULED, delay_ms=60_000))
        job = scene.job("j")
        assert (job.state, job.run_at, job.cancel_requested) == (State.QUEUED, T0 + 10, True)
        assert scene.claim_one().cancel_requested


class TestFence:
    """Who does not name the present lease of a running job changes nothing. Without the guard these go red."""

    def test_a_stale_settlement_changes_nothing(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        stale = scene.claim_one()
        scene.settle(settlement(stale, State.QUEUED))
        scene.claim_one()
        before = scene.job("j")
        for state in (*FINAL, State.QUEUED, State.SCHEDULED):
            follow_up = NewJob(f"after {state}", "task")
            ended = settlement(stale, state, result="stale", reason="stale", attempt=9, follow_ups=(follow_up,))
            assert scene.settle(ended) == frozenset()
        assert scene.find(with_log=True) == [before]

    def test_a_lease_from_the_future_changes_nothing(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        claim = scene.claim_one()
        before = scene.job("j")
        assert scene.settle(replace(settlement(claim), lease=claim.lease + 1)) == frozenset()
        assert scene.note(Note("j", claim.lease + 1, progress=1.0)) == frozenset()
        assert scene.job("j") == before

    def test_a_stale_note_changes_nothing(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        stale = scene.claim_one()
        scene.settle(settlement(stale, State.QUEUED))
        fresh = scene.claim_one()
        before = scene.job("j")
        note = Note("j", stale.lease, progress=50.0, progress_text="stale", lines=lines("stale"))
        assert scene.note(note) == frozenset()
        assert scene.settle(settlement(stale), notes=[note]) == frozenset()
        assert scene.job("j") == before
        assert scene.settle(settlement(fresh)) == {"j"}

    def test_a_stale_note_beside_a_settlement_that_holds_changes_nothing(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        claim = scene.claim_one()
        note = Note("j", claim.lease - 1, progress=50.0, lines=lines("stale"))
        assert scene.settle(settlement(claim), notes=[note]) == {"j"}
        job = scene.job("j")
        assert (job.progress, job.log) == (None, ())

    def test_a_job_that_is_not_running_is_not_written_even_by_its_last_lease(self, scene: Scene) -> None:
        scene.join()
        for state in (State.QUEUED, State.SCHEDULED, *sorted(FINAL)):
            scene.insert(f"j {state}")
            claim = scene.claim_one()
            scene.settle(settlement(claim, state, delay_ms=10**6))
            before = scene.job(claim.id)
            assert scene.settle(settlement(claim, State.COMPLETED, result="late")) == frozenset()
            assert scene.note(Note(claim.id, claim.lease, progress=1.0, lines=lines("late"))) == frozenset()
            assert scene.job(claim.id) == before
            scene.alter(Verb.DELETE, claim.id)

    def test_a_job_that_is_gone_is_not_written(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        claim = scene.claim_one()
        gone = replace(settlement(claim), id="never was", follow_ups=(NewJob("after", "task"),))
        assert scene.settle(gone) == frozenset()
        assert scene.ids() == ["j"]

    def test_one_stale_settlement_does_not_hold_up_the_others(self, scene: Scene) -> None:
        scene.join()
        scene.insert("1", "2", "3")
        claims = [settlement(claim) for claim in scene.claim()]
        claims[1] = replace(claims[1], lease=7)
        assert scene.settle(*claims) == {"1", "3"}
        assert scene.state("2") is State.RUNNING

    def test_a_worker_whose_job_was_reaped_changes_nothing(self, scene: Scene) -> None:
        """Stopped past its lease, and woken up after another worker took over."""
        scene.insert("j")
        scene.join("asleep")
        stale = scene.claim_one("asleep")
        scene.later(LEASE_MS + 1)
        scene.join("awake")
        (reaped,) = scene.reap("awake")
        assert scene.settle(settlement(stale, result="stale")) == frozenset()
        assert scene.settle(settlement(reaped, State.QUEUED)) == {"j"}
        fresh = scene.claim_one("awake")
        assert scene.settle(settlement(stale, result="stale")) == frozenset()
        assert scene.settle(settlement(fresh, result="fresh")) == {"j"}
        assert scene.settle(settlement(stale, result="stale")) == frozenset()
        assert scene.job("j").result == "fresh"

    def test_a_lease_outlives_what_is_done_to_its_job(self, scene: Scene) -> None:
        """The number only rises: no two tries of a job ever share it, though attempts begin anew."""
        scene.join()
        scene.insert("j")
        seen = list[int]()
        for state in (State.COMPLETED, State.DEAD, State.CANCELLED):
            claim = scene.claim_one()
            seen.append(claim.lease)
            assert claim.attempt == 1
            scene.settle(settlement(claim, state))
            scene.alter(Verb.REVIVE, "j")
        stale = settlement(claim, result="stale")
        fresh = scene.claim_one()
        assert seen == sorted(set(seen))
        assert fresh.lease > seen[-1]
        assert scene.settle(stale) == frozenset()
        assert scene.settle(settlement(fresh, result="fresh")) == {"j"}


class TestFollowUps:
    """Jobs that appear together with a settlement."""

    def test_follow_ups_appear_with_their_settlement(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        follow_ups = (NewJob("a", "next", queue="other", args='{"n":1}'), NewJob("b", "next", delay_ms=50))
        assert scene.settle(settlement(scene.claim_one(), follow_ups=follow_ups)) == {"j"}
        assert (scene.state("a"), scene.state("b")) == (State.QUEUED, State.SCHEDULED)
        assert (scene.job("a").queue, scene.job("a").args) == ("other", '{"n":1}')
        assert scene.job("b").run_at == T0 + 50

    def test_only_applied_settlements_have_follow_ups(self, scene: Scene) -> None:
        scene.join()
        scene.insert("1", "2")
        good, bad = (settlement(claim, follow_ups=(NewJob(f"after {claim.id}", "task"),)) for claim in scene.claim())
        assert scene.settle(replace(bad, lease=9), good) == {"1"}
        assert set(scene.ids()) == {"1", "2", "after 1"}

    def test_follow_ups_sent_twice_appear_once(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        ended = settlement(scene.claim_one(), follow_ups=(NewJob("after", "task"),))
        scene.settle(ended)
        scene.settle(ended)
        assert sorted(scene.ids()) == ["after", "j"]

    def test_a_follow_up_that_exists_already_is_left_as_it_is(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        scene.insert(NewJob("after", "first", queue="other"))
        assert scene.settle(settlement(scene.claim_one(), follow_ups=(NewJob("after", "second"),))) == {"j"}
        assert scene.job("after").task == "first"
