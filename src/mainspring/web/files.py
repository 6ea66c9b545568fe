"""What browsers load beside the pages: our own scripts and styles, the same for everybody.

They are looked up by name among those that there are, so no path leads anywhere else.
"""

from __future__ import annotations

from functools import cache
from hashlib import blake2b
from pathlib import Path

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

__all__ = ["mark_of", "router"]

FOLDER = Path(__file__).parent / "static"
KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FOR_OTHER_SITES = {
    # Their pages use mainspring.js.
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
}

router = APIRouter(include_in_schema=False)


@cache
def _files() -> dict[str, tuple[bytes, str]]:
    """The content of each file, and its mark. Read once: a package's files do not change under a program."""
    contents = {path.name: path.read_bytes() for path in FOLDER.iterdir() if path.suffix in KINDS}
    return {name: (content, blake2b(content, digest_size=9).hexdigest()) for name, content in contents.items()}


def mark_of(name: str) -> str:
    """Tells this content of a file from any other: for addresses such as `static/dashboard.js?v=…`, which last."""
    return _files()[name][1]


@router.api_route("/static/{name}", methods=["GET", "HEAD"], name="static")
async def static(request: Request, name: str) -> Response:
    """One file. Under an address with its mark browsers keep it for a year; else they ask each time whether it has
    changed."""
    if name not in _files():
        raise HTTPException(404)
    content, mark = _files()[name]
    lasts = request.query_params.get("v") == mark
    headers = FOR_OTHER_SITES | {
        "ETag": f'"{mark}"',
        "Cache-Control": "public, max-age=31536000, immutable" if lasts else "public, no-cache",
    }
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if f'"{mark}"' in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=KINDS[Path(name).suffix])
