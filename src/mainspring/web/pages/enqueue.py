"""Enqueuing by hand: a form made from the task's schema; also with the arguments of a job that is there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.datastructures import FormData
from starlette.responses import Response

from mainspring.errors import ConfigurationError, InvalidOption, MainspringError
from mainspring.job import Job
from mainspring.model.text import quote
from mainspring.task import Task
from mainspring.web.api.enqueuing import is_own, read_arguments, task_to_enqueue
from mainspring.web.identity import Role
from mainspring.web.pages.acting import in_the_name_of
from mainspring.web.pages.filling import filled, read
from mainspring.web.pages.filters import moment_of
from mainspring.web.pages.forms import Argument, arguments_of
from mainspring.web.pages.rendering import Page, after, page_of
from mainspring.web.pages.text import pretty
from mainspring.web.site import may

__all__ = ["router"]

router = APIRouter(dependencies=[may(Role.OPERATOR)])
AtPage = Annotated[Page, Depends(page_of)]

_TERMS = ("queue", "priority", "when")
LONGEST = 50_000
"""Longer arguments are edited as JSON."""


def _show(page: Page, task: Task[..., Any], arguments: tuple[Argument, ...], **values: Any) -> Response:
    return page.show(
        "enqueue.html",
        status=values.pop("status", 200),
        task=task,
        about=(task.function.__doc__ or "").strip().partition("\n\n")[0],
        arguments=arguments,
        **{"job": None, "as_json": False, "json_text": "{}", "problem": None, "terms": _terms(task)} | values,
    )


def _terms(task: Task[..., Any]) -> dict[str, str]:
    return {"queue": task.options.queue, "priority": str(task.options.priority), "when": ""}


def _arguments(task: Task[..., Any], job: Job[Any] | None = None) -> tuple[Argument, ...]:
    arguments = arguments_of(task.codec.json_schema(), task.defaults)
    return arguments if job is None else filled(arguments, job.shown_args())


def _fits(arguments: tuple[Argument, ...], job: Job[Any]) -> bool:
    """Whether the form has an input for each of the job's arguments, and they are not too long for it."""
    return len(job.record.args) <= LONGEST and {each.name for each in arguments} >= job.shown_args().keys()


@router.get("/enqueue", include_in_schema=False)
async def choose(page: AtPage, task: str = "") -> Response:
    """The tasks to choose from; the form of the one that was chosen."""
    tasks = page.site.app.tasks
    if task not in tasks:
        tasks = {name: each for name, each in tasks.items() if not is_own(name)}
        rows = [
            (name, each.options.queue, (each.function.__doc__ or "").strip().partition("\n")[0])
            for name, each in sorted(tasks.items())
        ]
        return page.show("tasks.html", rows=rows, problem=f"no task is named {quote(task)}" if task else None)
    found = task_to_enqueue(page.site.app, task)
    return _show(page, found, _arguments(found))


@router.get("/job/edit", include_in_schema=False)
async def edit(page: AtPage, id: str = "") -> Response:
    """The form with the arguments of a job."""
    job = await page.site.app.jobs.aget(id)
    task = task_to_enqueue(page.site.app, job.task)
    arguments = _arguments(task)
    as_json = not _fits(arguments, job)
    if not as_json:
        arguments = filled(arguments, job.shown_args())
    return _show(page, task, arguments, job=job, as_json=as_json, json_text=pretty(job.shown_args()))


@router.post("/enqueue", include_in_schema=False)
async def enqueue(page: AtPage) -> Response:
    """Enqueue it."""
    form = await page.request.form()
    task = task_to_enqueue(page.site.app, _text(form, "task"))
    id = _text(form, "job")
    job = await page.site.app.jobs.aget(id) if id else None
    as_json = _text(form, "as") == "json"
    json_text = _text(form, "json")
    values, arguments = read(_arguments(task, job), form)
    if as_json:
        arguments = _arguments(task, job)
    terms = {name: _text(form, name) for name in _TERMS}
    try:
        if not as_json and any(argument.is_wrong for argument in arguments):
            raise InvalidOption("some arguments cannot be read; see below")
        given = _object(json_text) if as_json else values
        made = await (_enqueue(page, task, given, terms) if job is None else _again(page, job, given))
    except (ConfigurationError, MainspringError) as error:
        return _show(
            page,
            task,
            arguments,
            status=422,
            job=job,
            terms=terms,
            as_json=as_json,
            json_text=json_text if as_json else pretty(values),
            problem=str(error),
        )
    return after(page.links("job", id=made.id, done="edited" if job else "enqueued"))


def _object(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise InvalidOption(f"the arguments are not JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidOption("the arguments are not a JSON object: give them by their names")
    return value


async def _again(page: Page, job: Job[Any], values: Mapping[str, Any]) -> Job[Any]:
    with in_the_name_of(page):
        return await page.site.app.jobs.arerun(job.id, values)


async def _enqueue(page: Page, task: Task[..., Any], values: Mapping[str, Any], terms: Mapping[str, str]) -> Job[Any]:
    options: dict[str, Any] = {}
    if terms["queue"]:
        options["queue"] = terms["queue"]
    if terms["priority"]:
        try:
            options["priority"] = int(terms["priority"])
        except ValueError:
            raise InvalidOption(f"priority {quote(terms['priority'])} is not a whole number") from None
    if terms["when"]:
        at = moment_of(terms["when"], page.now.zone)
        options["at" if isinstance(at, datetime) else "delay"] = at
    bound = task.using(**options)
    given, named = read_arguments(task, bound, values)
    with in_the_name_of(page):
        return await bound.aenqueue(*given, **named)


def _text(form: FormData, name: str) -> str:
    value = form.get(name, "")
    return value.strip() if isinstance(value, str) else ""
