"""`create_app`: puts the parts of the web together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware import Middleware

from mainspring.app import Mainspring
from mainspring.errors import ConfigurationError
from mainspring.web import api, files, live, pages
from mainspring.web.api import metrics
from mainspring.web.auth import AuthCheck, HostApplication, Loopback, Passwords, Proxies, Way
from mainspring.web.auth.signing import signing_router
from mainspring.web.guard import Guard, Rules
from mainspring.web.headers import SafeHeaders
from mainspring.web.live.desk import Desk
from mainspring.web.methods import Methods
from mainspring.web.openapi import describe
from mainspring.web.origin import Hosts, Origins
from mainspring.web.pages.glance import Glance
from mainspring.web.problems import Unexpected, handle_problems
from mainspring.web.secret import site_secret
from mainspring.web.sessions import Sessions
from mainspring.web.site import Site

__all__ = ["create_app"]

MAX_BODY = 4 * 1024 * 1024


def create_app(
    app: Mainspring,
    *,
    title: str = "Mainspring",
    auth: AuthCheck | Way | Sequence[AuthCheck | Way] | None = None,
    hosts: Iterable[str] = (),
    origins: Iterable[str] = (),
    proxies: Iterable[str] = (),
    secret: str | None = None,
    max_body: int = MAX_BODY,
) -> FastAPI:
    """The web of an app, as an ASGI app: `/` the dashboard, `/api/v1` the API, `/metrics` what Prometheus
    scrapes, `/static` what browsers load.

        shop.mount("/jobs", create_app(app, auth=who, hosts=["shop.example"]))

    `auth` says who asks and what he may: a function of your application, which gets the request and gives an
    `Identity`, a role's name, or None; or one of the ways of `mainspring.web.auth`, or several of those, asked in turn.
    Without any, only browsers on this machine are answered.

    `hosts` are the names under which the site is reached; requests that name another one are refused. `origins` are
    other sites whose pages may follow jobs by ticket. `proxies` are the networks of your proxies: what these say of the
    client's address and of https is believed. `secret` signs sessions and tickets ($MAINSPRING_WEB_SECRET if none is
    given): processes that serve the same site, or make tickets for it, need the same one; without one, a new one is
    made at each start.

    Raises `ConfigurationError`.
    """
    ways = _ways(auth)
    web = FastAPI(
        title=title,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
        lifespan=_closing,
        middleware=[
            Middleware(SafeHeaders),
            Middleware(Unexpected),
            Middleware(Guard, rules=Rules(ways, Hosts(hosts), Origins(origins), Proxies(proxies), max_body)),
            Middleware(Methods),
        ],
    )
    secret = site_secret(secret)
    web.state.site = Site(
        app, title, secret, Sessions(secret), signs_in=any(isinstance(way, Passwords) for way in ways)
    )
    web.state.desk = Desk(app, secret)
    web.state.glance = Glance()
    web.state.scrape = metrics.Scrape(app)
    handle_problems(web)
    web.include_router(files.router)
    for way in ways:
        if isinstance(way, Passwords):
            web.include_router(signing_router(way))
    web.include_router(api.router, prefix="/api/v1")
    web.include_router(live.router, prefix="/api/v1")
    web.include_router(metrics.router)
    web.include_router(pages.router)
    describe(web)
    return web


@asynccontextmanager
async def _closing(web: FastAPI) -> AsyncIterator[None]:
    """Where this runs alone, its event loop ends with it, and what the store was asked by on that is closed before.
    An application that this is mounted in does not call this, and goes on."""
    yield
    await web.state.glance.rest()
    await web.state.site.app.aclose()


def _ways(auth: AuthCheck | Way | Sequence[AuthCheck | Way] | None) -> tuple[Way, ...]:
    """In the order in which they are asked: passwords last, since whoever is known by no way is told to sign in."""
    if auth is None:
        return (Loopback(),)
    given = auth if isinstance(auth, Sequence) else (auth,)
    ways = [HostApplication(each) if callable(each) else each for each in given]
    if not ways or sum(isinstance(way, Passwords) for way in ways) > 1:
        raise ConfigurationError("auth: give one way of knowing who asks, or several, of which one may be Passwords")
    return tuple(sorted(ways, key=lambda way: isinstance(way, Passwords)))
