"""The OpenAPI 3.1 document: served at `/api/v1/openapi.json`, printed by `python -m mainspring.web.openapi`."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from mainspring.app import Mainspring
from mainspring.web.api.route import PROBLEM, ProblemShape

__all__ = ["describe", "document"]

DESCRIPTION = """\
Background jobs: enqueue them by name, look at them, and change them.

Times are RFC 3339 in UTC; durations are given in seconds, or as text such as "90s" or "2h". Lists are
`{"items": [...], "cursor": ...}`: give the cursor back for the next items; null means that there are no more. What goes
wrong is told as problem details (RFC 9457). Names in paths are percent-encoded, slashes too.
"""
REPLACED = ("HTTPValidationError", "ValidationError")
"""How the framework would tell of requests that are not as they should be."""
TAGS = {
    "about": "What this is, and who asks.",
    "tasks": "What there is to enqueue.",
    "jobs": "Durable requests to run a task.",
    "live": "A job as it happens, for whoever has a ticket for it too.",
    "queues": "Where jobs wait; limits and pauses.",
    "schedules": "What is done at which times.",
    "workers": "Who works.",
    "flows": "Jobs that belong together.",
    "webhooks": "Who is told of what happens.",
    "stats": "How much was done, and how long it took.",
    "audit": "What operators did.",
}


def describe(web: FastAPI) -> None:
    """Have the web's own document say more than its routes do."""
    made = web.openapi

    def described() -> dict[str, Any]:
        if web.openapi_schema is None:
            complete(made())
        return web.openapi_schema or {}

    web.openapi = described  # type: ignore[method-assign]


def complete(found: dict[str, Any]) -> None:
    """Add what all operations share."""
    for item in found["paths"].values():
        for operation in item.values():
            _complete_problems(operation["responses"])
    found["info"] |= {"version": version("mainspring"), "description": DESCRIPTION}
    found["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]
    template = "#/components/schemas/{model}"
    _, shared = models_json_schema([(ProblemShape, "validation")], ref_template=template)
    components = found.setdefault("components", {})
    schemas = components.get("schemas", {}) | shared["$defs"]
    components["schemas"] = {name: schemas[name] for name in sorted(schemas) if name not in REPLACED}
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    found["security"] = [{"token": []}, {}]


def _complete_problems(responses: dict[str, Any]) -> None:
    """Whatever goes wrong is told as a problem, also what the framework describes in a way of its own."""
    responses.setdefault("default", {"description": "Any other problem"})
    for status, response in responses.items():
        if not status.startswith(("1", "2", "3")):
            response["content"] = PROBLEM["content"]


def document() -> dict[str, Any]:
    """The document of a web without an app of its own."""
    from mainspring.web.application import create_app

    return create_app(Mainspring("sqlite://")).openapi()


if __name__ == "__main__":
    print(json.dumps(document(), indent=2))
