"""Schedules: what runs at which times."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.datastructures import FormData
from starlette.responses import Response

from mainspring.admin import ScheduleView
from mainspring.clock import moment
from mainspring.errors import ConfigurationError, InvalidOption, MainspringError, ScheduleNotFound
from mainspring.model.durations import format_ms
from mainspring.model.schedule import Cron
from mainspring.web.identity import Role
from mainspring.web.pages.acting import in_the_name_of
from mainspring.web.pages.asking import Question, ask
from mainspring.web.pages.reads import reads_of
from mainspring.web.pages.rendering import Page, after, page_of
from mainspring.web.pages.text import plain, pretty
from mainspring.web.site import may

__all__ = ["next_times", "router", "timing_words"]

SHOWN_TIMES = 10

router = APIRouter(dependencies=[may(Role.VIEWER)])
AtPage = Annotated[Page, Depends(page_of)]


def timing_words(view: ScheduleView) -> tuple[str, str]:
    """When it ticks, and by which clock."""
    spec = view.timing.spec
    if isinstance(spec, Cron):
        return spec.expression, spec.tz
    return f"every {format_ms(spec.interval_ms)}", ""


def next_times(view: ScheduleView, most: int = SHOWN_TIMES) -> tuple[datetime, ...]:
    """Its next times, the one that is due first."""
    at = round(view.next_at.timestamp() * 1000)
    times = [view.next_at]
    while len(times) < most:
        at = view.timing.spec.next(at)
        times.append(moment(at))
    return tuple(times)


@router.get("/schedules", include_in_schema=False)
async def schedules(page: AtPage) -> Response:
    """All of them."""
    views = await reads_of(page).schedules()
    return page.show("schedules.html", rows=[(view, *timing_words(view), next_times(view, 3)[1:]) for view in views])


@router.get("/schedule", include_in_schema=False)
async def schedule(page: AtPage, name: str = "") -> Response:
    """One of them."""
    view = await reads_of(page).schedule(name)
    if view is None:
        return page.show("gone.html", status=404, section="schedules", kind="schedule", id=name)
    when, zone = timing_words(view)
    return page.show(
        "schedule.html",
        schedule=view,
        when=when,
        zone=zone,
        times=next_times(view),
        args=pretty(view.shown_args),
        jitter=format_ms(view.timing.jitter_ms) if view.timing.jitter_ms else "",
    )


# --- pause, resume, run, remove --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Deed:
    title: str
    text: str
    button: str
    done: str
    danger: bool = False
    role: Role = Role.OPERATOR


_DEEDS = {
    "pause": _Deed("Pause", "It makes no jobs until it is resumed.", "Pause it", "schedule-paused"),
    "resume": _Deed(
        "Resume",
        "It goes on with its next time; what passed meanwhile is not made up for.",
        "Resume it",
        "schedule-resumed",
    ),
    "run": _Deed("Run now", "Its job is enqueued at once, besides the regular times.", "Run it now", "run-now"),
    "remove": _Deed(
        "Forget",
        "Its jobs stay. One that the code declares comes back when a worker starts.",
        "Forget it",
        "schedule-removed",
        True,
        Role.ADMIN,
    ),
}


def _question(page: Page, verb: str, name: str) -> Question:
    deed = _DEEDS[verb]
    return Question(
        title=f"{deed.title}: {plain(name, 80)}?",
        text=(deed.text,),
        action=page.links(f"schedule/{verb}"),
        button=deed.button,
        back=page.links("schedule", name=name),
        danger=deed.danger,
        hidden=(("name", name),),
    )


def _verb(page: Page) -> str:
    return page.request.url.path.rpartition("/")[2]


@router.get("/schedule/pause", include_in_schema=False, dependencies=[may(Role.OPERATOR)])
@router.get("/schedule/resume", include_in_schema=False, dependencies=[may(Role.OPERATOR)])
@router.get("/schedule/run", include_in_schema=False, dependencies=[may(Role.OPERATOR)])
@router.get("/schedule/remove", include_in_schema=False, dependencies=[may(Role.ADMIN)])
async def ask_about(page: AtPage, name: str = "") -> Response:
    """Ask before it is done."""
    return ask(page, _question(page, _verb(page), name), section="schedules")


@router.post("/schedule/pause", include_in_schema=False, dependencies=[may(Role.OPERATOR)])
@router.post("/schedule/resume", include_in_schema=False, dependencies=[may(Role.OPERATOR)])
@router.post("/schedule/run", include_in_schema=False, dependencies=[may(Role.OPERATOR)])
@router.post("/schedule/remove", include_in_schema=False, dependencies=[may(Role.ADMIN)])
async def do_it(page: AtPage) -> Response:
    """Do it."""
    form = await page.request.form()
    verb, name = _verb(page), _text(form, "name")
    doors = page.site.app.schedules
    try:
        with in_the_name_of(page):
            if verb == "run":
                job = await doors.arun_now(name)
                return after(page.links("job", id=job.id, done="run-now"))
            await {"pause": doors.apause, "resume": doors.aresume, "remove": doors.aremove}[verb](name)
    except ScheduleNotFound:
        return page.show("gone.html", status=404, section="schedules", kind="schedule", id=name)
    except MainspringError as error:
        return ask(page, _question(page, verb, name), section="schedules", problem=str(error))
    if verb == "remove":
        return after(page.links("schedules", done=_DEEDS[verb].done))
    return after(page.links("schedule", name=name, done=_DEEDS[verb].done))


# --- edit ------------------------------------------------------------------------------------------------------------

_FIELDS = ("name", "task", "kind", "cron", "tz", "every", "catch_up", "jitter", "args")


@router.get("/schedule/edit", include_in_schema=False, dependencies=[may(Role.ADMIN)])
async def edit(page: AtPage, name: str = "") -> Response:
    """A form with what it is now; an empty one for a new schedule."""
    view = await reads_of(page).schedule(name) if name else None
    values = dict.fromkeys(_FIELDS, "") | {
        "kind": "cron",
        "tz": "UTC",
        "catch_up": "latest",
        "args": "{}",
        "name": name,
    }
    if view is not None:
        spec = view.timing.spec
        values |= {"task": view.task, "catch_up": view.timing.catch_up, "args": pretty(view.shown_args)}
        if isinstance(spec, Cron):
            values |= {"cron": spec.expression, "tz": spec.tz}
        else:
            values |= {"kind": "every", "every": format_ms(spec.interval_ms)}
        if view.timing.jitter_ms:
            values["jitter"] = format_ms(view.timing.jitter_ms)
    return _form(page, values, is_new=view is None)


def _form(page: Page, values: dict[str, str], *, is_new: bool, problem: str | None = None) -> Response:
    return page.show(
        "schedule_edit.html",
        status=200 if problem is None else 422,
        values=values,
        is_new=is_new,
        tasks=sorted(page.site.app.tasks),
        problem=problem,
    )


@router.post("/schedule/edit", include_in_schema=False, dependencies=[may(Role.ADMIN)])
async def save(page: AtPage) -> Response:
    """Save it."""
    form = await page.request.form()
    values = {name: _text(form, name) for name in _FIELDS}
    is_new = _text(form, "new") == "yes"
    try:
        old = await reads_of(page).schedule(values["name"])
        if is_new and old is not None:
            raise InvalidOption(f"there is a schedule of that name already: {plain(values['name'], 60)}")
        with in_the_name_of(page):
            await page.site.app.schedules.aput(values["name"], values["task"], **_given(page, values, old))
    except (ConfigurationError, MainspringError) as error:
        return _form(page, values, is_new=is_new, problem=str(error))
    return after(page.links("schedule", name=values["name"], done="schedule-saved"))


def _given(page: Page, values: dict[str, str], old: ScheduleView | None) -> dict[str, Any]:
    try:
        args = json.loads(values["args"] or "{}")
    except (ValueError, RecursionError) as error:
        raise InvalidOption(f"the arguments are not JSON: {error}") from None
    if not isinstance(args, dict):
        raise InvalidOption("the arguments are not a JSON object: give them by their names")
    task = page.site.app.task_named(values["task"])
    args = page.site.app.schedules.edited(task, args, old)
    when = (
        {"cron": values["cron"], "tz": values["tz"] or "UTC"}
        if values["kind"] == "cron"
        else {"every": values["every"]}
    )
    return {**when, "catch_up": values["catch_up"] or "latest", "jitter": values["jitter"] or None, "args": args}


def _text(form: FormData, name: str) -> str:
    value = form.get(name, "")
    return value.strip() if isinstance(value, str) else ""
