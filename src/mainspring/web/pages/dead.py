"""Dead letters, grouped by the error that they died of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.datastructures import FormData
from starlette.responses import Response

from mainspring.admin import ErrorGroups
from mainspring.admin.jobs import Where
from mainspring.model.states import State
from mainspring.web.identity import Role
from mainspring.web.pages.asking import Question, ask
from mainspring.web.pages.deeds import deed_named, do
from mainspring.web.pages.reads import reads_of
from mainspring.web.pages.rendering import Page, after, page_of
from mainspring.web.pages.text import plain
from mainspring.web.pages.words import counted, number
from mainspring.web.site import may

__all__ = ["router"]

router = APIRouter(dependencies=[may(Role.VIEWER)])
AtPage = Annotated[Page, Depends(page_of)]


@router.get("/dead", include_in_schema=False)
async def dead(page: AtPage) -> Response:
    """The groups."""
    reads = reads_of(page)
    asked = page.request.query_params
    task, queue = asked.get("task", "").strip(), asked.get("queue", "").strip()
    groups = await reads.once(("dead", task, queue), lambda: _groups(page, task, queue))
    counts = await reads.counts()
    return page.show(
        "dead.html",
        groups=groups,
        task=task,
        queue=queue,
        total=None if counts is None else counts.told(State.DEAD),
        tasks=sorted(page.site.app.tasks),
    )


async def _groups(page: Page, task: str = "", queue: str = "") -> ErrorGroups:
    where: Where = {}
    if task:
        where["task"] = task
    if queue:
        where["queue"] = queue
    return await page.site.app.jobs.aerrors(**where)


# --- a group at once -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Group:
    """A group, as its buttons name it."""

    task: str
    type: str
    message: str
    queue: str
    """That the page is narrowed down to; "" for all of them."""

    @classmethod
    def of(cls, form: Mapping[str, Any]) -> _Group:
        return cls(**{name: str(form.get(name, "")) for name in ("task", "type", "message", "queue")})


async def _members(page: Page, wanted: _Group) -> tuple[str, ...]:
    """The jobs of that group, as it is now."""
    key = (wanted.task, wanted.type, wanted.message)
    groups = await _groups(page, wanted.task, wanted.queue)
    return next((group.ids for group in groups if (group.task, group.type, group.message) == key), ())


@router.get("/dead/{name}", include_in_schema=False, dependencies=[may(Role.OPERATOR)])
async def ask_about_group(page: AtPage, name: str) -> Response:
    """Say how many jobs are meant, and ask."""
    deed = deed_named(page, name)
    group = _Group.of(page.request.query_params)
    count = len(await _members(page, group))
    died = plain(": ".join(filter(None, [group.type, group.message])), 200)
    where = f" in queue {plain(group.queue, 60)}" if group.queue else ""
    question = Question(
        title=f"{deed.label} {counted(count, 'dead letter')}?",
        text=(f"All of {plain(group.task, 60)}{where} that died of {died}", deed.means),
        action=page.links(f"dead/{deed.name}"),
        button=f"{deed.label} {number(count)}",
        back=page.links("dead", queue=group.queue),
        danger=deed.danger,
        hidden=tuple(asdict(group).items()),
        fields=deed.fields,
    )
    return ask(page, question, section="dead")


@router.post("/dead/{name}", include_in_schema=False, dependencies=[may(Role.OPERATOR)])
async def do_to_group(page: AtPage, name: str) -> Response:
    """Do it to all that are in the group now."""
    form: FormData = await page.request.form()
    deed = deed_named(page, name)
    group = _Group.of(form)
    count = await do(deed, page, form, ids=await _members(page, group), state=State.DEAD)
    return after(page.links("dead", queue=group.queue, done=deed.done, n=count))
