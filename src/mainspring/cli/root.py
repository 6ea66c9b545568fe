"""The command `mainspring` itself: its subcommands, and how every failure ends: one line and an exit code."""

from __future__ import annotations

import getpass
import os
import socket
import sys
from collections.abc import Callable
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup

from mainspring.audit import acting
from mainspring.cli import (
    audit,
    bench,
    dev,
    doctor,
    enqueue,
    flows,
    jobs,
    migrate,
    queues,
    schedules,
    top,
    web,
    webhooks,
    worker,
    workers,
)
from mainspring.cli.output import block, say
from mainspring.cli.target import Place
from mainspring.cli.usage import Commands
from mainspring.errors import ConfigurationError, MainspringError, UnknownTask, ValidationError
from mainspring.model.text import clean

__all__ = ["cli"]

WRONG_USAGE = (ConfigurationError, ValidationError, UnknownTask)
INTERRUPTED = 130

PARTS: dict[str, typer.Typer | Callable[..., None]] = {
    "worker": worker.worker,
    "dev": dev.dev,
    "enqueue": enqueue.enqueue,
    "jobs": jobs.commands,
    "flows": flows.commands,
    "queues": queues.commands,
    "schedules": schedules.commands,
    "workers": workers.commands,
    "webhooks": webhooks.commands,
    "audit": audit.audit,
    "top": top.top,
    "web": web.web,
    "migrate": migrate.migrate,
    "doctor": doctor.doctor,
    "bench": bench.bench,
}
"""All commands, in the order of the help."""

PROGRAMS = frozenset({"worker", "dev", "web", "bench"})
"""Commands that are the user's program at work, and nobody's action."""

# Typer has click's errors under module names that depend on its version; their inheritance is the same in all.
ClickException = cast("type[Exception]", typer.BadParameter.__mro__[2])


class Root(TyperGroup):
    """Ends every failure with one `error: …` line on standard error. A traceback is a bug of ours, or in user code."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(PARTS)

    def main(self, *args: Any, **extra: Any) -> Any:
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except typer.Abort:
            code = INTERRUPTED
        except ClickException as error:
            code = _wrong_usage(error)
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except MainspringError as error:
            _print_error(str(error))
            raise typer.Exit(2 if isinstance(error, WRONG_USAGE) else 1) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # Whoever read this has seen enough (`| head`). What is still buffered goes nowhere, quietly.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        return result


def _wrong_usage(error: Any) -> int:
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error.format_message(), file=sys.stderr)
    else:
        hint = f" (see `{context.command_path} --help`)" if context is not None else ""
        _print_error(f"{error.format_message().rstrip('.')}{hint}")
    return int(error.exit_code)


def _print_error(message: str) -> None:
    print(f"error: {block(message)}", file=sys.stderr)


cli = Commands(cls=Root)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        say(f"mainspring {version('mainspring')}")
        raise typer.Exit


@cli.callback()
def root(
    context: typer.Context,
    app: Annotated[str | None, typer.Option("--app", metavar="MODULE:APP", help="The app, for any command.")] = None,
    url: Annotated[str | None, typer.Option("--url", metavar="URL", help="The store, for any command.")] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Background jobs for Python: run them, look at them, put them right.

    \b
    mainspring worker shop.jobs:app -q email -q bulk -c 100
    mainspring enqueue shop.jobs:app send_welcome user_id=7 email=a@b.c
    mainspring jobs list --state dead --since 2h
    mainspring jobs retry --state dead --queue email

    worker, dev, enqueue and webhooks run your code and are told the app. The others look at a store: the one of --app
    MODULE:APP, or of --url, or of $MAINSPRING_APP, or $MAINSPRING_URL, else the file mainspring.db in the current
    folder. Exit codes: 0 done, 1 failed, 2 wrong usage.
    """
    context.obj = Place(app, url).or_else(Place())
    if context.invoked_subcommand not in PROGRAMS:
        context.with_resource(acting(_operator()))


def _operator() -> str:
    """Who sits before the command line, as the audit log has him: `user@host`."""
    return clean(f"{_user()}@{socket.gethostname()}".strip())[:200]


def _user() -> str:
    """As the system knows him: what the environment says ($LOGNAME, $USER) anybody may write there."""
    try:
        import pwd
    except ImportError:
        return getpass.getuser()
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        # A container may run under a number that has no name.
        return str(os.getuid())


for _name, _part in PARTS.items():
    if isinstance(_part, typer.Typer):
        cli.add_typer(_part, name=_name)
    else:
        cli.command(_name)(_part)
