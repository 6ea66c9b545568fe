"""Dead letters, grouped by the error that they died of."""

from __future__ import annotations

from collections.abc import Mapping
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


def _asked(form: Mapping[str, Any]) -> tuple[str, str, str]:
    task, type, message = (str(form.get(name, "")) for name in ("task", "type", "message"))
    return task, type, message


async def _members(page: Page, form: Mapping[str, Any]) -> tuple[str, ...]:
    """The jobs of that group, as it is now."""
    wanted = _asked(form)
    groups = await _groups(page, wanted[0])
    return next((group.ids for group in groups if (group.task, group.type, group.message) == wanted), ())


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
