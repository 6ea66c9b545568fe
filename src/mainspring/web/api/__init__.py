"""The REST API: `/api/v1`."""

from fastapi import APIRouter

__all__ = ["router"]

router = APIRouter()
