"""Every error is answered as a problem: with its status, with what may be told, and with nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from fastapi import Body, FastAPI
from starlette.exceptions import HTTPException

from mainspring import Mainspring, errors
from mainspring.errors import MainspringError
from mainspring.web import create_app
from mainspring.web.problems import Problem

from .asking import asking

HOSTILE = "<script>alert(1)</script>\x00\u202e\ud800" + "x" * 1_000_000


@pytest.fixture
def jobs() -> Iterator[Mainspring]:
    app = Mainspring("sqlite://")
    yield app
    app.close()


def raising(jobs: Mainspring, error: BaseException) -> FastAPI:
    web = create_app(jobs)

    @web.get("/raises")
    async def raises() -> None:
        raise error

    @web.get("/api/raises")
    async def raises_for_programs() -> None:
        raise error

    @web.post("/takes")
    async def takes(count: Annotated[int, Body(embed=True)], password: Annotated[int, Body(embed=True)]) -> None: ...

    return web


def example(kind: type[MainspringError]) -> Exception:
    """An error of that kind, whatever one is made from."""
    plain: type[Exception] = type(kind.__name__, (kind,), {"__init__": Exception.__init__})
    return plain("what was wrong")


KINDS = sorted(
    (kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MainspringError)),
    key=lambda kind: kind.__name__,
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
async def test_every_error_of_ours_has_a_status_that_says_whose_fault_it_is(
    jobs: Mainspring, kind: type[MainspringError]
) -> None:
    async with asking(raising(jobs, example(kind))) as client:
        answer = await client.get("/raises")
    told = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.status_code == told["status"]
    assert told["detail"] == "what was wrong"
    assert told["type"].startswith("urn:mainspring:")
    if issubclass(kind, errors.StoreError | errors.EncryptionKeyMissing):
        assert answer.status_code in (503, 507)
    else:
        assert 400 <= answer.status_code < 500


@pytest.mark.parametrize(
    ("error", "status", "more"),
    [
        (errors.JobNotFound("there is no job 7"), 404, {}),
        (errors.ScheduleNotFound("none"), 404, {}),
        (errors.UnknownTask("none"), 404, {}),
        (errors.InvalidOption("wrong"), 422, {}),
        (errors.PayloadTooLarge("large"), 413, {}),
        (errors.UnsafeText("unsafe"), 422, {}),
        (errors.DuplicateJob("a", "key"), 409, {"job_id": "a", "key": "key"}),
        (errors.QueueFull("email", None, 5), 429, {"queue": "email", "limit": 5}),
        (errors.StoreBusy("busy"), 503, {}),
        (Problem("odd"), 400, {}),
        (HTTPException(418, "short and stout"), 418, {}),
        (HTTPException(499, "closed"), 499, {}),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_what_programs_may_want_to_know_is_told(
    jobs: Mainspring, error: Exception, status: int, more: dict[str, Any]
) -> None:
    async with asking(raising(jobs, error)) as client:
        answer = await client.get("/raises")
    assert answer.status_code == status
    assert {name: answer.json()[name] for name in more} == more
    if isinstance(error, errors.StoreBusy | errors.QueueFull):
        assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize("kind", [errors.JobNotFound, Problem, errors.StoreError])
async def test_hostile_text_is_text_and_bounded(jobs: Mainspring, kind: type[Exception]) -> None:
    async with asking(raising(jobs, kind(HOSTILE))) as client:
        answer = await client.get("/raises")
        page = await client.get("/raises", headers={"Accept": "text/html"})
    assert len(answer.content) < 20_000
    assert answer.json()["detail"].startswith("<script>")
    assert page.headers["content-type"].startswith("text/html")
    assert len(page.content) < 20_000
    assert "<script" not in page.text
    assert "&lt;script&gt;" in page.text


async def test_browsers_see_a_page_and_programs_never_do(jobs: Mainspring) -> None:
    async with asking(raising(jobs, errors.JobNotFound("none")), headers={"Accept": "text/html,*/*"}) as client:
        assert (await client.get("/raises")).headers["content-type"].startswith("text/html")
        assert (await client.get("/api/raises")).headers["content-type"] == "application/problem+json"
        assert (await client.get("/no/such/page")).headers["content-type"].startswith("text/html")
        assert (await client.get("/api/v1/no/such")).json()["status"] == 404
        assert (await client.put("/api/raises")).json()["status"] == 405


async def test_what_nobody_has_foreseen_is_logged_under_an_id_and_told_as_that_alone(
    jobs: Mainspring, caplog: pytest.LogCaptureFixture
) -> None:
    async with asking(raising(jobs, ZeroDivisionError("the password is hunter2"))) as client:
        for accept in ("application/json", "text/html"):
            answer = await client.get("/raises?secret=hunter3", headers={"Accept": accept})
            assert answer.status_code == 500
            assert "hunter" not in answer.text
            assert "Traceback" not in answer.text
        told = (await client.get("/api/raises")).json()
    assert told["id"] in caplog.text
    assert told["id"] in told["detail"]
    assert "ZeroDivisionError" in caplog.text
    assert "hunter3" not in caplog.text


async def test_what_was_wrong_in_a_request_is_told_without_its_values(jobs: Mainspring) -> None:
    web = raising(jobs, ValueError())
    async with asking(web) as client:
        answer = await client.post("/takes", json={"count": "many", "password": "hunter2"})
        told = answer.json()
        assert answer.status_code == told["status"] == 422
        assert [fault["at"] for fault in told["errors"]] == ["body.count", "body.password"]
        assert "hunter2" not in answer.text
        for content in (b"{", b"\xff\xfe", b"", b"[" * 100_000, b'{"count": 1e999}', b'{"count": "\\ud800"}'):
            answer = await client.post("/takes", content=content, headers={"Content-Type": "application/json"})
            assert answer.status_code in (400, 422), content[:10]
            assert answer.headers["content-type"] == "application/problem+json"


async def test_a_wrong_method_is_told_which_are_right(jobs: Mainspring) -> None:
    async with asking(raising(jobs, ValueError())) as client:
        answer = await client.delete("/takes")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
