"""`mainspring top`: what goes on in a store, again and again."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Annotated

import typer

from mainspring.app import Mainspring
from mainspring.cli.options import App, Json, Url, existing
from mainspring.cli.output import for_people, print_json
from mainspring.cli.top_view import Sight, as_json, drawn, sight_of, written
from mainspring.errors import StoreError
from mainspring.model.durations import to_ms

__all__ = ["top"]

SHARE = 0.1
"""How much of the time may be spent looking, so that a store in which that takes long is not kept busy by it."""


def top(
    context: typer.Context,
    app: App = None,
    url: Url = None,
    span: Annotated[str, typer.Option("--span", metavar="TIME", help="How far to look back, up to 30d.")] = "1h",
    every: Annotated[str, typer.Option("--every", metavar="TIME", help="How often to look.")] = "2s",
    once: Annotated[bool, typer.Option("--once", help="Look once.")] = False,
    as_document: Json = False,
) -> None:
    """Watch throughput, failures, waits, queues, workers.

    Numbers are those of the last hour, or of --span. What is enqueued is counted at once, what workers do comes with
    their heartbeats. Percentiles say how long the faster half, 95 and 99 of a hundred took at most. Ends with Ctrl-C;
    where the output is no terminal it looks once.
    """
    opened = existing(context, app, url)
    pause = to_ms(every) / 1000
    if as_document:
        print_json(as_json(sight_of(opened, span)))
    elif once or not for_people():
        _show(sight_of(opened, span))
    else:
        # Who has seen enough says so by Ctrl-C: that is no failure.
        with suppress(KeyboardInterrupt):
            _watch(opened, span, pause)


def _show(sight: Sight) -> None:
    if not for_people():
        written(sight)
        return
    from rich.console import Console

    console = Console(highlight=False)
    console.print(drawn(sight, console.width))


def _watch(app: Mainspring, span: str, pause: float) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    sight = sight_of(app, span)
    with Live(drawn(sight, console.width), console=console, screen=True, auto_refresh=False) as live:
        took, trouble = 0.0, ""
        while True:
            live.update(drawn(sight, console.width, trouble), refresh=True)
            time.sleep(max(pause, took / SHARE))
            began = time.monotonic()
            try:
                sight, trouble = sight_of(app, span), ""
            except StoreError as error:
                trouble = str(error)
            took = time.monotonic() - began
