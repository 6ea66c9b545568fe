"""Who may follow a job: whoever has a ticket for it, and everybody who may look at all jobs.

Tickets are looked at here and not by the guard, which lets strangers through to these routes as guests, and pages of
other sites only if `origins` names them.
"""

from __future__ import annotations

from starlette.requests import HTTPConnection

from mainspring.clock import now_ms
from mainspring.errors import JobNotFound
from mainspring.model.text import clean, quote
from mainspring.web.identity import Identity, Role
from mainspring.web.problems import Forbidden
from mainspring.web.tickets import EVERYTHING, InvalidTicket, Pass, read_ticket

__all__ = ["pass_for"]

LONGEST_ID = 255
ROLE_MS = 10 * 60_000
"""For how long somebody may follow jobs until he is asked again who he is: he may have signed out, or have no role any
more. Then his connection ends, and he comes back with what he has seen."""


def pass_for(connection: HTTPConnection, job: str, ticket: str | None, secret: str) -> Pass:
    """What this ticket, or else who asks, allows as to this job. Raises `Forbidden`, and `JobNotFound` for what cannot
    be a job's id: a store might choke on it, and with it all streams."""
    if len(job) > LONGEST_ID or clean(job) != job:
        raise JobNotFound(f"no job has the id {quote(job)}")
    if ticket is not None:
        try:
            return read_ticket(ticket, job, secret)
        except InvalidTicket as refused:
            raise Forbidden(f"{refused}.") from None
    identity: Identity = connection.scope["mainspring.identity"]
    if identity.role < Role.VIEWER:
        raise Forbidden("To follow a job takes a ticket for it, or somebody who may look at all jobs.")
    return Pass(EVERYTHING, cancel=identity.role >= Role.OPERATOR, expires_at=now_ms() + ROLE_MS)
