"""Workers: who works, and commands for them."""

from __future__ import annotations

from mainspring.model.text import quote
from mainspring.web.api.inputs import NamePath
from mainspring.web.api.route import NotFound, changing, new_router, problems
from mainspring.web.identity import Role
from mainspring.web.shapes import Listing, WorkerShape, worker_shape
from mainspring.web.site import AtSite, Site, may

__all__ = ["router"]

router = new_router("workers")


@router.get("/workers", dependencies=[may(Role.VIEWER)])
async def list_workers(site: AtSite) -> Listing[WorkerShape]:
    """All workers that the store knows, the longest-running first."""
    return Listing(items=[worker_shape(view) for view in await site.app.workers.alist()], cursor=None)


@router.get("/workers/{id:name}", dependencies=[may(Role.VIEWER)], responses=problems(404))
async def get_worker(site: AtSite, id: NamePath) -> WorkerShape:
    """One worker."""
    return await _worker(site, id)


@router.post("/workers/{id:name}/quiet", dependencies=changing(Role.OPERATOR), status_code=202, responses=problems(404))
async def quiet_worker(site: AtSite, id: NamePath) -> WorkerShape:
    """Tell a worker to take no more jobs; it hears it with its next beat."""
    if not await site.app.workers.aquiet(id):
        raise _unknown(id)
    return await _worker(site, id)


@router.post("/workers/{id:name}/stop", dependencies=changing(Role.OPERATOR), status_code=202, responses=problems(404))
async def stop_worker(site: AtSite, id: NamePath) -> WorkerShape:
    """Tell a worker to stop gracefully; it hears it with its next beat."""
    if not await site.app.workers.astop(id):
        raise _unknown(id)
    return await _worker(site, id)


async def _worker(site: Site, id: str) -> WorkerShape:
    for view in await site.app.workers.alist():
        if view.id == id:
            return worker_shape(view)
    raise _unknown(id)


def _unknown(id: str) -> NotFound:
    return NotFound(f"no worker has the id {quote(id)}; it may have stopped")
