"""What can be done to jobs, one or many: retry, cancel, reschedule, delete. First asked, then done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.datastructures import FormData
from starlette.responses import Response

from mainspring.admin.jobs import PAGE_LIMIT, Jobs
from mainspring.clock import moment
from mainspring.errors import ConfigurationError, InvalidOption, JobNotFound
from mainspring.model.states import State
from mainspring.sweeps import DONE, SWEEPS, Sweep, SweepVerb
from mainspring.web.carried import carried, read_carried
from mainspring.web.identity import Role
from mainspring.web.pages.acting import in_the_name_of
from mainspring.web.pages.asking import Field, Question, ask, hidden
from mainspring.web.pages.filters import Chosen, moment_of
from mainspring.web.pages.rendering import Page, after, page_of
from mainspring.web.pages.text import plain
from mainspring.web.pages.words import counted, number
from mainspring.web.problems import Forbidden, Problem
from mainspring.web.site import may

__all__ = ["DEEDS", "Deed", "deeds_for", "go_on_with", "router"]

SECONDS = 2.0
"""So long one request goes on, before a page tells how far it has come."""

router = APIRouter(dependencies=[may(Role.OPERATOR)])
AtPage = Annotated[Page, Depends(page_of)]


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that can be done to jobs."""

    name: SweepVerb
    label: str
    means: str
    """What it comes to, for people."""
    danger: bool = False
    role: Role = Role.OPERATOR
    fields: tuple[Field, ...] = ()

    @property
    def done(self) -> str:
        """The word of its notice."""
        return DONE[SWEEPS[self.name]]

    @property
    def states(self) -> frozenset[State]:
        """To jobs in which states it does something."""
        return frozenset(SWEEPS[self.name].changes)


_WHEN = Field("when", "When", "5m", 'A delay such as "10m" or "2h", or a time such as "2031-05-01 09:30".', True)

DEEDS: dict[str, Deed] = {
    deed.name: deed
    for deed in (
        Deed(
            "retry",
            "Retry",
            "Ended jobs are queued again with all their tries; scheduled ones run now.",
        ),
        Deed(
            "cancel",
            "Cancel",
            "Waiting jobs are cancelled, with the jobs that wait for them; running ones are asked to stop.",
            danger=True,
            fields=(Field("reason", "Why", "", "Kept with the job, for whoever looks at it later."),),
        ),
        Deed(
            "reschedule",
            "Reschedule",
            "Waiting jobs run at another time.",
            fields=(_WHEN,),
        ),
        Deed(
            "delete",
            "Delete",
            "The jobs and their logs are gone for good. For jobs that wait for them that is a bad end.",
            danger=True,
            role=Role.ADMIN,
        ),
    )
}


def deeds_for(states: frozenset[State], role: Role) -> tuple[Deed, ...]:
    """What may be done to jobs in these states by whoever has that role."""
    return tuple(deed for deed in DEEDS.values() if deed.role <= role and deed.states & states)


def deed_named(page: Page, name: object) -> Deed:
    """The deed of that name, if whoever asks may do it. Raises `Forbidden`, `Problem`."""
    deed = DEEDS.get(name) if isinstance(name, str) else None
    if deed is None:
        raise Problem("there is no such deed")
    if not page.may(deed.role):
        raise Forbidden(
            f"{page.identity.name} is {page.identity.role.name.lower()}; this takes {deed.role.name.lower()}"
        )
    return deed


async def do(deed: Deed, page: Page, form: FormData, **where: Any) -> int:
    """Do it to the jobs that fit; gives how many. Raises `InvalidOption` for a time that cannot be read."""
    jobs: Jobs = page.site.app.jobs
    verbs: dict[str, Callable[..., Awaitable[int]]] = {
        "retry": jobs.aretry,
        "cancel": jobs.acancel,
        "reschedule": jobs.areschedule,
        "delete": jobs.adelete,
    }
    with in_the_name_of(page):
        return await verbs[deed.name](**_how(deed, form, page), **where)


def _how(deed: Deed, form: FormData, page: Page) -> dict[str, Any]:
    """What was filled in, as the verb takes it."""
    match deed.name:
        case "cancel":
            return {"reason": _text(form, "reason")}
        case "reschedule":
            return _when(form, page)
    return {}


