"""find: a filter → a page of jobs, or of flows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mainspring.model.job import JobRecord
from mainspring.model.states import State
from mainspring.store.requests.filter import Filter
from mainspring.store.requests.insert import Callback
from mainspring.store.requests.request import Request


@dataclass(frozen=True, slots=True)
class FlowRecord:
    """A flow as the store has it."""

    id: str
    name: str
    parent: str | None
    created_at: int
    callbacks: tuple[Callback, ...]
    counts: tuple[tuple[State, int], ...]
    """How many of its jobs, and of its parts' jobs, are in each state; states with none are left out."""


@dataclass(frozen=True, slots=True)
class Bookmark:
    """Up to where somebody has read what a job says: the places of the last line of its log and the last piece of its
    output that he knows. -1: none."""

    job: str
    line: int = -1
    piece: int = -1


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the jobs that were asked for."""

    jobs: tuple[JobRecord, ...]
    cursor: str | None
    """Where the next page goes on; None: there is no more. A page may be short, even empty, and still have a cursor:
    a store reads only so many jobs for one page, however few of them fit."""
    flows: tuple[FlowRecord, ...] = ()
    """Instead of jobs, where flows were asked for."""
    stamps: tuple[tuple[str, str], ...] = ()
    """Instead of jobs, where stamps were asked for: ids, each with its stamp."""


BRIEF_MESSAGE = 500


@dataclass(frozen=True, slots=True)
class FindRequest(Request[Page]):
    """Jobs that fit, newest first: live ones by creation, then final ones by their end (ids break ties)."""

    operation: ClassVar[str] = "find"
    filter: Filter
    limit: int = 50
    cursor: str | None = None
    with_log: bool = False
    """With their log lines, and their output."""
    bookmarks: tuple[Bookmark, ...] = ()
    """Of these jobs only what is beyond; of all others everything. Only with the log."""
    with_parents: bool = False
    brief: bool = False
    """Without arguments, result, history, options and checkpoint; of the error only its type and the first
    `BRIEF_MESSAGE` characters of its message."""
    flows: bool = False
    """The flows themselves, newest first, instead of jobs; of `filter` only `flow` counts, and means that one alone."""
    stamps: bool = False
    """Instead of jobs, a stamp of each that is there, all on one page: a text that differs whenever anything about the
    job does that people follow (state, lease, times, progress, log, output). Of `filter` only `ids` counts."""
    now: int | None = None
