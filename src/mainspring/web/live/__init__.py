"""Jobs as they happen: Server-Sent Events and WebSocket."""

from fastapi import APIRouter

__all__ = ["router"]

router = APIRouter()