def _when(form: FormData, page: Page) -> dict[str, Any]:
    text = _text(form, "when")
    if not text:
        raise InvalidOption("say when: a delay or a time")
    at = moment_of(text, page.now.zone)
    return {"at": at} if isinstance(at, datetime) else {"delay": at}


def _text(form: FormData, name: str) -> str:
    value = form.get(name, "")
    return value.strip() if isinstance(value, str) else ""


# --- one job ---------------------------------------------------------------------------------------------------------


def _about_one(deed: Deed, page: Page, id: str, task: str) -> Question:
    return Question(
        title=f"{deed.label} this job?",
        text=(f"{plain(task, 80)}, {plain(id, 60)}", deed.means),
        action=page.links(f"job/{deed.name}"),
        button=f"{deed.label} the job",
        back=page.links("job", id=id),
        danger=deed.danger,
        hidden=(("id", id),),
        fields=deed.fields,
    )


@router.get("/job/{name}", include_in_schema=False)
async def ask_about_job(page: AtPage, name: str, id: str = "") -> Response:
    """Ask before it is done."""
    deed = deed_named(page, name)
    found = await page.site.app.jobs.aget(id)
    return ask(page, _about_one(deed, page, found.id, found.task), section="jobs")


@router.post("/job/{name}", include_in_schema=False)
async def do_to_job(page: AtPage, name: str) -> Response:
    """Do it."""
    form = await page.request.form()
    deed, id = deed_named(page, name), _text(form, "id")
    try:
        count = await do(deed, page, form, ids=id or ())
    except (ConfigurationError, JobNotFound) as error:
        return ask(page, _filled(_about_one(deed, page, id, "job"), form), section="jobs", problem=str(error))
    if deed.name == "delete" and count:
        return after(page.links("jobs", done=deed.done, n=count))
    return after(page.links("job", id=id, done=deed.done, n=count))


def _filled(question: Question, form: FormData) -> Question:
    """The question once more, with what was filled in."""
    return replace(question, fields=tuple(replace(field, value=_text(form, field.name)) for field in question.fields))


# --- many jobs -------------------------------------------------------------------------------------------------------


async def _question(deed: Deed, page: Page, form: FormData) -> Question:
    chosen = Chosen.of(form)
    back = page.links("jobs", **chosen.query)
    if form.get("scope") != "all":
        if not chosen.ids:
            raise InvalidOption('tick the jobs that are meant, or choose "all that fit"')
        return Question(
            title=f"{deed.label} {counted(len(chosen.ids), 'job')}?",
            text=("Those that were ticked in the list.", deed.means),
            action=page.links("jobs/do"),
            button=f"{deed.label} {number(len(chosen.ids))}",
            back=back,
            danger=deed.danger,
            hidden=hidden([("deed", deed.name), ("scope", "ticked"), ("id", chosen.ids), *chosen.query.items()]),
            fields=deed.fields,
        )
    chosen = replace(chosen, state=_states_of(deed, chosen))
    # Only counted: of what is not filled in yet nothing is needed for that.
    sweep = await page.site.app.jobs.asweep(deed.name, **_COUNTED.get(deed.name, {}), **chosen.where(page.now.zone))
    told = _told(chosen)
    if sweep.where.until is not None and not chosen.until:
        chosen = replace(chosen, until=moment(sweep.where.until).isoformat())
    count = f"{'' if sweep.exact else 'at least '}{number(sweep.matched)}"
    return Question(
        title=f"{deed.label} {count} {'job' if sweep.matched == 1 else 'jobs'}?",
        text=(f"All that fit: {told}.", deed.means),
        action=page.links("jobs/do"),
        button=f"{deed.label} {count}",
        back=back,
        danger=deed.danger,
        hidden=hidden([("deed", deed.name), ("scope", "all"), *chosen.query.items()]),
        fields=deed.fields,
        check=f"I mean all {count} of them." if sweep.matched > 1 and deed.danger else "",
    )


_COUNTED: dict[str, dict[str, Any]] = {"reschedule": {"delay": 0}}


def _states_of(deed: Deed, chosen: Chosen) -> tuple[str, ...]:
    """Of the chosen states those to which it does something."""
    return tuple(each for each in State if each in deed.states and (not chosen.state or each in chosen.state))


