"""What every request to the web shares, and how it gets at it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends
from starlette.requests import HTTPConnection

from mainspring.app import Mainspring
from mainspring.web.identity import Identity, Role
from mainspring.web.problems import Forbidden

__all__ = ["AtSite", "By", "Site", "may"]


@dataclass(frozen=True, slots=True)
class Site:
    """One web app: whose jobs it shows."""

    app: Mainspring
    title: str


def site_of(connection: HTTPConnection) -> Site:
    site: Site = connection.app.state.site
    return site


def identity_of(connection: HTTPConnection) -> Identity:
    """Who the guard has found to be asking."""
    identity: Identity = connection.scope["mainspring.identity"]
    return identity


def may(role: Role) -> Any:
    """A dependency: refuses whoever has not that role."""

    def check(identity: Annotated[Identity, Depends(identity_of)]) -> Identity:
        if identity.role < role:
            raise Forbidden(f"{identity.name} is {identity.role.name.lower()}; this takes {role.name.lower()}")
        return identity

    return Depends(check)


AtSite = Annotated[Site, Depends(site_of)]
By = Annotated[Identity, Depends(identity_of)]
Check = Callable[[Identity], Identity]
