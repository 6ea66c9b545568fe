"""Jobs as they happen: Server-Sent Events and WebSocket."""

from fastapi import APIRouter

from mainspring.web.live import sockets, streams

__all__ = ["router"]

router = APIRouter()
router.include_router(streams.router)
router.include_router(sockets.router)
