"""`mainspring web`: the dashboard, the API and live progress, on a server of their own."""

from __future__ import annotations

import logging
import os
import socket
import sys
from contextlib import redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mainspring.app import Mainspring
from mainspring.cli.options import Url, outer_place
from mainspring.cli.output import say, warn
from mainspring.cli.target import ImportFailed, Place
from mainspring.cli.worker import AppArgument, AppOption, Level, LogLevel, log_to_stderr
from mainspring.errors import ConfigurationError, SchemaMismatch
from mainspring.model.text import quote
from mainspring.web import require_extra

if TYPE_CHECKING:
    from mainspring.web.auth import Way

__all__ = ["web"]

Host = Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen.")]
Port = Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="The port; 0: any that is free.")]
Title = Annotated[str, typer.Option(metavar="TEXT", help="What the pages are headed by.")]
Hosts = Annotated[
    list[str] | None, typer.Option("--hosts", metavar="NAME", help="A name under which it is reached; repeat for more.")
]
Origins = Annotated[
    list[str] | None,
    typer.Option("--origin", metavar="URL", help="Another site whose pages may follow jobs by ticket."),
]
User = Annotated[
    list[str] | None,
    typer.Option("--user", metavar="NAME:ROLE:HASH", help="Who may sign in by password; repeat for more."),
]
UsersFile = Annotated[Path | None, typer.Option("--users", metavar="FILE", help="The same, a line each.")]
TokenFile = Annotated[
    Path | None, typer.Option("--token-file", metavar="FILE", help="Who may show a token: lines NAME:ROLE:HASH.")
]
ProxyNetworks = Annotated[
    list[str] | None,
    typer.Option("--proxy", metavar="NETWORK", help="Where your proxies are, whose X-Forwarded-… is believed."),
]
ProxyUserHeader = Annotated[
    str | None, typer.Option("--proxy-user", metavar="HEADER[:ROLE]", help="The header in which they say who asks.")
]
ProxyRoleHeader = Annotated[
    str | None, typer.Option("--proxy-role", metavar="HEADER", help="The header in which they say his role.")
]
RootPath = Annotated[str, typer.Option(metavar="PATH", help="The path under which a proxy serves it, and takes off.")]
HashPassword = Annotated[bool, typer.Option("--hash-password", help="Ask for a password, print its hash, and end.")]
MakeToken = Annotated[bool, typer.Option("--make-token", help="Print a new token and its hash, and end.")]
Descriptor = Annotated[int | None, typer.Option("--listen-on", hidden=True)]


def web(
    context: typer.Context,
    app: AppArgument = None,
    app_option: AppOption = None,
    url: Url = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    title: Title = "Mainspring",
    hosts: Hosts = None,
    origin: Origins = None,
    user: User = None,
    users: UsersFile = None,
    token_file: TokenFile = None,
    proxy: ProxyNetworks = None,
    proxy_user: ProxyUserHeader = None,
    proxy_role: ProxyRoleHeader = None,
    root_path: RootPath = "",
    hash_password: HashPassword = False,
    make_token: MakeToken = False,
    log_level: Level = LogLevel.INFO,
    listen_on: Descriptor = None,
) -> None:
    """Serve the dashboard, the API and live progress.

    \b
    mainspring web shop.jobs:app                                    on http://127.0.0.1:8000, for this machine
    mainspring web shop.jobs:app --host 0.0.0.0 --users users.txt --hosts jobs.example.com

    Without a way to know who asks, only this machine is answered, and no other address is listened on. Users and
    tokens have one of three roles: viewer, operator, admin. Their hashes are made with --hash-password and
    --make-token; a file may have empty lines, and ones that begin with #. $MAINSPRING_WEB_SECRET signs sessions: set
    it, and they outlast a restart. Put a proxy that speaks https in front of what other machines can reach.
    """
    require_extra()
    if root_path and not root_path.startswith("/"):
        raise ConfigurationError(f"--root-path {quote(root_path)}: write such as /jobs")
    if hash_password:
        return _print_hash()
    if make_token:
        return _print_token()
    from mainspring.web.application import create_app
    from mainspring.web.origin import is_loopback
    from mainspring.web.serve import address_of, serve

    ways = _ways(user, users, token_file, proxy, proxy_user, proxy_role)
    listening = _listening(listen_on, host, port, bool(ways))
    with listening:
        opened = (_opened if listen_on is None else _opened_quietly)(context, app, app_option, url)
        site = create_app(
            opened, title=title, auth=ways or None, hosts=hosts or (), origins=origin or (), proxies=proxy or ()
        )
        log_to_stderr(log_level)
        logger = logging.getLogger("mainspring.web")
        logger.info("%s on %s, store %s", title, address_of(listening), opened.url)
        if not is_loopback(str(listening.getsockname()[0])):
            logger.warning("what other machines send here is not encrypted: put a proxy in front that speaks https")
        serve(site, listening, root_path=root_path)
    return None


def _ways(
    user: list[str] | None,
    users: Path | None,
    token_file: Path | None,
    proxy: list[str] | None,
    proxy_user: str | None,
    proxy_role: str | None,
) -> list[Way]:
    """How it is to be known who asks. Raises `ConfigurationError`."""
    from mainspring.web.auth import Passwords, ProxyUser, Tokens

    ways: list[Way] = []
    if proxy_user:
        if not proxy:
            raise ConfigurationError("--proxy-user: say where the proxies are: --proxy NETWORK, such as 127.0.0.1")
        header, _, role = proxy_user.partition(":")
        ways.append(ProxyUser(proxy, header=header, role=role or None, role_header=proxy_role))
    elif proxy_role:
        raise ConfigurationError("--proxy-role goes with --proxy-user HEADER")
    if token_file:
        ways.append(Tokens.from_file(token_file))
    if users or user:
        ways.append(Passwords.from_file(users, user or ()) if users else Passwords(user or ()))
    return ways


def _listening(descriptor: int | None, host: str, port: int, authenticated: bool) -> socket.socket:
    """The socket that `mainspring dev` keeps, or one of our own."""
    from mainspring.web.serve import listen, refuse_strangers

    if descriptor is None:
        return listen(host, port, authenticated=authenticated)
    listening = socket.socket(fileno=descriptor)
    refuse_strangers(str(listening.getsockname()[0]), host)
    return listening


def _opened(context: typer.Context, app: str | None, option: str | None, url: str | None) -> Mainspring:
    """The app that is looked at. One that is named by its store alone, or whose store is not made by itself, has to be
    there."""
    if app and option and app != option:
        raise ConfigurationError(f"two apps are given, {quote(app)} and {quote(option)}; give one")
    place = Place(app or option, url).or_else(outer_place(context))
    opened = place.open_existing() if place.named_app() is None else place.open()
    context.call_on_close(opened.close)
    status = opened.store.schema()
    if not status.found and not status.automatic:
        raise SchemaMismatch(f"there is no store at {opened.url} yet; make it by `mainspring migrate`")
    return opened


def _opened_quietly(context: typer.Context, app: str | None, option: str | None, url: str | None) -> Mainspring:
    """The same beside a worker that loads the same code, and says what is wrong with it."""
    try:
        with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
            return _opened(context, app, option, url)
    except ImportFailed:
        raise typer.Exit(1) from None


def _print_hash() -> None:
    from mainspring.web.auth import hash_password

    if sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt="Again", err=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    say(hash_password(password))


def _print_token() -> None:
    from mainspring.web.auth import make_token

    token, stored = make_token()
    say(token)
    say(stored)
    warn("the first is for the program that shows it, and is kept nowhere here; the second for the file of tokens")
