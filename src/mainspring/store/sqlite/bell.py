"""Hears that somebody writes to an SQLite file without looking at it: by inotify, where the system has that.

A commit is written to the write-ahead log, a file beside the store's own, before anybody can see it. So a ring says
"something is about to change"; whether and when it has, only `data_version` tells.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ctypes

__all__ = ["Bell"]

DEAF_AFTER = 3
"""So many changes in a row that it did not ring for, and nobody relies on it any more."""

_IN_MODIFY = 0x2
_BYTES = 4096


@cache
def _libc() -> ctypes.CDLL | None:
    """The C library, if it has inotify. (Python's own library does not.)"""
    if sys.platform != "linux":
        return None
    try:
        import ctypes  # only who waits on a loop pays for it

        libc = ctypes.CDLL(None)
        libc.inotify_init1.argtypes = [ctypes.c_int]
        libc.inotify_add_watch.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32]
    except (ImportError, OSError, AttributeError):
        return None
    return libc


class Bell:
    """Rings when anybody writes to the log of the store at `path`; never, where that cannot be had.

    It cannot in memory, on other systems, and when this user has too many bells already.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._libc = _libc() if path else None
        self._descriptor: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._missed = 0

    @property
    def works(self) -> bool:
        """Whether it can be relied on, as far as anybody knows."""
        return self._descriptor is not None

    def hang(self) -> None:
        """Begin to hear: what is written from now on rings."""
        if self._libc is not None and self._descriptor is None:
            descriptor = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
            if descriptor < 0:
                self._libc = None
                return
            self._descriptor = descriptor
            self.follow()

    def follow(self) -> None:
        """Listen to the log that is there now: whenever a connection was opened, for it may be another file."""
        if self._libc is not None and self._descriptor is not None and self._path is not None:
            # SQLite puts the log beside the file itself, not beside a link to it.
            log = os.path.realpath(self._path) + "-wal"
            self._libc.inotify_add_watch(self._descriptor, os.fsencode(log), _IN_MODIFY)

    def answer(self, loop: asyncio.AbstractEventLoop, rung: Callable[[], None]) -> None:
        """Call `rung` once, at the next ring or for one that nobody answered yet."""
        if self._descriptor is not None and self._loop is None:
            try:
                loop.add_reader(self._descriptor, self._ring, rung)
            except NotImplementedError:
                self.take_down()
            else:
                self._loop = loop

    def ignore(self) -> None:
        """Call nobody."""
        if self._loop is not None and self._descriptor is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._descriptor)
        self._loop = None

    def missed(self) -> None:
        """There was a change that it did not ring for. A file system may be such that it never does."""
        self._missed += 1
        if self._missed == DEAF_AFTER:
            self.take_down()

    def take_down(self) -> None:
        """Never ring again."""
        self.ignore()
        self._libc = None
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _ring(self, rung: Callable[[], None]) -> None:
        self.ignore()
        self._missed = 0
        if self._descriptor is not None:  # pragma: no branch
            with suppress(BlockingIOError):
                while len(os.read(self._descriptor, _BYTES)) > _BYTES // 2:
                    pass
        rung()

    def __del__(self) -> None:
        # For apps that are dropped without `close`.
        if getattr(self, "_descriptor", None) is not None:
            self.take_down()
