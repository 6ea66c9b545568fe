"""What every request to the web shares, and how it gets at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends
from starlette.requests import HTTPConnection

from mainspring.app import Mainspring
from mainspring.web.identity import Identity, Role, log_refusal
from mainspring.web.problems import Forbidden
from mainspring.web.sessions import Sessions

__all__ = ["AtSite", "By", "Nonce", "Site", "may"]


@dataclass(frozen=True, slots=True)
class Site:
    """One web app: whose jobs it shows."""

    app: Mainspring
    title: str
    secret: str
    """What sessions and tickets are signed with."""
    sessions: Sessions
    """Of those who have signed in."""
    signs_in: bool = False
    """Whether people sign in here, by name and password, and so out again: `login` and `logout` are there."""


def site_of(connection: HTTPConnection) -> Site:
    site: Site = connection.app.state.site
    return site


def identity_of(connection: HTTPConnection) -> Identity:
    """Who the guard has found to be asking."""
    identity: Identity = connection.scope["mainspring.identity"]
    return identity


def nonce_of(connection: HTTPConnection) -> str:
    """What `<script>`, `<style>` and `<link>` of this page must carry as their `nonce` for a browser to heed them."""
    nonce: str = connection.scope["mainspring.nonce"]
    return nonce


def may(role: Role) -> Any:
    """A dependency: refuses whoever has not that role."""

    def check(identity: Annotated[Identity, Depends(identity_of)], connection: HTTPConnection) -> Identity:
        if identity.role < role:
            log_refusal(identity, connection.scope)
            raise Forbidden(f"{identity.name} is {identity.role.name.lower()}; this takes {role.name.lower()}")
        return identity

    return Depends(check)


AtSite = Annotated[Site, Depends(site_of)]
By = Annotated[Identity, Depends(identity_of)]
Nonce = Annotated[str, Depends(nonce_of)]
