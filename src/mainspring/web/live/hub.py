"""The hub: through it, all streams of a process follow their jobs, however many they are, by one reader of the store.

A stream is *hungry* while it has nothing to tell. Hints mark jobs as changed; every now and then all changed jobs that
a hungry stream follows are read in one request, from where the streams stand that have seen least of them. Each stream
is given what it has not seen, made once for all that have seen the same, and is left alone until it has passed that on.
So nothing is kept for the slow: they find more at once when they come back.

Where hints do not say which jobs they are about, and every few seconds in any case, the stamps of all jobs are compared
with those of the last time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from mainspring.admin.followed import Followed
from mainspring.errors import StoreError
from mainspring.job import Job
from mainspring.store.base import AsyncWatch, Bookmark
from mainspring.web.live.events import Event, Seen, events_of, gone, unreadable
from mainspring.web.tickets import Sight

__all__ = ["Hub", "Stream"]

logger = logging.getLogger("mainspring.web")

PAUSE_SECONDS = 0.05
"""The shortest time from the beginning of one reading to the next."""
SHARE = 1
"""A reading is followed by a pause of so many times its own length at least: it leaves the store to others too."""
POLL_SECONDS = 5.0
"""How often jobs are looked at of which no hint has come."""
PATIENCE_SECONDS = 10.0
"""How long a job is waited for that is not there yet: it may be on its way through an outbox."""
READ_AT_ONCE = 100
"""Of how many jobs: a job may have a mebibyte to say that nobody has seen yet."""
OUTAGE_SECONDS = 1.0
"""How long to wait after the store has failed."""


class Stream:
    """Follows one job for one listener. `ready` is called when there is something to `take`."""

    __slots__ = ("_events", "_hub", "_ready", "at_version", "hungry", "is_over", "job", "opened_at", "seen", "sight")

    def __init__(self, hub: Hub, job: str, seen: Seen | None, sight: Sight, ready: Callable[[Stream], object]) -> None:
        self.job = job
        self.seen = seen
        self.sight = sight
        self.hungry = False
        self.is_over = False
        """Whether nothing comes after what it has been given."""
        self.at_version = -1
        """The reading of its job from which it was last told, or found that it knew all."""
        self.opened_at = time.monotonic()
        self._hub = hub
        self._ready = ready
        self._events: tuple[Event, ...] = ()

    def take(self) -> tuple[Event, ...]:
        """What there is to tell. Whoever has passed that on says so with `go_on`."""
        events, self._events = self._events, ()
        return events

    def go_on(self) -> None:
        """Be told what comes next, or has come meanwhile."""
        self._hub.feed(self)

    def give(self, events: tuple[Event, ...]) -> None:
        """The hub's: here is something to tell."""
        self.hungry = False
        self.seen = events[-1].seen
        self.is_over = events[-1].is_last
        self._events = events
        self._ready(self)

    def close(self) -> None:
        """Follow no more."""
        self._hub.leave(self)


class _Subject:
    """One job that is followed."""

    __slots__ = ("id", "is_missing", "stamp", "streams", "version")

    def __init__(self, id: str) -> None:
        self.id = id
        self.streams: set[Stream] = set()
        self.version = 0
        """How often it has been read, or was found to have changed since."""
        self.stamp: str | None = ""
        """As it was when all were compared last. None: it was not there."""
        self.is_missing = False

    @property
    def hungry(self) -> bool:
        return any(stream.hungry for stream in self.streams)

    def bookmark(self) -> Bookmark:
        """Where those stand who have seen least."""
        seen = [stream.seen or Seen() for stream in self.streams if stream.hungry]
        return Bookmark(self.id, min(each.line for each in seen), min(each.piece for each in seen))


