"""What this is, and who asks."""

from __future__ import annotations

from importlib.metadata import version

from pydantic import Field

from mainspring.web.api.route import new_router
from mainspring.web.identity import Role
from mainspring.web.shapes.base import Shape
from mainspring.web.site import AtSite, By, may

__all__ = ["router"]

router = new_router("about")


class CallerShape(Shape):
    """Who asks."""

    name: str = Field(description="As the audit log has it.")
    role: str = Field(description='"viewer", "operator" or "admin"; each may what those before may.')


class AboutShape(Shape):
    """What answers, and to whom."""

    title: str
    version: str
    store: str = Field(description="Where the jobs are kept, without any password.")
    caller: CallerShape


@router.get("/about", dependencies=[may(Role.VIEWER)])
async def about(site: AtSite, by: By) -> AboutShape:
    """What this is, and who you are to it."""
    caller = CallerShape(name=by.name, role=by.role.name.lower())
    return AboutShape(title=site.title, version=version("mainspring"), store=site.app.url, caller=caller)
