"""What `mainspring doctor` checks, each as a function that gives its findings."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mainspring.app import Mainspring
from mainspring.cli.output import counted, span
from mainspring.cli.target import store_file
from mainspring.clock import new_id, now_ms
from mainspring.errors import MainspringError
from mainspring.model.states import State
from mainspring.store.base import BeatRequest, ConfigureRequest, Driver, Presence
from mainspring.store.outbox.table import OutboxTable, no_table

__all__ = ["Finding", "Level", "check_app", "check_outbox", "check_program", "check_store", "check_traffic"]

LITTLE_SPACE = 200 * 1024 * 1024
SLOW_SECONDS = 0.25
SKEW_SECONDS = 5.0
LONG_WAIT_SECONDS = 300.0
LONG_RELAY_SECONDS = 60.0


class Level(StrEnum):
    """How well it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found, and where it is not ok, what to do."""

    level: Level
    subject: str
    text: str
    usable: bool = True
    """False: checks that use the store make no sense any more."""

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {"level": self.level.value, "check": self.subject, "found": self.text}


def check_program() -> Iterator[Finding]:
    """What runs here."""
    yield Finding(Level.OK, "program", f"mainspring {version('mainspring')}, Python {platform.python_version()}")


def check_app(app: Mainspring) -> Iterator[Finding]:
    """Whether a worker would take the app as it is."""
    if not app.tasks:
        yield Finding(Level.WARN, "tasks", "the app has none; import the modules of its tasks in the module of the app")
        return
    broken = False
    for task in app.tasks.values():
        try:
            _ = task.codec, task.result_codec
        except MainspringError as error:
            broken = True
            yield Finding(Level.FAIL, "tasks", f"{task.name}: {error}")
    for check in (app.worker, lambda: app.declared_schedules(now_ms())):
        try:
            check()
        except MainspringError as error:
            broken = True
            yield Finding(Level.FAIL, "tasks", str(error))
    if not broken:
        yield Finding(Level.OK, "tasks", f"{len(app.tasks)}: {', '.join(app.tasks)}")
        yield from _check_encryption(app)


def _check_encryption(app: Mainspring) -> Iterator[Finding]:
    ids = app.keyring.ids
    tasks = ", ".join(task.name for task in app.tasks.values() if task.codec.encrypted)
    if not ids and not tasks:
        return
    try:
        app.keyring.check()
    except MainspringError as error:
        yield Finding(Level.FAIL, "encryption", f"{error} (tasks with encrypted arguments: {tasks or 'none'})")
        return
    older = f", decrypts with {', '.join(ids[1:])} too" if ids[1:] else ""
    yield Finding(Level.OK, "encryption", f"encrypts with key {ids[0]}{older}; tasks: {tasks or 'none'}")


# --- the store -------------------------------------------------------------------------------------------------------


def check_store(app: Mainspring) -> Iterator[Finding]:
    """Where it is, whether it is there, of the right schema, and can be read and written."""
    store = app.store
    if store.url == "sqlite://":
        yield Finding(Level.WARN, "store", "in memory: its jobs are gone with the process; for tests only", False)
        return
    path = store_file(store.url)
    if path is not None:
        place = _check_place(path)
        yield place
        if not place.usable:
            return
    try:
        status = store.schema()
    except MainspringError as error:
        yield Finding(Level.FAIL, "store", str(error), usable=False)
        return
    yield Finding(Level.OK, "store", status.location or store.url)
    for warning in status.warnings:
        yield Finding(Level.WARN, "server", warning)
    if not status.found:
        if not status.automatic:
            yield Finding(Level.FAIL, "schema", "there is none yet; run `mainspring migrate`", usable=False)
            return
        text = "there is none yet; the first enqueue or worker makes it, or `mainspring migrate`"
        yield Finding(Level.WARN, "schema", text, usable=False)
        return
    if status.found > status.wanted:
        text = f"version {status.found}, made by a newer mainspring; this one knows {status.wanted}. Upgrade mainspring"
        yield Finding(Level.FAIL, "schema", text, usable=False)
        return
    if status.found < status.wanted:
        text = f"version {status.found}, and this program wants {status.wanted}; run `mainspring migrate`"
        if not status.automatic:
            yield Finding(Level.FAIL, "schema", text, usable=False)
            return
        yield Finding(Level.WARN, "schema", text)
    else:
        yield Finding(Level.OK, "schema", f"version {status.found}, up to date")
    yield from _check_reading_and_writing(app)
    if path is not None:
        yield _check_journal(path)


def _check_reading_and_writing(app: Mainspring) -> Iterator[Finding]:
    driver = app.store.driver()
    try:
        yield from _try_both(driver)
    except MainspringError as error:
        yield Finding(Level.FAIL, "read and write", str(error), usable=False)
    finally:
        driver.close()


def _try_both(driver: Driver) -> Iterator[Finding]:
    asked_at = time.time()
    settings = driver.run(ConfigureRequest())  # the first request also connects
    answered_at = time.time()
    started = time.perf_counter()
    driver.run(ConfigureRequest())
    read = time.perf_counter() - started
    doctor = Presence(
        id=new_id(), name="mainspring doctor", queues=(), tasks=(), concurrency=0, running=0, lease_ms=1000, quiet=True
    )
    started = time.perf_counter()
    driver.run(BeatRequest(doctor, "join"))
    written = time.perf_counter() - started
    driver.run(BeatRequest(doctor, "leave"))
    text = f"read in {read * 1000:.1f} ms, written in {written * 1000:.1f} ms"
    if max(read, written) > SLOW_SECONDS:
        yield Finding(
            Level.WARN, "read and write", f"{text}: slow; look at the disk or the network, and at what locks it"
        )
    else:
        yield Finding(Level.OK, "read and write", text)
    # Its clock was read somewhere in between, and a slow store is none whose clock is wrong.
    skew = max(asked_at - settings.now / 1000, settings.now / 1000 - answered_at)
    if skew > SKEW_SECONDS:
        text = f"the store's is {span(skew)} away from this machine's; set up NTP (jobs go by the store's)"
        yield Finding(Level.WARN, "clock", text)
    else:
        yield Finding(Level.OK, "clock", "the store's and this machine's agree")


def _check_place(path: Path) -> Finding:
    from mainspring.store.sqlite.location import file_system_of  # with it comes a whole store

    folder = path.parent
    if not folder.is_dir():
        return Finding(Level.FAIL, "disk", f"the folder {folder} does not exist; create it first", usable=False)
    if not os.access(folder, os.W_OK):
        text = f"this user cannot write to the folder {folder}, where SQLite puts files beside the store's; allow it"
        return Finding(Level.FAIL, "disk", text)
    mounts = Path("/proc/mounts")
    kind = file_system_of(path, mounts.read_text(errors="replace")) if mounts.exists() else ""
    free = shutil.disk_usage(folder).free
    text = f"{folder}{f' ({kind})' if kind else ''}, {free / 1e9:,.1f} GB free"
    if free < LITTLE_SPACE:
        return Finding(Level.WARN, "disk", f"{text}: little; a store without room refuses new jobs")
    if kind in ("tmpfs", "ramfs"):
        return Finding(Level.WARN, "disk", f"{text}: in memory, gone when this machine restarts")
    return Finding(Level.OK, "disk", text)


def _check_journal(path: Path) -> Finding:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=2)) as connection:
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    if mode == "wal":
        return Finding(Level.OK, "journal", "WAL: readers and a writer do not wait for each other")
    return Finding(
        Level.WARN, "journal", f"{mode}, not WAL: every reader waits for the writer; does the file system allow it?"
    )


def check_outbox(outbox: OutboxTable) -> Iterator[Finding]:
    """Whether it is there, and what waits in it."""
    try:
        status = outbox.status()
    except MainspringError as error:
        yield Finding(Level.FAIL, "outbox", str(error))
        return
    if not status.found:
        yield Finding(Level.FAIL, "outbox", str(no_table(outbox.url)))
        return
    oldest = (status.oldest_ms or 0) / 1000
    text = f"{outbox.url}: {counted(status.waiting, 'job')} on the way"
    if status.waiting:
        text += f", the oldest for {span(oldest)}"
    if oldest > LONG_RELAY_SECONDS:
        yield Finding(
            Level.WARN, "outbox", f"{text}; workers of this app relay them: see that one runs, and what its log says"
        )
    else:
        yield Finding(Level.OK, "outbox", text)
    if status.aside:
        text = (
            f"{counted(status.aside, 'row')} set aside, which made no job; the column aside says why. Delete them, or "
            "put them right and set aside = NULL"
        )
        yield Finding(Level.WARN, "outbox", text)


# --- what goes on in it ----------------------------------------------------------------------------------------------


def check_traffic(app: Mainspring, *, own_tasks: bool) -> Iterator[Finding]:
    """Workers that are late, queues that nobody serves, schedules that nobody can run."""
    workers = app.workers.list()
    alive = [worker for worker in workers if worker.alive]
    lost = [worker for worker in workers if not worker.alive]
    for worker in lost:
        text = f"{worker.name} went unheard for longer than its lease; its jobs go to others as soon as a worker runs"
        yield Finding(Level.WARN, "workers", text)
    if alive:
        yield Finding(Level.OK, "workers", f"{len(alive)}: {', '.join(worker.name for worker in alive)}")
    else:
        yield Finding(Level.WARN, "workers", "none runs; start one: mainspring worker MODULE:APP")
    served = {queue for worker in alive if not worker.quiet for queue in worker.queues}
    yield from _check_queues(app, served)
    tasks = {task for worker in alive for task in worker.tasks} | (set(app.tasks) if own_tasks else set())
    yield from _check_schedules(app, tasks)


def _check_queues(app: Mainspring, served: set[str]) -> Iterator[Finding]:
    views = app.queues.list()
    fine = 0
    for view in views:
        waiting = view.counts.get(State.QUEUED, 0) + view.counts.get(State.SCHEDULED, 0)
        if waiting and view.name not in served:
            text = f"{view.name}: {counted(waiting, 'job')} that no worker serves; start one with -q {view.name}"
        elif waiting and view.paused:
            text = f"{view.name}: paused, with {counted(waiting, 'job')}; see `mainspring queues resume`"
        elif (view.oldest_waiting or 0) > LONG_WAIT_SECONDS:
            text = f"{view.name}: a job waited {span(view.oldest_waiting or 0)}; run more workers or raise their -c"
        else:
            fine += 1
            continue
        yield Finding(Level.WARN, "queues", text)
    if fine == len(views):
        yield Finding(Level.OK, "queues", f"{fine}: {', '.join(view.name for view in views)}" if fine else "none yet")


def _check_schedules(app: Mainspring, tasks: set[str]) -> Iterator[Finding]:
    views = app.schedules.list()
    unknown = [view for view in views if view.task not in tasks] if tasks else []
    for view in unknown:
        text = f"{view.name}: nobody here knows its task {view.task!r}; start such a worker, or remove the schedule"
        yield Finding(Level.WARN, "schedules", text)
    if not unknown:
        yield Finding(
            Level.OK, "schedules", f"{len(views)}: {', '.join(view.name for view in views)}" if views else "none"
        )
