"""The OpenAPI document: whole, the same wherever it is asked for, and true where the web is mounted."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Mount

from mainspring import Mainspring
from mainspring.web import create_app
from mainspring.web.openapi import document

from .asking import asking


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document()["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


async def test_it_is_served_and_printed_alike() -> None:
    async with Mainspring("sqlite://") as app, asking(create_app(app)) as client:
        served = (await client.get("/api/v1/openapi.json")).json()
    printed = subprocess.run(
        [sys.executable, "-W", "error", "-m", "mainspring.web.openapi"], capture_output=True, text=True, check=True
    )
    assert served == json.loads(printed.stdout) == document()
    assert served["openapi"].startswith("3.1")


def test_every_operation_is_told_in_words() -> None:
    known = {tag["name"] for tag in document()["tags"]}
    for name, operation in operations():
        assert operation.get("summary"), name
        assert operation.get("description"), name
        assert set(operation["tags"]) <= known, name


def test_every_operation_has_a_name_of_its_own() -> None:
    counted = Counter(operation["operationId"] for _, operation in operations())
    assert [name for name, count in counted.items() if count > 1] == []


def test_every_problem_is_told_in_the_same_way() -> None:
    schema = {"$ref": "#/components/schemas/ProblemShape"}
    for name, operation in operations():
        for status, response in operation["responses"].items():
            if not status.startswith("2"):
                assert response["content"] == {"application/problem+json": {"schema": schema}}, (name, status)


def test_all_that_is_referred_to_is_there() -> None:
    found = document()
    text = json.dumps(found)
    for name in found["components"]["schemas"]:
        assert f'"#/components/schemas/{name}"' in text, f"{name} is of no use"
    for part in text.split('"#/components/schemas/')[1:]:
        assert part.partition('"')[0] in found["components"]["schemas"]


async def test_where_it_is_mounted_its_addresses_are_so_too(tmp_path: Path) -> None:
    async with Mainspring(f"sqlite:///{tmp_path}/jobs.db") as app:

        @app.task
        def add(n: int) -> None: ...

        host = Starlette(routes=[Mount("/back office/jobs", create_app(app))])
        async with asking(host) as client:
            answer = await client.post("/back%20office/jobs/api/v1/tasks/add/jobs", json={"args": {"n": 1}})
            assert answer.status_code == 201
            there = answer.headers["location"]
            assert there.startswith("/back%20office/jobs/api/v1/jobs/")
            assert (await client.get(there)).json()["task"] == "add"
            found = (await client.get("/back%20office/jobs/api/v1/openapi.json")).json()
            assert found["servers"] == [{"url": "/back office/jobs"}]
