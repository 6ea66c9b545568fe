"""The applications of docs/progress.md: each gives its visitor an address at which he can follow his job."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from docs.test_docs import ROOT, program

VISIT = """
import httpx


async def visit(application, client=None):
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop.example") as visitor:
        answer = (await visitor.post("/exports")).json() if client is None else client.post("/exports").get_json()
        url = answer["job"].removeprefix("https://jobs.example.com")
        told = await visitor.get(url, headers={"Accept": "application/json"})
        assert (told.status_code, told.json()["task"], told.json()["state"]) == (200, "export", "queued"), told.text
        assert (await visitor.get(url.partition("?")[0] + "?ticket=none")).status_code == 403


async def visit_all():
    await visit(shop)
    await visit(application)
    await visit(create_app(app, hosts=["shop.example"]), site.test_client())
    await app.aclose()


asyncio.run(visit_all())
"""


def test_an_application_gives_its_visitor_the_address_of_his_job(tmp_path: Path) -> None:
    """FastAPI and Django serve the web beside their pages; Flask has it run by itself."""
    file = tmp_path / "progress.py"
    file.write_text(program(ROOT / "docs" / "progress.md") + VISIT, encoding="utf-8")
    environment = os.environ | {
        "MAINSPRING_URL": f"sqlite:///{tmp_path}/page.db",
        "MAINSPRING_WEB_SECRET": "as long as any secret should be",
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", file], env=environment, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stderr
