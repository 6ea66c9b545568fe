"""Keeps some worker processes running: starts them, replaces the dead and the worn, rolls in new code, stops them.

It imports none of the user's code, and shares nothing with its workers but a pair of sockets each: what kills one of
them touches nobody else, and what it starts is always the newest code. Never are there more processes than asked for,
but for one that takes over and the one that leaves for it.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from mainspring.model.durations import span
from mainspring.worker.bounds import Bounds
from mainspring.worker.child import DISMISSED, STARTING_SECONDS, Child
from mainspring.worker.health import Health
from mainspring.worker.notify import Notifier
from mainspring.worker.post import Post

__all__ = ["Supervisor"]

logger = logging.getLogger("mainspring.supervisor")

TICK_SECONDS = 0.5
"""How long it sleeps at most."""
SPARED_SECONDS = 60.0
"""How long a worn worker goes on after its successor did not come up, until the next one is tried."""
WRONG_USAGE = 2


class Supervisor:
    """Runs `command`, which is a worker's, `processes` times. `grace` is how many seconds such a worker lets its jobs
    finish, `bounds` is when it is replaced."""

    def __init__(
        self,
        command: Sequence[str],
        processes: int,
        *,
        grace: float,
        bounds: Bounds,
        notifier: Notifier | None = None,
    ) -> None:
        self._command = command
        self._grace = grace
        self._posts = [Post(bounds) for _ in range(processes)]
        self._notifier = notifier or Notifier()
        self._selector = selectors.DefaultSelector()
        self._signals: deque[int] = deque()
        self._at_terminal = os.isatty(2)
        """Where there was a terminal and is none any more, SIGHUP says that it was closed: that is a stop."""
        self._stops = 0
        """How often it was told to stop."""
        self._roll_asked = False
        self._roll: deque[Child] | None = None
        """Those that a roll has yet to replace."""
        self._up = False
        """True once any worker was ready."""
        self._code = 0

    def run(self) -> int:
        """Until SIGTERM or SIGINT, and until all workers have ended. The exit code: 0 if all ended well."""
        count = len(self._posts)
        logger.info("supervisor %d starts %d worker%s", os.getpid(), count, "s" if count > 1 else "")
        with _signals(self._note_signal, self._selector):
            while not self._over():
                self._act()
                due = min((post.due for post in self._posts if self._is_vacant(post)), default=float("inf"))
                self._read(max(0.0, min(TICK_SECONDS, due - time.monotonic())))
                self._wait_for_the_dead()
        self._selector.close()
        logger.log(logging.ERROR if self._code else logging.INFO, "all workers have ended%s", self._ending())
        return self._code

    def health(self) -> Health:
        """Healthy if all workers are, ready if at least one is. From any thread."""
        holders, others = [], []
        for post in self._posts:
            workers = post.health()
            holders += [worker for worker in workers if worker.state in ("working", "starting", "vacant")][:1]
            others += [worker for worker in workers if worker not in holders]
        ailing = [f"worker {worker.pid or 'to come'}: {worker.ailment}" for worker in holders if worker.ailment]
        hindrances = [f"worker {worker.pid or 'to come'}: {worker.hindrance}" for worker in holders]
        ready = not self._stops and any(worker.hindrance is None for worker in holders)
        hindrance = "it is stopping" if self._stops else "; ".join(hindrances)
        return Health("; ".join(ailing) or None, None if ready else hindrance, [*holders, *others])

    def _ending(self) -> str:
        return {0: "", WRONG_USAGE: ": they cannot be started like this"}.get(self._code, ", not all of them well")

    def _over(self) -> bool:
        nobody = not any(post.children for post in self._posts)
        return nobody and (bool(self._stops) or all(post.closed for post in self._posts))

    def _is_vacant(self, post: Post) -> bool:
        return post.holder is None and not post.closed and not self._stops

    # --- what it hears ---

    def _note_signal(self, number: int, _: object) -> None:
        # Only that: it may come while a line is being written to the log.
        self._signals.append(number)

    def _obey(self, number: int) -> None:
        name = signal.Signals(number).name
        if number == signal.SIGHUP and not (self._at_terminal and not os.isatty(2)):
            logger.info("%s: %s", name, "one more roll after this one" if self._roll is not None else "rolling")
            self._roll_asked = True
            return
        self._stops += 1
        if self._stops == 1:
            logger.info("%s: the workers stop; their running jobs have %g s to finish", name, self._grace)
        else:
            logger.warning("%s again: the workers hand their running jobs back now", name)

    def _read(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            if isinstance(key.data, Child):
                if not key.data.read():
                    self._selector.unregister(key.fileobj)
            else:
                with suppress(BlockingIOError):
                    key.data.recv(4096)
        while self._signals:
            self._obey(self._signals.popleft())

    def _wait_for_the_dead(self) -> None:
        """All of them: as the first process of a container it inherits whoever loses his parent."""
        children = {child.pid: (post, child) for post in self._posts for child in post.children}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid in children:
                post, child = children[pid]
                with suppress(KeyError, ValueError):
                    self._selector.unregister(child.socket)
                self._ended(post, child, child.ended(status))

    def _ended(self, post: Post, child: Child, code: int) -> None:
        how = f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        if child in post.leaving:
            post.leaving.remove(child)
            self._note_end(child, code, how)
        elif child is post.heir:
            post.heir = None
            if self._stops:
                self._note_end(child, code, how)
            else:
                self._not_up(post, child, how)
        elif self._stops:
            post.holder = None
            self._note_end(child, code, how)
        elif code == DISMISSED:
            post.holder, post.closed = None, True
            logger.info("%s has stopped, as an operator asked; it gets no successor", child.name)
        elif code == WRONG_USAGE and not self._up:
            # What is wrong with the command line will not mend itself.
            post.holder, self._stops, self._code = None, max(1, self._stops), WRONG_USAGE
        else:
            self._died(post, child.name, child.age, how)

    def _note_end(self, child: Child, code: int, how: str) -> None:
        # One that was still on its way up does not know yet how to take a signal.
        if code in (0, DISMISSED) or (code in (-signal.SIGTERM, -signal.SIGINT) and not child.was_ready):
            return
        logger.error("%s did not end well: it %s", child.name, how)
        if self._stops:
            self._code = self._code or 1

    def _died(self, post: Post, name: str, lived: float, how: str) -> None:
        if post.heir is not None:
            post.holder = None
            post.hand_over(post.heir)
            logger.error("%s %s; its successor is on its way", name, how)
            return
        pause = post.vacate(lived, f"the last one {how} after {span(lived)}")
        again = f", {post.deaths} in a row that did not live long" if post.deaths > 2 else ""
        logger.error("%s %s after %s%s; the next one starts in %s", name, how, span(lived), again, span(pause))

    # --- what it does ---

    def _act(self) -> None:
        for post in self._posts:
            if self._stops:
                for child in post.children:
                    child.stop(min(2, self._stops), self._grace)
            elif self._is_vacant(post) and post.due <= time.monotonic():
                self._fill(post)
            if post.heir is not None:
                self._look_at_heir(post, post.heir)
            for child in post.children:
                if child.kill_if_stuck():
                    logger.error("%s does not stop and is killed; its jobs run again after its lease", child.name)
        if not self._stops:
            self._replace()
        self._tell()

    def _fill(self, post: Post) -> None:
        try:
            post.fill(self._start())
        except OSError as error:
            self._died(post, "a worker", 0.0, f"could not be started ({error})")

    def _start(self) -> Child:
        child = Child(self._command)
        self._selector.register(child.socket, selectors.EVENT_READ, child)
        return child

    def _look_at_heir(self, post: Post, heir: Child) -> None:
        if heir.was_ready and not self._stops:
            holder = post.holder
            post.hand_over(heir)
            if holder is not None:
                logger.info("%s is ready and takes over from %s, which stops", heir.name, holder.name)
                holder.stop(1, self._grace)
        elif heir.overdue:
            heir.stop(2, self._grace)
            post.heir = None
            post.leaving.append(heir)
            self._not_up(post, heir, f"was not ready after {STARTING_SECONDS:g} s")

    def _replace(self) -> None:
        """One worker at a time, and the next when the last one's predecessor is gone."""
        if self._roll is None and self._roll_asked:
            self._roll_asked = False
            self._roll = deque(post.holder for post in self._posts if post.holder is not None)
            for post in self._posts:
                post.forgive()
        if any(post.in_change for post in self._posts):
            return
        holders = {post.holder: post for post in self._posts if post.holder is not None}
        while self._roll:
            # One that has died meanwhile has a successor with the new code already.
            if (rolled := holders.get(self._roll.popleft())) is not None:
                self._begin_change(rolled)
                return
        if self._roll is not None:
            self._roll = None
            logger.info("rolled: all workers are new")
            return
        for holder, post in holders.items():
            if (bound := post.reached()) is not None:
                logger.info("%s is replaced: %s", holder.name, bound)
                if post.wear_out(holder):
                    logger.warning("workers reach this bound soon after their start, again and again: is it too low?")
                self._begin_change(post)
                return

    def _begin_change(self, post: Post) -> None:
        try:
            post.heir = self._start()
        except OSError as error:
            self._not_up(post, None, f"could not be started ({error})")

    def _not_up(self, post: Post, heir: Child | None, how: str) -> None:
        """A successor that was to take over did not come up: whoever works goes on."""
        name = heir.name if heir is not None else "a worker"
        if self._roll is None:
            logger.error("%s, which was to take over, %s; the old one goes on meanwhile", name, how)
            if post.holder is not None:
                post.holder.spared_until = time.monotonic() + SPARED_SECONDS
            return
        old = len(self._roll) + 1
        self._roll = None
        logger.error(
            "%s, with the new code, %s: THE ROLL IS GIVEN UP. %d of %d workers go on with the old code; mend it and "
            "send SIGHUP again",
            name,
            how,
            old,
            len(self._posts),
        )

    def _tell(self) -> None:
        holders = [post.holder for post in self._posts if post.holder is not None]
        if not self._up and any(child.was_ready for child in holders):
            self._up = True
            logger.info("ready")
        if self._stops:
            self._notifier.stopping()
        elif self._up:
            self._notifier.ready() if self._roll is None else self._notifier.reloading()
        # Dead and sick workers are the supervisor's business; the watchdog's is when nothing works any more.
        if self._notifier.wanted and any(child.health("working").ailment is None for child in holders):
            self._notifier.beat()


@contextmanager
def _signals(handler: Callable[[int, object], None], selector: selectors.BaseSelector) -> Iterator[None]:
    """Meanwhile signals go to the handler, and wake the selector."""
    woken, waking = socket.socketpair()
    with woken, waking:
        woken.setblocking(False)
        waking.setblocking(False)
        selector.register(woken, selectors.EVENT_READ, woken)
        before_fd = signal.set_wakeup_fd(waking.fileno(), warn_on_full_buffer=False)
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before: dict[int, Any] = {number: signal.signal(number, handler) for number in numbers}
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            yield
        finally:
            for number, old in before.items():
                signal.signal(number, old)
            signal.set_wakeup_fd(before_fd)
            selector.unregister(woken)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
