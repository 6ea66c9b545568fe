"""Tickets: who has one may follow one job, until it expires, and nothing else.

A ticket is the job's id, what may be seen, and when it expires, signed by HMAC-SHA256. It stands in a URL, since
browsers send no headers of ours with an `EventSource`: so it ends up in logs, and should be short-lived.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from itsdangerous import BadData, URLSafeSerializer

from mainspring.clock import now_ms
from mainspring.errors import InvalidOption
from mainspring.job import Job
from mainspring.model.durations import Duration, to_ms
from mainspring.web.secret import site_secret

__all__ = ["EVERYTHING", "InvalidTicket", "Pass", "job_url", "read_ticket", "ticket"]

LONGEST = 2048
"""No ticket of ours has more characters."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What of a job may be seen, besides its state, its progress and its output."""

    log: bool = True
    result: bool = True
    errors: bool = False
    """What its task has raised, and why it was cancelled."""
    tracebacks: bool = False


EVERYTHING = Sight(errors=True, tracebacks=True)


@dataclass(frozen=True, slots=True)
class Pass:
    """What a ticket, or somebody's role, allows."""

    sight: Sight
    job: str | None = None
    """None: any job."""
    cancel: bool = False
    expires_at: int = 0
    """In milliseconds since 1970 UTC."""

    @property
    def by_ticket(self) -> bool:
        """Whether it is a ticket's, and for good over when it expires."""
        return self.job is not None

    @property
    def seconds_left(self) -> float:
        """How long it is good for."""
        return max(0.0, (self.expires_at - now_ms()) / 1000)

    @property
    def expired(self) -> bool:
        """Whether its time is over."""
        return self.seconds_left == 0


class InvalidTicket(Exception):
    """It was not signed here, was altered, is another job's, or has expired."""


def ticket(
    job: Job[Any] | str,
    ttl: Duration = "1h",
    *,
    secret: str | None = None,
    log: bool = True,
    result: bool = True,
    errors: bool = False,
    cancel: bool = False,
) -> str:
    """A ticket for one job, which may be given by its id; good for `ttl`.

        return {"job": job.id, "ticket": mainspring.web.ticket(job, "30m")}

    Who has it sees the job's state, progress and output, its `log` and `result` unless that is not wanted, and its
    `errors` (without tracebacks) if it is; and may `cancel` it, if so. `secret` is what `create_app` was given where it
    runs; without one, see `create_app`. Raises `InvalidOption`, `InvalidDuration`.
    """
    lives_ms = to_ms(ttl)
    if lives_ms <= 0:
        raise InvalidOption(f"ttl={ttl!r} is over at once")
    rights = "".join(letter for letter, given in (("l", log), ("r", result), ("e", errors), ("c", cancel)) if given)
    id = job if isinstance(job, str) else job.id
    return str(_signer(site_secret(secret)).dumps([id, now_ms() + lives_ms, rights]))


def job_url(
    job: Job[Any] | str,
    base: str = "",
    ttl: Duration = "1h",
    *,
    secret: str | None = None,
    log: bool = True,
    result: bool = True,
    errors: bool = False,
    cancel: bool = False,
) -> str:
    """Where a browser follows a job, with a ticket for it: what `<mainspring-progress job="…">` and `watch(…)` take.

        url = mainspring.web.job_url(job, "/jobs")                     # the web is mounted there in this application
        url = mainspring.web.job_url(job, "https://jobs.example.com", secret=SHARED)   # it runs elsewhere

    The rest is as `ticket` has it.
    """
    id = job if isinstance(job, str) else job.id
    signed = ticket(id, ttl, secret=secret, log=log, result=result, errors=errors, cancel=cancel)
    return f"{base.rstrip('/')}/api/v1/jobs/{quote(id, safe='')}/events?{urlencode({'ticket': signed})}"


def read_ticket(text: str, job: str, secret: str) -> Pass:
    """What a ticket allows. Raises `InvalidTicket`."""
    try:
        if len(text) > LONGEST:
            raise InvalidTicket("This is no ticket")
        id, expires_at, rights = _signer(secret).loads(text)
    except (BadData, ValueError, TypeError):
        raise InvalidTicket("This is no ticket, or it was made with another secret") from None
    allowed = Pass(Sight(log="l" in rights, result="r" in rights, errors="e" in rights), id, "c" in rights, expires_at)
    if id != job:
        raise InvalidTicket("This ticket is for another job")
    if allowed.expired:
        raise InvalidTicket("This ticket has expired")
    return allowed


def _signer(secret: str) -> URLSafeSerializer:
    return URLSafeSerializer(
        secret, salt="mainspring.ticket", signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256}
    )
