"""Whatever anybody sends to the API, it answers as its document says, and never by falling over.

Quick by default; `MAINSPRING_FUZZ=200` makes so many requests of each kind.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import GenerationMode
from servers.asgi import serving

from mainspring import Flow, Mainspring
from mainspring.web import create_app
from mainspring.web.openapi import document

EXAMPLES = int(os.environ.get("MAINSPRING_FUZZ", "10"))
DOCUMENT = document()

# A stream has no end as long as its job has none: only its beginning is read.
ENDLESS = "/api/v1/jobs/{id}/events"
schema = schemathesis.openapi.from_dict(DOCUMENT).exclude(path=ENDLESS, method="GET")
endless = schemathesis.openapi.from_dict(DOCUMENT).include(path=ENDLESS, method="GET")
# An address or a body may be refused for its size before anybody looks at what is in it.
refusals = schema.config.checks.negative_data_rejection
refusals.expected_statuses = [*refusals.expected_statuses, "413", "414", "431"]
for each in (schema, endless):
    each.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
quickly = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES < 100,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)


@dataclass
class Served:
    """A web on a port, and what is in its store: what names in paths may name."""

    url: str
    known: dict[str, list[str]] = field(default_factory=dict)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("fuzz")
    with Mainspring(f"sqlite:///{folder}/jobs.db") as app:
        known = furnish(app)
        with serving(create_app(app)) as url:
            yield Served(url, known)


def furnish(app: Mainspring) -> dict[str, list[str]]:
    """Something of each noun."""

    @app.task
    async def add(a: int, b: float = 2, name: str | None = None, more: dict[str, list[int]] | None = None) -> None: ...

    app.queue("parted", partition="a")
    jobs = app.enqueue_many(add.job(n) for n in range(50))
    add.using(queue="parted").enqueue(1)
    app.schedules.put("nightly", add, cron="0 3 * * *", args={"a": 1})
    flow = Flow("flow")
    flow.on_success(add.job(2))
    flow.add(add.job(1))
    flow.enqueue()
    return {
        "jobs": [job.id for job in jobs],
        "tasks": ["add"],
        "queues": ["default", "parted"],
        "schedules": ["nightly"],
        "flows": [flow.id],
        "workers": ["w"],
        "webhooks": ["hook"],
    }


@schema.parametrize()
@quickly
@pytest.mark.filterwarnings("ignore")
def test_every_operation_keeps_to_its_document(case: schemathesis.Case, served: Served) -> None:
    name_something(case, served)
    case.call_and_validate(
        base_url=served.url,
        timeout=30,
        checks=[
            schemathesis.checks.not_a_server_error,
            schemathesis.specs.openapi.checks.status_code_conformance,
            schemathesis.specs.openapi.checks.content_type_conformance,
            schemathesis.specs.openapi.checks.response_schema_conformance,
            schemathesis.specs.openapi.checks.negative_data_rejection,
        ],
    )


@endless.parametrize()
@quickly
@pytest.mark.filterwarnings("ignore")
def test_streams_begin_as_their_document_says(case: schemathesis.Case, served: Served) -> None:
    name_something(case, served)
    asked = case.as_transport_kwargs(base_url=served.url)
    given = {name: asked.get(name) for name in ("params", "headers", "cookies")}
    documented = DOCUMENT["paths"][ENDLESS]["get"]["responses"]
    with (
        httpx.Client(timeout=30) as client,
        client.stream(asked["method"], asked["url"], **given) as response,
    ):
        kind = response.headers.get("content-type", "").partition(";")[0]
        if response.status_code == 200:
            assert kind in documented["200"]["content"]
            assert kind != "text/event-stream" or next(response.iter_bytes()).startswith(b"retry: ")
        elif response.status_code != 204:
            assert 400 <= response.status_code < 500
            assert kind == "application/problem+json"


def name_something(case: schemathesis.Case, served: Served) -> None:
    """Half of what names something in a path names something that there is."""
    noun = case.path.split("/")[3]
    for name, value in (case.path_parameters or {}).items():
        if name in ("id", "name") and isinstance(value, str) and len(value) % 2:
            case.path_parameters[name] = served.known[noun][len(value) % len(served.known[noun])]


# --- what no document describes --------------------------------------------------------------------------------------

HOSTILE = {
    "NUL": "a\0b",
    "lone surrogate": "\ud800",
    "markup": '"><script>alert(1)</script>',
    "right-to-left": "\u202etxt.exe",
    "path": "../../../../etc/passwd",
    "quotes": "'; DROP TABLE mainspring_jobs; --",
    "long": "x" * 9_000,
    "megabyte": "x" * 1_000_000,
    "huge": 10**400,
    "tiny": -1e308,
    "nested": [[[[[[[[{"a": [{}]}]]]]]]]],
    "true": True,
}


def operations() -> Iterator[Any]:
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            yield pytest.param(method, path, operation, id=f"{method.upper()} {path.removeprefix('/api/v1')}")


@pytest.mark.parametrize(("method", "path", "operation"), list(operations()))
def test_hostile_values_are_refused_everywhere(
    method: str, path: str, operation: dict[str, Any], served: Served
) -> None:
    """In each part of each request, one at a time; in what is not under test stands something that there is."""
    noun = path.split("/")[3]
    names = {each["name"]: served.known[noun][0] for each in operation.get("parameters", []) if each["in"] == "path"}
    with httpx.Client(base_url=served.url, timeout=30) as client:

        def send(target: str, **options: Any) -> None:
            with client.stream(method, target, **options) as response:
                if response.headers.get("content-type", "").startswith("text/event-stream"):
                    assert response.status_code == 200
                    return
                response.read()
            told = f"{method} {target[:100]} {str(options)[:200]}: {response.status_code} {response.text[:300]}"
            assert response.status_code < 500, told
            if response.status_code >= 400:
                assert response.headers["content-type"] == "application/problem+json", told
                assert response.json()["status"] == response.status_code, told
                assert len(response.content) < 100_000, told

        for value in HOSTILE.values():
            text = value if isinstance(value, str) else json.dumps(value)
            escaped = quote(text[:9_000].encode("utf-8", "surrogatepass"), safe="")
            for parameter in operation.get("parameters", []):
                # Where no body is read, one that is sent is refused before the rest is looked at.
                body: dict[str, Any] = {"json": {}} if "requestBody" in operation else {}
                if parameter["in"] == "path":
                    send(filled(path, names | {parameter["name"]: None}).replace("*", escaped), **body)
                elif parameter["in"] == "query":
                    send(f"{filled(path, names)}?{parameter['name']}={escaped}")
                elif escaped.isascii() and len(escaped) < 1000:
                    send(filled(path, names), headers={parameter["name"]: escaped}, **body)
            if "requestBody" in operation:
                for body in bodies(operation["requestBody"], value):
                    headers = {"content-type": "application/json"}
                    send(filled(path, names), content=json.dumps(body).encode(), headers=headers)


def filled(path: str, names: dict[str, str | None]) -> str:
    """The path with these names; "*" for the one that is under test."""
    for name, value in names.items():
        path = path.replace(f"{{{name}}}", "*" if value is None else quote(value, safe=""))
    return path


def bodies(described: dict[str, Any], value: object) -> Iterator[object]:
    """The value in place of all, then of each property, of those within, and as a name of one."""
    yield value
    yield {str(value)[:9000]: 1}
    part = described["content"]["application/json"]["schema"]
    yield from instances(resolved(part), value)


def instances(part: dict[str, Any], value: object) -> Iterator[dict[str, object]]:
    for name, inner in part.get("properties", {}).items():
        yield {name: value}
        if value is HOSTILE["megabyte"]:
            continue  # once in each place is enough
        yield {name: [value]}
        yield {name: {"a": value}}
        yield from ({name: each} for each in instances(resolved(inner), value))


def resolved(part: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in part:
        found: dict[str, Any] = DOCUMENT["components"]["schemas"][part["$ref"].rpartition("/")[2]]
        return found
    return next((resolved(each) for each in part.get("anyOf", []) if "$ref" in each), part)
