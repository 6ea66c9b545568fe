"""Dead letters, grouped by the error that they died of."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.datastructures import FormData
from starlette.responses import Response

from mainspring.job import Job
from mainspring.model.states import State
from mainspring.web.identity import Role
from mainspring.web.pages.asking import Question, ask
from mainspring.web.pages.deeds import deed_named, do
from mainspring.web.pages.reads import reads_of
from mainspring.web.pages.rendering import Page, after, page_of
from mainspring.web.pages.text import plain
from mainspring.web.pages.words import counted, number
from mainspring.web.site import may

__all__ = ["Group", "grouped", "router"]

LOOKED_AT = 5_000
"""Of so many of the newest dead jobs groups are made."""
AT_ONCE = 500
BYTES = 32 * 1024 * 1024
"""So much text of errors and arguments is looked at; then it is enough, however few jobs that were."""
_LOOSE = re.compile(r"0x[0-9a-fA-F]+|[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|'[^']*'|\"[^\"]*\"|\d+")

router = APIRouter(dependencies=[may(Role.VIEWER)])
AtPage = Annotated[Page, Depends(page_of)]


@dataclass(frozen=True, slots=True)
class Group:
    """Dead jobs of one task that died of the same."""

    task: str
    type: str
    message: str
    ids: tuple[str, ...]
    newest: datetime
    oldest: datetime
    queues: tuple[str, ...]
    example: str
    """The whole message of the newest."""

    @property
    def count(self) -> int:
        """How many there are, among those that were looked at."""
        return len(self.ids)

    @property
    def key(self) -> str:
        """What tells it apart, for the page."""
        return f"{self.task}|{self.type}|{self.message}"


def cause(job: Job[Any]) -> tuple[str, str, str]:
    """What tells the groups apart: the task, the type of the error, and its message with numbers left out."""
    error = job.error
    if error is None:
        return job.task, "", without_numbers(job.reason or "")
    return job.task, error.type, without_numbers(error.message.partition("\n")[0])


def _said(job: Job[Any]) -> str:
    return job.error.message if job.error else job.reason or ""


def without_numbers(message: str) -> str:
    """`order 91: no funds` and `order 7: no funds` are the same. Long ids and quoted texts count as numbers too."""
    return _LOOSE.sub("…", message[:500])[:200]


def grouped(jobs: Iterable[Job[Any]]) -> tuple[Group, ...]:
    """The groups, the largest first."""
    by_cause: dict[tuple[str, str, str], list[Job[Any]]] = {}
    for job in jobs:
        by_cause.setdefault(cause(job), []).append(job)
    groups = [
        Group(
            task=task,
            type=type,
            message=message,
            ids=tuple(job.id for job in some),
            newest=max(job.finished_at or job.created_at for job in some),
            oldest=min(job.finished_at or job.created_at for job in some),
            queues=tuple(sorted({job.queue for job in some})),
            example=_said(max(some, key=lambda job: job.finished_at or job.created_at)),
        )
        for (task, type, message), some in by_cause.items()
    ]
    return tuple(sorted(groups, key=lambda group: (-group.count, group.key)))


async def newest(page: Page, task: str | None = None, queue: str | None = None) -> list[Job[Any]]:
    """The newest dead jobs, as many as are looked at."""
    found: list[Job[Any]] = []
    cursor: str | None = None
    size = 0
    where = {name: value for name, value in (("task", task), ("queue", queue)) if value}
    while len(found) < LOOKED_AT and size < BYTES:
        some = await page.site.app.jobs.afind(state=State.DEAD, limit=AT_ONCE, cursor=cursor, **where)
        found += some
        size += sum(len(job.record.args) + len(job.record.error or "") + len(job.record.history) for job in some)
        cursor = some.cursor
        if cursor is None:
            break
    return found


@router.get("/dead", include_in_schema=False)
async def dead(page: AtPage) -> Response:
    """The groups."""
    reads = reads_of(page)
    asked = page.request.query_params
    task, queue = asked.get("task", "").strip(), asked.get("queue", "").strip()
    groups, looked_at = await reads.once(("dead", task, queue), lambda: _groups(page, task, queue))
    counts = await reads.counts()
    return page.show(
        "dead.html",
        groups=groups,
        task=task,
        queue=queue,
        looked_at=looked_at,
        total=None if counts is None else counts[State.DEAD],
        tasks=sorted(page.site.app.tasks),
    )


async def _groups(page: Page, task: str, queue: str) -> tuple[tuple[Group, ...], int]:
    jobs = await newest(page, task, queue)
    return grouped(jobs), len(jobs)


# --- a group at once -------------------------------------------------------------------------------------------------


def _asked(form: Any) -> tuple[str, str, str]:
    task, type, message = (str(form.get(name, "")) for name in ("task", "type", "message"))
    return task, type, message


async def _members(page: Page, form: Any) -> tuple[str, ...]:
    wanted = _asked(form)
    return tuple(job.id for job in await newest(page, wanted[0]) if cause(job) == wanted)


@router.get("/dead/{name}", include_in_schema=False, dependencies=[may(Role.OPERATOR)])
async def ask_about_group(page: AtPage, name: str) -> Response:
    """Say how many jobs are meant, and ask."""
    form = page.request.query_params
    deed = deed_named(page, name)
    task, type, message = _asked(form)
    count = len(await _members(page, form))
    question = Question(
        title=f"{deed.label} {counted(count, 'dead letter')}?",
        text=(
            f"All of {plain(task, 60)} that died of {plain(': '.join(filter(None, [type, message])), 200)}",
            deed.means,
        ),
        action=page.links(f"dead/{deed.name}"),
        button=f"{deed.label} {number(count)}",
        back=page.links("dead"),
        danger=deed.danger,
        hidden=(("task", task), ("type", type), ("message", message)),
        fields=deed.fields,
    )
    return ask(page, question, section="dead")


@router.post("/dead/{name}", include_in_schema=False, dependencies=[may(Role.OPERATOR)])
async def do_to_group(page: AtPage, name: str) -> Response:
    """Do it to all that are in the group now."""
    form: FormData = await page.request.form()
    deed = deed_named(page, name)
    count = await do(deed, page, form, ids=await _members(page, form), state=State.DEAD)
    return after(page.links("dead", done=deed.done, n=count))
