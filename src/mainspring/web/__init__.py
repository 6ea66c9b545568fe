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
    from mainspring.web.auth import Passwords, ProxyUser, Tokens, hash_password, make_token
    from mainspring.web.identity import Identity, Role
    from mainspring.web.tickets import job_url, ticket

__all__ = [
    "Identity",
    "Passwords",
    "ProxyUser",
    "Role",
    "Tokens",
    "create_app",
    "hash_password",
    "job_url",
    "make_token",
    "ticket",
]

WHERE = {
    "Identity": "identity",
    "Passwords": "auth",
    "ProxyUser": "auth",
    "Role": "identity",
    "Tokens": "auth",
    "create_app": "application",
    "hash_password": "auth",
    "job_url": "tickets",
    "make_token": "auth",
    "ticket": "tickets",
}
NEEDED = (
    "argon2",
    "fastapi",
    "httpx",
    "itsdangerous",
    "jinja2",
    "multipart",
    "prometheus_client",
    "sse_starlette",
    "uvicorn",
    "websockets",
)


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
