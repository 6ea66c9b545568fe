"""configure, prune: the audit log."""

from __future__ import annotations

from dataclasses import replace

from mainspring.model.audit import AuditEntry
from mainspring.store.base import Change, ConfigureRequest, PauseQueue, PauseSchedule, PruneRequest

from .scene import DAY, T0, Scene

RETRY = AuditEntry("e1", "ada@host", "jobs.retry", "state=dead queue=email", '{"state":["dead"],"queue":"email"}')


def write(scene: Scene, entry: AuditEntry, *changes: Change) -> int:
    """Write an entry with these changes; how many of them found what they name."""
    return scene.ask(ConfigureRequest(changes, audit=entry, now=scene.now)).changed


def page(scene: Scene, limit: int = 1000, before: tuple[int, str] | None = None) -> tuple[AuditEntry, ...]:
    """A page of the log."""
    request = ConfigureRequest(read=frozenset({"audit"}), limit=limit, before=before, now=scene.now)
    return scene.ask(request).audit


class TestAudit:
    """Who did what, and what came of it."""

    def test_an_entry_is_kept_as_it_was_written(self, scene: Scene) -> None:
        assert write(scene, RETRY) == 0
        assert page(scene) == (replace(RETRY, at=T0),)

    def test_its_count_comes_when_the_action_has_ended(self, scene: Scene) -> None:
        write(scene, RETRY)
        scene.later(5)
        write(scene, replace(RETRY, count=3))
        assert page(scene) == (replace(RETRY, at=T0, count=3),)

    def test_a_count_that_is_there_stays_when_a_request_is_sent_again(self, scene: Scene) -> None:
        write(scene, replace(RETRY, count=3))
        write(scene, replace(RETRY, count=0))
        write(scene, RETRY)
        assert page(scene) == (replace(RETRY, at=T0, count=3),)

    def test_a_count_rises_with_what_is_done(self, scene: Scene) -> None:
        for count in (None, 1000, 2500, 1000, 0, None):
            write(scene, replace(RETRY, count=count))
        assert page(scene) == (replace(RETRY, at=T0, count=2500),)

    def test_with_changes_the_count_is_how_many_found_what_they_name(self, scene: Scene) -> None:
        pause = AuditEntry("e2", "ada@host", "queues.pause", "email")
        assert write(scene, pause, PauseQueue("email", True), PauseSchedule("gone", True)) == 1
        assert page(scene) == (replace(pause, at=T0, count=1),)
        assert scene.configure().queues[0].paused_at == T0

    def test_a_change_that_finds_nothing_is_audited_too(self, scene: Scene) -> None:
        assert write(scene, RETRY, PauseSchedule("gone", True)) == 0
        assert page(scene)[0].count == 0

    def test_pages_run_from_the_newest_to_the_oldest(self, scene: Scene) -> None:
        for number in range(7):
            write(scene, replace(RETRY, id=f"e{number}"))
            if number % 2:
                scene.later(10)
        seen: list[str] = []
        before: tuple[int, str] | None = None
        while entries := page(scene, 2, before):
            seen += [entry.id for entry in entries]
            before = (entries[-1].at or 0, entries[-1].id)
        assert seen == ["e6", "e5", "e4", "e3", "e2", "e1", "e0"]

    def test_nothing_is_read_that_was_not_asked_for(self, scene: Scene) -> None:
        write(scene, RETRY)
        assert scene.configure().audit == ()

    def test_any_text_is_kept(self, scene: Scene) -> None:
        hostile = replace(RETRY, actor="<b>é😀", target='"; DROP TABLE', detail='{"reason":"\\u0000 \\ud800 %s"}')
        write(scene, hostile)
        assert page(scene) == (replace(hostile, at=T0),)

    def test_old_entries_are_pruned_and_only_where_that_is_asked_for(self, scene: Scene) -> None:
        for number in range(5):
            write(scene, replace(RETRY, id=f"e{number}"))
            scene.later(DAY)
        scene.ask(PruneRequest({}, now=scene.now))
        assert len(page(scene)) == 5
        scene.ask(PruneRequest({}, keep_audit_ms=3 * DAY, now=scene.now))
        assert [entry.id for entry in page(scene)] == ["e4", "e3", "e2"]

    def test_pruning_takes_the_oldest_first_and_no_more_than_its_limit(self, scene: Scene) -> None:
        for number in range(5):
            write(scene, replace(RETRY, id=f"e{number}"))
            scene.later(1)
        scene.ask(PruneRequest({}, 2, keep_audit_ms=0, now=scene.now + 1))
        assert [entry.id for entry in page(scene)] == ["e4", "e3", "e2"]
