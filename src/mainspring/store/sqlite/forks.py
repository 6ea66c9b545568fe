"""Forks: while a process forks, it must have no SQLite file open.

SQLite keeps the locks that a process holds in tables of that process. A child inherits the tables, but not the locks;
connections that it opens itself rely on both, so that what it writes is lost as soon as the parent closes the file
(https://sqlite.org/howtocorrupt.html, "carrying an open database file across a fork"). So a fork waits for the
operations under way, then whoever holds connections lets go of them, and opens new ones when it needs them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol
from weakref import WeakSet

__all__ = ["attend", "using"]

LONGEST_WAIT = 6.0
"""Seconds that a fork waits for operations under way: longer than the deadline of one."""


class Holder(Protocol):
    """Who holds connections between the times that it uses them."""

    def let_go(self) -> None:
        """Close all connections that are not in use."""


class _Forks:
    """Keeps apart in time the forks of this process and the use of connections."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._forks = 0
        self._users: dict[int, int] = {}
        """How deep in uses each thread is."""
        self._holders: WeakSet[Holder] = WeakSet()

    def attend(self, holder: Holder) -> None:
        with self._changed:
            self._holders.add(holder)

    @contextmanager
    def using(self) -> Generator[None]:
        me = threading.get_ident()
        with self._changed:
            # Who is in a use already must come to its end, or the fork would wait for it in vain.
            while self._forks and me not in self._users:
                self._changed.wait()
            self._users[me] = self._users.get(me, 0) + 1
        try:
            yield
        finally:
            with self._changed:
                self._users[me] -= 1
                if not self._users[me]:
                    del self._users[me]
                    if self._forks:
                        self._changed.notify_all()

    def before(self) -> None:
        me = threading.get_ident()
        with self._changed:
            self._forks += 1
            self._changed.wait_for(lambda: not self._users.keys() - {me}, LONGEST_WAIT)
            holders = list(self._holders)
        for holder in holders:
            holder.let_go()

    def after_in_parent(self) -> None:
        with self._changed:
            self._forks -= 1
            self._changed.notify_all()

    def after_in_child(self) -> None:
        # The lock is new: another thread of the parent may have held the old one.
        self._changed = threading.Condition()
        self._forks = 0
        me = threading.get_ident()
        self._users = {me: self._users[me]} if me in self._users else {}


_forks = _Forks()
attend = _forks.attend
"""Have a holder of connections let go of them before each fork, as long as it lives."""
using = _forks.using
"""Within this, connections may be taken, used and given back; a fork waits until nobody does."""

if hasattr(os, "register_at_fork"):  # pragma: no branch
    os.register_at_fork(
        before=_forks.before, after_in_parent=_forks.after_in_parent, after_in_child=_forks.after_in_child
    )
