"""Hints on PostgreSQL: what is one statement and its own transaction says so by its own commit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from mainspring.model.job import NewJob
from mainspring.store.base import BeatRequest, ClaimRequest, InsertRequest, Request, Room, SettleRequest
from mainspring.store.postgres import PostgresStore

from .conformance.scene import presence, settlement


def ask(store: PostgresStore, request: Request[Any]) -> Any:
    """By a driver that has said nothing yet, so that nothing is held back."""
    driver = store.driver()
    try:
        return driver.run(request)
    finally:
        driver.close()


def said(listener: psycopg.Connection[Any], patience: float = 30.0) -> list[str]:
    """The topics of the next hint."""
    for notify in listener.notifies(timeout=patience, stop_after=1):
        return list(json.loads(notify.payload))
    return []


@pytest.fixture
def listener(postgres: str, postgres_store: PostgresStore) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f'LISTEN "{postgres_store.url.rpartition("schema=")[2]}"')
        yield connection


def test_the_whole_way_of_a_plain_job_can_be_heard(
    postgres_store: PostgresStore, listener: psycopg.Connection[Any]
) -> None:
    worker, room = "worker", (Room("default", 1),)
    ask(postgres_store, BeatRequest(presence(worker, 60_000), "join"))
    ask(postgres_store, InsertRequest((NewJob("first", "task"),)))
    assert said(listener) == ["queue:default"]
    ask(
        postgres_store, ClaimRequest(worker, room, 1)
    )  # the first one there makes the queue known, in several statements
    assert said(listener) == ["jobs"]
    ask(postgres_store, InsertRequest((NewJob("second", "task"),)))
    assert said(listener) == ["queue:default"]
    (claim,) = ask(postgres_store, ClaimRequest(worker, room, 1)).claims
    assert said(listener) == ["jobs"]
    ask(postgres_store, SettleRequest((settlement(claim),)))
    assert said(listener) == ["queues", "jobs"]


def test_a_claim_of_nothing_is_not_worth_a_word(
    postgres_store: PostgresStore, listener: psycopg.Connection[Any]
) -> None:
    ask(postgres_store, BeatRequest(presence("worker", 60_000), "join"))
    assert ask(postgres_store, ClaimRequest("worker", (Room("default", 1),), 1)).claims == ()
    assert said(listener, patience=0.2) == []
