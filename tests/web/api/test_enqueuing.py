"""Tasks over the API, and enqueuing them by name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic_core import core_schema

from mainspring import Mainspring
from mainspring.web import Identity, Role

from .conftest import Api


async def test_tasks_tell_how_they_run(api: Api) -> None:
    tasks = (await api("GET", "/tasks"))["items"]
    assert [task["name"] for task in tasks] == ["add", "mail/welcome"]
    assert tasks[0] == {
        "name": "add",
        "description": "Add two numbers.",
        "queue": "default",
        "priority": 5,
        "executor": "async",
        "retry": {"attempts": 3, "delay_seconds": [2], "factor": 2, "max_delay_seconds": 3600, "jitter": True},
        "timeout_seconds": 30,
        "deadline_seconds": None,
        "cost": 1,
        "tags": [],
    }


async def test_a_task_has_the_json_schema_of_its_arguments(api: Api) -> None:
    schema = (await api("GET", "/tasks/add"))["arguments"]
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["required"] == ["a"]
    assert schema["properties"]["b"] == {"title": "B", "type": "integer", "default": 2}
    assert schema["additionalProperties"] is False
    problem = await api.refused("GET", "/tasks/ad", 404)
    assert "did you mean 'add'" in problem["detail"]


async def test_enqueuing_by_name(api: Api, app: Mainspring) -> None:
    response = await api.ask("POST", "/tasks/add/jobs", json={"args": {"a": 1}})
    assert response.status_code == 201
    job = response.json()
    assert response.headers["location"] == f"/api/v1/jobs/{job['id']}"
    assert (job["state"], job["args"], job["queue"]) == ("queued", {"a": 1}, "default")
    assert (await app.jobs.aget(job["id"])).args == {"a": 1}


async def test_a_name_with_a_slash_is_a_name(api: Api) -> None:
    job = await api("POST", "/tasks/mail%2Fwelcome/jobs", 201, json={"args": {"to": "a@b.c"}})
    assert (job["task"], job["queue"]) == ("mail/welcome", "email")
    assert (await api("GET", "/tasks/mail%2Fwelcome"))["name"] == "mail/welcome"


async def test_enqueuing_on_other_terms(api: Api) -> None:
    terms = {
        "priority": 1,
        "queue": "urgent",
        "partition": "acme",
        "cost": 3,
        "id": "order-7",
        "tags": ["vip", "import"],
    }
    options = {"delay": "5m", "timeout": 1.5, "deadline": 3600, "attempts": 4}
    job = await api("POST", "/tasks/add/jobs", 201, json={"args": {"a": 1}, **terms, **options})
    whole = await api("GET", f"/jobs/{job['id']}")
    assert {name: whole[name] for name in terms} == terms
    assert whole["state"] == "scheduled"
    assert whole["options"] == {
        "attempts": 4,
        "retry_delay_seconds": [2],
        "retry_factor": 2,
        "max_retry_delay_seconds": 3600,
        "timeout_seconds": 1.5,
        "deadline_seconds": 3600,
        "deadline_at": None,
    }


async def test_enqueuing_for_a_time(api: Api) -> None:
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    job = await api("POST", "/tasks/add/jobs", 201, json={"args": {"a": 1}, "at": at.isoformat()})
    assert job["run_at"] == at.isoformat().replace("+00:00", ".000Z")


async def test_the_same_key_gives_the_same_job(api: Api) -> None:
    first = await api("POST", "/tasks/add/jobs", 201, json={"args": {"a": 1}}, headers={"Idempotency-Key": "k1"})
    again = await api.ask("POST", "/tasks/add/jobs", json={"args": {"a": 2}}, headers={"Idempotency-Key": "k1"})
    assert (again.status_code, again.json()["id"], again.json()["args"]) == (200, first["id"], {"a": 1})
    assert again.headers["location"].endswith(first["id"])
    other = await api("POST", "/tasks/add/jobs", 201, json={"args": {"a": 1}}, headers={"Idempotency-Key": "k2"})
    assert other["id"] != first["id"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"args": {"a": "one"}}, "a='one'"),
        ({"args": {}}, "a is missing"),
        ({"args": {"a": 1, "c": 2}}, "c=2 is not known"),
        ({"args": {"a": 1}, "dealy": 5}, "body.dealy"),
        ({"args": {"a": 1}, "priority": 2000}, "body.priority"),
        ({"args": {"a": 1}, "priority": True}, "body.priority"),
        ({"args": {"a": 1}, "delay": "soon"}, "duration 'soon'"),
        ({"args": {"a": 1}, "delay": -1}, "out of range"),
        ({"args": {"a": 1}, "at": "tomorrow"}, "it is no time"),
        ({"args": {"a": 1}, "at": "2031-05-01T09:30:00"}, "its zone"),
        ({"args": {"a": 1}, "at": "9999-05-01T09:30:00Z"}, "1970"),
        ({"args": {"a": 1}, "at": "2031-05-01T09:30:00Z", "delay": 5}, "give one of them"),
        ({"args": {"a": 1}, "queue": "a\0b"}, "body.queue"),
        ({"args": {"a": 1}, "attempts": 0}, "body.attempts"),
        ({"args": {"a": 1}, "id": " x"}, "body.id"),
        ({"args": [1]}, "body.args"),
        ([], "body"),
    ],
)
async def test_what_does_not_fit_is_refused_and_named(front: Api, body: object, told: str) -> None:
    problem = await front.refused("POST", "/tasks/add/jobs", 422, json=body)
    assert told in problem["detail"]
    assert await front.app.jobs.acount() == 0


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b'{"args": {"to": "\\ud800"}}', 422),
        (b'{"args": {"to": "\\u0000"}}', 422),
        (b'{"args": {"to": ' + b"9" * 5000 + b"}}", 400),
        (b'{"args": {"to": 1e999}}', 422),
        (b'{"args": {"to": NaN}}', 422),
        (b'{"args": ' + b"[" * 100_000, 400),
        (b'{"args": {"to": ' + b'{"a":' * 500 + b"1" + b"}" * 500 + b"}}", 422),
        (b"\xff\xfe", 422),
        (b"", 422),
        (b'{"args": {"to": "' + b"x" * 1_100_000 + b'"}}', 413),
        (b'{"args": {"to": "' + b"x" * 5_000_000 + b'"}}', 413),
        (b'{"queue": "' + b"x" * 1_000_000 + b'"}', 422),
        (b'{"args": {"to": "a", "names": [' + b"1" * 4000 + b"]}}", 422),
    ],
    ids=lambda value: repr(value[:40]) if isinstance(value, bytes) else "",
)
@pytest.mark.filterwarnings("ignore::mainspring.model.codec.PayloadWarning")
async def test_hostile_bodies_are_refused(front: Api, content: bytes, status: int) -> None:
    headers = {"content-type": "application/json"}
    await front.refused("POST", "/tasks/mail%2Fwelcome/jobs", status, content=content, headers=headers)


async def test_a_body_that_is_no_json_is_refused(front: Api) -> None:
    problem = await front.refused("POST", "/tasks/add/jobs", 415, data={"a": "1"})
    assert "application/json" in problem["detail"]
    for options in ({"content": b'{"args": {"a": 1}}'}, {"content": b"x", "headers": {"content-type": "text/plain"}}):
        await front.refused("POST", "/tasks/add/jobs", 415, **options)
    typed = {"content-type": "application/merge-patch+json; charset=utf-8"}
    await front("POST", "/tasks/add/jobs", 201, content=b'{"args": {"a": 1}}', headers=typed)


class Odd:
    """A type that fails in a way that pydantic does not know."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> Any:
        def validate(value: object) -> object:
            raise RuntimeError("unforeseen")

        return core_schema.no_info_plain_validator_function(validate)


