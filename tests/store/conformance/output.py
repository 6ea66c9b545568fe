"""note, find: what a run puts out, what somebody has read of a job already, and the stamps that tell of changes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from mainspring.model.job import JobRecord, Note
from mainspring.model.states import State
from mainspring.store.base import Bookmark, Filter, FindRequest, Verb

from .scene import ALL_COMPLETED, LEASE_MS, Scene, lines, settlement


def put_out(id: str, lease: int, *pieces: str, first: int = 0, kept_from: int = 0) -> Note:
    return Note(id, lease, pieces=pieces, first_piece=first, kept_from=kept_from)


def texts(job: JobRecord) -> list[str]:
    return [piece.text for piece in job.output]


class TestOutput:
    """Pieces of output."""

    def test_pieces_come_in_their_order(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        lease = scene.claim_one().lease
        scene.note(put_out("j", lease, "b", "a"))
        scene.note(put_out("j", lease, "a", "", "é ☃\n", first=2))
        job = scene.job("j")
        assert texts(job) == ["b", "a", "a", "", "é ☃\n"]
        assert [piece.lease for piece in job.output] == [lease] * 5

    def test_a_piece_sent_again_is_written_once(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        lease = scene.claim_one().lease
        note = put_out("j", lease, "a", "b")
        assert scene.note(note) == scene.note(note) == {"j"}
        scene.note(put_out("j", lease, "b", "c", first=1))
        assert texts(scene.job("j")) == ["a", "b", "c"]

    def test_it_stands_beside_the_log(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        lease = scene.claim_one().lease
        scene.note(Note("j", lease, progress=5.0, lines=lines("a", "b"), pieces=("x", "y")))
        scene.note(Note("j", lease, lines=lines("c"), first=2, pieces=("z",), first_piece=2))
        job = scene.job("j")
        assert (job.progress, job.log, texts(job)) == (5.0, lines("a", "b", "c"), ["x", "y", "z"])

    def test_only_the_owner_puts_out(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        claim = scene.claim_one()
        assert scene.note(put_out("j", claim.lease + 1, "no")) == frozenset()
        scene.settle(settlement(claim), notes=[put_out("j", claim.lease, "last")])
        assert scene.note(put_out("j", claim.lease, "late", first=1)) == frozenset()
        assert texts(scene.job("j")) == ["last"]

    def test_what_is_not_to_be_kept_goes(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j", "other")
        mine, others = scene.claim()
        scene.note(put_out("j", mine.lease, "a", "b", "c"), put_out("other", others.lease, "x", "y"))
        scene.note(put_out("j", mine.lease, "d", first=3, kept_from=2))
        assert texts(scene.job("j")) == ["c", "d"]
        assert texts(scene.job("other")) == ["x", "y"]

    def test_a_run_that_puts_something_out_begins_anew(self, scene: Scene) -> None:
        """Until it does, what the one before has put out stays; and the log stays in any case."""
        scene.join()
        scene.insert("j")
        claim = scene.claim_one()
        before = Note("j", claim.lease, lines=lines("a"), pieces=("one ", "two "))
        scene.settle(settlement(claim, State.QUEUED), notes=[before])
        claim = scene.claim_one()
        scene.note(Note("j", claim.lease, lines=lines("b")))
        assert texts(scene.job("j")) == ["one ", "two "]
        scene.note(put_out("j", claim.lease, "uno "))
        scene.note(before)
        job = scene.job("j")
        assert (texts(job), job.log) == (["uno "], lines("a", "b"))
        assert job.output[0].lease == claim.lease

    def test_it_stays_when_the_job_ends_and_goes_with_it(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j", "k")
        for claim in scene.claim():
            scene.settle(settlement(claim), notes=[put_out(claim.id, claim.lease, "all")])
        assert texts(scene.job("j")) == ["all"]
        scene.alter(Verb.DELETE, "j")
        scene.later(1)
        assert scene.prune(ALL_COMPLETED) == 1
        scene.insert("j", "k")
        assert [texts(scene.job(id)) for id in "jk"] == [[], []]

    def test_output_is_read_only_with_the_log(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        scene.note(put_out("j", scene.claim_one().lease, "a"))
        (job,) = scene.ask(FindRequest(Filter())).jobs
        assert job.output == ()

    def test_many_lines_do_not_push_it_out(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        lease = scene.claim_one().lease
        scene.note(put_out("j", lease, "a", "b"))
        scene.note(Note("j", lease, lines=lines(*map(str, range(1100)))))
        job = scene.job("j")
        assert (texts(job), len(job.log)) == (["a", "b"], 1000)


class TestBookmarks:
    """What somebody knows of a job already."""

    def test_only_what_is_beyond_is_read(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j", "k")
        for claim in scene.claim():
            note = Note(claim.id, claim.lease, lines=lines("a", "b", "c"), pieces=("x", "y"))
            scene.note(note)
        whole = scene.job("j")
        mark = Bookmark("j", whole.log[1].place, whole.output[0].place)
        read = {job.id: job for job in scene.ask(FindRequest(Filter(), with_log=True, bookmarks=(mark,))).jobs}
        assert (read["j"].log, texts(read["j"])) == (lines("c"), ["y"])
        assert (read["k"].log, texts(read["k"])) == (lines("a", "b", "c"), ["x", "y"])
        end = Bookmark("j", whole.log[-1].place, whole.output[-1].place)
        (job,) = scene.ask(FindRequest(Filter(ids=("j",)), with_log=True, bookmarks=(end,))).jobs
        assert (job.log, job.output) == ((), ())

    def test_places_rise_from_line_to_line_and_run_to_run(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        known = Bookmark("j")
        for said in ("a", "b", "c"):
            claim = scene.claim_one()
            note = Note("j", claim.lease, lines=lines(said, said), pieces=(said,))
            scene.settle(settlement(claim, State.QUEUED), notes=[note])
            (job,) = scene.ask(FindRequest(Filter(ids=("j",)), with_log=True, bookmarks=(known,))).jobs
            assert (job.log, texts(job)) == (lines(said, said), [said])
            assert [line.place for line in job.log] == [(claim.lease << 32), (claim.lease << 32) + 1]
            assert job.log[0].place > known.line
            assert job.output[0].place == claim.lease << 32
            known = Bookmark("j", job.log[-1].place, job.output[-1].place)


class TestStamps:
    """By a job's stamp one sees whether anything about it has changed."""

    def stamps(self, scene: Scene, *ids: str) -> dict[str, str]:
        page = scene.ask(FindRequest(Filter(ids=ids), stamps=True))
        assert (page.jobs, page.cursor) == ((), None)
        assert len(dict(page.stamps)) == len(page.stamps)
        return dict(page.stamps)

    def test_each_job_that_is_there_has_one(self, scene: Scene) -> None:
        scene.join()
        scene.insert("1", "2")
        scene.finish("3")
        assert self.stamps(scene, "1", "2", "3", "gone").keys() == {"1", "2", "3"}
        assert self.stamps(scene, "gone") == {}

    def test_it_stays_while_nothing_happens(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j", "other")
        lease = scene.claim_one().lease
        scene.note(Note("j", lease, progress=1.0, progress_text="t", lines=lines("a"), pieces=("x",)))
        before = self.stamps(scene, "j")
        scene.claim_one()
        scene.beat()
        scene.later(5)
        assert self.stamps(scene, "j") == before

    @pytest.mark.parametrize(
        "change",
        [
            lambda scene, claim: scene.note(Note("j", claim.lease, progress=50.5)),
            lambda scene, claim: scene.note(Note("j", claim.lease, progress_text="other")),
            lambda scene, claim: scene.note(Note("j", claim.lease, lines=lines("b"), first=1)),
            lambda scene, claim: scene.note(put_out("j", claim.lease, "y", first=1)),
            lambda scene, claim: scene.settle(settlement(claim)),
            lambda scene, claim: scene.settle(settlement(claim, State.QUEUED)),
            lambda scene, claim: scene.settle(settlement(claim, State.SCHEDULED, delay_ms=5000)),
            lambda scene, claim: scene.settle(settlement(claim, State.DEAD)),
            lambda scene, claim: scene.alter(Verb.CANCEL, "j"),
            lambda scene, claim: (scene.later(LEASE_MS + 1), scene.join("other"), scene.reap("other")),
        ],
        ids="progress text line piece completed queued scheduled dead cancelled reaped".split(),
    )
    def test_whatever_happens_changes_it(self, scene: Scene, change: Callable[[Scene, object], object]) -> None:
        scene.join()
        scene.insert("j")
        claim = scene.claim_one()
        scene.note(Note("j", claim.lease, progress=50.0, progress_text="t", lines=lines("a"), pieces=("x",)))
        before = self.stamps(scene, "j")
        change(scene, claim)
        assert self.stamps(scene, "j") != before

    def test_a_waiting_job_that_is_claimed_or_moved_has_another(self, scene: Scene) -> None:
        scene.join()
        scene.insert("j")
        stamps = [self.stamps(scene, "j")["j"]]
        for step in (
            lambda: scene.alter(Verb.RESCHEDULE, "j", scene.now + 1000),
            lambda: scene.alter(Verb.RESCHEDULE, "j", scene.now),
            lambda: scene.claim_one(),
        ):
            step()
            stamps.append(self.stamps(scene, "j")["j"])
        assert all(one != other for one, other in pairwise(stamps))
