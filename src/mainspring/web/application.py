"""`create_app`: puts the parts of the web together."""

from __future__ import annotations

from fastapi import FastAPI

from mainspring.app import Mainspring
from mainspring.web import api, live, pages
from mainspring.web.problems import handle_problems
from mainspring.web.site import Site

__all__ = ["create_app"]


def create_app(app: Mainspring, *, title: str = "Mainspring") -> FastAPI:
    """The web of an app, as an ASGI app: `/` the dashboard, `/api/v1` the API, `/static` what browsers load."""
    web = FastAPI(title=title, docs_url=None, redoc_url=None, openapi_url="/api/v1/openapi.json")
    web.state.site = Site(app, title)
    handle_problems(web)
    web.include_router(api.router, prefix="/api/v1")
    web.include_router(live.router, prefix="/api/v1")
    web.include_router(pages.router)
    return web
