"""What the store has in the end, and whether that goes together with what everybody has written down.

`faults.laws` knows the promises; here is what it needs to be told by a run of real programs, and the laws about what
only such a run can see: results, observers, transactions.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from mainspring import Mainspring
from mainspring.model import history as attempts
from mainspring.model.job import JobRecord
from mainspring.model.states import State

from ..events import Acknowledged, Altered, Ended, Event, Fault, Found, Offered, Started
from ..laws import Violation
from .records import Existed, Kept, Ordered, Settled, Written, clock

__all__ = ["found", "more_violations", "renamed", "spawned"]

REAP_SECONDS = 5.0
SLACK_SECONDS = 10.0
"""How much longer than its lease and a reap it may take a busy machine to see that a worker is gone."""


def found(app: Mainspring) -> Iterator[Event]:
    """Every job that the store has."""
    cursor: str | None = None
    while True:
        page = app.jobs.find(limit=1000, cursor=cursor)
        for job in page:
            yield from _seen(job.record)
        cursor = page.cursor
        if cursor is None:
            return


def _seen(record: JobRecord) -> Iterator[Event]:
    ran = tuple((one.worker, one.started_at, one.ended_at, str(one.verdict)) for one in attempts.parse(record.history))
    yield Found(
        at=clock(),
        job=record.id,
        task=record.task,
        state=str(record.state),
        lease=record.lease,
        attempt=record.attempt,
        crashes=record.crashes,
        queue=record.queue,
        ends=tuple(verdict for *_, verdict in ran),
    )
    result = json.loads(record.result) if record.result else None
    named = re.search(r"lease (\d+)", record.error or "")
    yield Kept(
        at=clock(),
        job=record.id,
        token=str(json.loads(record.args).get("token", "")),
        lease=record.lease,
        state=str(record.state),
        result_lease=result["lease"] if isinstance(result, dict) else None,
        error_lease=int(named[1]) if named else None,
        reason=record.reason or "",
        ran=ran,
        created_ms=record.created_at,
        finished_ms=record.finished_at,
    )


def renamed(history: Sequence[Event]) -> list[Event]:
    """Jobs by their ids: until they were found, they had only the names under which they were offered."""
    ids = {kept.token: kept.job for kept in history if isinstance(kept, Kept) and kept.token}
    events: list[Event] = []
    for event in history:
        if isinstance(event, Offered):
            parents = tuple(ids.get(parent, parent) for parent in event.parents)
            event = replace(event, job=ids.get(event.job, event.job), parents=parents)
        elif isinstance(event, Acknowledged | Existed | Ordered | Written):
            event = replace(event, job=ids.get(event.job, event.job))
        events.append(event)
    return events


def spawned(history: Sequence[Event]) -> list[Event]:
    """The offers of jobs that other jobs have left behind: `token/number`."""
    offered = {event.job: event for event in history if isinstance(event, Offered)}
    offers: list[Event] = []
    for kept in history:
        if isinstance(kept, Kept) and kept.token not in offered:
            parent = offered.get(kept.token.rpartition("/")[0])
            if parent is not None and parent.task == "spawning":
                offers.append(Offered(at=parent.at, job=kept.token, task="link", queue="flows", attempts=4))
    return offers


@dataclass(slots=True)
class _Facts:
    """The events by what they are about."""

    lease_seconds: float
    kept: dict[str, Kept] = field(default_factory=dict)
    offered: dict[str, Offered] = field(default_factory=dict)
    started: list[Started] = field(default_factory=list)
    ended: dict[tuple[str, int], Ended] = field(default_factory=dict)
    settled: list[Settled] = field(default_factory=list)
    existed: list[Existed] = field(default_factory=list)
    ordered: list[Ordered] = field(default_factory=list)
    written: list[Written] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    revived: Counter[str] = field(default_factory=Counter)
    altered: set[str] = field(default_factory=set)
    tokens: Counter[str] = field(default_factory=Counter)

    def take(self, event: Event) -> None:
        match event:
            case Kept():
                self.kept[event.job] = event
                self.tokens[event.token] += 1
            case Offered():
                self.offered[event.job] = event
            case Started():
                self.started.append(event)
            case Ended():
                self.ended[event.job, event.lease] = event
            case Settled():
                self.settled.append(event)
            case Existed():
                self.existed.append(event)
            case Ordered():
                self.ordered.append(event)
            case Written():
                self.written.append(event)
            case Fault():
                self.faults.append(event)
            case Altered():
                self.altered.add(event.job)
                self.revived[event.job] += event.verb == "revive"


def more_violations(history: Iterable[Event], lease_seconds: float) -> list[Violation]:
    """What does not go together."""
    facts = _Facts(lease_seconds)
    for event in history:
        facts.take(event)
    laws = (_copies, _strangers, _told_twice, _traces, _unexplained_losses, _holders, _orders, _grants, _lines)
    return [violation for law in laws for violation in law(facts)]


def _copies(facts: _Facts) -> Iterator[Violation]:
    """5: what was asked for once is there once."""
    for token, count in facts.tokens.items():
        if token and count > 1:
            yield Violation("copies", 0.0, token, f"{count} jobs came of one enqueue")


def _strangers(facts: _Facts) -> Iterator[Violation]:
    """4: what a job came to was written by who owned it last."""
    for kept in facts.kept.values():
        if kept.state == State.COMPLETED and kept.result_lease is not None and kept.result_lease != kept.lease:
            yield Violation(
                "stale", 0.0, kept.job, f"lease {kept.lease}, and the result is that of {kept.result_lease}"
            )
        used_up = kept.state == State.DEAD and kept.reason.startswith("attempts used up")
        if used_up and kept.error_lease is not None and kept.error_lease != kept.lease:
            yield Violation("stale", 0.0, kept.job, f"lease {kept.lease}, and the error is that of {kept.error_lease}")


def _told_twice(facts: _Facts) -> Iterator[Violation]:
    """4: each lease is settled once, and each job ends once, but for revivals."""
    told = Counter((settled.job, settled.lease) for settled in facts.settled)
    for (job, lease), count in told.items():
        if count > 1:
            yield Violation("settled twice", 0.0, job, f"observers were told {count} times about lease {lease}")
    ends = Counter(settled.job for settled in facts.settled if settled.how in ("completed", "dead", "cancelled"))
    for job, count in ends.items():
        if count > 1 + facts.revived[job]:
            yield Violation("settled twice", 0.0, job, f"it has ended {count} times")


def _traces(facts: _Facts) -> Iterator[Violation]:
    """11, 13: a run that was not handed back is in the job's history, whatever became of its worker."""
    kept_runs = {job: {(claimed, verdict) for _, claimed, _, verdict in kept.ran} for job, kept in facts.kept.items()}
    for started in facts.started:
        kept = facts.kept.get(started.job)
        if kept is None or len(kept.ran) >= attempts.KEPT or kept.state not in ("completed", "dead", "cancelled"):
            continue
        ended = facts.ended.get((started.job, started.lease))
        claimed = {at for at, _ in kept_runs[started.job]}
        if ended is not None and ended.how != "interrupted" and started.claimed_ms not in claimed:
            text = f"its run under lease {started.lease} has {ended.how}, and left no trace in its history"
            yield Violation("trace", started.at, started.job, text)


