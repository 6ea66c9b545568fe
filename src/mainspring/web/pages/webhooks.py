"""Webhooks: who is told of what, and how the deliveries go. A delivery is a job like any other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from mainspring.admin.webhooks import WebhookView
from mainspring.errors import WebhookNotFound
from mainspring.web.identity import Role
from mainspring.web.pages.acting import in_the_name_of
from mainspring.web.pages.asking import Question, ask
from mainspring.web.pages.jobs import Row, row_of
from mainspring.web.pages.reads import reads_of
from mainspring.web.pages.rendering import Page, after, page_of
from mainspring.web.pages.text import plain
from mainspring.web.site import may
from mainspring.webhooks.telling import DELIVERY

__all__ = ["HookRow", "hook_row", "router"]

SHOWN = 5

router = APIRouter(dependencies=[may(Role.VIEWER)])
AtPage = Annotated[Page, Depends(page_of)]


@dataclass(frozen=True, slots=True)
class HookRow:
    """A webhook and its newest deliveries."""

    view: WebhookView
    about: str
    """Of whose jobs it tells."""
    last: tuple[Row, ...]


def hook_row(view: WebhookView) -> HookRow:
    """The row of a webhook."""
    parts = [f"task {name}" for name in view.tasks] + [f"queue {name}" for name in view.queues]
    return HookRow(view, ", ".join(parts) or "all jobs", tuple(map(row_of, view.last)))


@router.get("/webhooks", include_in_schema=False)
async def webhooks(page: AtPage) -> Response:
    """All of them, each with its newest deliveries."""
    views = await reads_of(page).once("webhooks", lambda: page.site.app.webhooks.alist(SHOWN))
    return page.show("webhooks.html", rows=[hook_row(view) for view in views], task=DELIVERY)


@router.get("/webhook/test", include_in_schema=False, dependencies=[may(Role.OPERATOR)])
async def ask_to_test(page: AtPage, name: str = "") -> Response:
    """Ask before it is tried."""
    question = Question(
        title=f"Send a ping to {plain(name, 60)}?",
        text=(
            'An event "ping" is delivered to it, signed like any other. The delivery is a job; it tells how it went.',
        ),
        action=page.links("webhook/test"),
        button="Send a ping",
        back=page.links("webhooks"),
        hidden=(("name", name),),
    )
    return ask(page, question, section="webhooks")


@router.post("/webhook/test", include_in_schema=False, dependencies=[may(Role.OPERATOR)])
async def test(page: AtPage) -> Response:
    """Try it."""
    form = await page.request.form()
    name = str(form.get("name", ""))
    try:
        with in_the_name_of(page):
            job = await page.site.app.webhooks.atest(name)
    except WebhookNotFound:
        return page.show("gone.html", status=404, section="webhooks", kind="webhook", id=name)
    return after(page.links("job", id=job.id, done="enqueued"))
