"""The web: an API, live progress and a dashboard, as an ASGI app that mounts into anybody's, or runs alone.

    app.mount("/jobs", mainspring.web.create_app(ms))

Needs the extra `web`: `pip install 'mainspring[web]'`.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from mainspring.errors import ConfigurationError

if TYPE_CHECKING:
    from mainspring.web.application import create_app
    from mainspring.web.identity import Identity, Role
    from mainspring.web.tickets import job_url, ticket

__all__ = ["Identity", "Role", "create_app", "job_url", "ticket"]

WHERE = {
    "Identity": "identity",
    "Role": "identity",
    "create_app": "application",
    "job_url": "tickets",
    "ticket": "tickets",
}
NEEDED = ("argon2", "fastapi", "httpx", "itsdangerous", "jinja2", "multipart", "sse_starlette", "uvicorn", "websockets")


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require_extra()
    return getattr(import_module(f"mainspring.web.{WHERE[name]}"), name)


def require_extra() -> None:
    """Raises `ConfigurationError` where the extra `web` is not installed."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"the web needs packages that are not installed ({', '.join(missing)}): pip install 'mainspring[web]'"
        )
