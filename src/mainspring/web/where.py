"""Where in the web a request leads, wherever that is mounted."""

from __future__ import annotations

from starlette.types import Scope

__all__ = ["base_path", "inner_path"]


def base_path(scope: Scope) -> str:
    """Where the web is mounted: "" at the top, else such as "/jobs"."""
    root: str = scope.get("root_path", "")
    return root.rstrip("/")


def inner_path(scope: Scope) -> str:
    """The path below that, as the routes know it: it begins with "/"."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and (path == root or path.startswith(f"{root}/")):
        path = path[len(root) :]
    return path if path.startswith("/") else f"/{path}"
