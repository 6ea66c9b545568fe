"""Addresses of pages: relative to wherever the web is mounted, with every foreign name in the query.

Names of queues, tasks, schedules and even ids may hold slashes and dots, which a path would not keep apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlencode

from starlette.requests import HTTPConnection

from mainspring.web.where import base_path

__all__ = ["Links"]


@dataclass(frozen=True, slots=True)
class Links:
    """Makes addresses."""

    root: str

    @classmethod
    def of(cls, connection: HTTPConnection) -> Links:
        """Those of the site that a request came to."""
        return cls(base_path(connection.scope))

    def __call__(self, path: str = "", /, **query: object) -> str:
        """`links("jobs", state="dead")`; what is None or "" is left out, several values are repeated."""
        pairs: list[tuple[str, str]] = []
        for name, value in query.items():
            values = value if isinstance(value, (list, tuple)) else (value,)
            pairs += [(name.rstrip("_"), str(each)) for each in values if each is not None and each != ""]
        asked = urlencode(pairs, errors="replace", quote_via=quote)
        return f"{self.root}/{path}" + (f"?{asked}" if asked else "")
