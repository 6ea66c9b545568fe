"""`app.jobs.followed`: what those rely on who follow many jobs at once, such as the streams of the web."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mainspring.admin.door import Door
from mainspring.job import Job
from mainspring.store.base import AsyncWatch, Bookmark, Filter, FindRequest
from mainspring.twin import Steps, ask, twins

if TYPE_CHECKING:
    from mainspring.app import Mainspring

__all__ = ["Followed"]


class Followed(Door):
    """Jobs by the thousand, for somebody who knows most of what there is to know about them already."""

    def __init__(self, app: Mainspring) -> None:
        super().__init__(app)

    def _look(self, bookmarks: Iterable[Bookmark]) -> Steps[dict[str, Job[Any]]]:
        """The jobs that are there, by id, each with what it has said beyond its bookmark. No job is named twice."""
        marks = tuple(bookmarks)
        where, cursor = Filter(ids=tuple(mark.job for mark in marks)), None
        found: dict[str, Job[Any]] = {}
        while len(found) < len(marks):
            page = yield from ask(FindRequest(where, len(marks), cursor, with_log=True, bookmarks=marks))
            found |= {record.id: Job(self._app, record) for record in page.jobs}
            cursor = page.cursor
            if cursor is None:
                break
        return found

    look, alook = twins(_look)

    def _stamps(self, ids: Iterable[str]) -> Steps[dict[str, str]]:
        """A stamp of each job that is there: it differs whenever anything about the job does that people follow."""
        where = Filter(ids=tuple(ids))
        if not where.ids:
            return {}
        page = yield from ask(FindRequest(where, stamps=True))
        return dict(page.stamps)

    stamps, astamps = twins(_stamps)

    async def alisten(self) -> AsyncWatch:
        """A watch that listens for nothing yet. Its topics are such as `job:ID`."""
        return await self._app._async.listen()
