"""`app.schedules`: what is done at which times, and the schedules of the code on their way to the store."""

from __future__ import annotations

import builtins
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mainspring.admin.door import Door
from mainspring.audit import audited
from mainspring.clock import moment, new_id, now_ms
from mainspring.draft import followed
from mainspring.errors import InvalidOption, QueueFull, ScheduleNotFound
from mainspring.job import Job
from mainspring.model.durations import Duration, to_ms
from mainspring.model.job import NewJob
from mainspring.model.options import JobOptions, check_name
from mainspring.model.secrets import Path, redacted, restored
from mainspring.model.text import quote
from mainspring.store.base import (
    ConfigureRequest,
    InsertRequest,
    PauseSchedule,
    PutSchedule,
    RemoveSchedule,
    ScheduleRecord,
)
from mainspring.twin import Steps, ask, twins

if TYPE_CHECKING:
    from mainspring.model.schedule import CatchUp, Timing
    from mainspring.task import Task

__all__ = ["DeclaredSchedule", "ScheduleView", "Schedules", "make_timing"]


@dataclass(frozen=True, slots=True)
class DeclaredSchedule:
    """A schedule as the code says it."""

    name: str
    task: Task[..., Any]
    timing: Timing
    args: Mapping[str, Any]

    def put(self, now: int) -> PutSchedule:
        """As the store takes it, first due after `now`. Raises `ValidationError` for arguments that do not fit, and
        `EncryptionKeyMissing`."""
        args = self.task.codec.encode((), self.args)
        options, stored = self.task.options, self.task.stored_options
        return PutSchedule(
            name=check_name("schedule", self.name),
            task=self.task.name,
            timing=self.timing.to_text(),
            next_at=self.timing.spec.next(now),
            queue=options.queue,
            args=self.task._app.keyring.seal(args, self.task.name, stored),
            priority=options.priority,
            options=stored.to_text(),
            keys=self.task.keys_of(args),
            partition=self.task._app.partition_of(self.task, options.queue, args),
            cost=options.cost,
        )


@dataclass(frozen=True, slots=True)
class ScheduleView:
    """A schedule as the store has it."""

    name: str
    task: str
    queue: str
    args: Mapping[str, Any]
    """The arguments of its jobs, with their secrets, what is encrypted as it is stored: show `shown_args`."""
    priority: int
    timing: Timing
    next_at: datetime
    last_at: datetime | None
    """The slot that was served last."""
    paused_at: datetime | None
    shown_args: Mapping[str, Any]
    """The arguments as they may be shown: what is marked as secret is hidden."""
    sealed: tuple[Path, ...] = ()
    """Where `args` are encrypted."""

    @property
    def paused(self) -> bool:
        """Whether it makes no jobs."""
        return self.paused_at is not None


