"""Encrypted arguments over HTTP: they go in, and nobody sees them again."""

from __future__ import annotations

import json
import secrets

import pytest

from mainspring import Encrypted, Mainspring
from mainspring.keyring import Keyring
from mainspring.testing import adrain

from .conftest import Api


@pytest.mark.parametrize("app", ["sqlite"], indirect=True)
async def test_they_are_taken_kept_through_edits_and_never_shown(api: Api, app: Mainspring) -> None:
    had: list[tuple[int, str]] = []

    @app.task
    async def charge(order: int, card: Encrypted[str]) -> None:
        had.append((order, card))

    body = {"args": {"order": 7, "card": "4111-1111"}}
    refused = await api("POST", "/tasks/charge/jobs", 503, json=body)
    assert "MAINSPRING_ENCRYPTION_KEYS" in refused["detail"]
    app.keyring = Keyring([secrets.token_urlsafe(32)])
    made = await api("POST", "/tasks/charge/jobs", 201, json=body)
    shown = [made, await api("GET", f"/jobs/{made['id']}")]
    shown += [await api("POST", f"/jobs/{made['id']}/rerun", 201, json={"args": {"order": 8, "card": "[secret]"}})]
    put = {"task": "charge", "every": "1d", "args": {"order": 9, "card": "4111-2222"}}
    shown += [await api("PUT", "/schedules/daily", 201, json=put)]
    shown += [await api("PUT", "/schedules/daily", json={**put, "args": {"order": 10, "card": "[secret]"}})]
    shown += [await api("POST", "/schedules/daily/run", 201)]
    assert [each["args"]["card"] for each in shown] == ["[secret]"] * len(shown)
    # The whole of it: four digits are in one id of some thousands.
    assert not [card for card in ("4111-1111", "4111-2222") if card in json.dumps(shown)]
    await adrain(app)
    assert sorted(had) == [(7, "4111-1111"), (8, "4111-1111"), (10, "4111-2222")]
    schema = await api("GET", "/tasks/charge")
    assert schema["arguments"]["properties"]["card"]["writeOnly"] is True
