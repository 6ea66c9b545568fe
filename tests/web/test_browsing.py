"""The tests with a browser can fail: its console and the accessibility check see what they are there for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page
from servers.photos import wait_for
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from mainspring import Mainspring
from web.browsing import Console, assert_accessible

PAGE = '<!doctype html><html lang="en"><title>A page</title><main><h1>A page</h1>{}</main>'


async def show(request: Request) -> HTMLResponse:
    policy = {"Content-Security-Policy": "default-src 'none'"} if request.query_params.get("policy") else {}
    return HTMLResponse(PAGE.format(request.query_params.get("inside", "")), headers=policy)


site = Starlette(routes=[Route("/", show)])


def test_a_sound_page_passes_at_any_size_and_in_any_colours(
    serve: Callable[..., str], page: Callable[..., Page]
) -> None:
    url = serve(site)
    for options in ({}, {"width": 390, "colours": "dark"}):
        shown = page(url, **options)
        assert_accessible(shown)
        assert shown.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") is bool(options)


def test_a_picture_without_words_is_not_accessible(serve: Callable[..., str], page: Callable[..., Page]) -> None:
    shown = page(serve(site) + "/?inside=<img src='data:image/gif;base64,R0lGODlhAQABAAAAACw='>")
    with pytest.raises(pytest.fail.Exception, match="image-alt"):
        assert_accessible(shown)


def test_what_a_page_complains_of_is_heard(
    serve: Callable[..., str], page: Callable[..., Page], console: Console
) -> None:
    """An exception, a file that is missing, and whatever the policy forbids."""
    url = serve(site)
    shown = page(url + "/?inside=<script src='gone.js'></script><script>throw Error('thrown')</script>")
    shown.goto(url + "/?policy=yes&inside=<script>alert(1)</script>")
    for complaint in ("status of 404", "thrown", "content security policy: script-src-elem forbids inline"):
        wait_for(lambda: shown.wait_for_timeout(20) or any(complaint in each for each in console.complaints))  # noqa: B023
        console.expect(complaint)
    console.expect("Content Security Policy")
    assert console.complaints == []


def test_the_web_of_an_app_is_served_as_itself(
    serve: Callable[..., str], page: Callable[..., Page], tmp_path: Path
) -> None:
    with Mainspring(f"sqlite:///{tmp_path}/jobs.db") as app:
        shown = page(serve(app) + "/api/v1/openapi.json")
        assert '"openapi"' in shown.content()
