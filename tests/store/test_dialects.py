"""Every statement that the operations name has a text in each SQL store, or is one that it has no need of."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from mainspring.store.postgres.borrowed import numbered
from mainspring.store.postgres.dialect import PostgresDialect
from mainspring.store.sql.statements import Dialect, sql
from mainspring.store.sqlite.connection import DIALECT

NAMED = {
    name
    for entry in files("mainspring.store.sql").iterdir()
    if entry.name.endswith(".py")
    for name in re.findall(r'sql\(\s*"(\w+)"', entry.read_text(encoding="utf-8"))
}


@pytest.mark.parametrize("dialect", [DIALECT, PostgresDialect("mainspring")], ids=["sqlite", "postgres"])
def test_every_statement_that_is_named_is_there(dialect: Dialect) -> None:
    assert len(NAMED) > 100
    assert {name: dialect.text(sql(name)) for name in NAMED}.keys() == NAMED


def test_postgres_tables_are_in_their_schema_and_parameters_as_psycopg_takes_them() -> None:
    text = PostgresDialect("jobs").text(sql("worker_alive"))
    assert text.endswith('SELECT 1 FROM "jobs".workers WHERE id = %(worker)s AND expires_at > %(now)s')


def test_asyncpg_takes_numbers_with_types_and_documents_as_text() -> None:
    dialect = PostgresDialect("jobs")
    types = (("worker", str), ("now", int), ("doc", str), ("limit", type(None)))
    text, names = numbered(dialect.text(sql("worker_alive")), types)
    assert text.endswith("WHERE id = $1::text AND expires_at > $2::bigint")
    assert names == ("worker", "now")
    text, names = numbered("SELECT json_each_text( %(doc)s), %(now)s %% %(now)s, %(limit)s, %(doc)s", types)
    assert text == "SELECT json_each_text( $1::text::json), $2::bigint % $2::bigint, $3, $1::text"
    assert names == ("doc", "now", "limit")
