"""18. Batches: the progress of the whole, and what follows on it

A flow is also a way to look at many jobs as one: how far are they, what has failed, and what is to be done when all of
them are through, however many are added on the way.
"""

from __future__ import annotations

from mainspring import Flow, Mainspring, State, group
from mainspring.testing import drain

app = Mainspring("sqlite://")

sent: list[str] = []


@app.task(retry=1)
def send(to: str) -> None:
    if "@" not in to:
        raise ValueError(f"no address: {to}")
    sent.append(to)


@app.task
def report(text: str) -> str:
    sent.append(text)
    return text


def batch(*addresses: str) -> Flow[object]:
    flow = Flow("newsletter")
    for address in addresses:
        flow.add(send.job(address))
    flow.on_success(report.job("all sent"))
    flow.on_dead(report.job("one could not be sent"))
    flow.on_complete(report.job("that was all"))
    return flow


def test_what_follows_when_all_goes_well() -> None:
    sent.clear()
    batch("a@b.c", "d@e.f").enqueue()
    drain(app)
    assert sent[:2] == ["a@b.c", "d@e.f"]
    assert sorted(sent[2:]) == ["all sent", "that was all"]


def test_and_when_it_does_not() -> None:
    sent.clear()
    batch("a@b.c", "nobody").enqueue()
    drain(app)
    assert sorted(sent) == ["a@b.c", "one could not be sent", "that was all"]


def test_the_progress_of_the_whole() -> None:
    flow = batch("a@b.c", "nobody").enqueue()
    assert (flow.progress().done, flow.progress().total) == (0, 5)
    drain(app)
    progress = flow.progress()
    assert progress.fraction == 1
    assert progress.states == {State.COMPLETED: 3, State.DEAD: 1, State.CANCELLED: 1}
    assert flow.wait(timeout="5s") == progress


def test_it_can_be_added_to() -> None:
    """From anywhere, by its id. What follows on it waits for the new ones too."""
    sent.clear()
    flow = batch("a@b.c").enqueue()
    same = app.flows.get(flow.id)
    same.add(send.job("later@b.c"))
    same.enqueue()
    drain(app)
    assert sent[:2] == ["a@b.c", "later@b.c"]


def test_batches_have_parts() -> None:
    """Each part has its own progress and what follows on it; the whole waits for all."""
    sent.clear()
    whole = Flow("all newsletters")
    for region in ("north", "south"):
        part = group([send.job(f"{region}@b.c")], name=region)
        part.on_success(report.job(f"{region} done"))
        whole.add(part)
    whole.on_success(report.job("all done"))
    whole.enqueue()
    drain(app)
    assert sent[-1] == "all done"
    assert [part.name for part in app.flows.view(whole.id).parts] == ["north", "south"]


def test_the_whole_can_be_cancelled() -> None:
    flow = batch("a@b.c", "d@e.f").enqueue()
    flow.cancel("the text was wrong")
    assert flow.progress().states == {State.CANCELLED: 5}
    assert app.jobs.count(flow=flow.id, state="cancelled") == 5
