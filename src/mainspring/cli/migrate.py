"""`mainspring migrate`: bring a store's schema up to date, or print how."""

from __future__ import annotations

from typing import Annotated

import typer

from mainspring.cli.options import App, Json, Url, perhaps_new
from mainspring.cli.output import print_json, say
from mainspring.errors import ConfigurationError, StoreUnavailable
from mainspring.store.outbox.opening import open_outbox
from mainspring.store.outbox.table import OutboxTable

__all__ = ["migrate"]


def migrate(
    context: typer.Context,
    app: App = None,
    url: Url = None,
    as_sql: Annotated[bool, typer.Option("--sql", help="Print the SQL instead, for who may run it.")] = False,
    found: Annotated[
        int | None,
        typer.Option("--from", metavar="VERSION", help="With --sql: from that version on, without asking the store."),
    ] = None,
    grant_to: Annotated[
        str | None, typer.Option(metavar="ROLE", help="With --sql: what that role needs to enqueue and to work, too.")
    ] = None,
    outbox: Annotated[
        str | None, typer.Option(metavar="URL", help="Instead, make the outbox in the database of your own data.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Bring a store's schema up to date, or make it if there is none. Safe to run at any time, by several at once.

    \b
    mainspring migrate --url postgresql://shop@db.internal/shop
    mainspring migrate --sql --from 0 --grant-to shop > mainspring.sql
    mainspring migrate --outbox postgresql://shop@db.internal/shop

    An SQLite store is also brought up to date by whoever opens it first, and a namespace of Redis set up by whoever
    uses it first. On PostgreSQL that takes the right to create tables; with --sql somebody else can do it: psql -v
    ON_ERROR_STOP=1 -f mainspring.sql.
    """
    if outbox is not None:
        if app is not None or url is not None or found is not None:
            other = "--app" if app is not None else "--url" if url is not None else "--from"
            raise ConfigurationError(f"--outbox and {other} are given; an outbox is in another database than a store")
        _migrate_outbox(open_outbox(outbox), grant_to, as_sql=as_sql, as_json=as_json)
        return
    store = perhaps_new(context, app, url).store
    if as_sql:
        if found is not None and found < 0:
            raise ConfigurationError(f"--from {found} is no version; 0 is where there is no schema yet")
        try:
            script = store.script(found, grant_to)
        except StoreUnavailable as error:
            raise StoreUnavailable(f"{error}; or say which version it has (--from 0: none yet)") from None
        print_json({"url": store.url, "sql": script}) if as_json else typer.echo(script, nl=False)
        return
    if found is not None or grant_to is not None:
        raise ConfigurationError(f"{'--from' if found is not None else '--grant-to'} goes with --sql")
    status = store.migrate()
    if as_json:
        print_json({"url": store.url, "from": status.found, "to": status.wanted})
    elif status.found == status.wanted:
        say(f"{store.url} has schema version {status.wanted} already")
    else:
        was = f"from {status.found} to" if status.found else "was not there; now has"
        say(f"{store.url}: schema version {was} {status.wanted}")


def _migrate_outbox(outbox: OutboxTable, grant_to: str | None, *, as_sql: bool, as_json: bool) -> None:
    if as_sql:
        script = outbox.script(grant_to)
        print_json({"outbox": outbox.url, "sql": script}) if as_json else typer.echo(script, nl=False)
        return
    if grant_to is not None:
        raise ConfigurationError("--grant-to goes with --sql")
    made = outbox.migrate()
    if as_json:
        print_json({"outbox": outbox.url, "made": made})
    else:
        say(f"{outbox.url}: the outbox {'was not there; now it is' if made else 'is there already'}")
