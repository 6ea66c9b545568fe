"""Schedules: what is done at which times."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response
from pydantic import Field

from mainspring.admin import ScheduleView
from mainspring.clock import moment
from mainspring.errors import ScheduleNotFound
from mainspring.model.text import quote
from mainspring.web.api.enqueuing import read_arguments, task_to_enqueue
from mainspring.web.api.inputs import Ask, Name, NamePath, Seconds
from mainspring.web.api.route import changing, new_router, problems, put_location
from mainspring.web.identity import Role
from mainspring.web.shapes import JobShape, Listing, ScheduleShape, job_shape, schedule_shape
from mainspring.web.shapes.base import Moment
from mainspring.web.site import AtSite, Site, may

__all__ = ["router"]

router = new_router("schedules")

CHANGE = changing(Role.OPERATOR)


class ScheduleAsk(Ask):
    """What is done, and when: give either `cron` or `every`."""

    task: Name
    cron: str | None = Field(
        default=None, max_length=256, description='Such as "0 3 * * *"; six fields: seconds first.'
    )
    every: Seconds | None = Field(default=None, description="A fixed interval, counted from 1970 UTC.")
    tz: str = Field(default="UTC", max_length=100, description='Of the cron line, such as "Europe/Berlin".')
    catch_up: Literal["none", "latest", "all"] = Field(
        default="latest", description="Which of the times that passed while no worker ran are made up for."
    )
    jitter: Seconds | None = Field(default=None, description="Spreads the jobs over so long.")
    args: dict[str, Any] = Field(default={}, description="By name. A secret that is shown as [secret] stays as it was.")


class Count(Ask):
    """How many of them."""

    count: int = Field(default=5, ge=1, le=100)


@router.get("/schedules", dependencies=[may(Role.VIEWER)])
async def list_schedules(site: AtSite) -> Listing[ScheduleShape]:
    """All schedules, by name."""
    return Listing(items=[schedule_shape(view) for view in await site.app.schedules.alist()], cursor=None)


@router.get("/schedules/{name:name}/next", dependencies=[may(Role.VIEWER)], responses=problems(404))
async def next_runs(site: AtSite, name: NamePath, asked: Annotated[Count, Query()]) -> Listing[Moment]:
    """The next times of a schedule, whether it is paused or not, without its jitter."""
    return Listing(items=_next(await _view(site, name), asked.count), cursor=None)


@router.get("/schedules/{name:name}", dependencies=[may(Role.VIEWER)], responses=problems(404))
async def get_schedule(site: AtSite, name: NamePath) -> ScheduleShape:
    """One schedule."""
    return schedule_shape(await _view(site, name))


@router.put(
    "/schedules/{name:name}",
    dependencies=changing(Role.ADMIN),
    responses=problems(404) | {201: {"model": ScheduleShape, "description": "There was none of that name."}},
)
async def put_schedule(
    request: Request, response: Response, site: AtSite, name: NamePath, ask: ScheduleAsk
) -> ScheduleShape:
    """Make a schedule, or change it. Whether it is paused stays as it is."""
    task = task_to_enqueue(site.app, ask.task)
    known = {view.name: view for view in await site.app.schedules.alist()}
    args = site.app.schedules.edited(task, ask.args, known.get(name))
    read_arguments(task, task, args)
    await site.app.schedules.aput(
        name,
        task,
        cron=ask.cron,
        every=ask.every,
        tz=ask.tz,
        catch_up=ask.catch_up,
        jitter=ask.jitter,
        args=args,
    )
    if name not in known:
        response.status_code = 201
        put_location(request, response, "schedules", name)
    return schedule_shape(await _view(site, name))


@router.delete(
    "/schedules/{name:name}",
    dependencies=changing(Role.ADMIN),
    status_code=204,
    response_class=Response,
    responses=problems(404),
)
async def remove_schedule(site: AtSite, name: NamePath) -> None:
    """Forget a schedule; its jobs stay. One that the code declares comes back when a worker starts."""
    await site.app.schedules.aremove(name)


@router.post("/schedules/{name:name}/pause", dependencies=CHANGE, responses=problems(404))
async def pause_schedule(site: AtSite, name: NamePath) -> ScheduleShape:
    """Let it make no jobs until it is resumed."""
    await site.app.schedules.apause(name)
    return schedule_shape(await _view(site, name))


@router.post("/schedules/{name:name}/resume", dependencies=CHANGE, responses=problems(404))
async def resume_schedule(site: AtSite, name: NamePath) -> ScheduleShape:
    """Let it go on with its next time; what passed meanwhile is not made up for."""
    await site.app.schedules.aresume(name)
    return schedule_shape(await _view(site, name))


@router.post("/schedules/{name:name}/run", dependencies=CHANGE, status_code=201, responses=problems(404, 429, 507))
async def run_schedule(request: Request, response: Response, site: AtSite, name: NamePath) -> JobShape:
    """Enqueue its job now, besides its regular ones, paused or not."""
    job = await site.app.schedules.arun_now(name)
    put_location(request, response, "jobs", job.id)
    return job_shape(job)


async def _view(site: Site, name: str) -> ScheduleView:
    for view in await site.app.schedules.alist():
        if view.name == name:
            return view
    raise ScheduleNotFound(f"no schedule is named {quote(name)}")


def _next(view: ScheduleView, count: int) -> list[datetime]:
    times = [view.next_at]
    while len(times) < count:
        times.append(moment(view.timing.spec.next(round(times[-1].timestamp() * 1000))))
    return times
