"""`mainspring audit`: what operators did."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from mainspring.admin import AuditView
from mainspring.admin.jobs import PAGE_LIMIT
from mainspring.app import Mainspring
from mainspring.cli.options import App, Json, Url, existing
from mainspring.cli.output import Column, ago, iso, print_json, say, table, warn

__all__ = ["audit"]

COLUMNS = (
    Column("WHEN", whole=True),
    Column("WHO", whole=True),
    Column("WHAT", whole=True),
    Column("TO", folds=True),
    Column("COUNT", right=True, whole=True),
    Column("DETAIL", from_width=140, folds=True),
)


def audit(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many.")] = 50,
    app: App = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List what operators did, newest first, by the command line or the web.

    COUNT is how many things it changed; where it is missing, the action never ended, as far as is known. Entries are
    kept for 90 days.
    """
    entries, more = _entries(existing(context, app, url), limit)
    if as_json:
        print_json([_json(entry) for entry in entries])
    elif not entries:
        say("nobody has done anything yet that the audit log has")
    else:
        table(COLUMNS, [_row(entry) for entry in entries])
        if more:
            warn(f"there are more; see them with --limit {limit * 4}")


def _entries(app: Mainspring, limit: int) -> tuple[list[AuditView], bool]:
    entries: list[AuditView] = []
    cursor: str | None = None
    while True:
        page = app.audit.list(min(limit - len(entries), PAGE_LIMIT), cursor)
        entries += page
        cursor = page.cursor
        if cursor is None or len(entries) >= limit:
            return entries, cursor is not None


def _row(entry: AuditView) -> list[str]:
    count = "" if entry.count is None else f"{entry.count:,}"
    detail = json.dumps(entry.detail, ensure_ascii=False) if entry.detail else ""
    return [ago(entry.at), entry.actor, entry.action, entry.target, count, detail]


def _json(entry: AuditView) -> dict[str, Any]:
    return {
        "id": entry.id,
        "at": iso(entry.at),
        "actor": entry.actor,
        "action": entry.action,
        "target": entry.target,
        "count": entry.count,
        "detail": entry.detail,
    }