def _unexplained_losses(facts: _Facts) -> Iterator[Violation]:
    """3, 13: no worker is given up that nothing had happened to, and none that stops gracefully leaves a job behind."""
    runs = {(started.job, started.claimed_ms): started for started in facts.started}
    window = facts.lease_seconds + REAP_SECONDS + SLACK_SECONDS
    spans = _spans(facts.faults)
    births: defaultdict[str, list[float]] = defaultdict(list)
    for fault in facts.faults:
        if fault.what == "begun":
            births[fault.process].append(fault.at)
    for kept in facts.kept.values():
        for _, claimed, ended, verdict in kept.ran:
            run = runs.get((kept.job, claimed))
            if verdict != "lost" or run is None or _ended_its_process(run, facts):
                continue
            process = run.process
            born = max((at for at in births[process] if at <= claimed / 1000), default=0.0)
            died = min((at for at in births[process] if at > claimed / 1000), default=float("inf"))
            since, until = max(ended / 1000 - window, born), ended / 1000
            own = any(who == process and begin <= min(until, died) and end >= since for who, begin, end in spans)
            if not own and not any(not who and begin <= until and end >= since for who, begin, end in spans):
                yield Violation("lost lease", until, kept.job, f"taken from {process}, to which nothing had happened")


def _ended_its_process(run: Started, facts: _Facts) -> bool:
    """Whether it did so itself, and its worker saw it."""
    ended = facts.ended.get((run.job, run.lease))
    return run.task == "apart" and ended is not None and ended.how == "failed"


