"""Pages from templates: everything that is put into one is text, whatever it contains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import HTTPConnection

from mainspring.web.where import base_path

__all__ = ["THEMES", "THEME_COOKIE", "environment", "render"]

THEMES = ("light", "dark")
THEME_COOKIE = "mainspring-theme"

environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "pages" / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(connection: HTTPConnection, template: str, **values: Any) -> str:
    """One page. Each template also has `base` (where the web is mounted), `nonce`, `title` (of the site) and `theme`
    ("light", "dark", or None: as the browser wants it)."""
    theme = connection.cookies.get(THEME_COOKIE)
    site = getattr(getattr(connection.scope.get("app"), "state", None), "site", None)
    return environment.get_template(template).render(
        base=base_path(connection.scope),
        nonce=connection.scope.get("mainspring.nonce", ""),
        title=site.title if site is not None else "Mainspring",
        theme=theme if theme in THEMES else None,
        **values,
    )
