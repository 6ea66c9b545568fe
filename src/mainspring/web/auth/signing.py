"""The pages on which people sign in and out."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from mainspring.web.auth.passwords import Passwords, WrongPassword
from mainspring.web.auth.throttle import TooManyFailures
from mainspring.web.problems import Problem
from mainspring.web.sessions import cookie_name, forget_cookie, set_cookie
from mainspring.web.site import AtSite
from mainspring.web.templates import render
from mainspring.web.where import base_path

__all__ = ["place_within", "signing_router"]

_PLACE = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*")

Text = Annotated[str, Form(max_length=2_000)]


def place_within(text: str) -> str:
    """Where to go on to after signing in: a path of this site; else its first page. Never another site, which could
    look like this one and ask for the password again."""
    return text if _PLACE.fullmatch(text) else "/"


def signing_router(passwords: Passwords) -> APIRouter:
    """`/login` and `/logout`."""
    router = APIRouter(include_in_schema=False)

    @router.get("/login", name="login")
    async def show(request: Request, next: str = "") -> Response:
        return _page(request, next)

    @router.post("/login")
    async def sign_in(
        request: Request, site: AtSite, name: Text = "", password: Text = "", next: Text = ""
    ) -> Response:
        try:
            session = await passwords.sign_in(name, password, request.scope["mainspring.client"])
        except (WrongPassword, TooManyFailures) as problem:
            return _page(request, next, name, problem)
        response = RedirectResponse(f"{base_path(request.scope)}{place_within(next)}", 303)
        _end(request, site)
        set_cookie(response, request, site.sessions.write(session))
        return response

    @router.post("/logout", name="logout")
    async def sign_out(request: Request, site: AtSite) -> Response:
        response = RedirectResponse(f"{base_path(request.scope)}/login", 303)
        _end(request, site)
        forget_cookie(response, request)
        return response

    return router


def _page(request: Request, next: str, name: str = "", problem: Problem | None = None) -> Response:
    page = render(request, "login.html", next=place_within(next), name=name, problem=problem)
    status, headers = (problem.status, problem.headers) if problem else (200, {})
    return HTMLResponse(page, status, headers | {"Cache-Control": "no-store"})


def _end(request: Request, site: AtSite) -> None:
    """The session that the browser came with, if any, is over, also for whoever else has its cookie."""
    cookie = request.cookies.get(cookie_name(request))
    if cookie:
        site.sessions.end(cookie)
