"""Signing in with a real browser; and a page of another site, which tries what it can with that browser's cookie."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from playwright.sync_api import BrowserContext, Page, expect

from mainspring import Mainspring
from mainspring.web import Passwords

from .browsing import Console, assert_accessible

USERS = [f"ann:admin:{PasswordHasher(1, 8, 1).hash('correct horse')}"]

# What a hostile page can do without a fault in the browser: send forms, fetch, open sockets, embed.
EVIL = """
<form method="post" action="{url}/queue/pause?name=email"><button>Win a prize</button></form>
<form method="post" action="{url}/queue/pause?name=email" target="hidden"><button id="hidden-button">x</button></form>
<iframe name="hidden" sandbox="allow-forms allow-scripts"></iframe>
<iframe id="framed" src="{url}/queues"></iframe>
<script>
async function attempt() {{
  const got = {{}};
  const opened = new WebSocket("{url}/api/v1/ws".replace("http", "ws"));
  got.socket = await new Promise((done) => {{
    opened.onopen = () => done("open");
    opened.onerror = () => done("refused");
  }});
  for (const [name, options] of [
    ["read", {{}}],
    ["blind", {{ mode: "no-cors", method: "POST" }}],
    ["json", {{ method: "POST", headers: {{ "Content-Type": "application/json" }}, body: "{{}}" }}],
    ["delete", {{ method: "DELETE" }}],
  ]) {{
    const asked = fetch("{url}/api/v1/queues/email/pause", {{ ...options, credentials: "include" }});
    got[name] = await asked.then((answer) => answer.type, () => "refused");
  }}
  return got;
}}
</script>
"""


@pytest.fixture
def jobs(tmp_path: Any) -> Any:
    app = Mainspring(f"sqlite:///{tmp_path}/jobs.db")

    @app.task(queue="email")
    def welcome() -> None: ...

    welcome.enqueue()
    yield app
    app.close()


def sign_in(page: Page, name: str = "ann", password: str = "correct horse") -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def test_one_signs_in_goes_on_to_where_one_was_going_and_signs_out(
    jobs: Mainspring, serve: Callable[..., str], page: Callable[..., Page], console: Console
) -> None:
    console.expect("status of 401")
    url = serve(jobs, auth=Passwords(USERS))
    shown = page(f"{url}/queues?x=1")
    expect(shown.get_by_label("Name")).to_be_focused()
    assert_accessible(shown)
    sign_in(shown, password="wrong")
    expect(shown.get_by_role("alert")).to_contain_text("do not belong together")
    expect(shown.get_by_label("Password")).to_be_focused()
    assert_accessible(shown)
    sign_in(shown)
    expect(shown).to_have_url(f"{url}/queues?x=1")
    assert "mainspring_" not in shown.evaluate("document.cookie")
    (cookie,) = [each for each in shown.context.cookies() if each["name"].startswith("mainspring_")]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
    shown.get_by_role("button", name="Sign out").click()
    expect(shown.get_by_label("Name")).to_be_visible()
    shown.goto(f"{url}/jobs")
    expect(shown.get_by_label("Name")).to_be_visible()


def test_one_signs_in_without_scripts(jobs: Mainspring, serve: Callable[..., str], page: Callable[..., Page]) -> None:
    url = serve(jobs, auth=Passwords(USERS))
    shown = page(f"{url}/", javascript=False)
    sign_in(shown)
    expect(shown).to_have_url(f"{url}/")
    expect(shown.get_by_text("ann", exact=True).first).to_be_attached()


@pytest.mark.parametrize("of", ["somebody who has signed in", "this machine"])
@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"], ids=["same site", "other site"])
def test_a_page_of_another_site_changes_nothing_reads_nothing_frames_nothing(
    jobs: Mainspring,
    serve: Callable[..., str],
    context: Callable[..., BrowserContext],
    console: Console,
    of: str,
    name: str,
) -> None:
    """Also where the browser's user may do everything; and where only the port is another, so that cookies go along."""
    console.expect("")
    signs_in = of == "somebody who has signed in"
    url = serve(jobs, auth=Passwords(USERS) if signs_in else None)
    evil = FastAPI()
    evil_url = serve(evil).replace("127.0.0.1", name)
    evil.add_api_route("/", lambda: HTMLResponse(EVIL.format(url=url)))
    browser = context()
    shown = browser.new_page()
    shown.goto(url)
    if signs_in:
        sign_in(shown)
        expect(shown).to_have_url(f"{url}/")
    other = browser.new_page()
    other.goto(evil_url)
    assert set(other.evaluate("attempt()").values()) == {"refused"}
    assert "email" not in (other.frame_locator("#framed").locator("body").text_content() or "")
    other.locator("#hidden-button").click()
    other.get_by_role("button", name="Win a prize").click()
    expect(other.get_by_text("another site").first).to_be_visible()
    assert not any(queue.paused for queue in jobs.queues.list())
    shown.goto(f"{url}/queues")
    expect(shown.get_by_text("email").first).to_be_visible()
    # A page of this site may: what was tried would have done it.
    pause = "fetch('/api/v1/queues/email/pause', {method: 'POST'}).then((answer) => answer.ok)"
    assert shown.evaluate(pause)
    assert [queue.name for queue in jobs.queues.list() if queue.paused] == ["email"]