class Schedules(Door):
    """`app.schedules`."""

    def _list(self) -> Steps[builtins.list[ScheduleView]]:
        """All schedules, by name."""
        return [_schedule_view(record) for record in (yield from self._records())]

    list, alist = twins(_list)

    def _put(
        self,
        name: str,
        task: str | Task[..., Any],
        *,
        cron: str | None = None,
        every: Duration | None = None,
        tz: str = "UTC",
        catch_up: CatchUp = "latest",
        jitter: Duration | None = None,
        args: Mapping[str, Any] | None = None,
    ) -> Steps[None]:
        """Create a schedule or change it: `app.schedules.put("nightly", "report", cron="0 3 * * *")`.

        For schedules that are data; the code's own are declared by `app.cron` and `app.every`, which say what the
        options mean. Raises `UnknownTask`, `InvalidCron`, `InvalidOption`, `InvalidDuration`, and `ValidationError` for
        arguments that do not fit the task.
        """
        known = self._app.task_named(task) if isinstance(task, str) else task
        timing = make_timing(cron, every, tz, catch_up, jitter)
        put = DeclaredSchedule(name, known, timing, args or {}).put(now_ms())
        shown = redacted(json.loads(put.args), known.codec.secrets)
        detail = {"task": put.task, "timing": json.loads(put.timing), "args": shown}
        yield from self._change(put, "schedules.put", name, detail)

    put, aput = twins(_put)

    def edited(self, task: Task[..., Any], args: Mapping[str, Any], old: ScheduleView | None) -> dict[str, Any]:
        """Arguments that were edited after `shown_args`, ready to be `put`: what is hidden still is what it was.

        Raises `InvalidOption` where there was nothing, `EncryptionKeyMissing`, and `DecryptionFailed` where it was
        another task's.
        """
        args = restored(dict(args), {} if old is None else old.args, task.codec.secrets)
        sealed = JobOptions(sealed=() if old is None else old.sealed)
        return self._app.keyring.opened_after_edit(args, task.name, sealed)

    def _pause(self, name: str) -> Steps[None]:
        """Let the schedule make no jobs until it is resumed. Raises `ScheduleNotFound`."""
        if not (yield from self._change(PauseSchedule(name, True), "schedules.pause", name)):
            raise _no_schedule(name)

    pause, apause = twins(_pause)

    def _resume(self, name: str) -> Steps[None]:
        """Let it go on with its next time; what passed meanwhile is not made up for. Raises `ScheduleNotFound`."""
        record = yield from self._record(name)
        resumed = PauseSchedule(name, False, _timing(record).spec.next(now_ms()))
        if not (yield from self._change(resumed, "schedules.resume", name)):
            raise _no_schedule(name)

    resume, aresume = twins(_resume)

    def _remove(self, name: str) -> Steps[None]:
        """Forget the schedule; its jobs stay. One that the code declares comes back when a worker starts.

        Raises `ScheduleNotFound`.
        """
        if not (yield from self._change(RemoveSchedule(name), "schedules.remove", name)):
            raise _no_schedule(name)

    remove, aremove = twins(_remove)

    def _run_now(self, name: str) -> Steps[Job[Any]]:
        """Enqueue its job now, besides its regular ones, paused or not. Raises `ScheduleNotFound`, `QueueFull`."""
        record = yield from self._record(name)
        new = NewJob(
            new_id(),
            record.task,
            record.queue,
            record.args,
            record.priority,
            options=record.options,
            partition=record.partition,
            cost=record.cost,
        )
        stored = followed(self._app, (new,), _insert)
        yield from audited("schedules.run_now", name, {"task": new.task, "job": new.id}, stored)
        return Job(self._app, new)

    run_now, arun_now = twins(_run_now)

    def _records(self) -> Steps[tuple[ScheduleRecord, ...]]:
        settings = yield from ask(ConfigureRequest(read=frozenset({"schedules"})))
        return tuple(sorted(settings.schedules, key=lambda record: record.name))

    def _record(self, name: str) -> Steps[ScheduleRecord]:
        for record in (yield from self._records()):
            if record.name == name:
                return record
        raise _no_schedule(name)


def make_timing(
    cron: str | None, every: Duration | None, tz: str, catch_up: CatchUp, jitter: Duration | None
) -> Timing:
    """When a schedule ticks. Raises `InvalidCron`, `InvalidOption`, `InvalidDuration`."""
    from mainspring.model.schedule import Cron, Every, Timing

    if (cron is None) == (every is None):
        raise InvalidOption("say when: give either a cron line or an interval (every)")
    spec = Cron(cron, tz) if cron is not None else Every(to_ms(every))  # type: ignore[arg-type]
    return Timing(spec, catch_up, 0 if jitter is None else to_ms(jitter))


def _insert(new: Sequence[NewJob]) -> Steps[None]:
    (reply,) = yield from ask(InsertRequest(tuple(new)))
    if (full := reply.full) is not None:
        raise QueueFull(full.queue, full.partition, full.limit)


def _no_schedule(name: str) -> ScheduleNotFound:
    return ScheduleNotFound(f"no schedule is named {quote(name)}; see app.schedules.list()")


def _timing(record: ScheduleRecord) -> Timing:
    from mainspring.model.schedule import parse_timing

    return parse_timing(record.timing)


def _schedule_view(record: ScheduleRecord) -> ScheduleView:
    options = JobOptions.from_text(record.options)
    return ScheduleView(
        name=record.name,
        task=record.task,
        queue=record.queue,
        args=json.loads(record.args),
        priority=record.priority,
        timing=_timing(record),
        next_at=moment(record.next_at),
        last_at=None if record.last_at is None else moment(record.last_at),
        paused_at=None if record.paused_at is None else moment(record.paused_at),
        shown_args=redacted(json.loads(record.args), options.secrets),
        sealed=options.sealed,
    )
