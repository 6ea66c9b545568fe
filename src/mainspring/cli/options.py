"""Options that several commands share, and how their texts are read."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any

import typer

from mainspring.app import Mainspring
from mainspring.cli.target import Place, load_app
from mainspring.errors import ConfigurationError, InvalidDuration, InvalidOption
from mainspring.model.durations import to_ms
from mainspring.model.text import quote

__all__ = [
    "App",
    "Json",
    "Url",
    "Yes",
    "app_named",
    "existing",
    "json_object",
    "moment_of",
    "outer_place",
    "perhaps_new",
    "when",
]

App = Annotated[str | None, typer.Option("--app", metavar="MODULE:APP", help="The app whose store is meant.")]
Url = Annotated[str | None, typer.Option("--url", metavar="URL", help="The store, such as sqlite:///jobs.db.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def outer_place(context: typer.Context) -> Place:
    """What was given between `mainspring` and the command."""
    place = context.find_object(Place)
    return place if place is not None else Place()


def existing(context: typer.Context, app: str | None, url: str | None) -> Mainspring:
    """The app of a command that works on a store that is there."""
    opened = Place(app, url).or_else(outer_place(context)).open_existing()
    context.call_on_close(opened.close)
    return opened


def perhaps_new(context: typer.Context, app: str | None, url: str | None) -> Mainspring:
    """The app of a command for which its store need not be there."""
    opened = Place(app, url).or_else(outer_place(context)).open()
    context.call_on_close(opened.close)
    return opened


def moment_of(name: str, text: str) -> datetime:
    """An ISO time; without a zone it is the time on this machine's clock. Raises `InvalidOption`."""
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError, OSError):
        raise InvalidOption(
            f'{name} {quote(text)} cannot be read; write a time such as "2031-05-01 09:30" or "2031-05-01T09:30Z"'
        ) from None


def json_object(name: str, text: str) -> dict[str, Any]:
    """Arguments by their names. Raises `ConfigurationError`."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{name} {quote(text)} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ConfigurationError(f"{name} {quote(text)} is not a JSON object: give the arguments by their names")
    return value


def when(name: str, text: str | None) -> datetime | str | None:
    """How long ago ("2h"), or an ISO time. Raises `InvalidOption`."""
    if text is None:
        return None
    try:
        to_ms(text)
    except InvalidDuration:
        try:
            return moment_of(name, text)
        except InvalidOption:
            raise InvalidOption(
                f'{name} {quote(text)} cannot be read; write how long ago, such as "2h", or a time such as '
                '"2031-05-01 09:30"'
            ) from None
    return text


def app_named(context: typer.Context, target: str | None, option: str | None) -> Mainspring:
    """The app of a command that runs the user's code: by its argument, its option, or what was given around it."""
    if target and option and target != option:
        raise ConfigurationError(f"two apps are given, {quote(target)} and {quote(option)}; give one")
    outer = outer_place(context)
    named = target or option or outer.named_app()
    if named is None:
        raise ConfigurationError("say which app: module:app, such as shop.jobs:app (or set $MAINSPRING_APP)")
    loaded = load_app(named)
    context.call_on_close(loaded.close)
    return loaded
