"""The dashboard: pages made on the server."""

from fastapi import APIRouter

__all__ = ["router"]

router = APIRouter()
