"""17. Fan out and fan in: many side by side, then one with all their results

What is large is cut into pieces, which any number of workers work on at once; when all are done, one job puts the
results together.
"""

from __future__ import annotations

from mainspring import Context, Flow, Mainspring, chain, chord, group, previous
from mainspring.testing import drain

app = Mainspring("sqlite://")


@app.task
async def count(page: str) -> int:
    return len(page.split())


@app.task
async def add_up(counts: list[int]) -> int:
    return sum(counts)


@app.task
async def pages(book: str) -> list[str]:
    return book.split(".")


BOOK = "it was the best of times. it was the worst of times"


def test_a_group_runs_side_by_side() -> None:
    """Its result is the list of theirs, in order."""
    flow = group(count.job(page) for page in BOOK.split(".")).enqueue()
    drain(app)
    assert flow.result() == [6, 6]


def test_a_chord_is_a_group_and_one_that_waits_for_it() -> None:
    flow = chord((count.job(page) for page in BOOK.split(".")), add_up.job(previous)).enqueue()
    drain(app)
    assert flow.result() == 12


def test_groups_go_into_chains() -> None:
    flow = chain(group(count.job("a b"), count.job("c")), add_up.job(previous)).enqueue()
    drain(app)
    assert flow.result() == 3


def test_map_makes_a_job_of_each_item_or_of_so_many() -> None:
    """With `chunk` a job takes many items: less to store, where each is little work."""
    flow = count.map(BOOK.split(" "), chunk=5).enqueue()
    assert len(flow.jobs()) == 3
    drain(app)
    assert flow.result() == [1] * 12
    summed = chord(count.map(BOOK.split(" "), chunk=5), add_up.job(previous)).enqueue()
    drain(app)
    assert summed.result() == 12


@app.task
async def count_book(ctx: Context, book: str) -> str:
    """Only here is it known how many pages there are."""
    ctx.spawn(*(count.job(page) for page in book.split(".")), then=add_up.job(previous))
    return "counting"


def test_a_job_spawns_others() -> None:
    """They appear when it completes, together with its result; a run that fails leaves none."""
    count_book.enqueue(BOOK)
    drain(app)
    newest, *_ = app.jobs.find(task="add_up")
    assert newest.result() == 12


@app.task
async def count_pages(ctx: Context, book: list[str]) -> int:
    assert ctx.flow is not None
    counted = ctx.flow.add(group(count.job(page) for page in book))
    ctx.flow.add(add_up.job(counted.result))
    await ctx.flow.aenqueue()
    return len(book)


def test_or_adds_them_to_its_flow() -> None:
    """At once, so that they run while it still does."""
    flow = Flow("book")
    flow.add(count_pages.job(flow.add(pages.job(BOOK)).result))
    flow.enqueue()
    drain(app)
    assert flow.progress().total == 5
    assert [job.result() for job in flow.jobs() if job.task == "add_up"] == [12]
