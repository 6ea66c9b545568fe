"""`mainspring doctor`: is everything in order, and what to do about what is not."""

from __future__ import annotations

from collections import Counter

import typer

from mainspring.app import Mainspring
from mainspring.cli.checks import Finding, Level, check_app, check_outbox, check_program, check_store, check_traffic
from mainspring.cli.options import App, Json, Url, outer_place
from mainspring.cli.output import Column, one_line, print_json, say, table
from mainspring.cli.target import Place
from mainspring.errors import MainspringError

__all__ = ["doctor"]

COLUMNS = (Column("", is_state=True, whole=True), Column("CHECK", whole=True), Column("FOUND", folds=True))


def doctor(context: typer.Context, app: App = None, url: Url = None, as_json: Json = False) -> None:
    """Check that everything is in order.

    \b
    mainspring doctor --app shop.jobs:app
    mainspring doctor --url sqlite:////var/lib/shop/jobs.db

    It looks at the program, the app's tasks (with --app), the store, its disk and schema, workers, queues, schedules
    and the outbox, and says what to do about what is not in order. Exits with 1 if anything failed. Changes nothing: a
    write is tried by putting a worker without queues on the list and taking it off again.
    """
    place = Place(app, url).or_else(outer_place(context))
    findings = [*check_program()]
    opened = _open(place, findings)
    if opened is not None:
        context.call_on_close(opened.close)
        if place.named_app():
            findings += check_app(opened)
        usable = True
        for finding in check_store(opened):
            findings.append(finding)
            usable = usable and finding.usable
        if usable:
            try:
                findings += check_traffic(opened, own_tasks=bool(place.named_app()))
            except MainspringError as error:
                findings.append(Finding(Level.FAIL, "store", str(error)))
        if opened.relayed is not None:
            findings += check_outbox(opened.relayed)
    if as_json:
        print_json([finding.to_json() for finding in findings])
    else:
        table(COLUMNS, [(finding.level, finding.subject, finding.text) for finding in findings])
        totals = Counter(finding.level for finding in findings)
        say(one_line(f"\n{totals[Level.OK]} ok, {totals[Level.WARN]} to look at, {totals[Level.FAIL]} failed".strip()))
    if any(finding.level is Level.FAIL for finding in findings):
        raise typer.Exit(1)


def _open(place: Place, findings: list[Finding]) -> Mainspring | None:
    """The app; where its own code or the target fails, that is a finding, and there is nothing further to check."""
    try:
        return place.open()
    except MainspringError as error:
        findings.append(Finding(Level.FAIL, "app" if place.named_app() else "store", str(error)))
        return None
