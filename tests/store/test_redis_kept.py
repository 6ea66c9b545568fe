"""History on Redis is bounded by number too, since it lies in memory."""

from __future__ import annotations

import pytest

from mainspring.errors import InvalidURL
from mainspring.model.job import NewJob
from mainspring.model.states import State
from mainspring.store.base import Filter, Room
from mainspring.store.redis import RedisStore

from .conformance.scene import DAY, Scene, settlement

KEEP = {State.COMPLETED: DAY, State.DEAD: DAY}


@pytest.fixture
def store(redis_store: RedisStore) -> RedisStore:
    redis_store.keep = 4
    return redis_store


def finish(scene: Scene, id: str, queue: str = "default", state: State = State.COMPLETED) -> None:
    scene.later(1)
    scene.insert(NewJob(id, "task", queue))
    (claim,) = scene.claim("worker", Room(queue, 1))
    scene.settle(settlement(claim, state))


def test_the_oldest_go_where_there_are_too_many(scene: Scene) -> None:
    scene.join()
    for number in range(4):
        finish(scene, f"a{number}", "a")
        finish(scene, f"b{number}", "b")
    finish(scene, "dead", "a", State.DEAD)
    assert scene.prune(KEEP) == 4
    assert set(scene.ids(Filter(states=(State.COMPLETED,)))) == {"a2", "a3", "b2", "b3"}
    assert scene.state("dead") is State.DEAD
    assert scene.prune(KEEP) == 0


def test_each_state_is_counted_by_itself(scene: Scene) -> None:
    scene.join()
    for number in range(6):
        finish(scene, f"dead {number}", state=State.DEAD)
    finish(scene, "completed")
    assert scene.prune({State.COMPLETED: DAY}) == 0
    assert scene.prune(KEEP) == 2
    assert scene.ids(Filter(states=(State.DEAD,))) == ["dead 5", "dead 4", "dead 3", "dead 2"]


def test_how_many_is_said_in_the_url() -> None:
    assert RedisStore("redis://127.0.0.1").keep == 1_000_000
    assert RedisStore("redis://127.0.0.1?keep=5").keep == 5
    with pytest.raises(InvalidURL, match="keep='many', which is not a number of jobs"):
        RedisStore("redis://127.0.0.1?keep=many")
