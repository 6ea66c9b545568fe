"""`app.jobs`: look at jobs, one or many, and change them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any, TypedDict, Unpack, overload

from mainspring.admin.door import Door
from mainspring.admin.errors import ErrorGroups, grouped
from mainspring.admin.followed import Followed
from mainspring.admin.rerun import like
from mainspring.altering import alter, cancel, reason_of
from mainspring.audit import audited
from mainspring.clock import aware_ms, now_ms
from mainspring.counting import counted
from mainspring.draft import insert
from mainspring.errors import InvalidOption, JobNotFound
from mainspring.job import Job, LogLine
from mainspring.model.durations import Duration, to_ms
from mainspring.model.job import JobRecord
from mainspring.model.options import check_priority
from mainspring.model.secrets import redacted
from mainspring.model.states import State
from mainspring.model.text import clean, quote
from mainspring.store.base import CountRequest, Filter, FindRequest, Verb
from mainspring.sweeps import SWEEPS, Sweep, SweepVerb, begin, go_on
from mainspring.twin import Steps, ask, twins

__all__ = ["JobCount", "JobPage", "Jobs", "Where"]

PAGE_LIMIT = 1000
TEXT_LENGTH = 500
"""How long a text may be that is searched for."""
LOOKS_PER_PAGE = 6
"""How often one page asks the store on while it is not full: each time it reads only so many jobs that do not fit."""

EACH_TALLIED = 10_000
"""How far a queue and state are counted, where it has to be quick."""
MOST_TALLIED = 100_000
"""How many jobs are looked at then, where not all of them may fit."""

DEAD_GROUPED = 5000
"""How many dead letters `errors` looks at."""

Ids = str | Iterable[str]
States = State | str | Iterable[State | str]
When = Duration | datetime
"""A point in time: an aware `datetime`, or how long ago ("2h")."""


class Where(TypedDict, total=False):
    """Conditions on jobs, all of which must hold. `since` and `until` bound a job's end, or its creation while it has
    none; `text` is a part of its arguments as JSON text (the first 64 KiB of them; A is taken for a)."""

    state: States | None
    queue: str | None
    partition: str | None
    task: str | None
    flow: str | None
    text: str | None
    tag: str | None
    since: When | None
    until: When | None


@dataclass(frozen=True, slots=True)
class JobCount:
    """How many jobs there are. As text: "1,234", or "at least 20,000"."""

    count: int
    exact: bool
    """False: there may be more."""

    def __str__(self) -> str:
        return f"{'' if self.exact else 'at least '}{self.count:,}"


class JobPage(Sequence[Job[Any]]):
    """Some jobs, newest first, and where to go on: `app.jobs.find(..., cursor=page.cursor)`."""

    __slots__ = ("_jobs", "cursor")

    def __init__(self, jobs: tuple[Job[Any], ...], cursor: str | None) -> None:
        self._jobs = jobs
        self.cursor = cursor
        """None: there are no more."""

    def __len__(self) -> int:
        return len(self._jobs)

    @overload
    def __getitem__(self, index: int) -> Job[Any]: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Job[Any], ...]: ...
    def __getitem__(self, index: int | slice) -> Job[Any] | tuple[Job[Any], ...]:
        return self._jobs[index]

    def __repr__(self) -> str:
        return f"<JobPage of {len(self)}{', more to come' if self.cursor else ''}>"


class Jobs(Door):
    """`app.jobs`.

    Jobs are chosen by `ids` (one or several) and by the conditions of `Where`: `state` (one or several), `queue`,
    `partition`, `task`, `flow` (its parts included), `text` in their arguments, `tag`, `since` and `until`, which are
    an aware `datetime` or how long ago. Verbs that change jobs want at least one of all these, so that none can hit all
    jobs by an oversight.
    """

    @cached_property
    def followed(self) -> Followed:
        """For those who follow many jobs at once."""
        return Followed(self._app)

    def _find(
        self, ids: Ids | None = None, *, limit: int = 50, cursor: str | None = None, **where: Unpack[Where]
    ) -> Steps[JobPage]:
        """Jobs that fit, newest first, at most `limit`: `app.jobs.find(state="dead", task="send_welcome", since="2h")`.

        Where few jobs fit among very many, a page may be short although there are more: see its `cursor`.
        """
        if type(limit) is not int or not 1 <= limit <= PAGE_LIMIT:
            raise InvalidOption(f"limit={quote(limit)} is not a whole number from 1 to {PAGE_LIMIT}")
        selected = _select(ids, **where)
        jobs: list[Job[Any]] = []
        for _ in range(LOOKS_PER_PAGE):
            page = yield from ask(FindRequest(selected, limit - len(jobs), cursor))
            jobs += [Job(self._app, record) for record in page.jobs]
            cursor = page.cursor
            if cursor is None or len(jobs) == limit:
                break
        return JobPage(tuple(jobs), cursor)

    find, afind = twins(_find)

    def _count(self, ids: Ids | None = None, **where: Unpack[Where]) -> Steps[int]:
        """How many jobs fit, exactly: `app.jobs.count(state="dead", queue="email")`."""
        return (yield from counted(_select(ids, **where))).total()

    count, acount = twins(_count)

    def _counts(self, ids: Ids | None = None, **where: Unpack[Where]) -> Steps[dict[State, int]]:
        """How many jobs fit, by state: `app.jobs.counts(queue="email")`; states with none are left out."""
        counts: dict[State, int] = {}
        for (_, state), count in (yield from counted(_select(ids, **where))).items():
            counts[state] = counts.get(state, 0) + count
        return {state: counts[state] for state in State if state in counts}

    counts, acounts = twins(_counts)

    def _tally(self, ids: Ids | None = None, **where: Unpack[Where]) -> Steps[JobCount]:
        """How many jobs fit, as far as it is told quickly: exactly, or "at least so many", however many there are."""
        selected = _select(ids, **where)
        if replace(selected, states=(), queue=None) == Filter():
            reply = yield from ask(CountRequest(selected, each=EACH_TALLIED))
        else:
            reply = yield from ask(CountRequest(selected, most=MOST_TALLIED))
        exact = reply.cursor is None and not reply.cut and not any(tally.more for tally in reply.tallies)
        return JobCount(sum(tally.count for tally in reply.tallies), exact)

    tally, atally = twins(_tally)

    def _get(self, id: str) -> Steps[Job[Any]]:
        """The job with that id, its log lines included. Raises `JobNotFound`."""
        page = yield from ask(FindRequest(Filter(ids=_ids((id,))), 1, with_log=True))
        if not page.jobs:
            raise JobNotFound(f"no job has the id {quote(id)}; it may have been pruned or deleted")
        return Job(self._app, page.jobs[0])

    get, aget = twins(_get)

    def _log(self, id: str) -> Steps[tuple[LogLine, ...]]:
        """The newest 1,000 lines that the job logged, oldest first. Raises `JobNotFound`."""
        return (yield from self._get(id)).log

    log, alog = twins(_log)

    def _errors(self, **where: Unpack[Where]) -> Steps[ErrorGroups]:
        """The newest 5,000 dead letters that fit, in groups by what they died of: by task, type of error, and what
        their messages have in common.

            for group in app.jobs.errors(queue="email", since="1d"):
                print(group.count, group.task, group.type, group.message)
        """
        if where.get("state") is not None:
            raise InvalidOption(f"state={quote(where['state'])}: only dead jobs have died of something; leave it out")
        selected = replace(_select(None, **where), states=(State.DEAD,))
        dead: list[JobRecord] = []
        cursor: str | None = None
        for _ in range(LOOKS_PER_PAGE):
            some = min(PAGE_LIMIT, DEAD_GROUPED - len(dead))
            page = yield from ask(FindRequest(selected, some, cursor, brief=True))
            dead += page.jobs
            cursor = page.cursor
            if cursor is None or len(dead) >= DEAD_GROUPED:
                break
        return ErrorGroups(grouped(dead), len(dead), cursor is not None)

    errors, aerrors = twins(_errors)

    def _rerun(self, id: str, args: Mapping[str, Any] | None = None) -> Steps[Job[Any]]:
        """Enqueue a new job like that one: of the same task, queue, priority and options, with its arguments or, where
        given, with these in place of all of them. The old one stays as it is, and the new one is in no flow.

        Arguments come as `shown_args()` has them: what is hidden there still is what it was. Raises `JobNotFound`,
        `UnknownTask`, `ValidationError`, `InvalidOption`, and as `enqueue`.
        """
        old = yield from self._get(id)
        new = like(self._app, old, args)
        detail = {"job": new.id, "args": None if args is None else redacted(json.loads(new.args), old.secrets)}
        stored = audited("jobs.rerun", old.id, detail, insert(self._app, (new,)), lambda jobs: not jobs[0].existed)
        return (yield from stored)[0]

    rerun, arerun = twins(_rerun)

    def _cancel(self, ids: Ids | None = None, *, reason: str = "", **where: Unpack[Where]) -> Steps[int]:
        """Cancel waiting jobs and ask the workers to cancel running ones; gives how many. Ended ones stay."""
        selected = _select_some(ids, where)
        return (yield from cancel(self._app, selected, reason))

    cancel, acancel = twins(_cancel)

    def _retry(self, ids: Ids | None = None, **where: Unpack[Where]) -> Steps[int]:
        """Queue ended jobs again with all their attempts, and let scheduled ones run now; gives how many."""
        return (yield from alter(Verb.REVIVE, _select_some(ids, where)))

    retry, aretry = twins(_retry)

    def _reschedule(
        self,
        ids: Ids | None = None,
        *,
        delay: Duration | None = None,
        at: datetime | None = None,
        **where: Unpack[Where],
    ) -> Steps[int]:
        """Let waiting jobs run at another time, `delay` from now or `at` that time; gives how many."""
        return (yield from alter(Verb.RESCHEDULE, _select_some(ids, where), _run_at(delay, at)))

    reschedule, areschedule = twins(_reschedule)

    def _reprioritise(self, priority: int, ids: Ids | None = None, **where: Unpack[Where]) -> Steps[int]:
        """Give waiting jobs another priority (lower runs first); gives how many."""
        selected = _select_some(ids, where)
        return (yield from alter(Verb.REPRIORITISE, selected, check_priority(priority)))

    reprioritise, areprioritise = twins(_reprioritise)

    def _delete(self, ids: Ids | None = None, **where: Unpack[Where]) -> Steps[int]:
        """Delete jobs that are not running, with their logs; gives how many. Nothing brings them back."""
        return (yield from alter(Verb.DELETE, _select_some(ids, where)))

    delete, adelete = twins(_delete)

    # --- bit by bit ---

    def _sweep(
        self,
        verb: SweepVerb,
        ids: Ids | None = None,
        *,
        reason: str = "",
        delay: Duration | None = None,
        at: datetime | None = None,
        priority: int | None = None,
        **where: Unpack[Where],
    ) -> Steps[Sweep]:
        """Begin to do to very many jobs what the verb of that name does; so far they are counted, and none is changed.

            sweep = app.jobs.sweep("retry", state="dead", queue="email")
            while not sweep.done:
                sweep = app.jobs.go_on(sweep)
                print(f"{sweep.changed:,} of about {sweep.matched:,}")

        It keeps to jobs that are there by now. In the audit log it is one action, whose count says how far it has come.
        `reason` is for "cancel", `delay` or `at` for "reschedule", `priority` for "reprioritise".
        """
        selected, found = _select_some(ids, where), SWEEPS.get(verb)
        match found:
            case None:
                raise InvalidOption(f"verb={quote(verb)} is none of {', '.join(SWEEPS)}")
            case Verb.CANCEL:
                return (yield from begin(found, selected, reason=reason_of(reason)))
            case Verb.RESCHEDULE:
                return (yield from begin(found, selected, _run_at(delay, at)))
            case Verb.REPRIORITISE:
                return (yield from begin(found, selected, check_priority(priority)))
        return (yield from begin(found, selected))

    sweep, asweep = twins(_sweep)

    def _go_on(self, sweep: Sweep, within: Duration = 2) -> Steps[Sweep]:
        """Do some more of it, for about that time; gives how far it has come. Of the same sweep gone on with twice no
        job is changed twice. Raises `InvalidOption` for one that somebody else has begun."""
        return (yield from go_on(self._app, sweep, to_ms(within) / 1000))

    go_on, ago_on = twins(_go_on)


def _select(
    ids: Ids | None,
    *,
    state: States | None = None,
    queue: str | None = None,
    partition: str | None = None,
    task: str | None = None,
    flow: str | None = None,
    text: str | None = None,
    tag: str | None = None,
    since: When | None = None,
    until: When | None = None,
) -> Filter:
    return Filter(
        ids=() if ids is None else _ids(ids),
        states=() if state is None else _states(state),
        queue=_name("queue", queue),
        partition=_name("partition", partition),
        task=_name("task", task),
        flow=_name("flow", flow),
        text=None if text is None else _text(text),
        tag=_name("tag", tag),
        since=None if since is None else _when_ms("since", since),
        until=None if until is None else _when_ms("until", until),
    )


def _select_some(ids: Ids | None, where: Where) -> Filter:
    """For verbs that change jobs: refuses to mean all of them."""
    selected = _select(ids, **where)
    if selected == Filter():
        raise InvalidOption("say which jobs: give ids or at least one condition, such as state= or queue=")
    return selected


def _ids(ids: Ids) -> tuple[str, ...]:
    given = (ids,) if isinstance(ids, str) else tuple(ids)
    for id in given:
        if not isinstance(id, str):
            raise InvalidOption(f"job id {quote(id)} is of type {type(id).__name__}; give text")
    # A filter without ids fits every job, but who asks for none of them wants none: no job has an empty id, or one that
    # no store could keep.
    return tuple(id for id in given if clean(id) == id) or ("",)


def _name(condition: str, name: str | None) -> str | None:
    if name is not None and (not isinstance(name, str) or clean(name) != name):
        raise InvalidOption(f"{condition}={quote(name)} is nothing that a job can have; give text")
    return name


def _text(text: str) -> str:
    if not isinstance(text, str) or not 1 <= len(text) <= TEXT_LENGTH or text != clean(text):
        raise InvalidOption(f"text={quote(text)} cannot be searched for; give 1 to {TEXT_LENGTH} characters of text")
    return text


def _states(state: States) -> tuple[State, ...]:
    given = (state,) if isinstance(state, str) else tuple(state)
    try:
        return tuple(State(each) for each in given) or tuple(State)
    except ValueError:
        raise InvalidOption(f"state={quote(state)} is none of {', '.join(State)}") from None


def _run_at(delay: Duration | None, at: datetime | None) -> int:
    if (delay is None) == (at is None):
        raise InvalidOption("say when: give either delay= or at=")
    return now_ms() + to_ms(delay) if delay is not None else aware_ms("at", at)  # type: ignore[arg-type]


def _when_ms(name: str, when: When) -> int:
    return aware_ms(name, when) if isinstance(when, datetime) else now_ms() - to_ms(when)
