"""Many jobs at once: by ids or by conditions, after a dry run if one likes; as far as one request comes."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from mainspring.errors import InvalidOption
from mainspring.model.states import State
from mainspring.sweeps import DONE, SWEEPS, Sweep, SweepVerb
from mainspring.web.api.inputs import Ask, JobConditions, where_of
from mainspring.web.api.jobs import CancelAsk, ReprioritiseAsk, RescheduleAsk
from mainspring.web.api.route import changing, new_router
from mainspring.web.carried import LONGEST, carried, read_carried
from mainspring.web.identity import Role
from mainspring.web.shapes.base import Shape
from mainspring.web.site import AtSite, Site

__all__ = ["SECONDS", "Going", "ManyShape", "router", "swept"]

SECONDS = 3.0
"""So long one request goes on changing jobs."""

router = new_router("jobs")


class Going(Ask):
    """What may take more than one request."""

    cursor: Annotated[str, Field(min_length=1, max_length=LONGEST)] | None = Field(
        default=None, description="From the answer before this one, to the same request: goes on from there."
    )


class ManyAsk(Going):
    """Which jobs; at least one condition must be given."""

    where: JobConditions
    dry_run: bool = Field(default=False, strict=True, description="Only say how many jobs there are; change none.")


class CancelManyAsk(ManyAsk, CancelAsk):
    """Which jobs to cancel, and why."""


class RescheduleManyAsk(ManyAsk, RescheduleAsk):
    """Which jobs run at another time, and when; give either `delay` or `at`."""


class ReprioritiseManyAsk(ManyAsk, ReprioritiseAsk):
    """Which jobs get another priority, and which one."""


class ManyShape(Shape):
    """What was done to many jobs, or, of a dry run, what would be."""

    matched: int = Field(description="How many jobs it could be done to when it was begun.")
    exact: bool = Field(description="Whether it is just as many; if not, they were too many to be counted in time.")
    changed: int = Field(
        description="How many this request has done it to; in a dry run none. Jobs that are cancelled because one is "
        "that they wait for are not counted."
    )
    changed_in_all: int = Field(description="How many it has been done to since it was begun, with the first request.")
    done: bool = Field(description="Whether nothing is left to do; if not, send the same again, with the cursor.")
    cursor: str | None = Field(description="Give it back with the same request, to go on; null: nothing is left to do.")
    dry_run: bool
    counts: dict[str, int] = Field(description="Of the matched ones, how many were in each state.")
    told: str = Field(description="The same in a sentence.")


@router.post("/jobs/cancel", dependencies=changing(Role.OPERATOR))
async def cancel_jobs(site: AtSite, ask: CancelManyAsk) -> ManyShape:
    """Cancel jobs that wait, and ask for those that run to be ended. A request works for a few seconds; where its
    answer is not `done`, send it again with the `cursor`."""
    return await _do("cancel", ask, site, {"reason": ask.reason})


@router.post("/jobs/retry", dependencies=changing(Role.OPERATOR))
async def retry_jobs(site: AtSite, ask: ManyAsk) -> ManyShape:
    """Queue ended jobs again with all their attempts, and let scheduled ones run now. Where neither ids nor states are
    given, the dead ones are meant. A request works for a few seconds; where its answer is not `done`, send it again
    with the `cursor`."""
    return await _do("retry", ask, site, {}, usual=(State.DEAD,))


@router.post("/jobs/reschedule", dependencies=changing(Role.OPERATOR))
async def reschedule_jobs(site: AtSite, ask: RescheduleManyAsk) -> ManyShape:
    """Let queued and scheduled jobs run at another time. A request works for a few seconds; where its answer is not
    `done`, send it again with the `cursor`."""
    if (ask.delay is None) == (ask.at is None):
        raise InvalidOption("say when: give either delay or at")
    return await _do("reschedule", ask, site, {"delay": ask.delay, "at": ask.at})


@router.post("/jobs/reprioritise", dependencies=changing(Role.OPERATOR))
async def reprioritise_jobs(site: AtSite, ask: ReprioritiseManyAsk) -> ManyShape:
    """Give waiting jobs another priority. A request works for a few seconds; where its answer is not `done`, send it
    again with the `cursor`."""
    return await _do("reprioritise", ask, site, {"priority": ask.priority})


@router.post("/jobs/delete", dependencies=changing(Role.ADMIN))
async def delete_jobs(site: AtSite, ask: ManyAsk) -> ManyShape:
    """Delete jobs that do not run, with their logs. Nothing brings them back. A request works for a few seconds; where
    its answer is not `done`, send it again with the `cursor`."""
    return await _do("delete", ask, site, {})


async def _do(
    verb: SweepVerb, ask: ManyAsk, site: Site, how: dict[str, Any], usual: tuple[State, ...] | None = None
) -> ManyShape:
    """To jobs in the states in which it can be done; `usual` are those that are meant where nothing tells."""
    asked = f"{verb} {ask.model_dump_json(exclude={'cursor', 'dry_run'}, exclude_defaults=True)}"
    if ask.cursor is not None and not ask.dry_run:
        return await swept(site, read_carried(ask.cursor, site.secret, asked), asked)
    ids, where = where_of(ask.where)
    if ids is None and not where:
        raise InvalidOption("say which jobs: give at least one condition in `where`, such as state, queue or id")
    able = SWEEPS[verb].changes
    meant = ask.where.state or (able if ids is not None or usual is None else usual)
    states = [state for state in able if state in meant]
    if not states:
        raise InvalidOption(f"only jobs that are {' or '.join(able)} can be {DONE[SWEEPS[verb]]}")
    where["state"] = states
    sweep = await site.app.jobs.asweep(verb, ids, **how, **where)
    return _shape(sweep, None, 0, dry_run=True) if ask.dry_run else await swept(site, sweep, asked)


async def swept(site: Site, sweep: Sweep, asked: str) -> ManyShape:
    """Go on with it as far as one request comes. Jobs named by their ids are so few that none is left for another."""
    before, seconds = sweep.changed, SECONDS
    sweep = await site.app.jobs.ago_on(sweep, seconds)
    while sweep.where.ids and not sweep.done:
        sweep = await site.app.jobs.ago_on(sweep, seconds)
    cursor = None if sweep.done else carried(sweep, site.secret, asked)
    return _shape(sweep, cursor, sweep.changed - before)


def _shape(sweep: Sweep, cursor: str | None, changed: int, *, dry_run: bool = False) -> ManyShape:
    return ManyShape(
        matched=sweep.matched,
        exact=sweep.exact,
        changed=changed,
        changed_in_all=sweep.changed,
        done=cursor is None,
        cursor=cursor,
        dry_run=dry_run,
        counts={state.value: count for state, count in sweep.counts.items()},
        told=_told(sweep, dry_run),
    )


def _told(sweep: Sweep, dry_run: bool) -> str:
    done = DONE[sweep.verb]
    if not sweep.matched and sweep.exact:
        return f"no job fits that can be {done}"
    parts = ", ".join(f"{count:,} {state}" for state, count in sweep.counts.items() if count)
    jobs = f"{sweep.matched:,} job{'' if sweep.matched == 1 else 's'}{f' ({parts})' if parts else ''}"
    if not sweep.exact:
        jobs = f"at least {jobs}"
    if dry_run:
        return f"{jobs} would be {done}"
    all_of = f"{sweep.changed:,} jobs" if sweep.changed > sweep.matched else f"{sweep.changed:,} of {jobs}"
    return f"{all_of} {done}{'' if sweep.done else ' so far'}"