def _told(chosen: Chosen) -> str:
    names = ("queue", "partition", "task", "flow", "tag", "text", "since")
    parts = [f"state {', '.join(chosen.state)}"] if len(chosen.state) < len(State) else []
    parts += [f"{name} {plain(getattr(chosen, name), 60)}" for name in names if getattr(chosen, name)]
    parts.append(f"until {plain(chosen.until, 40)}" if chosen.until else "until now")
    return "; ".join(parts)


@router.post("/jobs/ask", include_in_schema=False)
async def ask_about_jobs(page: AtPage) -> Response:
    """Say how many jobs are meant, and ask."""
    form = await page.request.form()
    deed = deed_named(page, form.get("deed"))
    try:
        return ask(page, await _question(deed, page, form), section="jobs")
    except ConfigurationError as error:
        return page.show("refused.html", status=422, section="jobs", problem=str(error), back=_back(page, form))


@router.post("/jobs/do", include_in_schema=False)
async def do_to_jobs(page: AtPage) -> Response:
    """Do it to all that were meant; of very many, to as many as one request comes to."""
    form = await page.request.form()
    deed = deed_named(page, form.get("deed"))
    chosen = Chosen.of(form)
    try:
        if form.get("scope") != "all":
            return _done(deed, page, form, await do(deed, page, form, ids=_ticked(chosen)))
        chosen = replace(chosen, state=_states_of(deed, chosen))
        with in_the_name_of(page):
            how = _how(deed, form, page)
            sweep = await page.site.app.jobs.asweep(deed.name, **how, **chosen.where(page.now.zone))
    except ConfigurationError as error:
        question = _filled(await _question(deed, page, form), form)
        return ask(page, question, section="jobs", problem=str(error))
    return await go_on_with(deed, page, form, sweep)


def _ticked(chosen: Chosen) -> tuple[str, ...]:
    if len(chosen.ids) > PAGE_LIMIT:
        raise InvalidOption(f"at most {PAGE_LIMIT:,} jobs can be ticked at once")
    return chosen.ids


@router.post("/jobs/go-on", include_in_schema=False)
async def go_on(page: AtPage) -> Response:
    """Go on with what one request did not come to the end of."""
    form = await page.request.form()
    deed = deed_named(page, form.get("deed"))
    try:
        sweep = read_carried(_text(form, "carried"), page.site.secret, deed.name)
        return await go_on_with(deed, page, form, sweep)
    except ConfigurationError as error:
        left_off = "This cannot be gone on with"
        return page.show(
            "refused.html", status=422, section="jobs", heading=left_off, problem=str(error), back=_back(page, form)
        )


async def go_on_with(deed: Deed, page: Page, form: FormData, sweep: Sweep) -> Response:
    """Do some more; then the page that says how far it is, or that where it was asked for."""
    with in_the_name_of(page):
        sweep = await page.site.app.jobs.ago_on(sweep, SECONDS)
    if sweep.done:
        return _done(deed, page, form, sweep.changed)
    return page.show(
        "underway.html",
        section="jobs",
        deed=deed,
        sweep=sweep,
        told=_so_far(sweep),
        share=min(99.0, 100 * sweep.changed / max(1, sweep.matched)),
        action=page.links("jobs/go-on"),
        back=_after(deed, page, form, sweep.changed),
        hidden=hidden([("deed", deed.name), ("of", form.get("of")), *Chosen.of(form).query.items()]),
        carried=carried(sweep, page.site.secret, deed.name),
    )


def _so_far(sweep: Sweep) -> str:
    if sweep.changed > sweep.matched:
        return number(sweep.changed)
    return f"{number(sweep.changed)} of {'about' if sweep.exact else 'at least'} {number(sweep.matched)}"


def _done(deed: Deed, page: Page, form: FormData, count: int) -> Response:
    return after(_after(deed, page, form, count))


def _after(deed: Deed, page: Page, form: FormData, count: int) -> str:
    """The list, which tells how many it was done to."""
    back = _back(page, form)
    return f"{back}{'&' if '?' in back else '?'}done={deed.done}&n={count}"


def _back(page: Page, form: FormData) -> str:
    chosen = Chosen.of(form)
    if form.get("of") == "flow":
        return page.links("flow", id=chosen.flow)
    return page.links("jobs", **replace(chosen, state=(), until="").query)