_MENDED = {"frozen": "thawed", "cut": "mended", "slow": "mended", "lossy": "mended"}


def _spans(faults: Sequence[Fault]) -> list[tuple[str, float, float]]:
    """From when to when who suffered. A graceful stop is nothing to lose a lease by."""
    spans = []
    for place, fault in enumerate(faults):
        if fault.what in ("killed", "hurried"):
            spans.append((fault.process, fault.at, fault.at))
        elif fault.what in _MENDED:
            later = (
                each.at for each in faults[place:] if each.process == fault.process and each.what == _MENDED[fault.what]
            )
            spans.append((fault.process, fault.at, next(later, float("inf"))))
    return spans


def _holders(facts: _Facts) -> Iterator[Violation]:
    """6: who is given an existing job in place of a new one is given one that had not ended when he asked."""
    ended: dict[str, float] = {}
    for settled in facts.settled:
        if settled.how in ("completed", "dead", "cancelled"):
            ended.setdefault(settled.job, settled.at)
    for existed in facts.existed:
        at = ended.get(existed.holder)
        if at is not None and at < existed.since and existed.holder not in facts.altered:
            text = f"{existed.holder} was given for a key {existed.since - at:.3f} s after it had ended"
            yield Violation("key", existed.at, existed.job, text)


def _orders(facts: _Facts) -> Iterator[Violation]:
    """A job that was enqueued, or completed, in a transaction is there if, and only if, that committed."""
    rows: defaultdict[str, list[int | None]] = defaultdict(list)
    for written in facts.written:
        rows[written.job].append(written.lease)
    for ordered in facts.ordered:
        is_there, has_row = ordered.job in facts.kept, None in rows[ordered.job]
        if is_there != has_row or ordered.done not in (None, is_there):
            text = f"committed: {ordered.done}, the order is there: {has_row}, the job: {is_there}"
            yield Violation("transaction", ordered.at, ordered.job, text)
    for kept in facts.kept.values():
        offered = facts.offered.get(kept.job)
        if offered is None or offered.task != "completing":
            continue
        runs = [lease for lease in rows[kept.job] if lease is not None]
        right = [kept.result_lease] if kept.state == State.COMPLETED else []
        if runs != right and not facts.revived[kept.job]:
            yield Violation("transaction", 0.0, kept.job, f"{kept.state} by {right}, and written was {runs}")


def _grants(facts: _Facts) -> Iterator[Violation]:
    """3: one lease is one run."""
    runs = Counter((started.job, started.lease) for started in facts.started)
    for (job, lease), count in runs.items():
        if count > 1:
            yield Violation("leases", 0.0, job, f"lease {lease} was run {count} times")


def _lines(facts: _Facts) -> Iterator[Violation]:
    """In a sequence the next job starts when the one before has ended for good."""
    lines: defaultdict[str, list[Started]] = defaultdict(list)
    for started in facts.started:
        if started.queue == "lines":
            lines[started.partition].append(started)
    for line, runs in lines.items():
        over, last = set[str](), ""
        for started in sorted(runs, key=lambda run: (run.claimed_ms, run.lease)):
            if started.job in over:
                yield Violation("sequence", started.at, started.job, f"{line}: {last} started before it had ended")
            if started.job != last and last:
                over.add(last)
            last = started.job
