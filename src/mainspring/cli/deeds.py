"""Doing something to jobs: to those named by ids at once, to a selection after showing how many there are."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import typer

from mainspring.admin.jobs import PAGE_LIMIT, Where
from mainspring.app import Mainspring
from mainspring.cli.options import when
from mainspring.cli.output import confirm, counted, print_json, say, warn
from mainspring.errors import ConfigurationError, InvalidOption
from mainspring.job import Job
from mainspring.model.states import State
from mainspring.model.text import quote
from mainspring.sweeps import DONE, SWEEPS, Sweep, SweepVerb

__all__ = ["Deed", "do", "find", "where_of"]


SECONDS = 0.5
"""So often it is told how far it is."""


@dataclass(frozen=True, slots=True)
class Deed:
    """What can be done to jobs."""

    verb: SweepVerb
    usual: tuple[State, ...] | None = None
    """The states meant by a selection that names no state, where these are not all of them."""
    how: Mapping[str, Any] = field(default_factory=dict)
    """What the verb is told besides which jobs."""
    of_running: str = ""
    """What is said of running jobs, where it is not done to them at once."""

    @property
    def done(self) -> str:
        """What has been done to the jobs then."""
        return DONE[SWEEPS[self.verb]]

    @property
    def states(self) -> tuple[State, ...]:
        """The states in which a job can be done that to."""
        return SWEEPS[self.verb].changes


def where_of(
    state: Sequence[str] | None,
    queue: str | None,
    task: str | None,
    since: str | None,
    until: str | None,
    flow: str | None = None,
    text: str | None = None,
    tag: str | None = None,
) -> Where:
    """The conditions that were given, and no others."""
    where: Where = {}
    if state:
        where["state"] = [_state(each) for each in state]
    if queue is not None:
        where["queue"] = queue
    if task is not None:
        where["task"] = task
    if flow is not None:
        where["flow"] = flow
    if text is not None:
        where["text"] = text
    if tag is not None:
        where["tag"] = tag
    if since is not None:
        where["since"] = when("--since", since)
    if until is not None:
        where["until"] = when("--until", until)
    return where


def _state(text: str) -> State:
    try:
        return State(text.lower())
    except ValueError:
        raise InvalidOption(f"--state {quote(text)} is none of {', '.join(State)}") from None


def _narrowed(where: Where, states: Sequence[State]) -> Where:
    return {**where, "state": states}


def find(app: Mainspring, limit: int, where: Where, ids: Sequence[str] | None = None) -> tuple[list[Job[Any]], bool]:
    """Up to `limit` jobs that fit, and whether there are more."""
    jobs: list[Job[Any]] = []
    cursor: str | None = None
    while True:
        page = app.jobs.find(ids, limit=min(limit - len(jobs), PAGE_LIMIT), cursor=cursor, **where)
        jobs += page
        cursor = page.cursor
        if cursor is None or len(jobs) >= limit:
            return jobs, cursor is not None


# --- doing something to them -----------------------------------------------------------------------------------------


def do(
    deed: Deed, app: Mainspring, ids: Sequence[str] | None, where: Where, yes: bool, dry_run: bool, as_json: bool
) -> None:
    """To jobs named by ids at once; to a selection after showing how many it has."""
    if ids:
        _do_to_ids(deed, app, list(dict.fromkeys(ids)), where, dry_run, as_json)
    elif where:
        _do_to_selection(deed, app, where, yes, dry_run, as_json)
    else:
        raise ConfigurationError(
            f"say which jobs to {deed.verb}: give ids, or at least one of --state --queue --task --flow --text --tag "
            "--since --until"
        )


def _do_to_ids(deed: Deed, app: Mainspring, ids: Sequence[str], where: Where, dry_run: bool, as_json: bool) -> None:
    found = {job.id: job for job in find(app, len(ids), where, ids)[0]}
    fitting = [id for id, job in found.items() if job.state in deed.states]
    changed = 0
    if fitting and not dry_run:
        changed = _carried_out(app, app.jobs.sweep(deed.verb, fitting, **deed.how, **where), deed).changed
    for id in ids:
        if id not in found:
            why = "there is none, or it does not fit" if where else "there is none; it may have been pruned or deleted"
            warn(f"error: job {quote(id)}: {why}")
        elif id not in fitting:
            warn(f"error: job {id} is {found[id].state}; only {_either(deed.states)} jobs can be {deed.done}")
    _report(deed, Counter(found[id].state for id in fitting), changed, dry_run, as_json)
    if len(fitting) < len(ids) or (changed < len(fitting) and not dry_run):
        raise typer.Exit(1)


def _do_to_selection(deed: Deed, app: Mainspring, where: Where, yes: bool, dry_run: bool, as_json: bool) -> None:
    wanted = where.get("state") or deed.usual or deed.states
    states = [state for state in deed.states if state in wanted]
    if not states:
        raise ConfigurationError(f"only {_either(deed.states)} jobs can be {deed.done}")
    sweep = app.jobs.sweep(deed.verb, **deed.how, **_narrowed(where, states))
    counts = Counter(sweep.counts)
    if sweep.done or dry_run:
        _report(deed, counts, 0, dry_run, as_json, exact=sweep.exact)
        return
    if not yes:
        parts = ", ".join(f"{count:,} {state}" for state, count in counts.items() if count)
        jobs = f"{'' if sweep.exact else 'at least '}{counted(sweep.matched, 'job')} ({parts})"
        confirm(
            f"{deed.verb.capitalize()} {jobs}?",
            instead=f"{jobs} would be {deed.done}, and there is no terminal to ask on: "
            "say --yes to do it, or --dry-run to see the number only",
        )
    _report(deed, counts, _carried_out(app, sweep, deed).changed, dry_run, as_json, exact=sweep.exact)


def _carried_out(app: Mainspring, sweep: Sweep, deed: Deed) -> Sweep:
    """To the end; on a terminal it says how far it is. Stopped in the middle, it says how far it came."""
    with _progress(deed, sweep.matched) as tell:
        try:
            while not sweep.done:
                sweep = app.jobs.go_on(sweep, SECONDS)
                tell(sweep.changed)
        except KeyboardInterrupt:
            tell(0)
            warn(f"stopped: at least {counted(sweep.changed, 'job')} {deed.done}")
            raise
    return sweep


@contextmanager
def _progress(deed: Deed, total: int) -> Iterator[Callable[[int], None]]:
    """A line on standard error, if that is a terminal: "1,200 of about 9,000 jobs retried so far". It is gone in the
    end."""
    is_shown = sys.stderr.isatty()

    def tell(count: int) -> None:
        if is_shown:
            of = f" of about {total:,}" if count <= total else ""
            line = f"{count:,}{of} jobs {deed.done} so far" if count else ""
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)

    try:
        yield tell
    finally:
        tell(0)


def _report(
    deed: Deed, counts: Counter[State], changed: int, dry_run: bool, as_json: bool, *, exact: bool = True
) -> None:
    matched = counts.total()
    if as_json:
        print_json({"matched": matched, "exact": exact, "changed": changed, "dry_run": dry_run})
    elif dry_run:
        say(f"{'' if exact else 'at least '}{counted(matched, 'job')} would be {deed.done}")
    elif not matched and not changed:
        say("no job fits")
    else:
        of_running = f"; {deed.of_running}" if deed.of_running and counts[State.RUNNING] else ""
        say(f"{counted(changed, 'job')} {deed.done}{of_running}")


def _either(states: Sequence[State]) -> str:
    return f"{', '.join(states[:-1])} or {states[-1]}"
