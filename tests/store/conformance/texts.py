"""Texts: whatever a user puts in comes out unchanged, and is never taken for anything but text."""

from __future__ import annotations

import json

import pytest

from mainspring.model.job import NewJob, Note
from mainspring.model.states import State
from mainspring.store.base import Filter, LimitQueue, PauseSchedule, PutSchedule, Room, Tick, Verb

from .scene import T0, Scene, lines, settlement

HOSTILE = {
    "quotes": "it's \"quoted\" `so` \\ 'and'' so",
    "statement": "'); DROP TABLE mainspring_jobs; --",
    "placeholders": "%s %(id)s {0} {} $1 ? :id @id %%",
    "unicode": "naïve ☃ 𝄞 e\u0301 \u202e עברית 日本 \U0010ffff",
    "controls": "a\tb\nc\rd\x01\x1f\x7f\u2028\u2029",
    "spaces": "  between  ",
    "json": '{"a":[1,null]}',
    "glob": "*[a-z]?{tag}:*",
    "numeric": "0012e3",
    "long": "x" * 150,
}
ESCAPED = r'{"nul":"\u0000","surrogate":"\ud800","slash":"\\u0000","mixed":"a\u0000b\\"}'
"""JSON text whose escapes stand for characters that not every store can keep: as text it is harmless."""


any_text = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)


class TestTexts:
    """Hostile texts in every place that takes text."""

    @any_text
    def test_names_and_ids_may_be_anything(self, scene: Scene, text: str) -> None:
        scene.join(text)
        scene.insert(NewJob(text, text, text, json.dumps({text: text}), options=json.dumps([text])), "other")
        claim = scene.claim_one(text, Room(text, 1))
        assert (claim.id, claim.task, claim.queue, claim.worker) == (text, text, text, text)
        assert (json.loads(claim.args), claim.options) == ({text: text}, json.dumps([text]))
        assert scene.ids(Filter(ids=(text,), queue=text, task=text)) == [text]
        assert scene.count(Filter(queue=text)) == {(text, State.RUNNING): 1}
        assert [worker.id for worker in scene.configure().workers] == [text]
        assert scene.note(Note(text, claim.lease)) == scene.settle(settlement(claim)) == {text}
        assert scene.alter(Verb.DELETE, Filter(ids=(text,), task=text)) == 1
        assert scene.ids() == ["other"]

    @any_text
    def test_what_a_run_leaves_behind_may_be_anything(self, scene: Scene, text: str) -> None:
        scene.join()
        scene.insert("j")
        claim = scene.claim_one()
        left = {"result": json.dumps(text), "error": json.dumps({"message": text}), "history": json.dumps([text])}
        follow_up = NewJob(f"after {text}", text, text, json.dumps([text]))
        note = Note("j", claim.lease, 1.0, text, lines(text, text))
        settled = settlement(claim, State.DEAD, reason=text, follow_ups=(follow_up,), **left)
        assert scene.settle(settled, notes=[note]) == {"j"}
        job = scene.job("j")
        assert {name: getattr(job, name) for name in left} == left
        assert (job.reason, job.progress_text, job.log) == (text, text, lines(text, text))
        assert scene.job(follow_up.id).args == json.dumps([text])

    @any_text
    def test_settings_may_be_anything(self, scene: Scene, text: str) -> None:
        put = PutSchedule(text, text, json.dumps([text]), T0, queue=text, args=json.dumps([text]), options=text)
        settings = scene.configure(put, LimitQueue(text, 3), PauseSchedule(text, True))
        (schedule,), (queue,) = settings.schedules, settings.queues
        assert (schedule.name, schedule.task, schedule.queue, schedule.options) == (text, text, text, text)
        assert (schedule.timing, schedule.args) == (json.dumps([text]), json.dumps([text]))
        assert (settings.changed, queue.name, queue.concurrency) == (3, text, 3)
        scene.configure(PauseSchedule(text, False))
        assert len(scene.insert(ticks=[Tick(text, T0, T0 + 1, (NewJob("t", text),))])) == 1

    @any_text
    def test_a_reason_for_cancelling_may_be_anything(self, scene: Scene, text: str) -> None:
        scene.insert("j")
        scene.alter(Verb.CANCEL, "j", reason=text)
        assert scene.job("j").reason == text

    def test_escapes_inside_json_text_stay_escapes(self, scene: Scene) -> None:
        scene.join()
        scene.insert(NewJob("j", "task", args=ESCAPED, options=ESCAPED))
        claim = scene.claim_one()
        assert (claim.args, claim.options) == (ESCAPED, ESCAPED)
        follow_up = NewJob("after", "task", args=ESCAPED)
        settled = settlement(claim, result=ESCAPED, error=ESCAPED, history=f"[{ESCAPED}]", follow_ups=(follow_up,))
        assert scene.settle(settled) == {"j"}
        job = scene.job("j")
        assert (job.result, job.error, job.history) == (ESCAPED, ESCAPED, f"[{ESCAPED}]")
        assert scene.job("after").args == ESCAPED
        scene.alter(Verb.REVIVE, "j")
        assert scene.claim(limit=5)[-1].history == f"[{ESCAPED}]"

    def test_json_text_is_kept_to_the_letter(self, scene: Scene) -> None:
        """No store tidies it: not spaces, not the order of keys, not duplicates, not numbers beyond its own."""
        args = '{ "b" : 1.0, "a":1e400,\n"b":12345678901234567890123, "é":"\\u00e9" }'
        scene.insert(NewJob("j", "task", args=args))
        assert scene.job("j").args == args

    def test_arguments_of_half_a_megabyte(self, scene: Scene) -> None:
        scene.join()
        args = json.dumps({"text": "☃'\"\\" * 25_000 + "x" * 250_000}, ensure_ascii=False)
        assert len(args) > 400_000
        scene.insert(NewJob("j", "task", args=args))
        claim = scene.claim_one()
        assert claim.args == args
        assert scene.settle(settlement(claim, result=args, error=args)) == {"j"}
        assert scene.job("j").result == args

    def test_an_empty_text_is_not_a_missing_one(self, scene: Scene) -> None:
        scene.join()
        scene.insert(NewJob("j", "task", options=""), NewJob("none", "task", options=None))
        claim = scene.claim()[0]
        assert claim.options == ""
        assert scene.job("none").options is None
        scene.note(Note("j", claim.lease, progress_text="", lines=lines("")))
        scene.settle(settlement(claim, State.DEAD, result="", error="", reason=""))
        job = scene.job("j")
        assert (job.options, job.progress_text, job.result, job.error, job.reason) == ("",) * 5
        assert (job.progress, job.log) == (None, lines(""))

    def test_names_that_differ_in_case_or_accent_are_different(self, scene: Scene) -> None:
        names = ["e", "E", "é", "e\u0301", "e "]
        scene.join()
        scene.insert(*(NewJob(name, "task", name) for name in names))
        assert scene.count() == {(name, State.QUEUED): 1 for name in names}
        for name in names:
            assert [claim.id for claim in scene.claim("worker", Room(name, 9))] == [name]

    def test_numbers_keep_their_range(self, scene: Scene) -> None:
        far = 4_102_444_800_000
        scene.insert(NewJob("a", "task", priority=-1000, run_at=0), NewJob("b", "task", priority=1000, run_at=far))
        a, b = scene.job("a"), scene.job("b")
        assert (a.priority, a.run_at, b.priority, b.run_at) == (-1000, 0, 1000, far)
        assert (type(a.priority), type(b.run_at)) == (int, int)
