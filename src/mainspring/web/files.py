"""What browsers load: our own scripts and styles, the same for everybody."""

from __future__ import annotations

from os import PathLike, stat_result
from pathlib import Path

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

__all__ = ["static_files"]

FOLDER = Path(__file__).parent / "static"
HEADERS = {
    # Asked about each time, and answered by "not modified": after an upgrade, no old script meets a new page.
    "Cache-Control": "public, no-cache",
    # Pages of other sites use mainspring.js too.
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
}


def static_files() -> StaticFiles:
    """The files of the folder `static`, with an ETag each."""
    return _Files(directory=FOLDER)


class _Files(StaticFiles):
    def file_response(
        self, full_path: str | PathLike[str], stat_result: stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(HEADERS)
        return response