async def test_what_an_annotation_raises_is_a_refusal(api: Api, app: Mainspring) -> None:
    @app.task
    def odd(value: Odd) -> None: ...

    problem = await api.refused("POST", "/tasks/odd/jobs", 422, json={"args": {"value": 1}})
    assert "unforeseen" in problem["detail"]
    assert (await api("GET", "/tasks/odd"))["arguments"]["type"] == "object"


async def test_limits_of_a_task(api: Api) -> None:
    limited = await api("PATCH", "/tasks/add/limits", json={"concurrency": 5, "rates": ["50/1m", "10/s"]})
    assert limited["limits"] == {"concurrency": 5, "rates": ["50/1m", "10/1s"], "opens_at": None}
    freed = await api("PATCH", "/tasks/add/limits", json={"rates": None})
    assert freed["limits"] == {"concurrency": 5, "rates": [], "opens_at": None}
    await api.refused("PATCH", "/tasks/add/limits", 422, json={})
    await api.refused("PATCH", "/tasks/add/limits", 422, json={"concurrency": 0})
    await api.refused("PATCH", "/tasks/none/limits", 404, json={"concurrency": 5})


async def test_who_may_only_look_enqueues_nothing(api: Api) -> None:
    api.who = Identity("eve", Role.VIEWER)
    await api("GET", "/tasks")
    problem = await api.refused("POST", "/tasks/add/jobs", 403, json={"args": {"a": 1}})
    assert "eve" in problem["detail"]
    api.who = Identity("olga", Role.OPERATOR)
    await api("POST", "/tasks/add/jobs", 201, json={"args": {"a": 1}})
    await api.refused("PATCH", "/tasks/add/limits", 403, json={"concurrency": 5})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"args": {"to": "a", "to": "b"}}', "the name 'to' stands in one object twice"),
        (b'{"args": {"to": "a"}, "queue": "a", "queue": "b"}', "the name 'queue' stands in one object twice"),
        (b'{"args": {"to": "a"}, "delay": NaN}', "NaN is no number that JSON has"),
        (b'{"args": {"to": "a"}, "delay": -Infinity}', "-Infinity is no number that JSON has"),
        (b'{"args": {"to": "\xff"}}', "it is not UTF-8"),
        (b'{"args": {"to": "a"}', "Expecting ',' delimiter"),
    ],
)
async def test_json_that_does_not_mean_one_thing_is_refused(front: Api, content: bytes, told: str) -> None:
    headers = {"content-type": "application/json"}
    problem = await front.refused("POST", "/tasks/mail%2Fwelcome/jobs", 422, content=content, headers=headers)
    assert told in problem["detail"]
    assert await front.app.jobs.acount() == 0


