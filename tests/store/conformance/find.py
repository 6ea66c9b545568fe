"""find: pages of jobs, newest first, each job once."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from mainspring.errors import InvalidOption
from mainspring.model import failure
from mainspring.model.job import NewJob
from mainspring.model.options import TEXT_SEARCHED
from mainspring.model.outcome import ErrorRecord
from mainspring.model.states import State
from mainspring.store.base import BRIEF_MESSAGE, AlterRequest, Filter, FindRequest, Verb

from .scene import T0, Scene, settlement


class TestFind:
    """Order and paging."""

    def test_newest_first_live_before_final_ids_break_ties(self, scene: Scene) -> None:
        scene.join()
        scene.finish("final 1")
        scene.insert("live 1")
        scene.later(10)
        scene.finish("final 3", "final 2")
        scene.insert("live 2", "live 3")
        assert scene.ids() == ["live 3", "live 2", "live 1", "final 3", "final 2", "final 1"]

    def test_final_jobs_are_ordered_by_their_end(self, scene: Scene) -> None:
        scene.join()
        scene.insert("old", "middle")
        scene.later(10)
        scene.insert("young")
        for id in ("young", "old", "middle"):
            scene.later(10)
            scene.alter(Verb.CANCEL, id)
        assert scene.ids() == ["middle", "old", "young"]

    @pytest.mark.parametrize("limit", [1, 2, 7, 30])
    def test_pages_are_complete_and_without_duplicates(self, scene: Scene, limit: int) -> None:
        scene.join()
        for _ in range(3):
            scene.finish(*(f"final {scene.now} {number}" for number in range(4)))
            scene.insert(*(f"live {scene.now} {number}" for number in range(4)))
            scene.later(10)
        whole = scene.ids(limit=1000)
        assert len(whole) == 24
        assert scene.ids(limit=limit) == whole

    def test_pages_of_a_filter_are_complete(self, scene: Scene) -> None:
        scene.join()
        for number in range(20):
            scene.insert(NewJob(f"{number:02}", "even" if number % 2 == 0 else "odd"))
        assert scene.ids(Filter(task="odd"), limit=3) == [f"{number:02}" for number in range(19, 0, -2)]

    def test_a_page_goes_on_where_it_stopped_whatever_arrives_or_goes(self, scene: Scene) -> None:
        for number in range(20):
            scene.insert(f"{number:02}")
            scene.later(1)
        request = FindRequest(Filter(), limit=5, now=scene.now)
        seen, page = list[str](), scene.ask(request)
        while True:
            seen += [job.id for job in page.jobs]
            if page.cursor is None:
                break
            scene.insert(f"new {len(seen)}")
            scene.alter(Verb.DELETE, Filter(ids=tuple(seen)))
            scene.later(1)
            page = scene.ask(replace(request, cursor=page.cursor))
        assert seen == [f"{number:02}" for number in range(19, -1, -1)]

    @pytest.mark.parametrize("flows", [False, True])
    @pytest.mark.parametrize(
        "cursor", ["", "0", "live", "live:x:a", "nowhere:1:a", f"live:{10**30}:a", "live:1:\0", "live:1:\ud800", "5:\0"]
    )
    def test_a_cursor_that_no_page_has_given_is_refused(self, scene: Scene, cursor: str, flows: bool) -> None:
        scene.insert("a")
        with pytest.raises(InvalidOption, match="cursor"):
            scene.ask(FindRequest(Filter(), cursor=cursor, flows=flows, now=T0))

    def test_a_brief_page_leaves_out_what_is_large(self, scene: Scene) -> None:
        scene.join()
        scene.insert(NewJob("1", "t", args='{"a":1}', options='{"tags":["a"]}', partition="p", priority=3))
        error = failure.to_text(ErrorRecord("OSError", 'é\t"' * 300, "Traceback: …"))
        dead = settlement(scene.claim_one(), State.DEAD, error=error, reason="why", history='[{"n":1}]')
        scene.settle(dead)
        scene.insert(NewJob("2", "t", args='{"a":1}'))
        waits, died = scene.ask(FindRequest(Filter(), brief=True, now=scene.now)).jobs
        whole_wait, whole = scene.find()
        assert waits == replace(whole_wait, args="{}")
        assert died.error is not None
        short = failure.from_text(died.error)
        assert (short.type, short.traceback) == ("OSError", "")
        assert ('é\t"' * 300).startswith(short.message)
        assert 300 <= len(short.message) <= BRIEF_MESSAGE
        assert died == replace(whole, args="{}", options=None, history="[]", error=died.error)

    def test_a_store_without_jobs_has_an_empty_page(self, scene: Scene) -> None:
        page = scene.ask(FindRequest(Filter(), now=T0))
        assert (page.jobs, page.cursor) == ((), None)


class TestFilter:
    """Which jobs."""

    def test_by_ids(self, scene: Scene) -> None:
        scene.join()
        scene.finish("1")
        scene.insert("2", "3", "4")
        assert scene.ids(Filter(ids=("4", "1", "gone", "2"))) == ["4", "2", "1"]
        assert scene.ids(Filter(ids=("gone",))) == []

    def test_more_ids_than_one_page_or_batch_has(self, scene: Scene) -> None:
        """A store looks up so many at once, in whatever order; who reads pages sees none of that."""
        scene.join()
        scene.finish("final 1", "final 2")
        ids = [f"{number:04}" for number in range(1200)]
        scene.insert(*ids[::2])
        scene.later(1)
        scene.insert(*ids[1::2])
        named = Filter(ids=("nobody", *ids[:1100], "final 2", *ids[:9], "final 1"))
        order = [*sorted(ids[1:1100:2], reverse=True), *sorted(ids[:1100:2], reverse=True), "final 2", "final 1"]
        assert scene.ids(named, limit=400) == order
        assert scene.ids(named, limit=2000) == order
        assert scene.count(named) == {("default", State.QUEUED): 1100, ("finish", State.COMPLETED): 2}
        request = AlterRequest(Verb.CANCEL, named, limit=300, now=scene.now)
        replies = scene.batches(request)
        assert sum(reply.count for reply in replies) == 1100
        assert max(reply.count for reply in replies) <= 300
        assert scene.count(Filter(states=(State.CANCELLED,))) == {("default", State.CANCELLED): 1100}

    def test_by_states(self, scene: Scene) -> None:
        scene.join()
        scene.finish("dead", state=State.DEAD)
        scene.finish("completed")
        scene.insert("running")
        scene.claim_one()
        scene.insert("queued", NewJob("scheduled", "task", delay_ms=5))
        for state in ("dead", "completed", "running", "queued", "scheduled"):
            assert scene.ids(Filter(states=(State(state),))) == [state]
        assert scene.ids(Filter(states=(State.CANCELLED,))) == []
        assert scene.ids(Filter(states=(State.BLOCKED,))) == []
        assert scene.ids(Filter(states=(State.DEAD, State.QUEUED))) == ["queued", "dead"]

    def test_by_queue_and_task(self, scene: Scene) -> None:
        scene.insert(NewJob("1", "mail", "a"), NewJob("2", "mail", "b"), NewJob("3", "print", "a"))
        assert scene.ids(Filter(queue="a")) == ["3", "1"]
        assert scene.ids(Filter(task="mail")) == ["2", "1"]
        assert scene.ids(Filter(queue="a", task="mail")) == ["1"]
        assert scene.ids(Filter(queue="A")) == scene.ids(Filter(task="mai")) == scene.ids(Filter(queue="")) == []

    def test_by_time_both_bounds_included(self, scene: Scene) -> None:
        for number in range(4):
            scene.insert(f"{number}")
            scene.later(10)
        assert scene.ids(Filter(since=T0 + 10, until=T0 + 20)) == ["2", "1"]
        assert scene.ids(Filter(since=T0 + 11)) == ["3", "2"]
        assert scene.ids(Filter(until=T0 - 1)) == []

    def test_time_means_the_end_of_final_jobs_and_the_creation_of_live_ones(self, scene: Scene) -> None:
        scene.insert("ends", "lives")
        scene.later(10)
        scene.alter(Verb.CANCEL, "ends")
        assert scene.ids(Filter(since=T0 + 10)) == ["ends"]
        assert scene.ids(Filter(until=T0 + 9)) == ["lives"]

    def test_by_a_part_of_the_arguments_text(self, scene: Scene) -> None:
        scene.join()
        scene.insert(NewJob("1", "mail", args='{"to":"Ada@Example.com","n":12}'))
        scene.settle(settlement(scene.claim_one(), State.DEAD))
        scene.insert(NewJob("2", "mail", args='{"to":"bob@example.com"}'), NewJob("3", "mail"))
        assert scene.ids(Filter(text="example.COM")) == ["2", "1"]
        assert scene.ids(Filter(text='"to":"b')) == ["2"]
        assert scene.ids(Filter(text="n")) == ["1"]
        assert scene.ids(Filter(text="{}")) == ["3"]
        assert scene.ids(Filter(text="ada@", states=(State.QUEUED,))) == []
        assert scene.ids(Filter(ids=("2", "3"), text="example")) == ["2"]

    def test_no_letter_of_a_text_is_a_pattern_and_only_ascii_has_no_case(self, scene: Scene) -> None:
        scene.insert(
            NewJob("1", "t", args='{"a":"100% [x] a.c É\\u0000"}'), NewJob("2", "t", args='{"a":"100 x abc é"}')
        )
        for text in ("100%", "[x]", "a.c", "É", "\\u0000"):
            assert scene.ids(Filter(text=text)) == ["1"], text
        assert scene.ids(Filter(text="é")) == ["2"]
        for text in ("_", "a%c", "x]x", "(", "%", "*", "^"):
            assert scene.ids(Filter(text=text)) == (["1"] if text == "%" else []), text

    def test_only_the_beginning_of_long_arguments_is_searched(self, scene: Scene) -> None:
        long = "x" * TEXT_SEARCHED
        scene.insert(NewJob("1", "t", args=f'{{"a":"begin {long} end"}}'))
        assert scene.ids(Filter(text="begin")) == ["1"]
        assert scene.ids(Filter(text=" end")) == []

    def test_by_tag(self, scene: Scene) -> None:
        tagged = {"1": ["vip", "import"], "2": ["vip"], "3": ["VIP", "é"], "4": [], "5": ["vip x", "im"]}
        scene.insert(
            *(NewJob(id, "t", options=json.dumps({"timeout_ms": 5, "tags": tags})) for id, tags in tagged.items())
        )
        scene.insert(NewJob("6", "t"), NewJob("7", "t", options='["vip"]'), NewJob("8", "t", options='{"vip":"vip"}'))
        assert scene.ids(Filter(tag="vip")) == ["2", "1"]
        assert scene.ids(Filter(tag="import")) == ["1"]
        assert scene.ids(Filter(tag="é")) == ["3"]
        assert scene.ids(Filter(tag="tags")) == scene.ids(Filter(tag="timeout_ms")) == scene.ids(Filter(tag="")) == []
        assert scene.ids(Filter(tag="vip", ids=("2", "6"))) == ["2"]

    def test_few_among_many_are_found_page_by_page(self, scene: Scene) -> None:
        scene.insert(NewJob("rare", "t", args='{"n":"here"}', options='{"tags":["odd"]}'))
        for begin in range(0, 4000, 500):
            scene.insert(*(NewJob(f"x{begin + number:05}", "t") for number in range(500)))
        for filter in (Filter(text="HERE"), Filter(tag="odd"), Filter(tag="odd", text="here", queue="default")):
            assert scene.ids(filter, limit=10) == ["rare"]
            assert scene.count(filter) == {("default", State.QUEUED): 1}

    def test_what_is_found_by_text_or_tag_can_be_altered(self, scene: Scene) -> None:
        scene.insert(
            NewJob("1", "t", args='{"n":"one"}', options='{"tags":["a"]}'),
            NewJob("2", "t", args='{"n":"two"}', options='{"tags":["a"]}'),
            NewJob("3", "t"),
        )
        assert scene.alter(Verb.CANCEL, Filter(text="ONE")) == 1
        assert scene.alter(Verb.DELETE, Filter(tag="a")) == 2
        assert scene.ids() == ["3"]

    def test_all_conditions_hold_together(self, scene: Scene) -> None:
        scene.insert(NewJob("1", "mail", "a"), NewJob("2", "mail", "b"))
        scene.later(10)
        scene.insert(NewJob("3", "mail", "a"), NewJob("4", "mail", "a", delay_ms=5))
        fits = Filter(ids=("1", "3", "4"), states=(State.QUEUED,), queue="a", task="mail", since=T0 + 5, until=T0 + 15)
        assert scene.ids(fits) == ["3"]
