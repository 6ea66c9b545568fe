"""Photos as they arrive: read from the request piece by piece, never more than a photo may have."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import uuid4

from fastapi import HTTPException, Request

from examples.photos.web.albums import MAX_BYTES, SIGNATURE_BYTES, is_picture

__all__ = ["receive"]

TOO_LARGE = f"it has more than {MAX_BYTES // 1_000_000} MB"


async def receive(request: Request, place: Path) -> None:
    """Write the request's body to `place`, whole or not at all. Raises `HTTPException` for what is no photo."""
    if int(request.headers.get("content-length", 0)) > MAX_BYTES:
        raise HTTPException(413, TOO_LARGE)
    scratch = place.with_name(f".{uuid4().hex}")
    try:
        with scratch.open("xb") as file:
            beginning, written = b"", 0
            async for piece in request.stream():
                if len(beginning) < SIGNATURE_BYTES:
                    beginning = (beginning + piece)[:SIGNATURE_BYTES]
                written += len(piece)
                if written > MAX_BYTES:
                    raise HTTPException(413, TOO_LARGE)
                await asyncio.to_thread(file.write, piece)
        if not written:
            raise HTTPException(415, "it is empty")
        if not is_picture(beginning):
            raise HTTPException(415, "it is not a JPEG, PNG or WebP picture")
        scratch.replace(place)
    finally:
        scratch.unlink(missing_ok=True)
