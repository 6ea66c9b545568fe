"""20. Watching in the browser: the user sees his job move

`mainspring.web.create_app(app)` is an ASGI app: the dashboard, the API and live progress, to be mounted in yours. A
page of yours hands its user the address of his job, signed by a *ticket* that is good for that job and nothing else. In
the page, that is all there is to do:

    <script type="module" src="/jobs/static/mainspring.js"></script>
    <mainspring-progress job="{{ url }}"></mainspring-progress>

`make demo-web` is a whole program of this kind. Here we listen as the browser does.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import NamedTuple

import httpx
import pytest
from fastapi import FastAPI
from servers.asgi import serving

from mainspring import Context, Mainspring
from mainspring.web import Identity, create_app, job_url

app = Mainspring("sqlite://")

seen = threading.Event()


@app.task
def bake(ctx: Context, cake: str) -> str:
    ctx.progress(10, "mixing")
    seen.wait(60)
    ctx.progress(90, "in the oven")
    return f"{cake}, baked"


def cook(request: object) -> Identity | None:
    """Who may see the dashboard is for your application to say: here, nobody."""
    return None


shop = FastAPI()
shop.mount("/jobs", create_app(app, auth=cook))


@shop.post("/cakes/{cake}")
async def order(cake: str) -> str:
    """What the user's page is given: where to follow this job, for half an hour."""
    job = await bake.aenqueue(cake)
    return job_url(job, "/jobs", ttl="30m")


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with serving(shop) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


class Heard(NamedTuple):
    id: str
    name: str
    data: dict[str, object]


def events(client: httpx.Client, url: str, after: str = "") -> Iterator[Heard]:
    """What an `EventSource` hears. After a cut it asks again, with the last id."""
    with client.stream("GET", url, headers={"Last-Event-ID": after}) as stream:
        event: dict[str, str] = {}
        for line in stream.iter_lines():
            if line:
                name, _, value = line.partition(": ")
                event[name] = value
            elif "data" in event:
                yield Heard(event["id"], event["event"], json.loads(event["data"]))
                event = {}


def test_a_job_is_followed_from_where_it_stands_to_its_end(client: httpx.Client, working) -> None:
    """A snapshot first, then what changes; the result comes with the end."""
    seen.clear()
    url = client.post("/cakes/sponge").json()
    heard = []
    with working(app):
        for event in events(client, url):
            heard.append(event)
            if event.data.get("text") == "mixing":
                seen.set()  # so that mixing is seen, before it goes on
    assert heard[0].name == "snapshot"
    assert "mixing" in [event.data.get("text") for event in heard]
    assert (heard[-1].name, heard[-1].data["result"]) == ("done", "sponge, baked")


def test_whoever_was_cut_off_goes_on_where_he_was(client: httpx.Client, working) -> None:
    """The id of the last event says all that has been seen; nothing is told twice, and nothing is left out."""
    seen.clear()
    url = client.post("/cakes/marble").json()
    with working(app):
        before = next(event for event in events(client, url) if event.data.get("text") == "mixing")
        seen.set()  # the train is in the tunnel, and the cake in the oven
        rest = list(events(client, url, after=before.id))
    assert all(event.data.get("text") != "mixing" for event in rest)
    assert rest[-1].data["result"] == "marble, baked"


def test_a_ticket_is_for_one_job(client: httpx.Client) -> None:
    mine, yours = (client.post("/cakes/cheese").json() for _ in range(2))
    assert client.get(mine, headers={"Accept": "application/json"}).json()["state"] == "queued"
    path, ticket = yours.partition("?")[0], mine.partition("?")[2]
    assert client.get(f"{path}?{ticket}").status_code == 403
    assert client.get(path).status_code == 403
