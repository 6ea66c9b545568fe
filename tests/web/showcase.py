"""An app with much in every state, to be looked at: `PYTHONPATH=tests python -m web.showcase` serves its dashboard.

What it shows has happened in the past hours: time is frozen there while it is made.
"""

from __future__ import annotations

import math
import random
import sys
import tempfile
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from mainspring import Bury, Cancel, Context, Flow, Limits, Mainspring, RetryAfter, Secret, chord, group
from mainspring.admin import acting
from mainspring.clock import new_id, now_ms
from mainspring.model.job import LogLine, Note
from mainspring.model.stats import Cell, Depth, Report, bucket, gathered, sampled
from mainspring.store.base import BeatRequest, ClaimRequest, NoteRequest, Presence, Room
from mainspring.testing import EndlessDrain, drain, freeze

__all__ = ["HOSTILE", "fill", "make"]

HOSTILE = (
    "<script>alert(1)</script>",
    '" onmouseover="alert(1)" x=\'',
    "'><img src=x onerror=alert(1)>",
    "user\u202egnp.exe",
    "a\u200bb\ufeffc",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "</title></textarea></style><svg/onload=alert(1)>",
)


class Plan(Enum):
    FREE = "free"
    PRO = "pro"
    TEAM = "team"


class Address(BaseModel):
    street: str
    city: str = "Berlin"
    zip: str | None = None


class CardDeclined(Exception):
    """The bank says no."""


class MailRefused(Exception):
    """The other side does not want it."""


def make(url: str) -> Mainspring:
    """The app, with its tasks."""
    app = Mainspring(url)
    app.queue("email", rate="300/1m", concurrency=20)
    app.queue("photos", concurrency=8, partition="album", per_partition=Limits(concurrency=2))
    app.queue("payments", concurrency=4, max_queued=10_000)

    @app.task(queue="email", retry=5, timeout="30s")
    async def send_welcome(user_id: int, email: str, plan: Plan = Plan.FREE) -> dict[str, Any]:
        """Greet somebody who has just signed up."""
        if user_id % 17 == 0:
            raise MailRefused(f"550 5.1.1 <{email}>: Recipient address rejected: user unknown")
        return {"message_id": f"<{user_id}.{user_id * 7919 % 100003}@mail.shop.example>", "accepted": [email]}

    @app.task(queue="email", retry=3)
    def send_receipt(order_id: int, to: Address, amount: Annotated[float, Field(gt=0, description="In euros")]) -> str:
        """Mail the receipt of an order."""
        return f"receipt-{order_id}.pdf"

    @app.task(queue="payments", retry=3, priority=1)
    def charge_card(order_id: int, cents: int, currency: Literal["EUR", "USD", "GBP"] = "EUR") -> dict[str, Any]:
        """Charge the card of an order."""
        if order_id % 9 == 0:
            raise CardDeclined(f"order {order_id}: insufficient funds (code 51)")
        if order_id % 23 == 0:
            raise Bury("the order was cancelled by the customer")
        return {"order": order_id, "charge": f"ch_{order_id:06x}", "cents": cents, "currency": currency}

    @app.task(queue="photos")
    def resize(ctx: Context, photo: str, album: str, widths: list[int] = [320, 1280]) -> list[str]:  # noqa: B006
        """Make the smaller sizes of a photo."""
        for step, width in enumerate(widths):
            ctx.progress(100 * (step + 1) / len(widths), f"{width} px")
            ctx.log(f"{photo}: {width} px written, {width * 97 % 250 + 20} KB")
        return [f"{photo}.{width}.jpg" for width in widths]

    @app.task(queue="photos")
    def contact_sheet(album: str) -> str:
        return f"{album}.pdf"

    @app.task(queue="reports", retry=2, timeout="10m")
    def build_report(month: str, rows: int = 1000, dry_run: bool = False) -> dict[str, Any]:
        """Build the monthly report."""
        if month.endswith("02"):
            raise ValueError(f"month {month}: 3 orders have no currency")
        return {"month": month, "rows": rows, "path": f"/reports/{month}.csv"}

    @app.task(queue="search")
    def index_document(document_id: int, fields: dict[str, str] | None = None) -> None:
        if document_id % 31 == 0:
            raise RetryAfter("5m")
        if document_id % 29 == 0:
            raise Cancel("the document was deleted meanwhile")

    @app.task(queue="payments", retry=1)
    def refund(order_id: int, iban: Secret[str], note: str | None = None) -> str:
        """Pay somebody back."""
        return f"refund-{order_id}"

    @app.task(queue="default", retry=1)
    def odd(text: str) -> str:
        """Whatever it is given."""
        raise ValueError(text)

    app.webhook(
        "https://ledger.example/hooks?key=k", on="cancelled", secret="s" * 32, task="charge_card", name="ledger"
    )
    app.webhook("https://status.example/jobs", on=("flow.failed", "crashed"), secret="s" * 32)
    app.cron("0 6 * * mon-fri", tz="Europe/Berlin", name="morning report", args={"month": "2026-10"})(build_report)
    app.every("15m", name="index-sweep", args={"document_id": 1})(index_document)
    app.cron("30 3 1 * *", name="monthly", args={"month": "2026-10", "rows": 250_000})(build_report)
    return app


