"""How commands are declared and how their usage lines read: arguments as they were written down, and nothing added."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand

__all__ = ["Commands"]


class Commands(typer.Typer):
    """A group of commands that are described in plain text."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            no_args_is_help=True,
            add_completion=False,
            rich_markup_mode=None,
            pretty_exceptions_enable=False,
            context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
            **settings,
        )

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Any], Any]:
        return super().command(name, cls=_Command, **settings)


class _Command(TyperCommand):
    """Arguments are explained by the text of the help, where examples show them; so they need no list of their own."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        arguments = [param for param in self.params if param.param_type_name == "argument"]
        return ["[OPTIONS]", *(argument.metavar or argument.name or "" for argument in arguments)]
