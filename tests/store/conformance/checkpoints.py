"""Checkpoints: what a run saves of its job's work comes with the next claim, until the job has completed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mainspring.model.job import Conflict, Edge, Key, NewJob, Note
from mainspring.model.states import FINAL, State
from mainspring.store.base import ClaimRequest, Room, Verb

from .scene import LEASE_MS, Scene, lines, settlement

LARGE = '"' + "x" * 300_000 + '"'


class TestCheckpoints:
    """Saved with a note, given with a claim."""

    def test_a_new_job_has_none(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        assert scene.claim_one().checkpoint is None
        assert scene.job("j").checkpoint is None

    def test_the_latest_is_kept_and_comes_with_the_next_claim(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j", "other")
        claim, beside = scene.claim()
        assert scene.note(Note("j", claim.lease, checkpoint='{"page":1}')) == {"j"}
        assert scene.note(Note("j", claim.lease, checkpoint='{"page":2}')) == {"j"}
        assert scene.job("j").checkpoint == '{"page":2}'
        scene.settle(settlement(claim, State.QUEUED), settlement(beside, State.QUEUED))
        again, beside = scene.claim()
        assert (again.checkpoint, beside.checkpoint) == ('{"page":2}', None)

    def test_a_note_that_says_nothing_of_it_leaves_it(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        claim = scene.claim_one()
        scene.note(Note("j", claim.lease, progress=10.0, checkpoint="1"))
        scene.note(Note("j", claim.lease, progress=20.0, lines=lines("a line")))
        job = scene.job("j")
        assert (job.checkpoint, job.progress, job.log) == ("1", 20.0, lines("a line"))

    @pytest.mark.parametrize("text", ["null", "0", '""', '"\\u0000 \\ud800"', LARGE])
    def test_whatever_was_saved_comes_back_as_it_was(self, scene: Scene, text: str) -> None:
        scene.join()
        scene.insert("j")
        claim = scene.claim_one()
        scene.note(Note("j", claim.lease, checkpoint=text))
        scene.settle(settlement(claim, State.QUEUED))
        assert scene.claim_one().checkpoint == text
        assert scene.job("j").checkpoint == text

    def test_one_that_comes_with_a_settlement_is_written_first(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        claim = scene.claim_one()
        note = Note("j", claim.lease, checkpoint="3")
        assert scene.settle(settlement(claim, State.QUEUED), notes=[note]) == {"j"}
        assert scene.claim_one().checkpoint == "3"

    def test_who_has_lost_the_job_saves_nothing(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        claim = scene.claim_one()
        scene.note(Note("j", claim.lease, checkpoint="1"))
        scene.settle(settlement(claim, State.QUEUED))
        stale = Note("j", claim.lease, checkpoint='"stale"')
        assert scene.note(stale) == frozenset()
        again = scene.claim_one()
        assert scene.note(stale) == scene.settle(settlement(claim), notes=[stale]) == frozenset()
        assert (again.checkpoint, scene.job("j").checkpoint) == ("1", "1")

    @pytest.mark.parametrize("state", [State.QUEUED, State.SCHEDULED])
    def test_it_stays_over_retries_snoozes_and_hand_backs(self, scene: Scene, state: State) -> None:
        scene.join()
        scene.insert("j")
        for number in range(3):
            claim = scene.claim_one()
            assert claim.checkpoint == ("1" if number else None)
            note = Note("j", claim.lease, checkpoint=None if number else "1")
            scene.settle(settlement(claim, state, delay_ms=5), notes=[note])
            scene.later(5)

    def test_it_stays_when_the_worker_dies(self, scene: Scene) -> None:
        scene.join("dies")
        scene.insert("j")
        claim = scene.claim_one("dies")
        scene.note(Note("j", claim.lease, checkpoint="1"))
        scene.later(LEASE_MS + 1)
        scene.join()
        (reaped,) = scene.reap()
        assert reaped == replace(claim, lease=claim.lease + 1, checkpoint="1")
        scene.settle(settlement(reaped, State.QUEUED, attempt=0, crashes=1))
        assert scene.claim_one().checkpoint == "1"

    def test_it_comes_along_where_a_reply_was_lost(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        claim = scene.claim_one()
        scene.settle(settlement(claim, State.QUEUED), notes=[Note("j", claim.lease, checkpoint="1")])
        claim = scene.claim_one()
        (again,) = scene.ask(ClaimRequest("worker", (Room("default", 1),), 1, frozenset(), now=scene.now)).claims
        assert again == claim
        assert again.checkpoint == "1"

    def test_jobs_in_partitions_have_theirs(self, scene: Scene) -> None:
        scene.join()
        scene.insert(*(NewJob(name, "t", partition=name) for name in "ab"))
        for claim in scene.claim():
            note = Note(claim.id, claim.lease, checkpoint=f'"{claim.id}"')
            scene.settle(settlement(claim, State.QUEUED), notes=[note])
        assert {claim.id: claim.checkpoint for claim in scene.claim()} == {"a": '"a"', "b": '"b"'}


class TestCheckpointsEnd:
    """What becomes of it when the job ends, or is another one."""

    @pytest.mark.parametrize("state", sorted(FINAL))
    @pytest.mark.parametrize("noted", ["before", "with the settlement"])
    @pytest.mark.parametrize("run", [1, 2])
    def test_it_goes_with_a_job_that_completes_and_stays_else(
        self, scene: Scene, state: State, noted: str, run: int
    ) -> None:
        scene.join()
        scene.insert("j")
        if run == 2:
            scene.settle(settlement(scene.claim_one(), State.QUEUED))
        claim = scene.claim_one()
        note = Note("j", claim.lease, checkpoint="1")
        if noted == "before":
            scene.note(note)
        scene.settle(settlement(claim, state), notes=() if noted == "before" else [note])
        assert scene.job("j").checkpoint == (None if state is State.COMPLETED else "1")
        scene.later(1)
        assert scene.alter(Verb.REVIVE, "j") == 1
        assert scene.claim_one().checkpoint == (None if state is State.COMPLETED else "1")

    def test_a_waiting_job_that_is_cancelled_keeps_it(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        claim = scene.claim_one()
        scene.settle(settlement(claim, State.SCHEDULED, delay_ms=50), notes=[Note("j", claim.lease, checkpoint="1")])
        assert scene.alter(Verb.CANCEL, "j") == 1
        assert scene.job("j").checkpoint == "1"
        scene.alter(Verb.REVIVE, "j")
        assert scene.claim_one().checkpoint == "1"

    def test_one_that_goes_down_with_its_parent_and_comes_back_keeps_it(self, scene: Scene) -> None:
        """It had run before, and was to wait for its parent once more."""
        scene.join()
        scene.insert("p", NewJob("c", "t", parents=(Edge("p"),)))
        scene.settle(settlement(scene.claim_one()))
        child = scene.claim_one()
        scene.settle(settlement(child, State.DEAD), notes=[Note("c", child.lease, checkpoint="1")])
        scene.later(1)
        scene.alter(Verb.REVIVE, "p")
        scene.alter(Verb.REVIVE, "c")
        assert scene.job("c").checkpoint == "1"
        scene.alter(Verb.CANCEL, "p")
        assert scene.job("c").checkpoint == "1"

    def test_a_deleted_jobs_does_not_come_back_with_its_id(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        claim = scene.claim_one()
        scene.settle(settlement(claim, State.DEAD), notes=[Note("j", claim.lease, checkpoint="1")])
        scene.alter(Verb.DELETE, "j")
        scene.insert("j")
        assert scene.claim_one().checkpoint is None

    def test_who_takes_a_waiting_jobs_place_begins_without(self, scene: Scene) -> None:
        """What was saved is about other arguments."""
        scene.join()
        key = Key("k", on_conflict=Conflict.REPLACE)
        scene.insert(NewJob("j", "t", args='{"n":1}', keys=(key,)))
        claim = scene.claim_one()
        scene.settle(settlement(claim, State.QUEUED), notes=[Note("j", claim.lease, checkpoint="1")])
        scene.insert(NewJob("later", "t", args='{"n":2}', keys=(key,)))
        again = scene.claim_one()
        assert (again.id, again.args, again.checkpoint) == ("j", '{"n":2}', None)

    def test_many_end_each_with_its_own(self, scene: Scene) -> None:
        scene.join()
        scene.insert(*"123456")
        claims = scene.claim()
        states = [State.COMPLETED, State.QUEUED, State.DEAD] * 2
        notes = [Note(claim.id, claim.lease, checkpoint=claim.id) for claim in claims]
        scene.settle(*map(settlement, claims, states), notes=notes[:4])
        kept = {job.id: job.checkpoint for job in scene.find()}
        assert kept == {"1": None, "2": "2", "3": "3", "4": None, "5": None, "6": None}
