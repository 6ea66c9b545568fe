"""What browsers load beside the pages: the files of one folder, kept as long as they are the same, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI

from mainspring import Mainspring
from mainspring.web import create_app
from mainspring.web.files import FOLDER, KINDS, mark_of

from .asking import asking

NAME = min(path.name for path in FOLDER.iterdir())


@pytest.fixture
def site() -> Iterator[FastAPI]:
    app = Mainspring("sqlite://")
    yield create_app(app, auth=lambda _: None)
    app.close()


async def test_every_file_is_served_to_everybody_and_of_other_sites_too(site: FastAPI) -> None:
    headers = {"Origin": "https://shop.example", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
    async with asking(site, at="http://anything.example", client="192.0.2.1", headers=headers) as client:
        for path in (path for path in FOLDER.iterdir() if path.suffix in KINDS):
            answer = await client.get(f"/static/{path.name}")
            assert answer.content == path.read_bytes()
            assert answer.headers["access-control-allow-origin"] == "*"
            assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "set-cookie" not in answer.headers


async def test_a_browser_that_has_a_file_is_told_so(site: FastAPI) -> None:
    async with asking(site) as client:
        first = await client.get(f"/static/{NAME}")
        assert first.headers["cache-control"] == "public, no-cache"
        for known in (first.headers["etag"], f'"x", W/{first.headers["etag"]}', "*"):
            again = await client.get(f"/static/{NAME}", headers={"If-None-Match": known})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == first.headers["etag"]
        assert (await client.get(f"/static/{NAME}", headers={"If-None-Match": '"other"'})).status_code == 200
        assert (await client.head(f"/static/{NAME}")).status_code == 200


async def test_under_an_address_that_tells_its_content_a_file_lasts(site: FastAPI) -> None:
    async with asking(site) as client:
        lasting = await client.get(f"/static/{NAME}", params={"v": mark_of(NAME)})
        old = await client.get(f"/static/{NAME}", params={"v": "old"})
    assert "immutable" in lasting.headers["cache-control"]
    assert old.headers["cache-control"] == "public, no-cache"


@pytest.mark.parametrize(
    "path",
    ["../guard.py", "..%2fguard.py", "%2e%2e/guard.py", "..%5cguard.py", "....//guard.py", "/etc/passwd", "",
     "%2fetc%2fpasswd", ".", "..", f"{NAME}/../../guard.py", f"{NAME}%00.js", f"{NAME}/", NAME.upper(),
     "no-such.css", "x" * 5_000, "%ff"],
    ids=range(17),
)  # fmt: skip
async def test_no_path_leads_anywhere_else(site: FastAPI, path: str) -> None:
    async with asking(site) as client:
        # As raw as a hostile client sends it.
        request = client.build_request("GET", "/static/x")
        request.url = request.url.copy_with(raw_path=b"/static/" + path.encode())
        answer = await client.send(request)
    assert answer.status_code in (403, 404)
    assert b"Guard" not in answer.content
    assert b"root:" not in answer.content
