"""Webhooks: what happens to jobs and flows, told to other people's servers.

    app.webhook("https://example.com/jobs", on=("completed", "dead"), secret=SECRET)

A delivery is a job of its own, stored by the very request that brings about what it tells of: `telling` makes it,
`tasks` run it, `posting` sends it, to no address that `addresses` refuses. Who receives them imports only this:

    from mainspring.webhooks import verify
"""

from mainspring.webhooks.signature import EVENT_ID, SIGNATURE, verify

__all__ = ["EVENT_ID", "SIGNATURE", "verify"]