def fill(app: Mainspring, *, many: int = 160) -> None:
    """Let it have worked for some hours, and have much to do."""
    tasks = app.tasks
    chance = random.Random(7)
    start = datetime.now(UTC) - timedelta(hours=6, minutes=40)
    with freeze(start) as clock:
        for _ in range(12):
            for _ in range(many // 12):
                user = chance.randrange(1000, 9999)
                tasks["send_welcome"].enqueue(user, f"user{user}@example.com", plan=chance.choice(list(Plan)))
                tasks["charge_card"].enqueue(chance.randrange(1, 90_000), chance.randrange(500, 90_000))
                tasks["index_document"].enqueue(chance.randrange(1, 9_000))
                tasks["resize"].enqueue(
                    f"IMG_{chance.randrange(1000, 9999)}.jpg", chance.choice(["alps", "sea", "ada"])
                )
            drain(app, limit=100_000)
            clock.travel(chance.uniform(600, 1000))
        for month in ("2026-01", "2026-02", "2026-09"):
            tasks["build_report"].enqueue(month)
        for text in HOSTILE:
            tasks["odd"].enqueue(text)
        drain(app, limit=100_000)
        for _ in range(6):
            clock.travel(1800)
            drain(app, limit=100_000)
    _flows(app)
    for user in range(40):
        tasks["send_welcome"].enqueue(20_000 + user, f"new{user}@example.com")
    tasks["refund"].using(delay="20m", tags=["vip", "returns"]).enqueue(91_000, "DE02 1203 0000 0000 2020 51")
    for order in range(12):
        tasks["charge_card"].using(delay=f"{5 + order}m").enqueue(91_000 + order, 4_200)
    for document in range(60):
        tasks["index_document"].enqueue(document + 70_000, {"title": "Mainsprings and barrels", "language": "en"})
    tasks["send_welcome"].using(delay="1h").enqueue(19_999, "gone@example.com").cancel("signed off meanwhile")
    with acting("ada"):
        app.queues.pause("search")
        app.queues.set_limits("email", concurrency=20)
    with acting("ben"):
        app.jobs.retry(task="index_document", state="dead")
    app.webhooks.test("ledger")
    _statistics(app)
    _workers(app)


def _workers(app: Mainspring) -> None:
    """Three that are there, one of which runs something, and one that is gone."""
    driver = app.store.driver()
    hour = 3_600_000
    names = ("web-1.shop.internal:4021", "web-2.shop.internal:3310", "batch-1.shop.internal:77", "batch-2:9914")
    for number, name in enumerate(names):
        presence = Presence(
            id=f"0198c0de-0000-7000-8000-00000000000{number}",
            name=name,
            queues=("email", "payments", "photos", "default", "search", "reports")[: 6 - number],
            tasks=tuple(app.tasks),
            concurrency=(50, 50, 8, 8)[number],
            running=(6, 0, 0, 3)[number],
            lease_ms=30_000 if number == 3 else 24 * hour,
            quiet=number == 2,
            memory=(191_954_125, 174_063_616, 1_288_490_188, None)[number],
        )
        driver.run(BeatRequest(presence, "join", now=now_ms() - 2 * hour if number == 3 else None))
    reply = driver.run(ClaimRequest(worker="0198c0de-0000-7000-8000-000000000000", rooms=(Room("email", 6),), limit=6))
    notes = [
        Note(
            claim.id,
            claim.lease,
            progress=12.5 + 14 * n,
            progress_text=f"{n + 1} of 8 servers",
            lines=tuple(LogLine(now_ms() - 4000 + 900 * k, f"EHLO mx{k}.example.com: 250 OK") for k in range(4)),
        )
        for n, claim in enumerate(reply.claims)
    ]
    driver.run(NoteRequest(tuple(notes)))
    driver.close()


def _flows(app: Mainspring) -> None:
    tasks = app.tasks
    chord(
        [tasks["resize"].job(f"IMG_{n}.jpg", "dolomites") for n in range(24)], tasks["contact_sheet"].job("dolomites")
    ).enqueue()
    order = Flow("order 91007")
    charge = order.add(tasks["charge_card"].job(91_007, 12_900))
    stock = order.add(tasks["index_document"].job(5))
    receipt = order.add(
        tasks["send_receipt"].job(91_007, Address(street="Uhrmachergasse 3"), 129.0), after=[charge, stock]
    )
    order.add(tasks["build_report"].job("2026-11"), after=[receipt])
    order.add(tasks["send_welcome"].job(91_007, "ada@example.com"), after=[charge], on_failure="run")
    order.enqueue()
    group([tasks["build_report"].job(f"2026-{n:02}") for n in range(3, 8)]).enqueue()
    with suppress(EndlessDrain):
        drain(app, limit=14)


def _statistics(app: Mainspring) -> None:
    """A week of them: by the hour, of the last day by five minutes, of the last hour by the minute."""
    now = now_ms() // 60_000 * 60_000
    minute, hour, day = 60_000, 3_600_000, 86_400_000
    places = [(now - 7 * day + n * hour, 60) for n in range(6 * 24)]
    places += [(now - day + n * 5 * minute, 5) for n in range(23 * 12)]
    places += [(now - hour + n * minute, 1) for n in range(60)]
    chance = random.Random(11)
    loads = {"send_welcome": 22, "charge_card": 9, "index_document": 14, "resize": 6, "build_report": 0.4}
    cells = []
    depths = _Depths(chance)
    for at, minutes in places:
        hours = 15 + (at - now) / hour  # by the clock of a place where it is afternoon: the same whenever it is made
        tide = 0.55 + 0.45 * math.sin((hours - 9) / 24 * 2 * math.pi)
        rush = 2.4 if minutes == 1 and now - 26 * minute < at < now - 19 * minute else 1
        # For a while no worker was there: nothing was started, and nobody has looked.
        out = now - 22 * hour <= at < now - 22 * hour + 20 * minute
        for task, load in loads.items():
            numbers = _numbers(chance, chance.gauss(load, load / 7) * tide * rush * minutes, slow=rush > 1)
            numbers = {name: number for name, number in numbers.items() if name == "enqueued" or not out}
            cells.append(Cell(at, app.tasks[task].options.queue, task, numbers))
        if not out:
            late = max(0, 45 - abs(at - now + 22 * hour) // minute) if at > now - 22 * hour else 0
            cells += depths.sampled(at, minutes, tide, 1 + late / 15 if late else rush)
    presence = Presence(new_id(), "statistics", (), (), 1, 0, 60_000)
    driver = app.store.driver()
    driver.run(BeatRequest(presence, "join"))
    for number, start in enumerate(range(0, len(cells), 200)):
        report = Report("showcase", number + 1, tuple(cells[start : start + 200]))
        driver.run(BeatRequest(presence, "stay", stats=(report,)))
    driver.run(BeatRequest(presence, "leave"))
    driver.close()


class _Depths:
    """How deep queues were: they rise while there is a rush, and then fall."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._since: dict[str, int] = {}

    def sampled(self, at: int, minutes: int, tide: float, rush: float) -> list[Cell]:
        """What a look a minute has seen in that stretch."""
        looks = [self._look(at + minute * 60_000, tide, rush) for minute in range(minutes)]
        return gathered([replace(cell, at=at) for look in looks for cell in look], 60_000)

    def _look(self, at: int, tide: float, rush: float) -> tuple[Cell, ...]:
        depths = []
        for queue, usual in (("email", 30), ("search", 12), ("photos", 9), ("payments", 4)):
            due = max(0, round(self._chance.gauss(usual, usual / 4) * tide**3 * rush**3 - usual / 3))
            since = self._since[queue] = self._since.get(queue, at) if due and rush > 1 else at
            if due:
                depths.append(Depth(queue, due, at - since + round(self._chance.uniform(0, 250 * due))))
        return sampled(at, depths, 4)


def _numbers(chance: random.Random, load: float, *, slow: bool) -> dict[str, int]:
    started = max(0, round(load))
    failed = sum(chance.random() < (0.07 if slow else 0.025) for _ in range(started))
    dead = sum(chance.random() < 0.15 for _ in range(failed))
    numbers = {
        "enqueued": max(0, round(chance.gauss(load, load / 12 + 0.1))),
        "started": started,
        "completed": started - failed,
        "failed": failed,
        "retried": failed - dead,
        "dead": dead,
    }
    for kind, middle in (("wait", 6.6 if slow else 4.6), ("run", 5.9)):
        for _ in range(min(started, 40)):
            ms = round(chance.lognormvariate(middle, 0.9))
            numbers[kind] = numbers.get(kind, 0) + ms
            name = f"{kind}:{bucket(ms)}"
            numbers[name] = numbers.get(name, 0) + max(1, started // 40)
    return {name: number for name, number in numbers.items() if number}


def main() -> None:
    import uvicorn

    from mainspring.web import create_app

    with tempfile.TemporaryDirectory() as folder:
        app = make(f"sqlite:///{Path(folder)}/showcase.db")
        fill(app)
        port = int(sys.argv[1]) if len(sys.argv) > 1 else 8123
        uvicorn.run(create_app(app, title="Shop"), host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main()
