"""Whatever is hostile or long, in everything that has a name: shown in a real browser as text, and no wider than it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from mainspring import Context, Flow, Mainspring
from mainspring.admin import acting
from mainspring.store.base import BeatRequest, Presence
from mainspring.testing import drain

from ..showcase import HOSTILE

LONG = ("x" * 200, "W" * 60, "\u05e9\u05dc\u05d5\u05dd (1), " * 9 + "!")
MARKUP = HOSTILE[-1]


@pytest.fixture(scope="module")
def odd_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of nothing else."""
    file = tmp_path_factory.mktemp("odd") / "jobs.db"
    with Mainspring(f"sqlite:///{file}") as app:
        driver = app.store.driver()
        for number, name in enumerate((*HOSTILE, *LONG)):

            def say(ctx: Context, text: str) -> str:
                ctx.progress(50, text)
                ctx.log(text)
                if len(text) < 100:
                    raise RuntimeError(text)
                return text

            task = app.task(name=name, queue=name, retry=1)(say)
            flow = Flow(name)
            first = flow.add(task.using(partition=name, tags=[name[:50].strip()]).job(name))
            flow.add(task.job(name * 20), after=[first], on_failure="run")
            flow.enqueue()
            app.schedules.put(name, name, every="1h", args={"text": name})
            with acting(name):
                app.queues.set_limits(name, partition=name, concurrency=1)
            driver.run(BeatRequest(Presence(f"w{number}", name, (name,), (name,), 1, 0, 86_400_000), "join"))
        driver.close()
        drain(app)
    return file


@pytest.mark.parametrize("width", [1280, 390])
def test_it_does_not_run_and_fits(
    odd_file: Path, serve: Callable[..., str], page: Callable[..., Page], width: int
) -> None:
    """In lists, on pages, in graphs and questions, and where a live part is put in place. The console fixture hears of
    what the policy forbade, too: nothing even tries."""
    with Mainspring(f"sqlite:///{odd_file}") as app:
        url = serve(app)
        shown = page(width=width)
        shown.on("dialog", lambda dialog: pytest.fail(f"a script said {dialog.message}"))
        paths = ["/", "/jobs", "/queues", "/dead", "/schedules", "/workers", "/flows", "/audit"]
        places = ("/queue?name", "/schedule?name", "/queue/pause?name", "/dead?task")
        paths += [f"{place}={quote(name)}" for name in (LONG[0], MARKUP) for place in places]
        paths += [f"/job?id={job.id}" for state in ("dead", "completed") for job in app.jobs.find(state=state, limit=2)]
        paths += [f"/flow?id={flow.id}" for flow in app.flows.list(2)]
        for path in paths:
            shown.goto(url + path)
            wider = shown.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wider <= 0, f"{path} is {wider} px too wide"

        shown.goto(url + "/jobs?queue=live")
        app.task(name=MARKUP, queue=f"live {width}")(lambda text=MARKUP: None)
        expect(shown.locator("#results")).to_contain_text("No job fits")
        app.tasks[MARKUP].using(queue="live", tags=[MARKUP[:50]]).enqueue(MARKUP)
        row = shown.locator("#job-rows tr")
        expect(row.get_by_role("link", name=MARKUP).first).to_be_visible()
        app.jobs.delete(queue="live")