class Hub:
    """All streams of one event loop. It works while there are any."""

    def __init__(self, followed: Followed) -> None:
        self._followed = followed
        self._subjects: dict[str, _Subject] = {}
        self._changed: set[str] = set()
        """Jobs that are to be read when somebody is hungry for them."""
        self._all_doubtful = False
        """Whether any job may have changed."""
        self._new: set[str] = set()
        self._gone: set[str] = set()
        """Topics that are to be listened for, and no more."""
        self._work = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def open(self, job: str, seen: Seen | None, sight: Sight, ready: Callable[[Stream], object]) -> Stream:
        """Follow a job from where `seen` says; None: from its beginning."""
        subject = self._subjects.get(job)
        if subject is None:
            subject = self._subjects[job] = _Subject(job)
            self._gone.discard(job)
            self._new.add(job)
        stream = Stream(self, job, seen, sight, ready)
        subject.streams.add(stream)
        self.feed(stream)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="mainspring hub")
        return stream

    @property
    def streams(self) -> int:
        """How many there are."""
        return sum(len(subject.streams) for subject in self._subjects.values())

    def feed(self, stream: Stream) -> None:
        """A stream has passed on what it was given, or is new."""
        subject = self._subjects.get(stream.job)
        if subject is None or stream not in subject.streams:
            return
        stream.hungry = True
        if stream.at_version != subject.version:
            self._changed.add(stream.job)
        if stream.job in self._changed:
            self._work.set()

    def leave(self, stream: Stream) -> None:
        """A stream is closed."""
        stream.hungry = False
        subject = self._subjects.get(stream.job)
        if subject is None:
            return
        subject.streams.discard(stream)
        if not subject.streams:
            del self._subjects[stream.job]
            self._changed.discard(stream.job)
            self._new.discard(stream.job)
            self._gone.add(stream.job)
            self._work.set()

    async def aclose(self) -> None:
        """Stop working; streams that are open are told nothing more."""
        self._subjects.clear()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    # --- at work ---

    async def _run(self) -> None:
        failing = False
        while self._subjects:
            try:
                await self._serve()
            except StoreError as error:
                if not failing:
                    logger.warning("live streams: the store does not answer, trying on: %s", error)
                failing = True
                await asyncio.sleep(OUTAGE_SECONDS)
            except Exception:
                # Whatever it is, it must not end the streams: nobody would start them again.
                logger.exception("live streams: something failed; it is tried again")
                await asyncio.sleep(OUTAGE_SECONDS)
            else:
                failing = False

    async def _serve(self) -> None:
        """Until the store fails, or nobody follows anything."""
        watch = await self._followed.alisten()
        listening = asyncio.create_task(self._listen(watch), name="mainspring hub listens")
        try:
            self._new = set(self._subjects)
            self._gone.clear()
            self._all_doubtful = True
            self._work.set()
            polled_at = time.monotonic()
            while self._subjects:
                await self._until_work(polled_at + POLL_SECONDS)
                began = time.monotonic()
                if began >= polled_at + POLL_SECONDS:
                    self._all_doubtful, polled_at = True, began
                await self._follow_topics(watch)
                await self._read()
                took = time.monotonic() - began
                await asyncio.sleep(max(PAUSE_SECONDS - took, SHARE * took))
        finally:
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening
            await watch.aclose()

    async def _listen(self, watch: AsyncWatch) -> None:
        while True:
            if not await watch.wait(POLL_SECONDS):
                continue
            heard = watch.heard()
            if heard is None:
                self._all_doubtful = True
            else:
                for topic in heard:
                    self._mark(topic.removeprefix("job:"))
            if self._all_doubtful or self._changed:
                self._work.set()

    def _mark(self, job: str) -> None:
        """It has changed, for all that is known."""
        if subject := self._subjects.get(job):
            subject.version += 1
            self._changed.add(job)

    async def _until_work(self, deadline: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                await self._work.wait()
        self._work.clear()

    async def _follow_topics(self, watch: AsyncWatch) -> None:
        new, self._new = self._new, set()
        ended, self._gone = self._gone, set()
        if ended:
            await watch.drop([f"job:{id}" for id in ended])
        if new:
            # What changes from here on is heard of, what changed before is read.
            await watch.add([f"job:{id}" for id in new])

    async def _read(self) -> None:
        if self._all_doubtful:
            self._all_doubtful = False
            await self._compare_stamps()
        # Who came while topics were added is for the next reading, or what changes before that is not heard of.
        ready = self._changed - self._new
        wanted = [self._subjects[id] for id in ready if self._subjects[id].hungry]
        for first in range(0, len(wanted), READ_AT_ONCE):
            await self._read_some(wanted[first : first + READ_AT_ONCE])

    async def _compare_stamps(self) -> None:
        doubtful = list(self._subjects.values())
        stamps = await self._followed.astamps([subject.id for subject in doubtful])
        for subject in doubtful:
            stamp = stamps.get(subject.id)
            if stamp != subject.stamp or subject.is_missing:
                subject.stamp = stamp
                self._mark(subject.id)

    async def _read_some(self, subjects: Iterable[_Subject]) -> None:
        hungry = [subject for subject in subjects if subject.hungry]
        marks = [subject.bookmark() for subject in hungry]
        # Who joins, or is hungry again, from now on has not been asked for: he is for the next reading.
        asked = {subject: [each for each in subject.streams if each.hungry] for subject in hungry}
        versions = [subject.version for subject in hungry]
        self._changed.difference_update(subject.id for subject in hungry)
        try:
            jobs = await self._followed.alook(marks)
        except BaseException:
            self._changed.update(subject.id for subject in hungry if subject.id in self._subjects)
            raise
        for subject, version in zip(hungry, versions, strict=True):
            try:
                _tell(subject, version, asked[subject], jobs.get(subject.id))
            except Exception:
                # A damaged job ends its own streams, and no others.
                logger.exception("live streams: job %s cannot be told of", subject.id)
                for stream in asked[subject]:
                    if stream.hungry:
                        stream.give((unreadable(subject.id),))


def _tell(subject: _Subject, version: int, streams: Iterable[Stream], job: Job[Any] | None) -> None:
    """Give each stream what it has not seen. What several have not seen is made once."""
    subject.is_missing = job is None
    made: dict[tuple[Seen | None, Sight], tuple[Event, ...]] = {}
    for stream in streams:
        if not stream.hungry:
            continue  # closed meanwhile
        stream.at_version = version
        if job is None:
            if stream.seen is not None or time.monotonic() - stream.opened_at > PATIENCE_SECONDS:
                stream.give((gone(subject.id),))
            continue
        events = made.get((stream.seen, stream.sight))
        if events is None:
            events = made[stream.seen, stream.sight] = events_of(stream.seen, job, stream.sight)
        if events:
            stream.give(events)
