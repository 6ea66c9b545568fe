"""How a page becomes HTML: templates in which everything is text, and what they all can do."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from mainspring.web.files import mark_of
from mainspring.web.identity import Identity, Role
from mainspring.web.pages import text, words
from mainspring.web.pages.links import Links
from mainspring.web.pages.notices import notice
from mainspring.web.site import Site, identity_of, nonce_of, site_of
from mainspring.web.templates import THEME_COOKIE, THEMES, environment
from mainspring.web.where import inner_path

__all__ = ["Page", "after", "page_of"]

ZONE_COOKIE = "mainspring-zone"


class _Html(HTMLResponse):
    """Lone surrogates, should one get this far, are no reason to show nothing."""

    def render(self, content: Any) -> bytes:
        return str(content).encode("utf-8", "replace")


environment.filters |= {
    "line": text.line,
    "block": text.block,
    "json_block": text.json_block,
    "choice": text.choice,
    "plain": text.plain,
    "short_id": text.short_id,
    "number": words.number,
    "amount": words.amount,
    "percent": words.percent,
    "seconds": words.seconds,
    "sentence": words.sentence,
}
environment.globals |= {"counted": words.counted, "Role": Role}


@dataclass(frozen=True, slots=True)
class Page:
    """One request for a page: whose, and how it is to look."""

    request: Request
    site: Site
    identity: Identity
    links: Links
    now: words.Now
    theme: str | None

    def asset(self, name: str) -> str:
        """The address of a script, a style or a picture of ours, that tells its content."""
        return self.links(f"static/{name}", v=mark_of(name))

    def may(self, role: Role) -> bool:
        """Whether whoever asks may do what takes that role."""
        return self.identity.role >= role

    def show(self, template: str, *, status: int = 200, **values: Any) -> Response:
        """The page that this template makes of these values."""
        return _Html(self.html(template, **values), status)

    def html(self, template: str, **values: Any) -> str:
        """The same as text."""
        request = self.request
        return environment.get_template(template).render(
            {
                "page": self,
                "site": self.site,
                "identity": self.identity,
                "can": self.identity.role,
                "links": self.links,
                "now": self.now,
                "theme": self.theme,
                "nonce": nonce_of(request),
                "notice": notice(request.query_params),
                "asset": self.asset,
                "here": inner_path(request.scope).strip("/"),
                "this_page": f"{request.url.path}{'?' if request.url.query else ''}{request.url.query}",
                **values,
            }
        )


def page_of(request: Request) -> Page:
    """A dependency: the page that is asked for."""
    theme = request.cookies.get(THEME_COOKIE)
    return Page(
        request=request,
        site=site_of(request),
        identity=identity_of(request),
        links=Links.of(request),
        now=words.Now.here(words.zone_named(request.cookies.get(ZONE_COOKIE))),
        theme=theme if theme in THEMES else None,
    )


def after(address: str) -> Response:
    """After something was done: on to a page, which a reload does not do again."""
    return RedirectResponse(address, HTTPStatus.SEE_OTHER)
