"""What browsers load beside the pages: named files, that may be kept for ever under an address that tells their
content."""

from __future__ import annotations

from functools import cache
from hashlib import blake2b
from pathlib import Path

from fastapi import APIRouter, HTTPException
from starlette.requests import Request
from starlette.responses import Response

from mainspring.web.pages.links import Links

__all__ = ["router", "versioned"]

FOLDER = Path(__file__).parent.parent / "static"
KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

router = APIRouter()


@cache
def _files() -> dict[str, tuple[bytes, str]]:
    """The content of each file, and its mark. Read once: a package's files do not change under a program."""
    found = {path.name: path.read_bytes() for path in FOLDER.iterdir() if path.suffix in KINDS}
    return {name: (data, blake2b(data, digest_size=6).hexdigest()) for name, data in found.items()}


def versioned(links: Links, name: str) -> str:
    """The address of a file, with its mark."""
    return links(f"static/{name}", v=_files()[name][1])


@router.get("/static/{name}", include_in_schema=False)
async def static(request: Request, name: str) -> Response:
    """One of the files."""
    if name not in _files():
        raise HTTPException(404)
    data, mark = _files()[name]
    tag = f'"{mark}"'
    lasting = request.query_params.get("v") == mark
    headers = {
        "ETag": tag,
        "Cache-Control": "public, max-age=31536000, immutable" if lasting else "no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(data, headers=headers, media_type=KINDS[Path(name).suffix])
