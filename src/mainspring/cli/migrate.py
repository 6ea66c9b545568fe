"""`mainspring migrate`: bring a store's schema up to date."""

from __future__ import annotations

import typer

from mainspring.cli.options import App, Json, Url, perhaps_new
from mainspring.cli.output import print_json, say

__all__ = ["migrate"]


def migrate(context: typer.Context, app: App = None, url: Url = None, as_json: Json = False) -> None:
    """Bring a store's schema up to date, or make it if there is none. Safe to run at any time, by several at once.

    An SQLite store is also brought up to date by whoever opens it first.
    """
    store = perhaps_new(context, app, url).store
    status = store.migrate()
    if as_json:
        print_json({"url": store.url, "from": status.found, "to": status.wanted})
    elif status.found == status.wanted:
        say(f"{store.url} has schema version {status.wanted} already")
    else:
        was = f"from {status.found} to" if status.found else "was not there; now has"
        say(f"{store.url}: schema version {was} {status.wanted}")