async def test_an_id_that_a_job_of_another_task_has_is_a_conflict(front: Api) -> None:
    """Its answer would be a job that was not asked for."""
    ask = {"args": {"a": 1}, "id": "order/7"}
    await front("POST", "/tasks/add/jobs", 201, json=ask)
    await front("POST", "/tasks/add/jobs", 200, json=ask)
    other = {"args": {"to": "a@b.c"}, "id": "order/7"}
    assert "task 'add'" in (await front.refused("POST", "/tasks/mail%2Fwelcome/jobs", 409, json=other))["detail"]


async def test_how_long_a_key_holds_is_refused_where_there_is_none(front: Api) -> None:
    ask = {"args": {"a": 1}, "idempotency_for": "1h"}
    assert "idempotency key" in (await front.refused("POST", "/tasks/add/jobs", 422, json=ask))["detail"]


async def test_several_jobs_are_enqueued_together(api: Api, app: Mainspring) -> None:
    ask = {
        "jobs": [
            {"task": "add", "args": {"a": 1}, "tags": ["x"]},
            {"task": "mail/welcome", "args": {"to": "a@b.c"}, "delay": "1h", "idempotency_key": "welcome 1"},
            {"task": "add", "args": {"a": 2}, "id": "mine"},
        ]
    }
    first = await api("POST", "/jobs", 201, json=ask)
    assert [(job["task"], job["state"]) for job in first["items"]] == [
        ("add", "queued"),
        ("mail/welcome", "scheduled"),
        ("add", "queued"),
    ]
    assert first["existed"] == []
    again = await api("POST", "/jobs", 201, json=ask)
    assert again["existed"] == [first["items"][1]["id"], "mine"]
    assert await app.jobs.acount() == 4


@pytest.mark.parametrize(
    ("wrong", "status", "told"),
    [
        ({"task": "add", "args": {"a": "x"}}, 422, "jobs.1: task 'add' cannot take these arguments"),
        ({"task": "none"}, 404, "jobs.1: no task is named 'none'"),
        ({"task": "mainspring.webhook"}, 404, "jobs.1"),
        ({"args": {"a": 1}}, 422, "body.jobs.1.task"),
        ({"task": "add", "args": {"a": 1}, "idempotency_for": 60}, 422, "jobs.1: idempotency_for"),
        ({"task": "add", "args": {"a": 1}, "delai": 60}, 422, "body.jobs.1.delai"),
    ],
)
async def test_one_that_is_wrong_takes_the_others_with_it(
    front: Api, wrong: dict[str, object], status: int, told: str
) -> None:
    ask = {"jobs": [{"task": "add", "args": {"a": 1}}, wrong]}
    assert told in (await front.refused("POST", "/jobs", status, json=ask))["detail"]
    assert await front.app.jobs.acount() == 0


async def test_a_batch_is_bounded(front: Api) -> None:
    for many in (0, 251):
        await front.refused("POST", "/jobs", 422, json={"jobs": [{"task": "add", "args": {"a": 1}}] * many})
    assert (
        len((await front("POST", "/jobs", 201, json={"jobs": [{"task": "add", "args": {"a": 1}}] * 250}))["items"])
        == 250
    )
