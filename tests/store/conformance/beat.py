"""beat: workers come, stay, look and go; and hear what is asked of them."""

from __future__ import annotations

from mainspring.model.states import State
from mainspring.store.base import Command, CommandWorker, Verb, WorkerRecord

from .scene import LEASE_MS, T0, Scene, settlement


class TestBeat:
    """The worker's lease."""

    def test_a_worker_is_listed_as_it_describes_itself(self, scene: Scene) -> None:
        described = {"name": "host:7", "queues": ("a", "b"), "tasks": ("t",), "concurrency": 4, "running": 0}
        reply = scene.beat("w", "join", lease_ms=500, **described)
        assert (reply.alive, reply.now, reply.cancelled, reply.command) == (True, T0, (), None)
        assert scene.configure().workers == (
            WorkerRecord("w", "host:7", ("a", "b"), ("t",), 4, 0, False, T0, T0, T0 + 500, None),
        )

    def test_its_memory_is_what_its_last_beat_says(self, scene: Scene) -> None:
        scene.beat("w", "join", memory=5_000_000_000)
        assert [worker.memory for worker in scene.configure().workers] == [5_000_000_000]
        scene.beat("w", "stay", memory=80_000_000)
        assert [worker.memory for worker in scene.configure().workers] == [80_000_000]
        scene.beat("w", "stay")
        assert [worker.memory for worker in scene.configure().workers] == [None]

    def test_each_beat_renews_the_lease(self, scene: Scene) -> None:
        scene.join()
        for _ in range(3):
            scene.later(LEASE_MS - 1)
            assert scene.beat(running=3, quiet=True).alive
        (worker,) = scene.configure().workers
        assert (worker.started_at, worker.beat_at, worker.expires_at) == (T0, scene.now, scene.now + LEASE_MS)
        assert (worker.running, worker.quiet) == (3, True)

    def test_a_lease_that_ran_out_is_not_renewed(self, scene: Scene) -> None:
        scene.join()
        scene.later(LEASE_MS + 1)
        assert not scene.beat().alive
        assert not scene.beat(phase="look").alive
        assert not scene.claim_reply().alive

    def test_who_never_joined_cannot_stay(self, scene: Scene) -> None:
        assert not scene.beat("stranger").alive
        assert not scene.beat("stranger", "look").alive
        assert scene.configure().workers == ()

    def test_looking_renews_nothing(self, scene: Scene) -> None:
        scene.join()
        scene.later(LEASE_MS - 1)
        before = scene.configure().workers
        assert scene.beat(phase="look", running=7).alive
        assert scene.configure().workers == before
        scene.later(2)
        assert not scene.beat().alive

    def test_joining_twice_is_joining_once(self, scene: Scene) -> None:
        scene.join()
        assert scene.join().alive
        assert len(scene.configure().workers) == 1

    def test_who_left_is_off_the_list(self, scene: Scene) -> None:
        scene.join("a")
        scene.join("b")
        scene.beat("a", "leave")
        assert [worker.id for worker in scene.configure().workers] == ["b"]
        assert not scene.beat("a").alive

    def test_leaving_twice_is_leaving_once(self, scene: Scene) -> None:
        scene.join()
        scene.beat(phase="leave")
        scene.beat(phase="leave")
        assert scene.configure().workers == ()

    def test_a_beat_tells_of_jobs_to_cancel(self, scene: Scene) -> None:
        scene.join()
        scene.join("other")
        scene.insert("1", "2", "3")
        one, two = scene.claim(limit=2)
        scene.claim_one("other")
        scene.alter(Verb.CANCEL, "2")
        scene.alter(Verb.CANCEL, "3")
        assert scene.beat().cancelled == scene.beat(phase="look").cancelled == (("2", two.lease),)
        assert [id for id, _ in scene.beat("other").cancelled] == ["3"]
        scene.settle(settlement(one), settlement(two, State.CANCELLED))
        assert scene.beat().cancelled == ()

    def test_a_cancelled_job_is_told_under_its_present_lease(self, scene: Scene) -> None:
        scene.join("first")
        scene.join("second")
        scene.insert("j")
        claim = scene.claim_one("first")
        scene.alter(Verb.CANCEL, "j")
        scene.settle(settlement(claim, State.QUEUED))
        fresh = scene.claim_one("second")
        assert scene.beat("first").cancelled == ()
        assert scene.beat("second").cancelled == (("j", fresh.lease),)


class TestCommands:
    """What an operator asks of a worker."""

    def test_a_command_is_read_with_the_next_beat(self, scene: Scene) -> None:
        scene.join("a")
        scene.join("b")
        assert scene.configure(CommandWorker("a", Command.QUIET)).changed == 1
        assert scene.beat("a").command is Command.QUIET
        assert scene.beat("b").command is None

    def test_a_command_stays_in_case_the_reply_was_lost(self, scene: Scene) -> None:
        scene.join()
        scene.configure(CommandWorker("worker", Command.STOP))
        assert scene.beat(phase="look").command is Command.STOP
        assert scene.beat().command is Command.STOP
        assert scene.beat().command is Command.STOP
        assert scene.configure().workers[0].command is Command.STOP

    def test_stop_comes_after_quiet(self, scene: Scene) -> None:
        scene.join()
        scene.configure(CommandWorker("worker", Command.QUIET))
        scene.configure(CommandWorker("worker", Command.STOP))
        assert scene.beat().command is Command.STOP

    def test_a_command_for_nobody_finds_nobody(self, scene: Scene) -> None:
        assert scene.configure(CommandWorker("gone", Command.STOP)).changed == 0
