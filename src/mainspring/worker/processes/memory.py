"""How much memory a process has, and a last bound on it from within."""

from __future__ import annotations

import os
from contextlib import suppress

__all__ = ["bound", "can_measure", "resident"]

BACKSTOP = 4
"""How many times its memory a job may ask for from within, between two looks from outside."""


def resident(pid: int) -> int:
    """How many bytes of memory the process has in use; 0 where that cannot be told (any more)."""
    return _pages(pid, 1) * os.sysconf("SC_PAGE_SIZE")


def can_measure() -> bool:
    return resident(os.getpid()) > 0


def bound(memory: int | None) -> None:
    """Let this process get that much more memory before allocations fail in it; None: as much as there is.

    Not the bound that a task has: that is measured from outside, by what is in use. What a program has asked for says
    little (RLIMIT_AS counts libraries, files, what is reserved for threads and never touched), so this is a multiple
    of it, and of private data alone. It keeps a job that takes gigabytes at once from taking the machine with it.
    """
    with suppress(ImportError, OSError, ValueError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        limit = most
        if memory is not None and (data := _pages(os.getpid(), 5)):
            limit = data * os.sysconf("SC_PAGE_SIZE") + BACKSTOP * memory
            limit = limit if most == resource.RLIM_INFINITY else min(limit, most)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, most))


def _pages(pid: int, field: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", "rb") as statm:
            return int(statm.read().split()[field])
    except (OSError, IndexError, ValueError):
        return 0
