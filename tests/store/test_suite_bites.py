"""The suite goes red where a promise is broken: the reference with one rule taken out, and tests that must notice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import Phase, settings

from mainspring.model.job import Claim, Conflict, JobRecord, Key, NewJob, Note, Until
from mainspring.model.states import State
from mainspring.store.base import BeatReply, BeatRequest, Inserted, Operation, ReapRequest

from .conformance import beat, claim, insert, keys, note, reap, settle
from .conformance.scene import Scene
from .reference import ReferenceStore
from .state_machine import operations_like_the_reference


class WithoutLeaseGuard(ReferenceStore):
    """Whoever holds some claim of a running job may write it."""

    def _holds(self, id: str, lease: int) -> bool:
        return id in self.jobs and self.jobs[id].state is State.RUNNING


class WithoutStateGuard(ReferenceStore):
    """The lease number alone is asked, whether the job runs or not."""

    def _holds(self, id: str, lease: int) -> bool:
        return id in self.jobs and self.jobs[id].lease == lease


class WithoutNumbers(ReferenceStore):
    """Log lines go after those that are there."""

    def _note(self, note: Note) -> bool:
        return super()._note(replace(note, first=len(self.logs[note.id])))


class WithoutPriority(ReferenceStore):
    """First come, first served."""

    def _order(self, job: JobRecord) -> tuple[int, int, str]:
        return 0, job.run_at, job.id


class WithoutReaping(ReferenceStore):
    """A dead worker's jobs stay where they are."""

    def reap(self, request: ReapRequest) -> Operation[tuple[Claim, ...]]:
        yield from ()
        return ()


class WithoutRenewedLease(ReferenceStore):
    """A reaped job goes on under the dead worker's lease."""

    def reap(self, request: ReapRequest) -> Operation[tuple[Claim, ...]]:
        claims = yield from super().reap(request)
        for reaped in claims:
            self.jobs[reaped.id] = replace(self.jobs[reaped.id], lease=reaped.lease - 1)
        return tuple(replace(reaped, lease=reaped.lease - 1) for reaped in claims)


class WithoutIdentity(ReferenceStore):
    """An insert sent twice replaces the job."""

    def _insert(self, new: NewJob, now: int, limited: bool = False) -> Inserted:
        self.jobs.pop(new.id, None)
        return super()._insert(new, now, limited)


class WithoutLimits(ReferenceStore):
    """Neither limits nor pauses."""

    def _capacity(self, name: str) -> int:
        return len(self.jobs)


class WithoutExpiry(ReferenceStore):
    """A worker that joined once is alive for ever."""

    def _alive(self, worker: str | None, now: int) -> bool:
        return worker in self.workers


class WithoutWords(ReferenceStore):
    """A worker is not told what to cancel."""

    def beat(self, request: BeatRequest) -> Operation[BeatReply]:
        reply = yield from super().beat(request)
        return replace(reply, cancelled=())


class WithoutHolders(ReferenceStore):
    """Every key is free."""

    def _holder(self, name: str, now: int) -> str | None:
        return None


class WithoutGivingBack(ReferenceStore):
    """A key stays with its job."""

    def _give_back_keys(self, job: str, *until: Until) -> None:
        pass


class WithoutTheLastOnes(ReferenceStore):
    """Who comes last replaces nothing."""

    def _refuse(self, new: NewJob, key: Key, now: int, limited: bool) -> Inserted:
        milder = Conflict.EXISTING if key.on_conflict is Conflict.REPLACE else key.on_conflict
        return super()._refuse(new, replace(key, on_conflict=milder), now, limited)


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (WithoutLeaseGuard, settle.TestFence().test_a_stale_settlement_changes_nothing),
        (WithoutLeaseGuard, settle.TestFence().test_a_stale_note_changes_nothing),
        (WithoutLeaseGuard, settle.TestFence().test_a_worker_whose_job_was_reaped_changes_nothing),
        (WithoutStateGuard, settle.TestFence().test_a_job_that_is_not_running_is_not_written_even_by_its_last_lease),
        (WithoutStateGuard, settle.TestSettle().test_a_settlement_sent_twice_has_one_effect),
        (WithoutNumbers, note.TestLog().test_a_line_sent_again_is_written_once),
        (WithoutNumbers, note.TestLog().test_an_attempts_lines_stand_after_those_of_the_ones_before),
        (WithoutPriority, claim.TestClaim().test_order_is_priority_then_due_time_then_id),
        (WithoutReaping, reap.TestReap().test_a_dead_workers_jobs_are_leased_anew),
        (WithoutRenewedLease, settle.TestFence().test_a_worker_whose_job_was_reaped_changes_nothing),
        (WithoutIdentity, insert.TestInsert().test_an_insert_sent_twice_has_one_effect),
        (WithoutLimits, claim.TestConcurrency().test_two_rooms_of_one_queue_share_its_limit),
        (WithoutExpiry, claim.TestClaim().test_a_worker_past_its_lease_gets_nothing),
        (WithoutHolders, keys.TestKeys().test_a_key_is_held_by_one_job),
        (WithoutHolders, keys.TestKeys().test_also_among_jobs_of_one_request),
        (WithoutGivingBack, keys.TestGivingBack().test_until_started_means_the_first_claim),
        (WithoutGivingBack, keys.TestTogether().test_a_follow_up_gets_the_key_that_its_parent_gives_back),
        (WithoutTheLastOnes, keys.TestReplacing().test_the_last_of_one_request_wins),
        (WithoutTheLastOnes, keys.TestReplacing().test_what_the_new_job_was_to_be_it_is),
        (WithoutWords, beat.TestBeat().test_a_beat_tells_of_jobs_to_cancel),
    ],
    ids=lambda value: value.__name__,
)
def test_a_broken_promise_is_noticed(broken: type[ReferenceStore], test: Callable[[Scene], None]) -> None:
    test(Scene(healthy := ReferenceStore(), healthy.driver()))
    with pytest.raises((AssertionError, ValueError)):
        test(Scene(store := broken(), store.driver()))


@pytest.mark.parametrize(
    "broken",
    [
        *(WithoutLeaseGuard, WithoutNumbers, WithoutPriority, WithoutReaping, WithoutIdentity, WithoutGivingBack),
        WithoutTheLastOnes,
    ],
)
def test_random_operations_notice_it_too(broken: type[ReferenceStore]) -> None:
    case = operations_like_the_reference(broken)
    case.settings = settings(  # type: ignore[attr-defined]
        max_examples=2000, stateful_step_count=30, deadline=None, phases=[Phase.generate], derandomize=True
    )
    with pytest.raises((AssertionError, ValueError)):
        case("runTest").debug()
