"""What a reader sets for himself, kept in cookies: light or dark."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from mainspring.web.pages.rendering import Page, after, page_of
from mainspring.web.templates import THEME_COOKIE, THEMES

__all__ = ["router"]

YEAR = 366 * 86_400

router = APIRouter()


@router.get("/theme", include_in_schema=False)
async def theme(
    page: Annotated[Page, Depends(page_of)],
    theme: str = "",
    back: str = "",
) -> Response:
    """Light or dark from now on. "other", which a page says that does not know what it looks like, means dark.

    A GET, since it changes nothing but the reader's own cookie, and viewers may send nothing else.
    """
    answer = after(_inside(page, back))
    chosen = theme if theme in THEMES else "dark"
    answer.set_cookie(THEME_COOKIE, chosen, YEAR, path=page.links.root or "/", samesite="lax")
    return answer


def _inside(page: Page, address: str) -> str:
    """The address, if it is one of ours; else the overview's."""
    home = page.links()
    fits = address.startswith(home) and not address.startswith(("//", "/\\")) and "\\" not in address
    return address if fits and all(character.isprintable() for character in address) else home
