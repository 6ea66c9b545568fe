"""The table of keys: what is in it, and what happens where it and the jobs do not agree."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mainspring.model.job import Conflict, Key, NewJob, Until
from mainspring.model.states import FINAL
from mainspring.store.base import Inserted, Verb

from .conformance.scene import Scene, settlement
from .files import scene_at


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture
def scene(path: Path) -> Iterator[Scene]:
    scene = scene_at(path)
    scene.join()
    yield scene
    scene.driver.close()


def keyed(id: str, *keys: Key) -> NewJob:
    return NewJob(id, "task", keys=keys)


def held(path: Path) -> set[str]:
    """The names in the table, whether or not their time is over."""
    with closing(sqlite3.connect(path)) as raw:
        return {name for (name,) in raw.execute("SELECT name FROM mainspring_keys")}


def without_its_keys(path: Path, statement: str) -> None:
    """Do something to the jobs behind the store's back."""
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute(statement)


def test_a_key_that_is_given_back_leaves_no_row(scene: Scene, path: Path) -> None:
    scene.insert(keyed("a", Key("started", Until.STARTED), Key("settled"), Key("seats", seats=2)))
    assert held(path) == {"started", "settled", "seats#1"}
    claim = scene.claim_one()
    assert held(path) == {"settled", "seats#1"}
    scene.settle(settlement(claim))
    assert held(path) == set()
    scene.insert(keyed("b", Key("1", Until.EXPIRY, 1000)), keyed("c", Key("2"), Key("3", Until.STARTED)))
    scene.alter(Verb.CANCEL, "c")
    assert held(path) == {"1"}
    scene.alter(Verb.DELETE, "b")
    assert held(path) == set()


def test_a_refused_job_leaves_no_row(scene: Scene, path: Path) -> None:
    scene.insert(keyed("a", Key("1")))
    scene.insert(keyed("b", Key("2"), Key("1", on_conflict=Conflict.REJECT)))
    assert held(path) == {"1"}


def test_pruning_removes_keys_whose_time_is_over(scene: Scene, path: Path) -> None:
    for ms in (100, 101):
        for until in Until:
            scene.insert(keyed(f"{until} {ms}", Key(f"{until} {ms}", until, ms)))
    scene.insert(keyed("for good", Key("for good")))
    scene.later(100)
    keep = dict.fromkeys(sorted(FINAL), 0)
    scene.prune(keep, limit=2)
    assert len(held(path)) == 2 * len(Until) + 1 - 2, "no more than the limit at once"
    scene.prune(keep, limit=2)
    assert held(path) == {*(f"{until} 101" for until in Until), "for good"}


@pytest.mark.parametrize("until", [Until.STARTED, Until.SETTLED])
@pytest.mark.parametrize("conflict", Conflict)
def test_the_key_of_a_job_that_is_gone_is_free(scene: Scene, path: Path, until: Until, conflict: Conflict) -> None:
    scene.insert(keyed("a", Key("k", until)))
    without_its_keys(path, "DELETE FROM mainspring_jobs")
    assert held(path) == {"k"}
    assert scene.insert(keyed("b", Key("k", until, on_conflict=conflict))) == (Inserted("b", existed=False),)
    assert scene.insert(keyed("c", Key("k"))) == (Inserted("b", existed=True),)


def test_the_key_of_a_job_that_has_started_is_free(scene: Scene, path: Path) -> None:
    scene.insert(keyed("a", Key("k", Until.STARTED)))
    without_its_keys(path, "UPDATE mainspring_jobs SET state = 'running', worker = 'worker', lease = 1")
    assert scene.insert(keyed("b", Key("k"))) == (Inserted("b", existed=False),)


def test_an_outdated_holder_takes_nothing_with_it(scene: Scene, path: Path) -> None:
    """A key whose time is over goes to the next job while its first holder is still there: one row, one holder."""
    scene.insert(keyed("a", Key("k", expires_ms=100), Key("other")))
    scene.later(100)
    scene.insert(keyed("b", Key("k")))
    scene.alter(Verb.DELETE, "a")
    assert held(path) == {"k"}
