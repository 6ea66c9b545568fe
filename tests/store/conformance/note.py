"""note: progress and log lines of a running job, by its owner alone (the fence's own tests are with settle)."""

from __future__ import annotations

import pytest

from mainspring.model.job import LogLine, Note
from mainspring.model.states import State
from mainspring.store.base import LOG_LINES_KEPT, Filter, FindRequest, Verb

from .scene import ALL_COMPLETED, LEASE_MS, T0, Scene, lines, settlement


class TestNote:
    """Progress."""

    def test_progress_is_shown_and_the_latest_wins(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        lease = scene.claim_one().lease
        assert scene.note(Note("j", lease, progress=12.5, progress_text="reading")) == {"j"}
        assert (scene.job("j").progress, scene.job("j").progress_text) == (12.5, "reading")
        assert scene.note(Note("j", lease, progress=0.0, progress_text="writing")) == {"j"}
        assert (scene.job("j").progress, scene.job("j").progress_text) == (0.0, "writing")

    def test_what_a_note_does_not_say_stays(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        lease = scene.claim_one().lease
        scene.note(Note("j", lease, progress=40.0, progress_text="reading"))
        scene.note(Note("j", lease, lines=lines("a line")))
        job = scene.job("j")
        assert (job.progress, job.progress_text, job.log) == (40.0, "reading", lines("a line"))

    def test_a_set_of_notes_answers_with_those_that_held(self, scene: Scene) -> None:
        scene.join()
        scene.insert("1", "2", "3")
        one, two, three = scene.claim()
        scene.settle(settlement(two))
        notes = [Note(claim.id, claim.lease, progress=50.0) for claim in (one, two, three)]
        assert scene.note(*notes, Note("gone", 1)) == {"1", "3"}
        assert scene.job("2").progress is None

    def test_a_note_without_news_still_says_whose_the_job_is(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        claim = scene.claim_one()
        assert scene.note(Note("j", claim.lease)) == {"j"}
        scene.settle(settlement(claim))
        assert scene.note(Note("j", claim.lease)) == frozenset()

    def test_progress_outlives_the_end(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        claim = scene.claim_one()
        scene.note(Note("j", claim.lease, progress=80.0, progress_text="nearly", lines=lines("a line")))
        scene.settle(settlement(claim, State.DEAD))
        job = scene.job("j")
        assert (job.progress, job.progress_text, job.log) == (80.0, "nearly", lines("a line"))


class TestLog:
    """Log lines."""

    def test_lines_come_in_the_order_in_which_they_were_written(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        lease = scene.claim_one().lease
        first = (LogLine(T0 + 5, "b"), LogLine(T0 + 5, "a"))
        second = (LogLine(T0 + 6, "a"), LogLine(T0 + 7, ""))
        scene.note(Note("j", lease, lines=first))
        scene.note(Note("j", lease, lines=second, first=2))
        assert scene.job("j").log == first + second

    def test_a_line_sent_again_is_written_once(self, scene: Scene) -> None:
        """Also where more has come meanwhile, and beside what else that note says."""
        scene.join()
        scene.insert("j")
        lease = scene.claim_one().lease
        note = Note("j", lease, progress=10.0, lines=lines("a", "b"))
        assert scene.note(note) == scene.note(note) == {"j"}
        assert scene.job("j").log == lines("a", "b")
        scene.note(Note("j", lease, progress=20.0, lines=lines("b", "c", "d"), first=1))
        assert (scene.job("j").progress, scene.job("j").log) == (20.0, lines("a", "b", "c", "d"))
        scene.note(Note("j", lease, lines=lines("c"), first=2))
        assert scene.job("j").log == lines("a", "b", "c", "d")

    def test_what_a_line_says_stays_said(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        lease = scene.claim_one().lease
        scene.note(Note("j", lease, lines=lines("a")))
        scene.note(Note("j", lease, lines=lines("another", "b", at=T0 + 5)))
        assert scene.job("j").log == (*lines("a"), *lines("b", at=T0 + 5))

    def test_equal_lines_are_as_many_as_were_written(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        scene.note(Note("j", scene.claim_one().lease, lines=lines("a", "a", "a")))
        assert scene.job("j").log == lines("a", "a", "a")

    def test_the_order_is_that_of_their_numbers_whatever_comes_first(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        lease = scene.claim_one().lease
        scene.note(Note("j", lease, lines=lines("c", "d"), first=700))
        scene.note(Note("j", lease, lines=lines("a")))
        scene.note(Note("j", lease, lines=lines("b"), first=9))
        assert scene.job("j").log == lines("a", "b", "c", "d")

    def test_a_log_is_read_only_when_asked_for(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        scene.note(Note("j", scene.claim_one().lease, lines=lines("a")))
        (job,) = scene.ask(FindRequest(Filter())).jobs
        assert job.log == ()

    def test_each_job_has_its_own(self, scene: Scene) -> None:
        scene.join()
        scene.insert("1", "2")
        scene.note(*(Note(claim.id, claim.lease, lines=lines(f"of {claim.id}")) for claim in scene.claim()))
        assert {job.id: job.log for job in scene.find(with_log=True)} == {"1": lines("of 1"), "2": lines("of 2")}

    def test_the_newest_lines_are_kept(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        claim = scene.claim_one()
        written = lines(*(f"line {number}" for number in range(LOG_LINES_KEPT + 70)))
        scene.note(Note("j", claim.lease, lines=written[:50]))
        scene.note(Note("j", claim.lease, lines=written[50:-30], first=50))
        assert scene.job("j").log == written[:-30][-LOG_LINES_KEPT:]
        scene.note(Note("j", claim.lease, lines=written[:50]))  # once more, though they are gone
        assert scene.job("j").log == written[:-30][-LOG_LINES_KEPT:]
        last = Note("j", claim.lease, lines=written[-30:], first=len(written) - 30)
        scene.settle(settlement(claim), notes=[last])
        assert scene.job("j").log == written[-LOG_LINES_KEPT:]

    def test_the_newest_lines_of_all_attempts_are_kept(self, scene: Scene) -> None:
        """Exactly so many, however they fall on leases."""
        scene.join()
        scene.insert("j", "other")
        size, written = LOG_LINES_KEPT // 2 - 100, lines()
        for attempt in range(4):
            claim, beside = scene.claim()
            said = lines(*(f"{attempt} {number}" for number in range(size)))
            half = size // 2
            scene.note(
                Note("j", claim.lease, lines=said[:half]),
                Note("other", beside.lease, lines=said[:3]),
            )
            scene.settle(
                *(settlement(each, State.QUEUED) for each in (claim, beside)),
                notes=[Note("j", claim.lease, lines=said[half:], first=half)],
            )
            written += said
            assert scene.job("j").log == written[-LOG_LINES_KEPT:]
        assert len(written) > LOG_LINES_KEPT + size
        assert len(scene.job("other").log) == 12

    def test_who_said_too_much_at_once_may_leave_out_what_is_not_kept(self, scene: Scene) -> None:
        """And goes on from there; the lines of attempts before give way."""
        scene.join()
        scene.insert("j")
        claim = scene.claim_one()
        scene.settle(settlement(claim, State.QUEUED), notes=[Note("j", claim.lease, lines=lines("a", "b", "c"))])
        lease = scene.claim_one().lease
        scene.note(Note("j", lease, lines=lines("d", "e")))
        written = lines(*(f"line {number}" for number in range(LOG_LINES_KEPT)))
        scene.note(Note("j", lease, lines=written, first=5000))
        assert scene.job("j").log == written
        scene.note(Note("j", lease, lines=lines("last"), first=5000 + LOG_LINES_KEPT))
        assert scene.job("j").log == written[1:] + lines("last")

    @pytest.mark.parametrize("before", [0, 1, 2])
    def test_the_bound_is_exact_where_a_lease_reaches_it_alone(self, scene: Scene, before: int) -> None:
        scene.join()
        scene.insert("j")
        claim = scene.claim_one()
        earlier = lines(*(f"before {number}" for number in range(before)))
        scene.settle(settlement(claim, State.QUEUED), notes=[Note("j", claim.lease, lines=earlier)])
        lease, written = scene.claim_one().lease, earlier
        for first, count in ((0, LOG_LINES_KEPT - 2), (LOG_LINES_KEPT - 2, 1), (LOG_LINES_KEPT - 1, 1)):
            said = lines(*(f"line {first + number}" for number in range(count)))
            scene.note(Note("j", lease, lines=said, first=first))
            written += said
            assert scene.job("j").log == written[-LOG_LINES_KEPT:]
        for number in range(LOG_LINES_KEPT, LOG_LINES_KEPT + 2):
            scene.note(Note("j", lease, lines=lines(f"line {number}"), first=number))
            written += lines(f"line {number}")
            assert scene.job("j").log == written[-LOG_LINES_KEPT:]

    def test_one_note_over_the_bound_keeps_its_newest_lines(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        written = lines(*(f"line {number}" for number in range(LOG_LINES_KEPT + 10)))
        scene.note(Note("j", scene.claim_one().lease, lines=written))
        assert scene.job("j").log == written[10:]

    def test_a_log_goes_on_through_retries_and_revival(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        for text, state in (("one", State.SCHEDULED), ("two", State.DEAD), ("three", State.COMPLETED)):
            claim = scene.claim_one()
            scene.settle(settlement(claim, state), notes=[Note("j", claim.lease, lines=lines(text))])
            scene.alter(Verb.REVIVE, "j")
        assert scene.job("j").log == lines("one", "two", "three")

    def test_an_attempts_lines_stand_after_those_of_the_ones_before(self, scene: Scene) -> None:
        """Though each begins to number them anew, and says less; also where a worker was lost meanwhile."""
        scene.insert("j")
        scene.join("dies")
        claim = scene.claim_one("dies")
        scene.note(Note("j", claim.lease, lines=lines("a", "b", "c")))
        scene.later(LEASE_MS + 1)
        scene.join()
        (reaped,) = scene.reap()
        scene.settle(settlement(reaped, State.QUEUED))
        claim = scene.claim_one()
        note = Note("j", claim.lease, lines=lines("d"))
        scene.note(note)
        scene.settle(settlement(claim, State.QUEUED), notes=[note])
        claim = scene.claim_one()
        scene.note(Note("j", claim.lease, lines=lines("e", "f")))
        scene.note(note)
        assert scene.job("j").log == lines("a", "b", "c", "d", "e", "f")

    def test_a_deleted_jobs_log_does_not_come_back_with_its_id(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        claim = scene.claim_one()
        scene.settle(settlement(claim), notes=[Note("j", claim.lease, lines=lines("old"))])
        scene.alter(Verb.DELETE, "j")
        scene.insert("j")
        assert scene.job("j").log == ()

    def test_a_pruned_jobs_log_goes_with_it(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        claim = scene.claim_one()
        scene.settle(settlement(claim), notes=[Note("j", claim.lease, lines=lines("old"))])
        scene.later(1)
        assert scene.prune(ALL_COMPLETED) == 1
        scene.insert("j")
        assert scene.job("j").log == ()
