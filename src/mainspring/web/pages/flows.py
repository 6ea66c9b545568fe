"""Flows: jobs that wait for each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from mainspring.admin import FlowView
from mainspring.errors import FlowNotFound
from mainspring.model.states import State
from mainspring.web.identity import Role
from mainspring.web.pages.acting import in_the_name_of
from mainspring.web.pages.asking import Field, Question, ask
from mainspring.web.pages.deeds import DEEDS, go_on_with
from mainspring.web.pages.graph import graph_of
from mainspring.web.pages.jobs import row_of
from mainspring.web.pages.reads import reads_of
from mainspring.web.pages.rendering import Page, page_of
from mainspring.web.pages.text import plain
from mainspring.web.pages.words import counted
from mainspring.web.site import may

__all__ = ["FlowRow", "Part", "flow_row", "router"]

SHOWN = 50
JOBS_SHOWN = 50
router = APIRouter(dependencies=[may(Role.VIEWER)])
AtPage = Annotated[Page, Depends(page_of)]


@dataclass(frozen=True, slots=True)
class Part:
    """How much of a flow is in one state: a piece of its bar."""

    state: State
    count: int
    start: float
    width: float
    """Both in percent."""


@dataclass(frozen=True, slots=True)
class FlowRow:
    """A flow as lists show it."""

    view: FlowView
    parts: tuple[Part, ...]
    state: str


_ORDER = (
    State.COMPLETED,
    State.DEAD,
    State.CANCELLED,
    State.RUNNING,
    State.QUEUED,
    State.SCHEDULED,
    State.BLOCKED,
)


def read_of(view: FlowView) -> int:
    """How many of its jobs were read."""
    return len(view.jobs) + sum(map(read_of, view.parts))


def flow_row(view: FlowView) -> FlowRow:
    """The row of a flow, with its bar."""
    parts: list[Part] = []
    start = 0.0
    for state in _ORDER:
        count = view.counts.get(state, 0)
        if count:
            width = 100 * count / view.total
            parts.append(Part(state, count, round(start, 2), round(width, 2)))
            start += width
    if view.done < view.total:
        state_word = "running"
    elif view.counts.get(State.DEAD):
        state_word = "dead"
    else:
        state_word = "cancelled" if view.counts.get(State.CANCELLED) else "completed"
    return FlowRow(view, tuple(parts), state_word)


@router.get("/flows", include_in_schema=False)
async def flows(page: AtPage) -> Response:
    """The newest."""
    views = await reads_of(page).flows(SHOWN)
    return page.show("flows.html", rows=[flow_row(view) for view in views], full=len(views) == SHOWN)


@router.get("/flow", include_in_schema=False)
async def flow(page: AtPage, id: str = "") -> Response:
    """One of them."""
    reads = reads_of(page)
    try:
        view = await reads.flow(id)
    except FlowNotFound:
        return page.show("gone.html", status=404, section="flows", kind="flow", id=id)
    jobs = await reads.jobs({"flow": id}, JOBS_SHOWN)
    return page.show(
        "flow.html",
        flow=view,
        row=flow_row(view),
        graph=graph_of(view, page.links),
        read=read_of(view) if view.cursor is not None else None,
        rows=[row_of(job) for job in jobs],
        more=jobs.cursor is not None,
    )


@router.get("/flow/cancel", include_in_schema=False, dependencies=[may(Role.OPERATOR)])
async def ask_to_cancel(page: AtPage, id: str = "") -> Response:
    """Ask before it is cancelled."""
    found = await page.site.app.flows.aget(id)
    so_far = await found.aprogress()
    question = Question(
        title="Cancel what is left of this flow?",
        text=(
            f"{plain(found.name, 80)}: {counted(so_far.total - so_far.done, 'job')} have not ended.",
            "Waiting jobs are cancelled, those of its parts too; what runs is asked to stop.",
        ),
        action=page.links("flow/cancel"),
        button="Cancel the flow",
        back=page.links("flow", id=id),
        danger=True,
        hidden=(("of", "flow"), ("flow", id)),
        fields=(Field("reason", "Why", "", "Kept with the jobs."),),
    )
    return ask(page, question, section="flows")


@router.post("/flow/cancel", include_in_schema=False, dependencies=[may(Role.OPERATOR)])
async def cancel(page: AtPage) -> Response:
    """Cancel it."""
    form = await page.request.form()
    id, reason = str(form.get("flow", "")), str(form.get("reason", "")).strip()
    with in_the_name_of(page):
        sweep = await page.site.app.jobs.asweep("cancel", flow=id or " ", reason=reason)
    return await go_on_with(DEEDS["cancel"], page, form, sweep)
